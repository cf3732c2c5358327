// The gizmo at the chosen keys: axes to move along, rings to turn about, a square to scale by.

import { project } from "../core/frusta.js";
import { plus, times } from "../core/keys.mjs";
import { lines } from "../view/draw.js";

const SIZE = 78; // pixels
const HIT = 8;
const AXES = { x: [1, 0, 0], y: [0, 1, 0], z: [0, 0, 1] };
const COLOURS = { x: "#ef5350", y: "#66bb6a", z: "#42a5f5" };
const RING = 40;

export const axisOf = (name) => AXES[name];

/** World length of SIZE pixels at a place. */
function armAt(view, centre) {
  return (SIZE * project(view, centre)[2]) / view.focal;
}

function ring(name, centre, arm) {
  const others = Object.values(AXES).filter((axis) => axis !== AXES[name]);
  return Array.from({ length: RING + 1 }, (_, i) => {
    const angle = (2 * Math.PI * i) / RING;
    const [a, b] = [times(others[0], arm * Math.cos(angle)), times(others[1], arm * Math.sin(angle))];
    return plus(centre, plus(a, b));
  });
}

const shapeOf = (name, tool, centre, arm) =>
  tool === "rotate" ? ring(name, centre, arm) : [centre, plus(centre, times(AXES[name], arm))];

export function drawGizmo(ctx, view, centre, { tool, axis }) {
  if (project(view, centre)[2] <= 0.01) return;
  const arm = armAt(view, centre);
  if (tool === "scale") return drawSquare(ctx, view, centre);
  for (const name of Object.keys(AXES)) {
    const points = shapeOf(name, tool, centre, arm);
    ctx.beginPath();
    lines(ctx, view, points, points.slice(1).map((_, i) => [i, i + 1]));
    ctx.strokeStyle = COLOURS[name];
    ctx.lineWidth = axis === name ? 4 : 2.2;
    ctx.stroke();
    const [x, y] = project(view, tool === "rotate" ? points[RING / 8] : points[1]);
    ctx.fillStyle = COLOURS[name];
    ctx.beginPath();
    ctx.arc(x, y, 4.5, 0, 7);
    ctx.fill();
    ctx.font = "bold 11px sans-serif";
    ctx.fillText(name.toUpperCase(), x + 7, y - 4);
  }
}

function drawSquare(ctx, view, centre) {
  const [x, y] = project(view, centre);
  ctx.strokeStyle = "#f5a524";
  ctx.lineWidth = 2;
  ctx.strokeRect(x - SIZE / 2, y - SIZE / 2, SIZE, SIZE);
  ctx.fillStyle = "#f5a524";
  for (const [a, b] of [[-1, -1], [1, -1], [1, 1], [-1, 1]]) {
    ctx.fillRect(x + (a * SIZE) / 2 - 4, y + (b * SIZE) / 2 - 4, 8, 8);
  }
}

/** The axis ("x", "y", "z", or "all" for scaling) under a pixel, or null. */
export function gizmoAt(view, centre, tool, x, y) {
  const [cx, cy, depth] = project(view, centre);
  if (depth <= 0.01) return null;
  if (tool === "scale") {
    const off = Math.max(Math.abs(x - cx), Math.abs(y - cy)) - SIZE / 2;
    return Math.abs(off) < HIT ? "all" : null;
  }
  const arm = armAt(view, centre);
  let [best, found] = [HIT, null];
  for (const name of Object.keys(AXES)) {
    const points = shapeOf(name, tool, centre, arm).map((point) => project(view, point));
    for (let i = 1; i < points.length; i++) {
      const near = distance([x, y], points[i - 1], points[i]);
      if (near < best && (tool === "rotate" || Math.hypot(x - cx, y - cy) > 12)) [best, found] = [near, name];
    }
  }
  return found;
}

/** How far (world units) a drag over so many pixels goes along an axis at a place. */
export function alongAxis(view, place, name, dx, dy) {
  const arm = armAt(view, place);
  const [a, b] = [project(view, place), project(view, plus(place, times(AXES[name], arm)))];
  const [sx, sy] = [b[0] - a[0], b[1] - a[1]];
  const square = sx * sx + sy * sy;
  return square < 16 ? (-dy / SIZE) * arm : ((dx * sx + dy * sy) / square) * arm;
}

/** Degrees about an axis of a drag around a place on the screen. */
export function aboutAxis(view, centre, name, from, to) {
  const [cx, cy] = project(view, centre);
  const angle = ([x, y]) => Math.atan2(y - cy, x - cx);
  let turn = ((angle(to) - angle(from)) * 180) / Math.PI;
  turn -= 360 * Math.round(turn / 360);
  const away = AXES[name].reduce((sum, value, n) => sum + value * (centre[n] - view.position[n]), 0);
  return away >= 0 ? turn : -turn;
}

/** Pixels from a point to a piece of a line. */
export function distance([x, y], a, b) {
  const [dx, dy] = [b[0] - a[0], b[1] - a[1]];
  const square = dx * dx + dy * dy;
  const share = square ? Math.min(Math.max(((x - a[0]) * dx + (y - a[1]) * dy) / square, 0), 1) : 0;
  return Math.hypot(x - a[0] - share * dx, y - a[1] - share * dy);
}
