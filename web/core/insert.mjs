// A key on the curve that leaves the curve as it is.

import { withKeyBehind } from "./edit.mjs";
import { edited, startsAtRest, stopsAtRest, withKeys } from "./keys.mjs";
import { leaves, makeKey } from "./path.js";
import { conjugate, multiply, rotationVector } from "./quaternion.js";
import { poseAt, slopesAt } from "./spline.js";

/** {path, index}: a key at a frame, on the curve. It and its two neighbours are pinned to the slopes that the curve has
 * there, so that positions do not change (nor the field of view, where it stays in its segment's range; rotations: see
 * memory/spline.py). Where a key is already, or the camera rests, nothing is inserted. */
export function insertKey(path, frame) {
  const keys = path.keyframes;
  const there = keys.findIndex((key) => frame > key.frame - 0.01 && frame < leaves(key) + 0.01);
  if (there >= 0) return { path, index: there };
  const i = keys.findLastIndex((key) => key.frame < frame);
  if (i < 0 || i === keys.length - 1) return { path, index: Math.max(i, 0) };
  const pose = poseAt(path, frame);
  const fresh = makeKey({
    frame, position: pose.slice(0, 3), rotation: pose.slice(3, 7), verticalFov: pose[7],
    ...slopesBetween(path, i, frame),
  });
  const pinned = pinnedAbout(path, i).reduce((list, j) => list.with(j, pinnedKey(path, list[j], j)), keys);
  return { path: withKeys(path, withKeyBehind(pinned, i, fresh)), index: i + 1 };
}

/** The keys whose slopes would change: the neighbours, and open ends beside them where a tension pulls. */
function pinnedAbout(path, i) {
  const last = path.keyframes.length - 1;
  const about = new Set([i, i + 1]);
  if (!path.loop && path.tension > 0) {
    if (i === 1) about.add(0);
    if (i === last - 2) about.add(last);
  }
  if (path.loop && (about.has(0) || about.has(last))) about.add(0).add(last);
  return [...about];
}

function pinnedKey(path, key, index) {
  return rests(path, index) ? key : edited(key, slopesAt(path, index));
}

/** Whether a key's own hold or an easing keeps its slopes at zero, whatever its neighbours are. */
function rests({ keyframes: keys, loop }, index) {
  const last = keys.length - 1;
  const after = loop ? index % last : index;
  const before = loop && after === 0 ? last - 1 : index - 1;
  const eased = (after < last && startsAtRest(keys[after])) || (before >= 0 && stopsAtRest(keys[before]));
  return eased || keys[index].hold > 0 || (loop && after === 0 && keys[0].hold + keys[last].hold > 0);
}

function slopesBetween(path, i, frame) {
  const [a, b] = [path.keyframes[i], path.keyframes[i + 1]];
  const [from, to] = [slopesAt(path, i), slopesAt(path, i + 1)];
  const h = b.frame - leaves(a);
  const u = (frame - leaves(a)) / h;
  const slope = (p, r, m, n) => (6 * u * (1 - u) * (r - p)) / h + (1 - u) * (1 - 3 * u) * m + u * (3 * u - 2) * n;
  const velocity = [0, 1, 2].map((n) => slope(a.position[n], b.position[n], from.velocity[n], to.velocity[n]));
  const zoom = slope(a.verticalFov, b.verticalFov, from.zoom, to.zoom);
  const fov = poseAt(path, frame)[7];
  const clamped = fov === Math.min(a.verticalFov, b.verticalFov) || fov === Math.max(a.verticalFov, b.verticalFov);
  const spin = spinAt(path, frame, Math.min(h / 20, frame - leaves(a), b.frame - frame));
  return { velocity, spin, zoom: clamped ? 0 : zoom };
}

/** Radians a frame about the camera's axes, by differences over `step` and half of it. */
function spinAt(path, frame, step) {
  const rotation = (t) => poseAt(path, t).slice(3, 7);
  const over = (e) =>
    rotationVector(multiply(conjugate(rotation(frame - e)), rotation(frame + e))).map((x) => x / (2 * e));
  const [wide, narrow] = [over(step), over(step / 2)];
  return narrow.map((x, n) => (4 * x - wide[n]) / 3);
}
