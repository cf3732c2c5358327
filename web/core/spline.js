// The curve through a path's keys: the twin of memory/spline.py, which says what it does and why; the formulas stand
// here in the same order. A pose is 8 numbers: x y z qw qx qy qz vertical_fov.

import {
  canonical, conjugate, fromRotationVector, multiply, normalised, rotationVector, slerp,
} from "./quaternion.js";

/** Does the camera start from rest at the key, does it come to rest at the next one? */
export const EASINGS = Object.freeze({
  linear: [false, false],
  ease_in: [true, false],
  ease_out: [false, true],
  ease_in_out: [true, true],
});

const curves = new WeakMap(); // path -> its segments
const bakes = new WeakMap(); // path -> its baked poses

/** The exact pose, an array of 8, at any frame, fractions allowed; beyond the ends the pose of the end. */
export function poseAt(path, frame) {
  const pose = new Float64Array(8);
  writePose(curveOf(path), Math.max(frame, 0), pose, 0);
  return Array.from(pose);
}

/** The exact pose of every frame: Float64Array of 8 numFrames. */
export function evaluate(path) {
  const poses = new Float64Array(8 * path.numFrames);
  const curve = curveOf(path);
  for (let frame = 0; frame < path.numFrames; frame++) writePose(curve, frame, poses, 8 * frame);
  return poses;
}

/** The numbers that every consumer gets, equal to CameraPath.poses(): Float64Array, to 1e-6. Kept per path. */
export function bake(path) {
  let poses = bakes.get(path);
  if (!poses) {
    poses = evaluate(path).map((x) => Math.round(x * 1e6) / 1e6 + 0);
    for (let i = 3; i < poses.length; i += 8) {
      poses.set(normalised(canonical([poses[i], poses[i + 1], poses[i + 2], poses[i + 3]])), i);
    }
    bakes.set(path, poses);
  }
  return poses;
}

/** The slopes a frame that the curve has at a key: velocity [3] in the world, spin [3] radians about the camera's
 * axes, zoom degrees. */
export function slopesAt(path, index) {
  const { velocity, spin, zoom } = curveOf(path);
  const at = (slopes) => (index < slopes.length ? slopes[index][0] : slopes[index - 1][1]);
  return { velocity: at(velocity), spin: at(spin), zoom: at(zoom)[0] };
}

function curveOf(path) {
  let curve = curves.get(path);
  if (!curve) {
    const keys = path.keyframes;
    const q = keys.map((key) => normalised(key.rotation));
    const slopes = (named, delta) => tangents(keys, path.loop, path.tension, keys.map(named), delta);
    curve = {
      keys,
      q,
      times: keys.map((key) => key.frame),
      velocity: slopes((key) => key.velocity, (i, j) => keys[j].position.map((x, n) => x - keys[i].position[n])),
      spin: slopes((key) => key.spin, (i, j) => rotationVector(multiply(conjugate(q[i]), q[j]))),
      zoom: slopes(
        (key) => key.zoom === null ? null : [key.zoom],
        (i, j) => [keys[j].verticalFov - keys[i].verticalFov],
      ),
    };
    curve.bends = curve.spin.map(([from, to], i) => handles(q[i], q[i + 1], from, to, span(keys, i)));
    curves.set(path, curve);
  }
  return curve;
}

function writePose(curve, frame, out, at) {
  const { keys, q, times, bends } = curve;
  let found = times.length - 1; // the last key at or before the frame
  for (let low = 0, high = times.length; low < high; ) {
    const middle = (low + high) >> 1;
    if (times[middle] <= frame) {
      found = middle;
      low = middle + 1;
    } else high = middle;
  }
  const i = Math.min(found, times.length - 2);
  const a = keys[i];
  const b = keys[i + 1];
  const held = keys[found];
  const leaves = a.frame + a.hold;
  if (held.hold > 0 && (frame <= held.frame + held.hold || found === times.length - 1)) {
    out.set([...held.position, ...q[found], held.verticalFov], at);
    return;
  }
  const h = times[i + 1] - leaves;
  const u = Math.min((frame - leaves) / h, 1);
  const v = Math.max((times[i + 1] - frame) / h, 0);
  const ends = curve.velocity[i];
  for (let n = 0; n < 3; n++) out[at + n] = hermite(a.position[n], b.position[n], ends[0][n], ends[1][n], h, u, v);
  const turn = bezier(q[i], bends[i][0], bends[i][1], q[i + 1], u, v);
  for (let n = 0; n < 4; n++) out[at + 3 + n] = turn[n];
  const fov = hermite(a.verticalFov, b.verticalFov, curve.zoom[i][0][0], curve.zoom[i][1][0], h, u, v);
  const low = Math.min(a.verticalFov, b.verticalFov);
  out[at + 7] = Math.min(Math.max(fov, low), Math.max(a.verticalFov, b.verticalFov));
}

/** The slopes at both ends of every segment. */
function tangents(keys, loop, tension, named, delta) {
  const last = keys.length - 1;
  const spans = keys.slice(1).map((_, i) => span(keys, i));
  const asked = loop ? keys.map((_, i) => named[i % last]) : named;
  const over = (vector, h) => vector.map((x) => x / h);

  const rests = (i) => {
    const starts = EASINGS[keys[i % last].easing][0] && (i < last || loop);
    const stops = EASINGS[keys[(i || last) - 1].easing][1] && (i > 0 || loop);
    const holds = keys[i].hold > 0 || (loop && i % last === 0 && keys[0].hold + keys[last].hold > 0);
    return starts || stops || holds;
  };
  const slopes = keys.map((_, i) => {
    if (rests(i)) return delta(0, 1).map(() => 0);
    if (asked[i] !== null) return asked[i];
    if (i % last === 0 && !loop) return null;
    const before = (i || last) - 1;
    const after = i % last;
    return passing(
      over(delta(i || last, before), -spans[before]), over(delta(after, after + 1), spans[after]),
      spans[before], spans[after],
    );
  });
  const at = (i, chord, other) => {
    const start = slopes[i] ?? (slopes[other] ? leaving(chord, slopes[other]) : chord);
    return asked[i] !== null ? start : start.map((x) => (1 - tension) * x);
  };
  return spans.map((h, i) => [
    at(i, over(delta(i, i + 1), h), i + 1),
    at(i + 1, over(delta(i + 1, i), -h), i),
  ]);
}

/** The slope at a key between two chords: their speeds weighed by time, their directions by length. */
function passing(into, out, hIn, hOut) {
  const [fastIn, fastOut] = [Math.hypot(...into), Math.hypot(...out)];
  if (Math.min(fastIn, fastOut) < 1e-12) return into.map(() => 0);
  const [longIn, longOut] = [fastIn * hIn, fastOut * hOut];
  const speed = Math.min((fastIn * hOut + fastOut * hIn) / (hIn + hOut), 3 * fastIn, 3 * fastOut);
  const [partIn, partOut] = [(speed * longOut) / fastIn, (speed * longIn) / fastOut];
  return into.map((a, n) => (partIn * a + partOut * out[n]) / (longIn + longOut));
}

/** The slope at an open end: `far` mirrored in the chord, so that the segment is as round as its other end. */
function leaving(chord, far) {
  const [mean, speed] = [Math.hypot(...chord), Math.hypot(...far)];
  const along = chord.reduce((sum, c, n) => sum + c * far[n], 0);
  if (along <= 0) return mean ? chord.map((c) => 2 * c) : chord;
  const scale = Math.max(2 * mean - speed, 0) / speed;
  return chord.map((c, n) => scale * (((2 * along) / (mean * mean)) * c - far[n]));
}

/** The cubic from a to b with the given slopes over h frames; u + v = 1. */
function hermite(a, b, slopeA, slopeB, h, u, v) {
  const bend = h * (u * v);
  return v * v * (1 + 2 * u) * a + u * u * (1 + 2 * v) * b + bend * (v * slopeA - u * slopeB);
}

/** The inner points of the same curve on the sphere, with angular velocities in radians a frame over h frames. */
function handles(a, b, spinA, spinB, h) {
  const third = h / 3;
  return [
    multiply(a, fromRotationVector([third * spinA[0], third * spinA[1], third * spinA[2]])),
    multiply(b, fromRotationVector([third * -spinB[0], third * -spinB[1], third * -spinB[2]])),
  ];
}

function bezier(a, after, before, b, u, v) {
  const middle = slerp(after, before, u, v);
  const early = slerp(slerp(a, after, u, v), middle, u, v);
  return normalised(slerp(early, slerp(middle, slerp(before, b, u, v), u, v), u, v));
}

/** Frames from leaving key i to the next one. */
function span(keys, i) {
  return keys[i + 1].frame - (keys[i].frame + keys[i].hold);
}
