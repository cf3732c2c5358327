// Dense samples of a flown path to few keys.

import { notBehind } from "./grid.mjs";
import { easingOf, edited } from "./keys.mjs";
import { MAX_KEYS, PathError, makeKey, makePath } from "./path.js";
import { conjugate, multiply, normalised, rotationVector } from "./quaternion.js";
import { poseAt } from "./spline.js";

/** A path with few keys that is nowhere further from the samples than the tolerance {distance, degrees, fov}.
 *
 * samples: [{frame, position, rotation, verticalFov}] in increasing frames, from frame 0, at most 8192; fields: those
 * of the path. numFrames is the largest 1 + 4 n that the samples cover where the fields do not say. Throws PathError
 * where the samples are none, or need more keys than a path has. */
export function pathFromSamples(samples, tolerance, fields = {}) {
  return fitted(samples, tolerance, fields, (keys) => keys);
}

/** The same from rest to rest: the first key is eased away from, the last one eased into. */
export function restingPathFromSamples(samples, tolerance, fields = {}) {
  return fitted(samples, tolerance, fields, (keys) => {
    const last = keys.length - 2;
    return keys.map((key, i) => edited(key, { easing: easingOf(i === 0, i === last) }));
  });
}

function fitted(samples, tolerance, fields, finish) {
  if (samples.length < 2 || samples.length > 8192) {
    throw new PathError(`the recording has ${samples.length} samples, expected 2 to 8192`);
  }
  const end = samples.at(-1).frame;
  const numFrames = notBehind(end) + 1;
  const pathOf = (chosen) => makePath({
    numFrames: Math.max(numFrames, 2), ...fields, keyframes: finish(chosen.map((i) => makeKey(samples[i]))),
  });
  const worst = (path, from, to) => {
    let found = { error: 0, at: from };
    for (let i = from; i <= to; i++) {
      const error = errorOf(samples[i], poseAt(path, samples[i].frame), tolerance);
      if (error > found.error) found = { error, at: i };
    }
    return found;
  };
  let chosen = [0, samples.length - 1];
  for (;;) {
    const path = pathOf(chosen);
    const added = [];
    for (let k = 0; k + 1 < chosen.length; k++) {
      const { error, at } = worst(path, chosen[k], chosen[k + 1]);
      if (error > 1 && at !== chosen[k] && at !== chosen[k + 1]) added.push(at);
    }
    if (!added.length) break;
    chosen = [...chosen, ...added].sort((a, b) => a - b);
    if (chosen.length > MAX_KEYS) {
      throw new PathError(`the recording needs more than ${MAX_KEYS} keys; record less, or allow a larger tolerance`);
    }
  }
  for (let k = 1; k + 1 < chosen.length; ) { // a key that the later ones made needless
    const fewer = [...chosen.slice(0, k), ...chosen.slice(k + 1)];
    const [from, to] = [chosen[Math.max(k - 3, 0)], chosen[Math.min(k + 3, chosen.length - 1)]];
    if (worst(pathOf(fewer), from, to).error <= 1) chosen = fewer;
    else k++;
  }
  return pathOf(chosen);
}

/** The error of a pose as a multiple of the tolerance. */
function errorOf(sample, pose, { distance, degrees, fov = 0.5 }) {
  const away = Math.hypot(...sample.position.map((x, n) => x - pose[n]));
  const turn = rotationVector(multiply(conjugate(normalised(sample.rotation ?? [1, 0, 0, 0])), pose.slice(3, 7)));
  const zoom = Math.abs((sample.verticalFov ?? 50) - pose[7]);
  return Math.max(away / distance, (Math.hypot(...turn) * 180) / Math.PI / degrees, zoom / fov);
}
