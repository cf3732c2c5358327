// What is doubtful about a path, as data: frozen {code, severity, frames: [first, last], key, values}. severity is
// "error" (will not run), "warning" or "note"; key names the text, "diagnostics.<code>", which says what to change.

import { after, notBehind, over } from "./grid.mjs";
import { loopGap } from "./closing.mjs";
import { reach } from "./fit.mjs";
import { turnSpeeds, speeds } from "./frusta.js";
import { rollOf, normalised, rotated } from "./quaternion.js";
import { bake } from "./spline.js";

const ORDER = ["error", "warning", "note"];
const PIXELS = 8; // a displacement that shows

/** All of them, worst first. facts {grid, clearance, sceneUnit, depth, chunks}, each of which may be missing. */
export function diagnose(path, { grid, clearance, sceneUnit = 1, depth, chunks } = {}) {
  const found = [
    ...frameCount(path), ...overflow(path), ...speedSpikes(path), ...rollingHorizon(path), ...nearlyClosed(path),
    ...(grid ? throughGeometry(path, grid, clearance, sceneUnit) : []),
    ...(depth ? parallax(path, depth) : []),
    ...(chunks ? holes(chunks) : []),
  ];
  return found.sort((a, b) => ORDER.indexOf(a.severity) - ORDER.indexOf(b.severity) || a.frames[0] - b.frames[0]);
}

/** Frames at which the camera moves (speed_spike) or turns (turn_spike) over three times as fast as it usually does:
 * values {times, frame}. */
export function speedSpikes(path) {
  const poses = bake(path);
  const spikes = (code, rates, least) => {
    const moving = rates.filter((rate) => rate > least).sort();
    const usual = moving[moving.length >> 1] ?? Infinity;
    return runs(rates, (rate) => rate > 3 * usual).map(([first, last]) => {
      const frame = peak(rates, first, last);
      return finding(code, "warning", [first, last], { times: rates[frame] / usual, frame });
    });
  };
  return [...spikes("speed_spike", speeds(poses), 1e-5), ...spikes("turn_spike", turnSpeeds(poses), 1e-3)];
}

/** Runs of frames that roll by more than 2 degrees: a warning where no key does, else a note: values
 * {degrees, frame}. */
export function rollingHorizon(path) {
  const roll = (rotation) => {
    const steep = Math.abs(rotated(rotation, [0, 0, 1])[1]) > 0.98; // straight up or down there is no horizon
    return steep ? 0 : Math.abs(rollOf(rotation));
  };
  const meant = path.keyframes.some((key) => roll(normalised(key.rotation)) > 2);
  const rolls = Float64Array.from({ length: path.numFrames }, (_, i) => roll(rotationAt(path, i)));
  return runs(rolls, (degrees) => degrees > 2).map(([first, last]) => {
    const frame = peak(rolls, first, last);
    return finding("rolling_horizon", meant ? "note" : "warning", [first, last], { degrees: rolls[frame], frame });
  });
}

/** Points Float32Array (3 N) sorted into cubes of size `cell`, for throughGeometry. */
export function pointGrid(points, cell) {
  const count = points.length / 3;
  const size = 1 << Math.max(4, Math.ceil(Math.log2(count + 1)));
  const [heads, next] = [new Int32Array(size).fill(-1), new Int32Array(count)];
  for (let i = 0; i < count; i++) {
    const [x, y, z] = [0, 1, 2].map((n) => Math.floor(points[3 * i + n] / cell));
    const slot = hash(x, y, z) & (size - 1);
    next[i] = heads[slot];
    heads[slot] = i;
  }
  return Object.freeze({ points, cell, heads, next });
}

/** Runs of frames nearer than clearance (world units) to a point: values {distance, frame}. */
export function throughGeometry(path, grid, clearance, sceneUnit) {
  const poses = bake(path);
  const scale = path.units === "scene" ? sceneUnit : 1;
  const near = Float64Array.from({ length: path.numFrames }, (_, i) =>
    nearest(grid, [0, 1, 2].map((n) => poses[8 * i + n] * scale), clearance));
  return runs(near, (distance) => distance < clearance).map(([first, last]) => {
    const frame = near.indexOf(Math.min(...near.subarray(first, last + 1)), first);
    return finding("through_geometry", "warning", [first, last], { distance: near[frame], frame });
  });
}

/** Frames so far from the first that an error of the depth shows; depth {median (world), relativeError, height in
 * pixels, sceneUnit}: values {pixels, limit, frame}. The error is focal x distance / depth x relative error. */
export function parallax(path, { median, relativeError, height, sceneUnit = 1 }) {
  const poses = bake(path);
  const scale = path.units === "scene" ? sceneUnit : 1;
  const errors = Float64Array.from({ length: path.numFrames }, (_, i) => {
    const away = Math.hypot(...[0, 1, 2].map((n) => poses[8 * i + n] - poses[n])) * scale;
    const focal = height / 2 / Math.tan((poses[8 * i + 7] * Math.PI) / 360);
    return (focal * away * relativeError) / median;
  });
  return runs(errors, (pixels) => pixels > PIXELS).map(([first, last]) => {
    const frame = peak(errors, first, last);
    return finding("parallax", "warning", [first, last], { pixels: errors[frame], limit: PIXELS, frame });
  });
}

/** An open path that nearly comes back: values {distance, degrees, fov}. */
export function nearlyClosed(path) {
  const { distance, degrees, fov } = loopGap(path);
  const far = reach(path);
  const near = distance < 0.2 * far && degrees < 20 && Math.abs(fov) < 10;
  const exact = distance < 1e-6 && degrees < 1e-4 && Math.abs(fov) < 1e-6;
  if (path.loop || exact || !near || far < 1e-6) return [];
  return [finding("not_closed", "warning", [path.numFrames - 1, path.numFrames - 1], { distance, degrees, fov })];
}

/** chunks [{frames: [first, last], hole: share 0..1}]: chunks of which more than half is unknown: values {percent,
 * chunk}. */
export function holes(chunks) {
  return chunks.flatMap(({ frames, hole }, chunk) =>
    hole > 0.5 ? [finding("holes", hole > 0.85 ? "warning" : "note", frames, { percent: 100 * hole, chunk })] : []);
}

/** A length that is not 1 + 4 n: values {frames, below, above}. */
export function frameCount(path) {
  const last = path.numFrames - 1;
  if (!over(last)) return [];
  const values = { frames: path.numFrames, below: Math.max(notBehind(last), after(0)) + 1, above: after(last) + 1 };
  return [finding("frame_count", "error", [0, path.numFrames - 1], values)];
}

/** Keys beyond the last frame; one is the end of the curve, more are not used: values {keys}. */
export function overflow(path) {
  const keys = path.keyframes.filter((key) => key.frame > path.numFrames - 1).length;
  return keys ? [finding("overflow", "note", [path.numFrames - 1, path.numFrames - 1], { keys })] : [];
}

function finding(code, severity, frames, values) {
  return Object.freeze({ code, severity, frames, key: `diagnostics.${code}`, values: Object.freeze(values) });
}

/** Runs [first, last] of neighbours for which the test holds. */
function runs(values, test) {
  const found = [];
  values.forEach((value, i) => {
    if (!test(value)) return;
    if (found.length && found.at(-1)[1] === i - 1) found.at(-1)[1] = i;
    else found.push([i, i]);
  });
  return found;
}

function peak(values, first, last) {
  return values.indexOf(Math.max(...values.subarray(first, last + 1)), first);
}

function rotationAt(path, frame) {
  return Array.from(bake(path).subarray(8 * frame + 3, 8 * frame + 7));
}

function hash(x, y, z) {
  return Math.imul(x, 73856093) ^ Math.imul(y, 19349663) ^ Math.imul(z, 83492791);
}

/** Distance to the nearest point within a radius, else Infinity. */
function nearest({ points, cell, heads, next }, place, radius) {
  const [low, high] = [-1, 1].map((side) => place.map((x) => Math.floor((x + side * radius) / cell)));
  let best = radius * radius;
  let found = Infinity;
  for (let x = low[0]; x <= high[0]; x++) {
    for (let y = low[1]; y <= high[1]; y++) {
      for (let z = low[2]; z <= high[2]; z++) {
        for (let i = heads[hash(x, y, z) & (heads.length - 1)]; i >= 0; i = next[i]) {
          const square = [0, 1, 2].reduce((sum, n) => sum + (points[3 * i + n] - place[n]) ** 2, 0);
          if (square < best) [best, found] = [square, Math.sqrt(square)];
        }
      }
    }
  }
  return found;
}
