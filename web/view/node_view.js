// What the node itself shows: the memory's points, the path and a ruler on a Canvas2D. It shows; the dialog edits.

import { facing } from "../core/quaternion.js";
import { projectPoints, viewOf } from "../core/frusta.js";
import { bake, poseAt } from "../core/spline.js";
import { dot, frustum, prepared, speedLine, themeOf } from "./draw.js";
import { frameAt, ruler } from "./ruler.js";
import { chunksOf, drawnPoints, unitOf } from "./scene.js";
import { t } from "./texts.js";

const RULER = 44;
const STYLE = `
.spm-node{display:flex;flex-direction:column;gap:4px;min-height:220px;height:100%;box-sizing:border-box;
 font:12px sans-serif;color:var(--input-text)}
.spm-node canvas{width:100%;touch-action:none;border-radius:4px;background:var(--comfy-input-bg);min-height:0}
.spm-node .spm-view{flex:1 1 0;cursor:grab}
.spm-node .spm-ruler{flex:0 0 ${RULER}px;cursor:col-resize}
.spm-node .spm-bar{display:flex;gap:4px;align-items:center;flex:none}
.spm-node button{font:inherit;color:inherit;background:var(--comfy-input-bg);border:1px solid var(--border-color);
 border-radius:4px;padding:3px 8px;cursor:pointer}
.spm-node :focus-visible{outline:2px solid #f5a524;outline-offset:1px}
.spm-node .spm-said{flex:1;overflow:hidden;text-overflow:ellipsis;white-space:nowrap;text-align:end;
 color:var(--descrip-text,#999)}
.spm-node .spm-said.spm-wrong{color:#e5484d;white-space:normal}
.spm-node textarea{flex:1;resize:none;font:11px monospace;color:inherit;background:var(--comfy-input-bg);
 border:1px solid var(--border-color)}
.spm-node [hidden]{display:none}`;

function made(tag, className, fields = {}) {
  return Object.assign(document.createElement(tag), { className, ...fields });
}

/** {element, show({path, scene, said, wrong, text}), redraw()}. on: {open(), typed(text)}. */
export function nodeView(on) {
  if (!document.getElementById("spm-style")) {
    document.head.append(made("style", "", { id: "spm-style", textContent: STYLE }));
  }
  const element = made("div", "spm-node", { tabIndex: -1 });
  element.dataset.captureWheel = "true";
  const [view, strip] = [made("canvas", "spm-view"), made("canvas", "spm-ruler", { tabIndex: 0 })];
  const [open, raw] = [made("button", "spm-open", { type: "button" }), made("button", "", { type: "button" })];
  const said = made("span", "spm-said");
  const area = made("textarea", "", { hidden: true, spellcheck: false });
  const bar = made("div", "spm-bar");
  bar.append(open, raw, said);
  element.append(view, area, strip, bar);
  strip.setAttribute("role", "slider");
  said.setAttribute("role", "status");
  let state = { path: null, scene: null, said: "", wrong: false, text: "" };
  let [playhead, yaw, pitch, drawnScene, cloud, waiting] = [0, -35, -28, null, null, 0];

  const redraw = () => {
    waiting ||= requestAnimationFrame(() => {
      waiting = 0;
      paint();
    });
  };

  function paint() {
    const { path, scene } = state;
    const theme = themeOf(element);
    const [ctx, below] = [prepared(view), prepared(strip)];
    if (!ctx || !below || !path) return;
    playhead = Math.min(playhead, path.numFrames - 1);
    if (drawnScene !== scene || cloud?.units !== path.units) {
      [drawnScene, cloud] = [scene, scene && { ...drawnPoints(scene, 4000, unitOf(path, scene.header)) }];
      if (cloud) cloud.units = path.units;
    }
    const [width, height] = [view.clientWidth, view.clientHeight];
    const seen = overview(path, width, height);
    if (cloud) {
      const places = projectPoints(seen, cloud.points, new Float64Array(cloud.points.length));
      cloud.colours.forEach((colour, i) => {
        if (places[3 * i + 2] <= 0) return;
        ctx.fillStyle = colour;
        ctx.fillRect(places[3 * i] - 0.75, places[3 * i + 1] - 0.75, 1.8, 1.8);
      });
    }
    const film = scene?.header.film;
    const aspect = film ? film.width / film.height : 1.6;
    const size = { aspect, depth: 0.16 };
    for (const key of path.keyframes) {
      const pose = [...key.position, ...key.rotation, key.verticalFov];
      frustum(ctx, seen, pose, { ...size, colour: theme.faint });
    }
    speedLine(ctx, seen, path);
    for (const key of path.keyframes) {
      dot(ctx, seen, key.position, { radius: 3, colour: theme.key, edge: theme.edge });
    }
    frustum(ctx, seen, poseAt(path, playhead), { ...size, depth: 0.24, colour: "#e5484d", width: 1.6 });
    ruler(below, {
      width: strip.clientWidth, height: strip.clientHeight, path, playhead, chosen: new Set(),
      chunks: chunksOf(path.numFrames, scene?.header), holes: null, theme,
    });
    const values = { "aria-valuenow": Math.round(playhead), "aria-valuemin": 0, "aria-valuemax": path.numFrames - 1 };
    for (const [name, value] of Object.entries(values)) strip.setAttribute(name, value);
  }

  /** From above and behind, so that the path and what it looks at are in the picture. */
  function overview(path, width, height) {
    const poses = bake(path);
    let reach = 0.5;
    for (let i = 0; i < poses.length; i += 8) reach = Math.max(reach, Math.hypot(...poses.subarray(i, i + 3)));
    const [a, b] = [(yaw * Math.PI) / 180, (pitch * Math.PI) / 180];
    const ahead = [Math.sin(a) * Math.cos(b), -Math.sin(b), Math.cos(a) * Math.cos(b)];
    const far = (state.scene ? 1.6 : 0.7) + 1.2 * reach;
    const position = [0, 0, state.scene ? 0.8 : 0.2].map((middle, n) => middle - far * ahead[n]);
    return viewOf([...position, ...facing(ahead), 45], width, height);
  }

  function scrub(event) {
    const x = event.offsetX; // CSS pixels of the element, whatever the zoom of the graph
    playhead = Math.round(Math.min(frameAt(x, state.path, strip.clientWidth), state.path.numFrames - 1));
    redraw();
  }

  drags(strip, scrub, scrub);
  let last = null;
  drags(view, (event) => (last = [event.offsetX, event.offsetY]), (event) => {
    yaw -= 0.6 * (event.offsetX - last[0]);
    pitch = Math.min(Math.max(pitch - 0.6 * (event.offsetY - last[1]), -89), 89);
    last = [event.offsetX, event.offsetY];
    redraw();
  });
  view.addEventListener("dblclick", () => on.open());
  strip.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9 }[event.key];
    if (!step || !state.path) return;
    event.preventDefault();
    event.stopPropagation();
    playhead = Math.min(Math.max(playhead + step, 0), state.path.numFrames - 1);
    redraw();
  });
  open.addEventListener("click", () => on.open());
  raw.addEventListener("click", () => {
    area.hidden = !area.hidden;
    view.hidden = !area.hidden;
    raw.setAttribute("aria-pressed", String(!area.hidden));
    redraw();
  });
  area.addEventListener("change", () => on.typed(area.value));
  for (const kind of ["pointerdown", "mousedown", "contextmenu", "dblclick"]) {
    element.addEventListener(kind, (event) => event.stopPropagation());
  }
  area.addEventListener("keydown", (event) => event.stopPropagation());
  new ResizeObserver(redraw).observe(element);

  return {
    element,
    redraw,
    show(next) {
      state = { ...state, ...next };
      open.textContent = t("node.open");
      raw.textContent = t("node.text");
      raw.title = t("node.text_hint");
      view.title = t("node.view_hint");
      strip.setAttribute("aria-label", t("node.scrub"));
      area.setAttribute("aria-label", t("node.text_hint"));
      said.textContent = said.title = state.said;
      said.classList.toggle("spm-wrong", state.wrong);
      if (area.value !== state.text) area.value = state.text;
      redraw();
    },
  };
}

function drags(element, begin, move) {
  element.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    element.setPointerCapture(event.pointerId);
    begin(event);
  });
  element.addEventListener("pointermove", (event) => {
    if (element.hasPointerCapture(event.pointerId)) move(event);
  });
}
