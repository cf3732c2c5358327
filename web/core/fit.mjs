// The scale assistant: an imported path is fitted to the memory.

import { minus } from "./keys.mjs";
import { allKeys, moveKeys, rotateKeys, scaleKeys } from "./move.mjs";
import { changed } from "./path.js";
import { conjugate, multiply, normalised } from "./quaternion.js";
import { bake } from "./spline.js";

/** Move and turn the whole path so that its first key has this pose. */
export function lockFirstPose(path, position, rotation) {
  const first = path.keyframes[0];
  const turn = multiply(normalised(rotation), conjugate(normalised(first.rotation)));
  const turned = rotateKeys(path, allKeys(path), turn, first.position);
  return moveKeys(turned, allKeys(path), minus(position, first.position));
}

/** Scale about the first position. */
export function scaleFromStart(path, factor) {
  return scaleKeys(path, allKeys(path), factor, path.keyframes[0].position);
}

/** Furthest distance from the first position, in the path's units. */
export function reach(path) {
  const poses = bake(path);
  let far = 0;
  for (let i = 0; i < poses.length; i += 8) {
    far = Math.max(far, Math.hypot(poses[i] - poses[0], poses[i + 1] - poses[1], poses[i + 2] - poses[2]));
  }
  return far;
}

/** The factor that makes the path reach about half of the median depth (given in the path's units: 1 for scene units),
 * in steps of 1, 2, 5; 1 where the path stands still. */
export function suggestScale(path, medianDepth) {
  const far = reach(path);
  if (!(far > 1e-9 && medianDepth > 0)) return 1;
  const wanted = (0.5 * medianDepth) / far;
  const decade = 10 ** Math.floor(Math.log10(wanted));
  const steps = [1, 2, 5, 10].map((step) => step * decade);
  const off = (step) => Math.abs(Math.log(step / wanted));
  return steps.reduce((best, step) => (off(step) < off(best) ? step : best));
}

/** The factor where the median depth of the imported scene is known, in the units of its cameras. */
export function scaleByDepth(importedMedian, medianDepth) {
  return medianDepth / importedMedian;
}

/** The same movement with positions in "scene" or "world" units; sceneUnit is the scene's median depth. */
export function inUnits(path, units, sceneUnit) {
  if (units === path.units) return path;
  const factor = units === "world" ? sceneUnit : 1 / sceneUnit;
  return changed(scaleKeys(path, allKeys(path), factor, [0, 0, 0]), { units });
}
