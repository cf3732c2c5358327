// What the edits share: vectors, easings as pairs of rests, and the one way to put changed keys into a path.

import { after, nextTo } from "./grid.mjs";
import { changed, leaves, makeKey, samePose } from "./path.js";
import { EASINGS } from "./spline.js";

export const plus = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
export const minus = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
export const times = (a, factor) => [a[0] * factor, a[1] * factor, a[2] * factor];
export const length = (a) => Math.hypot(a[0], a[1], a[2]);

/** The key with some fields replaced. */
export function edited(key, fields) {
  return makeKey({ ...key, ...fields });
}

/** The easing of a segment that starts from rest or not, and comes to rest or not. */
export function easingOf(starts, stops) {
  return starts ? (stops ? "ease_in_out" : "ease_in") : stops ? "ease_out" : "linear";
}

export const startsAtRest = (key) => EASINGS[key.easing][0];
export const stopsAtRest = (key) => EASINGS[key.easing][1];

/** The path with other keys, and other fields where given. In a loop the end whose pose was not edited takes the pose
 * and the slopes of the one that was. */
export function withKeys(path, keys, fields = {}) {
  const keyframes = [...keys];
  if (fields.loop ?? path.loop) {
    const [first, last] = [keyframes[0], keyframes.at(-1)];
    const source = changedEnd(path.keyframes.at(-1), last) && !changedEnd(path.keyframes[0], first) ? last : first;
    const { position, rotation, verticalFov, velocity, spin, zoom } = source;
    const tied = { position, rotation, verticalFov, velocity, spin, zoom };
    keyframes[0] = edited(first, tied);
    keyframes[keyframes.length - 1] = edited(last, tied);
  }
  return changed(path, { ...fields, keyframes });
}

/** The path with each key of `indices` replaced by edit(key, index). */
export function mapKeys(path, indices, edit) {
  const chosen = new Set(indices);
  return withKeys(path, path.keyframes.map((key, i) => (chosen.has(i) ? edit(key, i) : key)));
}

/** The keys with those behind `index` shifted by frames. */
export function shiftedBehind(keys, index, frames) {
  return keys.map((key, i) => (i > index ? edited(key, { frame: key.frame + frames }) : key));
}

/** The key where time runs to/from times slower: the curve keeps its shape. */
export function stretched(key, to, from) {
  const slower = from / to;
  return edited(key, {
    frame: (key.frame * to) / from,
    hold: (key.hold * to) / from,
    velocity: key.velocity && times(key.velocity, slower),
    spin: key.spin && times(key.spin, slower),
    zoom: key.zoom === null ? null : key.zoom * slower,
  });
}

/** The path that ends where its last key lets go, at a multiple of 4 frames: a last key that holds holds as long as
 * that takes, another one is moved there. */
export function endedAtLastKey(path, keys, fields = {}) {
  const last = keys.at(-1);
  const before = keys.length > 1 ? leaves(keys.at(-2)) : 0;
  const end = Math.max(nextTo(leaves(last)), after(before));
  const final = last.hold && end > last.frame
    ? edited(last, { hold: end - last.frame })
    : edited(last, { frame: end, hold: 0 });
  return withKeys(path, [...keys.slice(0, -1), final], { numFrames: end + 1, ...fields });
}

function changedEnd(before, after) {
  const slopes = (key) => JSON.stringify([key.velocity, key.spin, key.zoom]);
  return !samePose(before, after) || slopes(before) !== slopes(after);
}
