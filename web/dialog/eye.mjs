// From where the dialog looks at the scene: a pose and how far ahead the point lies around which it turns.

import { viewOf } from "../core/frusta.js";
import { length, minus, plus, times } from "../core/keys.mjs";
import { facing, fromAxis, multiply, normalised, rotated } from "../core/quaternion.js";
import { bake } from "../core/spline.js";

const STEEP = 0.995;

export function eyeOf(pose, distance = 1) {
  return { pose: [...pose], distance };
}

export const viewFrom = ({ pose }, width, height) => viewOf(pose, width, height);

const position = ({ pose }) => pose.slice(0, 3);
const rotation = ({ pose }) => pose.slice(3, 7);
const pivot = (eye) => plus(position(eye), times(rotated(rotation(eye), [0, 0, 1]), eye.distance));

function turned(q, yaw, pitch) {
  const level = multiply(fromAxis([0, 1, 0], yaw), q);
  const bowed = multiply(level, fromAxis([1, 0, 0], pitch));
  return normalised(Math.abs(rotated(bowed, [0, 0, 1])[1]) > STEEP ? level : bowed);
}

/** Around the pivot, in degrees. */
export function orbited(eye, yaw, pitch) {
  const centre = pivot(eye);
  const q = turned(rotation(eye), yaw, pitch);
  const place = minus(centre, times(rotated(q, [0, 0, 1]), eye.distance));
  return { ...eye, pose: [...place, ...q, eye.pose[7]] };
}

/** On the spot, in degrees. */
export function looked(eye, yaw, pitch) {
  return { ...eye, pose: [...position(eye), ...turned(rotation(eye), yaw, pitch), eye.pose[7]] };
}

/** Sideways, so that the pivot follows the pointer: pixels on a view of that height. */
export function panned(eye, dx, dy, height) {
  const scale = (2 * eye.distance * Math.tan((eye.pose[7] * Math.PI) / 360)) / height;
  return moved(eye, [-dx * scale, -dy * scale, 0]);
}

/** Nearer (factor below 1) or further. */
export function neared(eye, factor) {
  const distance = Math.min(Math.max(eye.distance * factor, 0.02), 500);
  const place = minus(pivot(eye), times(rotated(rotation(eye), [0, 0, 1]), distance));
  return { pose: [...place, ...eye.pose.slice(3)], distance };
}

/** By a vector in the camera's own axes. */
export function moved(eye, vector) {
  const place = plus(position(eye), rotated(rotation(eye), vector));
  return { ...eye, pose: [...place, ...eye.pose.slice(3)] };
}

/** Where flying keys lead in `seconds`, [right, down, ahead]; `codes` are those of the keys held. */
export function flight(codes, seconds, speed) {
  const way = (more, less) => (codes.has(more) ? 1 : 0) - (codes.has(less) ? 1 : 0);
  const fast = codes.has("ShiftLeft") || codes.has("ShiftRight") ? 3 : 1;
  const ahead = [way("KeyD", "KeyA"), way("KeyQ", "KeyE"), way("KeyW", "KeyS")];
  const size = length(ahead);
  return size ? times(ahead, (seconds * speed * fast) / size) : null;
}

/** From above and behind, so that the path and what it looks at are in the picture. */
export function overviewOf(path) {
  const poses = bake(path);
  let reach = 0.4;
  for (let i = 0; i < poses.length; i += 8) reach = Math.max(reach, Math.hypot(...poses.subarray(i, i + 3)));
  const [yaw, pitch] = [(-32 * Math.PI) / 180, (-27 * Math.PI) / 180];
  const ahead = [Math.sin(yaw) * Math.cos(pitch), -Math.sin(pitch), Math.cos(yaw) * Math.cos(pitch)];
  const distance = 1.1 + 1.2 * reach;
  return { pose: [...minus([0, 0, 0.5], times(ahead, distance)), ...facing(ahead), 45], distance };
}
