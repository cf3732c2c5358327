// The timeline: scrub on it, drag keys in time, double-click for a new key.

import { insertKey } from "../core/insert.mjs";
import { moveInTime } from "../core/timing.mjs";
import { prepared, themeOf } from "../view/draw.js";
import { frameAt, ruler, xOf } from "../view/ruler.js";
import { chunksOf } from "../view/scene.js";
import { t } from "../view/texts.js";
import { el, leaveField } from "./fields.mjs";

const REACH = 8;

export function timeline(session) {
  const canvas = el("canvas", { className: "timeline", tabIndex: 0, role: "slider" });
  let [waiting, drag] = [0, null];

  function redraw() {
    waiting ||= requestAnimationFrame(() => {
      waiting = 0;
      const ctx = prepared(canvas);
      if (!ctx) return;
      const { path, playhead, chosen, holes, scene } = session;
      const size = { width: canvas.clientWidth, height: canvas.clientHeight };
      const chunks = chunksOf(path.numFrames, scene?.header);
      ruler(ctx, { ...size, path, playhead, chosen, chunks, holes, theme: themeOf(canvas) });
      const last = path.numFrames - 1;
      const frame = Math.round(playhead);
      canvas.setAttribute("aria-label", t("timeline.label", { frame, last }));
      for (const [name, value] of [["now", frame], ["min", 0], ["max", last]]) {
        canvas.setAttribute(`aria-value${name}`, value);
      }
    });
  }
  for (const event of ["path", "chosen", "playhead", "scene", "holes"]) session.on(event, redraw);
  new ResizeObserver(redraw).observe(canvas);

  const frameOf = (x) => frameAt(x, session.path, canvas.clientWidth);
  function keyUnder(x, y) {
    if (Math.abs(y - canvas.clientHeight * 0.62) > 14) return -1;
    const near = session.path.keyframes.map(({ frame }) => Math.abs(xOf(frame, session.path, canvas.clientWidth) - x));
    return Math.min(...near) <= REACH ? near.indexOf(Math.min(...near)) : -1;
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    leaveField(canvas);
    canvas.setPointerCapture(event.pointerId);
    const [x, y] = [event.offsetX, event.offsetY];
    const key = keyUnder(x, y);
    if (key < 0) {
      drag = { scrub: true };
      return session.seek(Math.round(frameOf(x)));
    }
    if (event.shiftKey) {
      const chosen = new Set(session.chosen);
      if (!chosen.delete(key)) chosen.add(key);
      session.choose(chosen);
      return;
    }
    if (!session.chosen.has(key)) session.choose([key]);
    session.seek(Math.round(session.path.keyframes[key].frame));
    drag = { from: frameOf(x), indices: [...session.chosen], path: session.path, x };
    session.begin();
  });
  canvas.addEventListener("pointermove", (event) => {
    const x = event.offsetX;
    if (!drag) return;
    if (drag.scrub) return session.seek(Math.round(frameOf(x)));
    if (Math.abs(x - drag.x) < 3 && !drag.moved) return;
    drag.moved = true;
    const now = frameAt(x, drag.path, canvas.clientWidth); // by the ruler of the beginning
    const shift = Math.round(now - drag.from);
    session.show((path) => moveInTime(path, drag.indices, shift));
  });
  canvas.addEventListener("pointerup", () => {
    if (drag && !drag.scrub) session.commit();
    drag = null;
  });
  canvas.addEventListener("dblclick", (event) => {
    if (keyUnder(event.offsetX, event.offsetY) >= 0) return;
    const frame = Math.round(frameOf(event.offsetX));
    let index = -1;
    session.step((path) => {
      const inserted = insertKey(path, frame);
      index = inserted.index;
      return inserted.path;
    });
    session.choose([index]);
    session.seek(frame);
  });
  redraw();
  return canvas;
}
