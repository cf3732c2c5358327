// Edits of single keys. Each takes a path and gives a new one; `indices` is an array of key numbers.

import { notBefore } from "./grid.mjs";
import {
  easingOf, edited, endedAtLastKey, mapKeys, shiftedBehind, startsAtRest, stopsAtRest, withKeys,
} from "./keys.mjs";
import { changed, leaves, makeKey } from "./path.js";
import { withRoll } from "./quaternion.js";

/** The number of the key nearest to a frame, or -1 where none is within `reach` frames (rests count). */
export function keyAt(path, frame, reach = 0.5) {
  const away = path.keyframes.map((key) => Math.max(key.frame - frame, frame - leaves(key), 0));
  const nearest = Math.min(...away);
  return nearest <= reach ? away.indexOf(nearest) : -1;
}

/** A key with this pose (8 numbers) at a frame, rounded to a whole one; a key that is there already is updated. Beyond
 * the end the path grows to the next 1 + 4 n frames; a loop is opened then. */
export function stampKey(path, frame, pose) {
  const [position, rotation, verticalFov] = [pose.slice(0, 3), pose.slice(3, 7), pose[7]];
  const there = path.keyframes.findIndex((key) => Math.abs(key.frame - Math.round(frame)) < 0.5);
  if (there >= 0) return setKey(path, there, { position, rotation, verticalFov });
  const tail = path.keyframes.at(-1);
  const beyond = frame > path.numFrames - 1;
  const at = beyond && frame > tail.frame ? notBefore(frame) : Math.round(frame);
  const before = path.keyframes.filter((key) => key.frame < at).length - 1;
  let keys = withKeyBehind(path.keyframes, before, makeKey({ frame: at, position, rotation, verticalFov }));
  if (!beyond && before === path.keyframes.length - 1) { // in the rest at the end: rest at the new key, or come back
    const end = leaves(tail);
    keys = path.loop
      ? [...keys, edited(tail, { frame: end, hold: 0 })]
      : keys.with(-1, edited(keys.at(-1), { hold: end - at }));
  }
  if (!beyond) return withKeys(path, keys);
  const end = Math.min(notBefore(at), Math.floor(leaves(keys.at(-1))));
  return changed(path, { keyframes: keys, numFrames: end + 1, loop: false });
}

/** Without these keys, as long as two stay. At an end that went, the camera rests at the key that is the end now. */
export function deleteKeys(path, indices) {
  const gone = new Set(indices);
  const last = path.keyframes.length - 1;
  if (path.loop && (gone.has(0) || gone.has(last))) gone.add(0).add(last);
  let kept = [];
  path.keyframes.forEach((key, i) => {
    if (!gone.has(i)) kept.push(key);
    else if (kept.length) {
      const before = kept.pop();
      kept.push(edited(before, { easing: easingOf(startsAtRest(before), stopsAtRest(key)) }));
    }
  });
  if (kept.length < 2) return path;
  const start = kept[0];
  if (start.frame > 0) kept[0] = edited(start, { frame: 0, hold: leaves(start) });
  const end = path.numFrames - 1;
  const final = kept.at(-1);
  if (path.loop && gone.has(last)) kept = [...kept, edited(kept[0], { frame: end, hold: 0, easing: "linear" })];
  else if (leaves(final) < end) kept[kept.length - 1] = edited(final, { hold: end - final.frame });
  return withKeys(path, kept);
}

/** Replace fields of one key (all but its frame: see timing.mjs). In a loop the two end keys change together. */
export function setKey(path, index, fields) {
  return setKeys(path, [index], fields);
}

/** The same fields for several keys. */
export function setKeys(path, indices, fields) {
  return mapKeys(path, indices, (key) => edited(key, fields));
}

/** Roll of keys, their viewing directions kept. */
export function setRoll(path, indices, degrees) {
  return mapKeys(path, indices, (key) => edited(key, { rotation: withRoll(key.rotation, degrees) }));
}

/** Slopes back to automatic. */
export function freeSlopes(path, indices) {
  return setKeys(path, indices, { velocity: null, spin: null, zoom: null });
}

/** 0 rounded to 1 straight, for all keys that are not pinned. */
export function setTension(path, tension) {
  return changed(path, { tension });
}

/** Let the camera rest at keys; where that leaves less than a frame to the next key, what follows moves to later. */
export function setHold(path, indices, frames) {
  let [keys, numFrames] = [path.keyframes, path.numFrames];
  for (const i of [...indices].sort((a, b) => a - b)) {
    const held = edited(keys[i], { hold: Math.max(frames, 0) });
    keys = keys.with(i, held);
    const missing = (i + 1 < keys.length ? leaves(held) + 1 - keys[i + 1].frame : leaves(held) - (numFrames - 1));
    if (missing > 0) {
      const shift = notBefore(missing);
      keys = shiftedBehind(keys, i, shift);
      numFrames += shift;
    }
  }
  const same = leaves(keys.at(-1)) === leaves(path.keyframes.at(-1));
  return same ? withKeys(path, keys, { numFrames }) : endedAtLastKey(path, keys);
}

/** Keys with a fresh one behind number `before`: the easing there is parted, a rest that reaches it is cut. */
export function withKeyBehind(keys, before, fresh) {
  const key = keys[before];
  const hold = Math.max(Math.min(key.hold, fresh.frame - key.frame - 1), 0);
  const [starts, stops] = [startsAtRest(key), stopsAtRest(key)];
  const inside = before < keys.length - 1;
  const parted = edited(key, inside ? { hold, easing: easingOf(starts, false) } : { hold });
  const added = inside ? edited(fresh, { easing: easingOf(false, stops) }) : fresh;
  return [...keys.slice(0, before), parted, added, ...keys.slice(before + 1)];
}
