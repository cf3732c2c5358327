// JavaScript gets the numbers and the words that Python wrote into tests/fixtures/paths.

import assert from "node:assert/strict";
import { test } from "node:test";
import { closeLoop } from "../../web/core/closing.mjs";
import { openText, parsePath, settled, toCompact, toJson } from "../../web/core/path_text.js";
import { PRESETS, preset } from "../../web/core/presets.mjs";
import { bake, evaluate, poseAt } from "../../web/core/spline.js";
import { apart, fixture, pathFixtures, randomPath } from "./tools.mjs";

for (const [name, { compact, recipe, poses }] of pathFixtures()) {
  test(`${name}: the bake is Python's to 1e-6`, () => {
    const baked = bake(parsePath(compact));
    assert.equal(baked.length, poses.length * 8);
    poses.flat().forEach((x, i) => {
      const off = Math.abs(baked[i] - x);
      assert.ok(off <= 1.000001e-6, `frame ${Math.floor(i / 8)}, number ${i % 8}: ${baked[i]}, Python has ${x}`);
    });
  });
  test(`${name}: compact text and long form are read as the same numbers and written as Python writes them`, () => {
    const path = parsePath(compact);
    assert.deepEqual(JSON.parse(toCompact(path)), JSON.parse(compact));
    assert.deepEqual(parsePath(JSON.stringify(recipe)), path);
    assert.deepEqual(parsePath(toJson(path)), path);
  });
}

test("presets are Python's, in the same order", () => {
  const cases = fixture("presets.json");
  assert.deepEqual(Object.keys(PRESETS), [...new Set(cases.map(({ name }) => name))]);
  for (const { name, num_frames: numFrames, amount, compact } of cases) {
    const [ours, theirs] = [settled(preset(name, numFrames, amount, 24, 40)), parsePath(compact)];
    const what = `${name} of ${numFrames} frames, amount ${amount}`;
    assert.equal(ours.keyframes.length, theirs.keyframes.length, what);
    ours.keyframes.forEach((key, i) => {
      const other = theirs.keyframes[i];
      assert.equal(key.frame, other.frame, what);
      assert.equal(key.easing, other.easing, what);
      const numbers = (k) => [...k.position, ...k.rotation, k.verticalFov];
      numbers(key).forEach((x, n) => assert.ok(Math.abs(x - numbers(other)[n]) < 1.5e-6, `${what}, key ${i}`));
    });
    assert.deepEqual({ ...ours, keyframes: 0 }, { ...theirs, keyframes: 0 });
  }
  const usual = cases.filter(({ name, amount }) => PRESETS[name].amount === amount);
  assert.equal(usual.length, 4 * Object.keys(PRESETS).length);
});

test("loops are closed as Python closes them", () => {
  for (const { compact, closed } of fixture("closed.json")) {
    const [ours, theirs] = [settled(closeLoop(parsePath(compact))), parsePath(closed)];
    assert.equal(ours.loop, true);
    assert.equal(ours.keyframes.length, theirs.keyframes.length);
    ours.keyframes.forEach((key, i) => assert.ok(Math.abs(key.frame - theirs.keyframes[i].frame) < 1.5e-3));
    const { distance, degrees, fov } = apart(ours, theirs);
    assert.ok(distance < 1e-3 && degrees < 0.05 && fov < 0.01, compact);
  }
});

test("what is no path is refused in Python's words", () => {
  for (const { text, message } of fixture("refused.json")) {
    assert.throws(() => parsePath(text), { message }, text.slice(0, 200));
    const opened = openText(text);
    assert.equal(opened.text, text);
    assert.equal(opened.path, null);
    assert.deepEqual(opened.problem, { code: message.includes("update the pack") ? "newer" : "invalid", message });
  }
  assert.match(openText("{").problem.message, /^the camera path is no JSON: /);
  assert.match(openText('{"version": NaN}').problem.message, /no JSON/);
  assert.match(openText("[".repeat(100_000)).problem.message, /no JSON|JSON list/);
  assert.equal(openText(" \n").problem.code, "empty");
});

test("a pose between frames lies on the curve", () => {
  const path = randomPath(3);
  const poses = evaluate(path);
  assert.deepEqual(poseAt(path, 33), Array.from(poses.slice(8 * 33, 8 * 34)));
  const [before, between, after] = [poseAt(path, 33), poseAt(path, 33.5), poseAt(path, 34)];
  assert.ok(Math.abs(between[0] - (before[0] + after[0]) / 2) < 0.01);
  assert.deepEqual(poseAt(path, 1e9), poseAt(path, 96));
  assert.deepEqual(poseAt(path, -3), poseAt(path, 0));
});

test("1,000 frames from 64 keys take at most 5 ms", (context) => {
  const took = Array.from({ length: 30 }, (_, i) => {
    const path = randomPath(i, { count: 64, numFrames: 1000 });
    const start = performance.now();
    bake(path);
    return performance.now() - start;
  });
  const [best, median] = [took.sort((a, b) => a - b)[0], took[15]];
  context.diagnostic(`1,000 frames from 64 keys: best ${best.toFixed(2)} ms, median ${median.toFixed(2)} ms`);
  assert.ok(best <= 5, `${best} ms`); // the best: other programs may have the processor
});
