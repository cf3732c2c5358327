// The view in the dialog: points below, lines above, and from where both are seen.

import { poseAt } from "../core/spline.js";
import { prepared, themeOf } from "../view/draw.js";
import { unitOf } from "../view/scene.js";
import { eyeOf, flight, moved, overviewOf, viewFrom } from "./eye.mjs";
import { listenToPointer } from "./gestures.mjs";
import { drawOverlay } from "./overlay.mjs";

const [FEWEST, MANY] = [8_000, 200_000]; // points, as long as the view moves: as many as a frame's time allows
const [QUICK, SLOW] = [24, 45]; // milliseconds
const SETTLED = 180; // milliseconds without a move

/** {eye, setEye, overview, fly(codes), close, ...}. The points come when `points` (points.mjs) has been loaded. */
export function openStage(deep, canvas, session) {
  let [points, dirty, waiting, rest, speed, held, flying, closed] = [null, true, 0, 0, 0.6, new Set(), 0, false];
  let [most, allowed, drawn] = [Infinity, 40_000, 0]; // drawn: when the last frame of a movement was begun
  let still = null; // the points as they stand while keys are dragged
  const stage = {
    canvas, eye: overviewOf(session.path), more: { hover: -1, box: null, stroke: null }, times: [],
    view: () => viewFrom(stage.eye, canvas.clientWidth, canvas.clientHeight),
    redraw, setEye, overview: () => setEye(overviewOf(session.path)), fly,
    faster: (factor) => (speed = Math.min(Math.max(speed * factor, 0.02), 50)),
    /** Ready to show points; settles what was asked for before. */
    attach(opened) {
      points = opened;
      newScene();
    },
    seeThrough(on) {
      if (on === session.through) return;
      if (on) stage.kept = stage.eye;
      else if (stage.kept) stage.eye = stage.kept;
      session.set({ through: on }, "tool");
      deeper();
    },
    samples: null, // a recording: {begun, list}
    close() {
      closed = true;
      cancelAnimationFrame(waiting);
      cancelAnimationFrame(flying);
      clearTimeout(rest);
      sizes.disconnect();
      points?.close();
    },
  };
  const pointer = listenToPointer(stage, session);
  stage.cancel = pointer.cancel;
  const sizes = new ResizeObserver(deeper);
  sizes.observe(canvas);

  for (const event of ["path", "saved", "chosen", "tool"]) session.on(event, redraw);
  session.on("playhead", () => (session.through ? moving() : redraw()));
  session.on("path", () => session.through && moving());
  session.on("scene", newScene);
  session.on("view", deeper);
  let units = session.path.units;
  session.on("path", () => {
    if (units !== session.path.units) newScene();
  });

  function newScene() {
    units = session.path.units;
    points?.setScene(session.scene, unitOf(session.path, session.scene?.header));
    deeper();
  }

  /** The user moves the view: what was looked through is left where it is. */
  function setEye(eye) {
    if (session.through) session.set({ through: false }, "tool");
    stage.eye = eye;
    moving();
  }

  /** The view moves: fewer points until it rests. */
  function moving() {
    most = allowed;
    deeper();
    clearTimeout(rest);
    rest = setTimeout(() => {
      [most, drawn] = [Infinity, 0];
      deeper();
    }, SETTLED);
  }

  function deeper() {
    dirty = true;
    redraw();
  }

  function redraw() {
    if (closed) return;
    waiting ||= requestAnimationFrame(() => {
      waiting = 0;
      paint();
    });
  }

  function paint() {
    const begun = performance.now();
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    if (session.through) stage.eye = eyeOf(poseAt(session.path, session.playhead));
    if (dirty && points) {
      if (most !== Infinity) {
        const took = drawn ? begun - drawn : SLOW;
        const more = took > SLOW ? 0.6 : took < QUICK ? 1.25 : 1;
        allowed = Math.min(Math.max(allowed * more, FEWEST), MANY);
        [most, drawn] = [allowed, begun];
      }
      drawPoints(width, height);
      [dirty, still] = [false, null];
    } else if (points && session.dragging && !still) {
      drawPoints(width, height); // they can be copied until the frame ends
      still = copyOf(deep);
    }
    if (!session.dragging) still = null;
    deep.style.visibility = still ? "hidden" : "";
    const ctx = prepared(canvas);
    if (still) ctx.drawImage(still, 0, 0, width, height);
    drawOverlay(ctx, stage.view(), session, themeOf(canvas), stage.more);
    stage.times.push(performance.now() - begun);
    if (stage.times.length > 600) stage.times.shift();
  }

  function drawPoints(width, height) {
    points.draw(stage.eye.pose, width, height, session, Math.min(session.scene?.count ?? 0, most));
  }

  /** Fly while these keys are held (a Set that the keyboard keeps). */
  function fly(codes) {
    held = codes;
    if (flying) return;
    let before = performance.now();
    const tick = (now) => {
      const way = flight(held, Math.min(now - before, 100) / 1000, speed);
      before = now;
      if (way) setEye(moved(stage.eye, way));
      if (stage.samples) stage.samples.list.push({ at: now - stage.samples.begun, pose: [...stage.eye.pose] });
      flying = (held.size || stage.samples) && !closed ? requestAnimationFrame(tick) : 0;
    };
    flying = requestAnimationFrame(tick);
  }

  moving();
  return stage;
}

/** One canvas is put on the page sooner than one over another: what lies below is copied into the upper one. */
function copyOf(canvas) {
  const copy = new OffscreenCanvas(canvas.width, canvas.height);
  copy.getContext("2d", { willReadFrequently: true }).drawImage(canvas, 0, 0);
  return copy;
}
