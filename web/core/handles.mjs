// The two ends of the tangent at a key, as points to drag.

import { easingOf, edited, minus, plus, startsAtRest, stopsAtRest, times, withKeys } from "./keys.mjs";
import { leaves } from "./path.js";
import { slopesAt } from "./spline.js";

/** {into: [3]|null, out: [3]|null}: the position minus and plus a third of what the camera would move in the segment
 * before and behind the key. Null where there is no segment, and at keys that hold. */
export function handlesOf(path, index) {
  const key = path.keyframes[index];
  const { before, after } = spans(path, index);
  if (key.hold > 0) return { into: null, out: null };
  const { velocity } = slopesAt(path, index);
  return {
    into: before && minus(key.position, times(velocity, before / 3)),
    out: after && plus(key.position, times(velocity, after / 3)),
  };
}

/** Drag the handle "into" or "out" of a key to a world point; the other one follows. A rest at the key is lifted. */
export function setHandle(path, index, side, point) {
  const last = path.keyframes.length - 1;
  const { before, after } = spans(path, index);
  const key = path.keyframes[index];
  const span = side === "into" ? before : after;
  if (span === null || key.hold > 0) return path;
  const arm = side === "into" ? minus(key.position, point) : minus(point, key.position);
  const ends = path.loop && index % last === 0 ? [0, last] : [index];
  let keys = path.keyframes;
  for (const i of ends) keys = keys.with(i, edited(keys[i], { velocity: times(arm, 3 / span) }));
  const leaving = path.loop ? index % last : index;
  const coming = path.loop && leaving === 0 ? last - 1 : index - 1;
  keys = keys.with(leaving, edited(keys[leaving], { easing: easingOf(false, stopsAtRest(keys[leaving])) }));
  if (coming >= 0) {
    keys = keys.with(coming, edited(keys[coming], { easing: easingOf(startsAtRest(keys[coming]), false) }));
  }
  return withKeys(path, keys);
}

function spans({ keyframes: keys, loop }, index) {
  const last = keys.length - 1;
  const span = (i) => keys[i + 1].frame - leaves(keys[i]);
  const before = index > 0 ? index - 1 : loop ? last - 1 : null;
  const after = index < last ? index : loop ? 0 : null;
  return { before: before === null ? null : span(before), after: after === null ? null : span(after) };
}
