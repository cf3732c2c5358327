// Cameras, curves and grids as lines on a Canvas2D, seen from a view (core/frusta.js).

import { frustumCorners, project, speedColour, speeds } from "../core/frusta.js";
import { bake } from "../core/spline.js";

const NEAR = 1e-3;
const [SHADES, PIECES] = [12, 400];

/** Add lines between points of the world to the current path of the canvas, cut where they pass behind the view. */
export function lines(ctx, view, points, pairs) {
  const { position, matrix: m, focal, width, height } = view;
  const seen = points.map((p) => {
    const [x, y, z] = [p[0] - position[0], p[1] - position[1], p[2] - position[2]];
    return [0, 3, 6].map((row) => m[row] * x + m[row + 1] * y + m[row + 2] * z);
  });
  for (const [from, to] of pairs) {
    let [a, b] = [seen[from], seen[to]];
    if (a[2] < NEAR && b[2] < NEAR) continue;
    const cut = (p, q) => p.map((value, n) => value + ((NEAR - p[2]) / (q[2] - p[2])) * (q[n] - value));
    if (a[2] < NEAR) a = cut(a, b);
    if (b[2] < NEAR) b = cut(b, a);
    ctx.moveTo(width / 2 + (focal * a[0]) / a[2], height / 2 + (focal * a[1]) / a[2]);
    ctx.lineTo(width / 2 + (focal * b[0]) / b[2], height / 2 + (focal * b[1]) / b[2]);
  }
}

const EDGES = [[0, 1], [0, 2], [0, 3], [0, 4], [1, 2], [2, 3], [3, 4], [4, 1], [1, 5], [5, 2]];

/** A camera, `depth` long, with a mark at its upper edge. */
export function frustum(ctx, view, pose, { aspect, depth, colour, width = 1 }) {
  const flat = frustumCorners(pose, aspect, depth);
  const points = [0, 3, 6, 9, 12].map((i) => flat.slice(i, i + 3));
  const [left, right, below] = [points[1], points[2], points[4]];
  points.push([0, 1, 2].map((n) => (left[n] + right[n]) / 2 - 0.25 * (below[n] - left[n])));
  ctx.beginPath();
  lines(ctx, view, points, EDGES);
  ctx.strokeStyle = colour;
  ctx.lineWidth = width;
  ctx.stroke();
}

/** The path as a line, from blue (slow) to red (fastest). */
export function speedLine(ctx, view, path, width = 2) {
  const [poses, rates] = [bake(path), speeds(bake(path))];
  const fastest = Math.max(...rates) || 1;
  const step = Math.max(1, Math.ceil(path.numFrames / PIECES));
  const shades = Array.from({ length: SHADES }, () => []);
  const points = [];
  for (let frame = 0; frame < path.numFrames; frame += step) {
    points.push(poses.subarray(8 * frame, 8 * frame + 3));
    const shade = Math.min(Math.floor((rates[frame] / fastest) * SHADES), SHADES - 1);
    if (points.length > 1) shades[shade].push([points.length - 2, points.length - 1]);
  }
  const end = path.numFrames - 1;
  points.push(poses.subarray(8 * end, 8 * end + 3));
  shades[0].push([points.length - 2, points.length - 1]);
  ctx.lineCap = "round";
  ctx.lineWidth = width;
  shades.forEach((pairs, i) => {
    ctx.beginPath();
    lines(ctx, view, points, pairs);
    ctx.strokeStyle = speedColour((i + 0.5) / SHADES);
    ctx.stroke();
  });
}

/** A square or round dot at a point of the world; nothing behind the view. */
export function dot(ctx, view, point, { radius, colour, edge }) {
  const [x, y, depth] = project(view, point);
  if (depth < NEAR) return;
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, 7);
  ctx.fillStyle = colour;
  ctx.fill();
  ctx.strokeStyle = edge;
  ctx.lineWidth = 1.5;
  ctx.stroke();
}

/** Colours of the host's theme around an element. */
export function themeOf(element) {
  const style = getComputedStyle(element);
  const colour = (name, other) => style.getPropertyValue(name).trim() || other;
  return {
    text: colour("--input-text", "#ddd"), faint: colour("--descrip-text", "#999"),
    ground: colour("--comfy-input-bg", "#222"), line: colour("--border-color", "#4e4e4e"),
    accent: "#f5a524", key: "#ffffff", edge: "#202020",
  };
}

/** A canvas at the screen's own resolution: its context, in CSS pixels, or null while it has no size. */
export function prepared(canvas) {
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (!width || !height) return null;
  const ratio = Math.min(globalThis.devicePixelRatio || 1, 2);
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w) canvas.width = w;
  if (canvas.height !== h) canvas.height = h;
  const ctx = canvas.getContext("2d", { willReadFrequently: true }); // drawn by the CPU: thin lines, many of them
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.clearRect(0, 0, width, height);
  return ctx;
}
