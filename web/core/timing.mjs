// When the keys are passed.

import { after, nextTo } from "./grid.mjs";
import { edited, endedAtLastKey, shiftedBehind, stretched, withKeys } from "./keys.mjs";
import { insertKey } from "./insert.mjs";
import { changed, leaves } from "./path.js";

/** Shift keys by whole or broken frames. They stay at least a frame from the keys that stay, key 0 stays at 0, and the
 * path ends with its last key, at 1 + 4 n frames. */
export function moveInTime(path, indices, frames) {
  const keys = path.keyframes;
  const moved = new Set(indices.filter((i) => i > 0));
  let [low, high] = [-Infinity, Infinity];
  for (const i of moved) {
    if (!moved.has(i - 1)) low = Math.max(low, Math.min(leaves(keys[i - 1]) + 1 - keys[i].frame, 0));
    if (!moved.has(i + 1) && i + 1 < keys.length) {
      high = Math.min(high, Math.max(keys[i + 1].frame - 1 - leaves(keys[i]), 0));
    }
  }
  const shift = Math.min(Math.max(frames, low), high);
  const after = keys.map((key, i) => (moved.has(i) ? edited(key, { frame: key.frame + shift }) : key));
  return moved.has(keys.length - 1) ? endedAtLastKey(path, after) : withKeys(path, after);
}

/** Seconds from leaving key `index` to reaching the next one. */
export function segmentSeconds(path, index) {
  return (path.keyframes[index + 1].frame - leaves(path.keyframes[index])) / path.fps;
}

/** Give a segment its time, in whole frames; what follows moves along. The path ends with its last key, at 1 + 4 n
 * frames, for which the last segment is up to two frames longer or shorter. */
export function setSegmentSeconds(path, index, seconds) {
  const frames = Math.max(Math.round(seconds * path.fps), 1);
  const now = path.keyframes[index + 1].frame - leaves(path.keyframes[index]);
  return endedAtLastKey(path, shiftedBehind(path.keyframes, index, frames - now));
}

/** Stretch or squeeze the whole path to a length; its shape stays. */
export function setNumFrames(path, numFrames) {
  const [to, from] = [numFrames - 1, path.numFrames - 1];
  return withKeys(path, path.keyframes.map((key) => stretched(key, to, from)), { numFrames });
}

/** Change the length alone. Where the path is cut, a key is put on the curve and keys behind it stay, unused; where it
 * grows beyond its last key, the camera rests there. A loop is opened. */
export function cutNumFrames(path, numFrames) {
  const open = changed(path, { loop: false });
  const [end, last] = [numFrames - 1, open.keyframes.at(-1)];
  if (end < leaves(last)) return changed(insertKey(open, end).path, { numFrames });
  return withKeys(open, open.keyframes.with(-1, edited(last, { hold: end - last.frame })), { numFrames });
}

/** The nearest 1 + 4 n. */
export function validNumFrames(numFrames) {
  return Math.max(nextTo(numFrames - 1), after(0)) + 1;
}
