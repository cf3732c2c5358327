// What is drawn over the points: the path, its keys and cameras, what is chosen, what a gesture shows.

import { project } from "../core/frusta.js";
import { handlesOf } from "../core/handles.mjs";
import { centreOf } from "../core/move.mjs";
import { bake, poseAt } from "../core/spline.js";
import { dot, frustum, lines, speedLine } from "../view/draw.js";
import { chunksOf, poseOf, unitOf } from "../view/scene.js";
import { drawGizmo } from "./gizmo.mjs";

const [KEY_DEPTH, EYE_DEPTH, FILM_DEPTH] = [0.14, 0.22, 0.08];
const MOST_FRUSTA = 40;

export const poseOfKey = (key) => [...key.position, ...key.rotation, key.verticalFov];

/** more: {box, stroke, hover}: the selection box, the stroke being drawn, the number of the key below the pointer. */
export function drawOverlay(ctx, view, session, theme, more) {
  const { path, chosen, scene } = session;
  const aspect = aspectOf(scene);
  const header = scene?.header;
  if (session.shown.references && header) filmAndReferences(ctx, view, session, aspect);
  if (session.ghost) ghost(ctx, view, session.ghost, aspect);
  if (!session.through) {
    for (const [i, key] of path.keyframes.entries()) {
      const style = chosen.has(i) ? { colour: theme.accent, width: 1.8 } : { colour: theme.faint };
      frustum(ctx, view, poseOfKey(key), { aspect, depth: KEY_DEPTH, ...style });
    }
    frustum(ctx, view, poseAt(path, session.playhead), { aspect, depth: EYE_DEPTH, colour: "#e5484d", width: 2 });
  }
  outlined(ctx, view, path);
  boundaries(ctx, view, path, header);
  for (const [i, key] of path.keyframes.entries()) {
    const colour = chosen.has(i) ? theme.accent : theme.key;
    dot(ctx, view, key.position, { radius: more.hover === i || chosen.has(i) ? 6.5 : 5, colour, edge: theme.edge });
  }
  if (chosen.size === 1 && !session.through) handles(ctx, view, path, [...chosen][0], theme);
  if (chosen.size && !session.through) drawGizmo(ctx, view, centreOf(path, [...chosen]), session);
  if (more.stroke?.length > 1) strokeLine(ctx, view, more.stroke, theme);
  if (more.box) box(ctx, more.box, theme);
  if (session.through) guide(ctx, view, aspect, theme);
}

export function aspectOf(scene) {
  return scene ? scene.header.film.width / scene.header.film.height : 1.6;
}

function outlined(ctx, view, path) {
  const poses = bake(path);
  const step = Math.max(1, Math.ceil(path.numFrames / 400));
  const points = [];
  for (let i = 0; i < path.numFrames; i += step) points.push(poses.subarray(8 * i, 8 * i + 3));
  ctx.beginPath();
  lines(ctx, view, points, points.slice(1).map((_, i) => [i, i + 1]));
  ctx.strokeStyle = "rgba(0,0,0,.55)";
  ctx.lineWidth = 5;
  ctx.stroke();
  speedLine(ctx, view, path, 2.6);
}

function boundaries(ctx, view, path, header) {
  const poses = bake(path);
  ctx.font = "10px sans-serif";
  ctx.textAlign = "left";
  for (const [start] of chunksOf(path.numFrames, header).slice(1)) {
    const [x, y, depth] = project(view, poses.subarray(8 * start, 8 * start + 3));
    if (depth <= 0.01) continue;
    ctx.fillStyle = "#ffffff";
    ctx.fillRect(x - 1, y - 7, 2, 14);
    ctx.strokeStyle = "rgba(0,0,0,.7)";
    ctx.lineWidth = 3;
    ctx.strokeText(String(start), x + 5, y - 7);
    ctx.fillText(String(start), x + 5, y - 7);
  }
}

/** The film's cameras, faint, and those that a chunk was given as references. */
function filmAndReferences(ctx, view, { scene, path }, aspect) {
  const { header } = scene;
  const unit = unitOf(path, header);
  const asked = new Set(header.chunks.flatMap((chunk) => chunk.references));
  const every = Math.max(1, Math.ceil(header.frusta.length / MOST_FRUSTA));
  header.frusta.forEach((camera, i) => {
    const reference = asked.has(camera.frame);
    if (i % every && !reference) return;
    const style = reference ? { colour: "#26c6da", width: 1.6 } : { colour: "rgba(170,170,170,.55)" };
    frustum(ctx, view, poseOf(camera, unit), { aspect: camera.aspect ?? aspect, depth: FILM_DEPTH, ...style });
  });
}

function ghost(ctx, view, { poses, path }, aspect) {
  const every = Math.max(1, Math.ceil(poses.length / MOST_FRUSTA));
  poses.forEach((pose, i) => {
    if (i % every === 0) frustum(ctx, view, pose, { aspect, depth: KEY_DEPTH, colour: "#e879f9", width: 1.2 });
  });
  if (path) speedLine(ctx, view, path, 2);
}

function handles(ctx, view, path, index, theme) {
  const key = path.keyframes[index];
  const { into, out } = handlesOf(path, index);
  for (const point of [into, out]) {
    if (!point) continue;
    ctx.beginPath();
    lines(ctx, view, [key.position, point], [[0, 1]]);
    ctx.strokeStyle = theme.accent;
    ctx.lineWidth = 1.2;
    ctx.stroke();
    dot(ctx, view, point, { radius: 4.5, colour: theme.edge, edge: theme.accent });
  }
}

function strokeLine(ctx, view, points, theme) {
  ctx.beginPath();
  lines(ctx, view, points, points.slice(1).map((_, i) => [i, i + 1]));
  ctx.strokeStyle = theme.accent;
  ctx.lineWidth = 3;
  ctx.stroke();
}

function box(ctx, [x, y, x2, y2], theme) {
  ctx.strokeStyle = theme.accent;
  ctx.setLineDash([4, 3]);
  ctx.strokeRect(x, y, x2 - x, y2 - y);
  ctx.setLineDash([]);
}

/** The film's picture within the view of the camera. */
function guide(ctx, { width, height }, aspect, theme) {
  const w = Math.min(height * aspect, width - 2);
  ctx.strokeStyle = theme.accent;
  ctx.lineWidth = 1.5;
  ctx.strokeRect((width - w) / 2, 1, w, height - 2);
  ctx.fillStyle = "rgba(0,0,0,.45)";
  ctx.fillRect(0, 0, (width - w) / 2, height);
  ctx.fillRect((width + w) / 2, 0, (width - w) / 2, height);
}
