// Moves of several keys or the whole path. Pinned slopes go along.

import { setRoll } from "./edit.mjs";
import { edited, mapKeys, minus, plus, times } from "./keys.mjs";
import { PathError } from "./path.js";
import { fromAxis, multiply, normalised, rollOf, rotated } from "./quaternion.js";

/** [0, 1, ..., keys - 1], for whole-path moves. */
export function allKeys(path) {
  return path.keyframes.map((_, i) => i);
}

/** The middle of the keys' bounding box, [3]. */
export function centreOf(path, indices) {
  return [0, 1, 2].map((n) => {
    const values = indices.map((i) => path.keyframes[i].position[n]);
    return (Math.min(...values) + Math.max(...values)) / 2;
  });
}

/** Shift keys by a world vector. */
export function moveKeys(path, indices, vector) {
  return mapKeys(path, indices, (key) => edited(key, { position: plus(key.position, vector) }));
}

/** Turn keys about a world point, views included. */
export function rotateKeys(path, indices, rotation, centre) {
  const turn = normalised(rotation);
  return mapKeys(path, indices, (key) => edited(key, {
    position: plus(centre, rotated(turn, minus(key.position, centre))),
    rotation: multiply(turn, normalised(key.rotation)),
    velocity: key.velocity && rotated(turn, key.velocity),
  }));
}

/** Turn the views of keys on the spot, by a world rotation. */
export function turnKeys(path, indices, rotation) {
  const turn = normalised(rotation);
  return mapKeys(path, indices, (key) => edited(key, { rotation: multiply(turn, normalised(key.rotation)) }));
}

/** Scale positions about a world point. */
export function scaleKeys(path, indices, factor, centre) {
  if (!(factor > 0)) throw new PathError(`factor is ${factor}, expected a positive number`);
  return mapKeys(path, indices, (key) => edited(key, {
    position: plus(centre, times(minus(key.position, centre), factor)),
    velocity: key.velocity && times(key.velocity, factor),
  }));
}

/** Weights, one a key: 1 at the key, falling smoothly to 0 at `radius` frames from it. */
export function falloffWeights(path, index, radius) {
  const centre = path.keyframes[index].frame;
  return path.keyframes.map((key, i) => {
    const away = i === index ? 0 : Math.min(Math.abs(key.frame - centre) / radius, 1);
    return (1 - away * away) ** 2;
  });
}

/** Shift a key and, less and less, its neighbours in time: for dense tracks. */
export function moveWithFalloff(path, index, vector, radius) {
  const weights = falloffWeights(path, index, radius);
  return mapKeys(path, allKeys(path).filter((i) => weights[i] > 0), (key, i) =>
    edited(key, { position: plus(key.position, times(vector, weights[i])) }));
}

/** Without roll at these keys. */
export function levelHorizon(path, indices) {
  return setRoll(path, indices, 0);
}

/** A vector to multiples of step. */
export function snapped(vector, step) {
  return vector.map((x) => Math.round(x / step) * step);
}

/** Yaw, pitch and roll to multiples of degrees. */
export function snappedRotation(q, degrees) {
  const [x, y, z] = rotated(normalised(q), [0, 0, 1]);
  const snap = (radians) => Math.round((radians * 180) / Math.PI / degrees) * degrees;
  const yaw = fromAxis([0, 1, 0], snap(Math.atan2(x, z)));
  const pitch = fromAxis([1, 0, 0], snap(Math.atan2(-y, Math.hypot(x, z))));
  const roll = fromAxis([0, 0, 1], Math.round(rollOf(normalised(q)) / degrees) * degrees);
  return multiply(multiply(yaw, pitch), roll);
}
