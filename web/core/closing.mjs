// Loops and ways back.

import { easingOf, edited, endedAtLastKey, length, minus, startsAtRest, stretched, withKeys } from "./keys.mjs";
import { changed, leaves, samePose } from "./path.js";
import { conjugate, multiply, normalised, rollOf, rotationVector } from "./quaternion.js";
import { bake } from "./spline.js";

const DEGREES = 180 / Math.PI;

/** {distance, degrees, rollDegrees, fov} between the first and the last pose of the path. */
export function loopGap(path) {
  const poses = bake(path);
  const pose = (i) => Array.from(poses.subarray(8 * i, 8 * i + 8));
  const [a, b] = [pose(0), pose(path.numFrames - 1)];
  const turn = rotationVector(multiply(conjugate(a.slice(3, 7)), b.slice(3, 7)));
  return {
    distance: length(minus(b, a)),
    degrees: length(turn) * DEGREES,
    rollDegrees: rollOf(b.slice(3, 7)) - rollOf(a.slice(3, 7)),
    fov: b[7] - a[7],
  };
}

/** The same movement, closed with matched slopes: close_loop in memory/presets.py, which says how. */
export function closeLoop(path) {
  const end = path.numFrames - 1;
  const keys = path.keyframes
    .filter((key) => key.frame <= end)
    .map((key) => edited(key, { hold: Math.min(key.hold, end - key.frame) }));
  const [first, last] = [keys[0], keys.at(-1)];
  if (keys.length > 1 && samePose(first, last) && leaves(last) === end) {
    const { frame, hold, easing } = last;
    return withKeys(path, [...keys.slice(0, -1), edited(first, { frame, hold, easing })], { loop: true });
  }
  const way = keys.slice(1).reduce((sum, key, i) => sum + apart(keys[i], key), 0);
  const back = apart(last, first);
  const share = back ? Math.min(Math.max(back / (way + back), 0.1), 0.5) : 0.1;
  const scale = leaves(last) ? (end * (1 - share)) / leaves(last) : 1;
  const moved = keys.map((key) => stretched(key, scale, 1));
  const final = edited(moved[0], { frame: end, hold: 0, easing: "linear" });
  return withKeys(path, [...moved, final], { loop: true });
}

/** The same keys, the ends no longer tied. */
export function openLoop(path) {
  return changed(path, { loop: false });
}

/** Go on from the last key back to the first pose, in so many more frames (to the next 1 + 4 n), coming to rest; no
 * loop, so that what came before stays as it is if the camera rests at the last key. */
export function returnToStart(path, frames) {
  const last = path.keyframes.at(-1);
  const home = edited(path.keyframes[0], {
    frame: leaves(last) + Math.max(frames, 1), hold: 0, easing: "linear", velocity: null, spin: null, zoom: null,
  });
  const going = edited(last, { easing: easingOf(startsAtRest(last), true) });
  return endedAtLastKey(openLoop(path), [...path.keyframes.slice(0, -1), going, home]);
}

/** How far two keys are apart: units of distance plus radians of turn. */
function apart(a, b) {
  const turn = rotationVector(multiply(conjugate(normalised(a.rotation)), normalised(b.rotation)));
  return length(minus(b.position, a.position)) + length(turn);
}
