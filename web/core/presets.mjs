// Camera movements with a name: the twin of memory/presets.py, which describes them. All start from rest at the origin,
// look along +Z and have few keys.

import { closeLoop } from "./closing.mjs";
import { edited, easingOf, startsAtRest, stopsAtRest } from "./keys.mjs";
import { PathError, changed, makeKey, makePath } from "./path.js";
import { fromAxis, multiply } from "./quaternion.js";

const DEGREE = Math.PI / 180;
const LEVEL = [1, 0, 0, 0];
const ORIGIN = [0, 0, 0];
const yaw = (degrees) => fromAxis([0, 1, 0], degrees);
const pitch = (degrees) => fromAxis([1, 0, 0], degrees);

// Each maker takes (amount, movement), where movement(shape, parts) gives the path of a shape: progress 0..1 ->
// [position, rotation].
const still = (amount, movement) => movement(() => [ORIGIN, LEVEL], 1);
const along = (axis) => (amount, movement) => movement((s) => [axis.map((x) => x * amount * s + 0), LEVEL], 1);
const turn = (axis) => (amount, movement) => movement((s) => [ORIGIN, fromAxis(axis, amount * s)], partsOf(amount));

/** name -> {make, amount (the default), unit: "units" | "degrees" | "times" | "none"} */
export const PRESETS = Object.freeze({
  hold: { make: still, amount: 0, unit: "none" },
  dolly: { make: along([0, 0, 1]), amount: 0.5, unit: "units" },
  truck: { make: along([1, 0, 0]), amount: 0.4, unit: "units" },
  pedestal: { make: along([0, -1, 0]), amount: 0.3, unit: "units" },
  pan: { make: turn([0, 1, 0]), amount: 40, unit: "degrees" },
  tilt: { make: turn([1, 0, 0]), amount: 20, unit: "degrees" },
  roll: { make: turn([0, 0, 1]), amount: 30, unit: "degrees" },
  orbit: { make: orbit, amount: 360, unit: "degrees" },
  arc: { make: arc, amount: 30, unit: "degrees" },
  spiral: { make: spiral, amount: 0.3, unit: "units" },
  figure_eight: { make: figureEight, amount: 0.3, unit: "units" },
  push_in: { make: pushIn, amount: 0.4, unit: "units" },
  out_and_back: { make: outAndBack, amount: 0.35, unit: "units" },
  look_around: { make: lookAround, amount: 30, unit: "degrees" },
  zoom: { make: zoom, amount: 1.5, unit: "times" },
  dolly_zoom: { make: dollyZoom, amount: 0.4, unit: "units" },
});

/** The path of a preset. Throws PathError where the amount is none. */
export function preset(name, numFrames, amount = PRESETS[name].amount, fps = 16, verticalFov = 50) {
  const duration = numFrames - 1;
  const fields = { numFrames, fps, name };
  const movement = (shape, parts) =>
    makePath({ ...fields, keyframes: easedKeys(shape, parts, duration, verticalFov) });
  return PRESETS[name].make(amount, movement, { ...fields, duration, verticalFov });
}

function orbit(amount, movement) {
  const path = movement(around(amount, 1), partsOf(amount));
  return amount && amount % 360 === 0 ? closeLoop(endingAtStart(path)) : path;
}

function arc(amount, movement) {
  return movement(around(amount, 1), 2 + partsOf(amount));
}

function spiral(amount, movement) {
  return movement((s) => {
    const angle = 3 * Math.PI * s ** 0.6;
    const radius = amount * s ** 0.6;
    return facingPoint(radius * Math.cos(angle), -radius * Math.sin(angle));
  }, 16);
}

function figureEight(amount, movement) {
  const shape = (s) => facingPoint(amount * Math.sin(2 * Math.PI * s), (-amount / 2) * Math.sin(4 * Math.PI * s));
  return closeLoop(endingAtStart(movement(shape, 12)));
}

function pushIn(amount, movement, { duration, verticalFov, ...fields }) {
  const there = { position: [0, 0, amount], verticalFov };
  const arrival = duration > 2 ? roundHalfEven(0.75 * duration) : 0.75 * duration;
  const keyframes = [
    makeKey({ frame: 0, position: ORIGIN, verticalFov, easing: "ease_in_out" }),
    makeKey({ ...there, frame: arrival, easing: "ease_in_out" }),
    makeKey({ ...there, frame: duration }),
  ];
  return makePath({ ...fields, keyframes });
}

function outAndBack(amount, movement, { duration, verticalFov, ...fields }) {
  if (!(Math.abs(amount) <= 1)) {
    throw new PathError(`amount is ${amount}, expected -1 to 1: the arc has radius 1 and reaches no further sideways`);
  }
  const keys = easedKeys(around(Math.asin(amount) / DEGREE, 1.2), 4, duration / 2, verticalFov);
  const mirrored = (key) => easingOf(stopsAtRest(key), startsAtRest(key)); // as passed from the other side
  const way = keys.slice(0, 4);
  const back = way.map((key, i) =>
    edited(key, { frame: duration - key.frame, easing: i ? mirrored(way[i - 1]) : mirrored(keys[4]) }));
  const turning = edited(keys[4], { easing: mirrored(way[3]) });
  return makePath({ ...fields, keyframes: [...way, turning, ...back.reverse()], loop: true });
}

function lookAround(amount, movement) {
  const shape = (s) => [ORIGIN, yaw(amount * Math.sin(2 * Math.PI * s))];
  return closeLoop(endingAtStart(movement(shape, 4 + 4 * partsOf(amount))));
}

function zoom(amount, movement) {
  if (!(amount > 0)) throw new PathError(`amount is ${amount}, expected a positive magnification`);
  return zoomed(movement(() => [ORIGIN, LEVEL], 4), (s) => 1 + (amount - 1) * s);
}

function dollyZoom(amount, movement) {
  if (!(amount < 1)) {
    throw new PathError(`amount is ${amount}, expected below 1: what keeps its size is 1 unit ahead`);
  }
  return zoomed(movement((s) => [[0, 0, amount * s], LEVEL], 6), (s) => 1 - amount * s);
}

function partsOf(degrees) {
  if (!(Math.abs(degrees) <= 5400)) {
    throw new PathError(`amount is ${degrees}, expected at most 5400 degrees (15 turns)`);
  }
  return Math.max(1, Math.ceil(Math.abs(degrees) / 24));
}

function around(degrees, turning) {
  return (s) => {
    const angle = degrees * s * DEGREE;
    return [[Math.sin(angle), 0, 1 - Math.cos(angle)], yaw(-turning * degrees * s)];
  };
}

function facingPoint(x, y) {
  const up = Math.atan2(y, Math.hypot(x, 1)) / DEGREE; // +Y is down: a camera below the axis looks up
  return [[x, y, 0], multiply(yaw(-Math.atan2(x, 1) / DEGREE), pitch(up))];
}

function easedKeys(shape, parts, duration, verticalFov) {
  if (!(duration > 0)) throw new PathError("num_frames is below 2, the fewest that a movement takes");
  const grid = duration > 2 * parts ? 1 : 1024;
  return Array.from({ length: parts + 1 }, (_, i) => {
    const even = 0.5 - Math.sin(Math.asin(1 - (2 * i) / parts) / 3); // the inverse of 3 u^2 - 2 u^3
    const frame = i < parts ? roundHalfEven(even * duration * grid) / grid : duration;
    const u = frame / duration;
    const [position, rotation] = shape(u * u * (3 - 2 * u));
    return makeKey({
      frame,
      position: position.map((x) => Math.round(x * 1e6) / 1e6 + 0),
      rotation: rotation.map((x) => Math.round(x * 1e9) / 1e9 + 0),
      verticalFov,
      easing: easingOf(i === 0, i === parts - 1),
    });
  });
}

function endingAtStart(path) {
  const [first, last] = [path.keyframes[0], path.keyframes.at(-1)];
  const home = edited(first, { frame: last.frame, easing: last.easing });
  return changed(path, { keyframes: path.keyframes.with(-1, home) });
}

function zoomed(path, magnification) {
  const half = Math.tan((path.keyframes[0].verticalFov * DEGREE) / 2);
  const keyframes = path.keyframes.map((key) => {
    const u = key.frame / (path.numFrames - 1);
    const fov = (2 * Math.atan(half / magnification(u * u * (3 - 2 * u)))) / DEGREE;
    return edited(key, { verticalFov: Math.round(fov * 1e6) / 1e6 });
  });
  return changed(path, { keyframes });
}

/** To a whole number, a half to the even one, as Python rounds. */
function roundHalfEven(x) {
  const whole = Math.round(x);
  return Math.abs(x % 1) === 0.5 && whole % 2 ? whole - 1 : whole;
}
