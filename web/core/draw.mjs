// A stroke drawn on a plane to few keys.

import { length, minus, plus, times } from "./keys.mjs";
import { PathError } from "./path.js";
import { facing } from "./quaternion.js";
import { restingPathFromSamples } from "./record.mjs";

const TOLERANCE = 0.01; // of the stroke's length
const LOOK_AHEAD = 0.04; // of the stroke's length: how far around a place its direction is taken

/** Where a ray meets a plane, [3], or null (behind, or along it). */
export function onPlane(origin, direction, point, normal) {
  const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
  const facingIt = dot(direction, normal);
  const far = dot(minus(point, origin), normal) / facingIt;
  return Math.abs(facingIt) > 1e-9 && far > 0 ? plus(origin, times(direction, far)) : null;
}

/** {origin, direction} in the world of a pixel of a view (frusta.js). */
export function screenRay({ position, matrix: m, focal, width, height }, x, y) {
  const [a, b] = [(x - width / 2) / focal, (y - height / 2) / focal];
  return { origin: position, direction: [0, 1, 2].map((n) => m[n] * a + m[3 + n] * b + m[6 + n]) };
}

/** The path along a stroke [[x, y, z], ...], looking the way it goes, from rest to rest. `fields` are those of the
 * path, numFrames at least, and verticalFov for its keys. */
export function strokeAlong(points, fields) {
  return drawn(points, fields, (at, s, whole) => {
    const step = LOOK_AHEAD * whole;
    return minus(at(Math.min(s + step, whole)), at(Math.max(s - step, 0)));
  });
}

/** The path along a stroke, looking at a world point. */
export function strokeFacing(points, target, fields) {
  return drawn(points, fields, (at, s) => minus(target, at(s)));
}

function drawn(points, { verticalFov = 50, ...fields }, look) {
  const { at, whole } = ruler(points);
  if (!(whole > 1e-6)) throw new PathError("the stroke has no length; draw a line");
  const end = fields.numFrames - 1;
  let direction = [0, 0, 1];
  const samples = Array.from({ length: fields.numFrames }, (_, frame) => {
    const u = frame / end;
    const s = whole * u * u * (3 - 2 * u);
    const seen = look(at, s, whole);
    if (length(seen) > 1e-9) direction = seen;
    return { frame, position: at(s), rotation: facing(direction), verticalFov };
  });
  return restingPathFromSamples(samples, { distance: TOLERANCE * whole, degrees: 3 }, fields);
}

/** A stroke by its length: at(s) is the point after so much way, smoothed a little, since hands tremble. */
function ruler(points) {
  const marks = [0];
  for (let i = 1; i < points.length; i++) marks.push(marks[i - 1] + length(minus(points[i], points[i - 1])));
  const whole = marks.at(-1);
  const exact = (s) => {
    const i = Math.max(marks.findIndex((mark) => mark >= s), 1);
    const share = marks[i] > marks[i - 1] ? (s - marks[i - 1]) / (marks[i] - marks[i - 1]) : 0;
    return plus(points[i - 1], times(minus(points[i], points[i - 1]), share));
  };
  const at = (s) => {
    const reach = Math.min(0.01 * whole, s, whole - s); // none at the ends, which stay where they were drawn
    const near = [-1, -0.5, 0, 0.5, 1].map((side) => exact(Math.min(Math.max(s + side * reach, 0), whole)));
    return times(near.reduce(plus), 1 / near.length);
  };
  return { at, whole };
}
