// One speed along the whole path.

import { length, minus, times } from "./keys.mjs";
import { MAX_KEYS, changed, leaves, makeKey } from "./path.js";
import { conjugate, multiply, rotationVector } from "./quaternion.js";
import { poseAt } from "./spline.js";

const STEPS = 64; // places on a segment at which its length is taken
const UNEVEN = 0.03; // a speed that is off by more asks for a key in the middle of its segment
const ASIDE = 0.002; // of the path's length: the same for a curve that is left
const ROUNDS = 6;
const NUDGE = 1e-3; // of a segment's time: how far to both sides of a place its direction is taken
const CORNER = Math.cos((10 * Math.PI) / 180); // a turn by more than twice this is not taken at speed

/** Re-time so that the camera moves at one speed along the same curve; a path that only turns, turns at one. Holds and
 * easings go, turns on the spot between moves keep their time. Slopes are pinned, and keys are added where a segment
 * would be uneven. The camera still slows down at sharp corners and where it goes back the way it came. */
export function constantSpeed(path) {
  const way = wayOf(path, moved) ?? wayOf(path, turned);
  if (!way) return path;
  let places = path.keyframes.map((_, i) => i * STEPS); // indices into the way's marks
  for (let round = 0; ; round++) {
    const timed = pathThrough(path, way, places);
    const middles = round < ROUNDS ? unevenMiddles(timed, way, places) : [];
    if (!middles.length || places.length + middles.length > MAX_KEYS) return timed;
    places = [...places, ...middles].sort((a, b) => a - b);
  }
}

/** Marks along the path, STEPS a segment: {measure, before, after (frames of the old path; apart at holds), poses
 * there, s (length so far), frame (new)}, the speed, and which segments stand still. Null where nothing is measured. */
function wayOf(path, measure) {
  const keys = path.keyframes;
  const [before, after, s, still] = [[0], [leaves(keys[0])], [0], []];
  const poses = [poseAt(path, 0)];
  for (let i = 0; i + 1 < keys.length; i++) {
    const [from, to] = [leaves(keys[i]), keys[i + 1].frame];
    const start = s.at(-1);
    for (let n = 1; n <= STEPS; n++) {
      const t = n < STEPS ? from + ((to - from) * n) / STEPS : to;
      poses.push(poseAt(path, t));
      s.push(s.at(-1) + measure(poses.at(-2), poses.at(-1)));
      before.push(t);
      after.push(n < STEPS ? t : leaves(keys[i + 1]));
    }
    still.push(s.at(-1) - start < 1e-9);
  }
  const span = (i) => keys[i + 1].frame - leaves(keys[i]);
  const standing = still.reduce((sum, stands, i) => sum + (stands ? span(i) : 0), 0);
  const end = leaves(keys.at(-1));
  const speed = s.at(-1) / (end - standing);
  if (!(s.at(-1) > 1e-6)) return null;
  const frame = [0];
  for (let m = 1; m < s.length; m++) {
    const i = Math.floor((m - 1) / STEPS);
    frame.push(frame.at(-1) + (still[i] ? span(i) / STEPS : (s[m] - s[m - 1]) / speed));
  }
  frame[frame.length - 1] = end;
  return { measure, before, after, poses, s, frame, speed, still };
}

function pathThrough(path, way, places) {
  const keyframes = places.map((m) => {
    const pose = poseAt(path, way.before[m]);
    return makeKey({
      frame: way.frame[m], position: pose.slice(0, 3), rotation: pose.slice(3, 7), verticalFov: pose[7],
      ...slopesAlong(path, way, m),
    });
  });
  return changed(path, { keyframes });
}

/** The slopes at a mark: the curve's own, at the one speed. */
function slopesAlong(path, { measure, before, after, speed, still }, m) {
  const last = before.length - 1;
  const turnsOver = path.loop && m % last === 0; // the way before the start is that before the end
  const [from, to] = [turnsOver ? last : m, turnsOver ? 0 : m];
  const nudge = (a, b) => NUDGE * Math.max(before[b] - after[a], 0);
  const here = poseAt(path, before[m]);
  const past = from > 0 ? poseAt(path, before[from] - nudge(from - 1, from)) : here;
  const ahead = to < last ? poseAt(path, after[to] + nudge(to, to + 1)) : here;
  const frames = (measure(past, here) + measure(here, ahead)) / speed;
  const stands = (from > 0 && still[Math.floor((from - 1) / STEPS)]) || (to < last && still[Math.floor(to / STEPS)]);
  const chord = minus(ahead, past);
  if (stands || !(measure(past, ahead) > CORNER * frames * speed)) {
    return { velocity: [0, 0, 0], spin: [0, 0, 0], zoom: 0 };
  }
  const turn = rotationVector(multiply(conjugate(past.slice(3, 7)), ahead.slice(3, 7)));
  return {
    velocity: times(chord, measure === moved ? speed / length(chord) : 1 / frames),
    spin: times(turn, 1 / frames),
    zoom: (ahead[7] - past[7]) / frames,
  };
}

/** Marks in the middle (by length) of the segments whose speed is off, or that leave the curve. */
function unevenMiddles(timed, way, places) {
  const { measure, s, speed, still } = way;
  return timed.keyframes.slice(1).flatMap((key, i) => {
    const [a, b] = [places[i], places[i + 1]];
    if (b - a < 4 || still[Math.floor(a / STEPS)]) return [];
    const from = timed.keyframes[i].frame;
    const step = (key.frame - from) / 16;
    const poses = Array.from({ length: 17 }, (_, n) => poseAt(timed, from + n * step));
    const even = poses.slice(1).every((pose, n) => Math.abs(measure(poses[n], pose) / (speed * step) - 1) <= UNEVEN);
    const near = poses.every((pose, n) =>
      measure(pose, poseOnWay(way, s[a] + n * step * speed, a)) <= ASIDE * s.at(-1));
    const half = (s[a] + s[b]) / 2;
    return even && near ? [] : [Math.min(Math.max(s.findIndex((x) => x >= half), a + 1), b - 1)];
  });
}

/** The old pose after so much way, looked for from a mark on; straight between marks, which will do. */
function poseOnWay({ s, poses }, length, from) {
  let m = from + 1;
  while (m < s.length - 1 && s[m] < length) m++;
  const share = s[m] > s[m - 1] ? Math.min(Math.max((length - s[m - 1]) / (s[m] - s[m - 1]), 0), 1) : 0;
  return poses[m - 1].map((x, n) => x + share * (poses[m][n] - x));
}

const moved = (a, b) => length(minus(b, a));
const turned = (a, b) => length(rotationVector(multiply(conjugate(a.slice(3, 7)), b.slice(3, 7))));
