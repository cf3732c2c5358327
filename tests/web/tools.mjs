// What the tests share: fixtures, a seeded generator, random paths, and how far two paths are apart.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { fromRotationVector, conjugate, multiply, rotationVector } from "../../web/core/quaternion.js";
import { makePath } from "../../web/core/path.js";
import { evaluate } from "../../web/core/spline.js";

const FIXTURES = new URL("../fixtures/paths/", import.meta.url);

/** Numbers that are those of another list, to a tolerance. */
export function near(a, b, tolerance = 1e-9) {
  a.forEach((x, i) => assert.ok(Math.abs(x - b[i]) <= tolerance, `${a} is not ${b}`));
}

export function fixture(name) {
  return JSON.parse(readFileSync(new URL(name, FIXTURES), "utf8"));
}

export function pathFixtures() {
  const lists = ["presets.json", "closed.json", "refused.json"];
  return readdirSync(FIXTURES).filter((name) => !lists.includes(name)).map((name) => [name, fixture(name)]);
}

/** Numbers in [0, 1), the same ones for the same seed (mulberry32). */
export function generator(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** A wandering path whose keys turn by at most `degrees` from one to the next. */
export function randomPath(seed, { count = 7, numFrames = 97, degrees = 20, ...fields } = {}) {
  const random = generator(seed);
  let rotation = [1, 0, 0, 0];
  const keyframes = Array.from({ length: count }, (_, i) => {
    const axis = [random() - 0.5, random() - 0.5, random() - 0.5];
    const scale = (degrees * Math.PI) / 180 / Math.hypot(...axis);
    rotation = multiply(rotation, fromRotationVector(axis.map((x) => x * scale * random())));
    const position = [random(), random(), random()].map((x) => 2 * x - 1);
    const late = i && i < count - 1 ? 0.3 * random() : 0;
    const frame = Math.round(((numFrames - 1) * (i + late)) / (count - 1));
    return { frame, position, rotation, verticalFov: 40 + 3 * (i % 9) };
  });
  return makePath({ keyframes, numFrames, ...fields });
}

/** {distance, degrees, fov}: the furthest that two paths (or tables of poses) are apart at any frame. */
export function apart(a, b) {
  const [p, q] = [a, b].map((path) => (path.keyframes ? evaluate(path) : path));
  if (p.length !== q.length) throw new Error(`${p.length / 8} and ${q.length / 8} frames`);
  const worst = { distance: 0, degrees: 0, fov: 0 };
  for (let i = 0; i < p.length; i += 8) {
    const turn = multiply(conjugate(Array.from(p.slice(i + 3, i + 7))), Array.from(q.slice(i + 3, i + 7)));
    worst.distance = Math.max(worst.distance, Math.hypot(p[i] - q[i], p[i + 1] - q[i + 1], p[i + 2] - q[i + 2]));
    worst.degrees = Math.max(worst.degrees, (Math.hypot(...rotationVector(turn)) * 180) / Math.PI);
    worst.fov = Math.max(worst.fov, Math.abs(p[i + 7] - q[i + 7]));
  }
  return worst;
}
