// Edits keep what they promise to keep, on random paths.

import assert from "node:assert/strict";
import { test } from "node:test";
import { closeLoop, loopGap, openLoop, returnToStart } from "../../web/core/closing.mjs";
import {
  deleteKeys, freeSlopes, keyAt, setHold, setKey, setKeys, setRoll, setTension, stampKey,
} from "../../web/core/edit.mjs";
import { handlesOf, setHandle } from "../../web/core/handles.mjs";
import { insertKey } from "../../web/core/insert.mjs";
import * as move from "../../web/core/move.mjs";
import { changed, leaves, makePath } from "../../web/core/path.js";
import { settled } from "../../web/core/path_text.js";
import { preset } from "../../web/core/presets.mjs";
import { fromAxis, multiply, normalised, rollOf, rotated } from "../../web/core/quaternion.js";
import { constantSpeed } from "../../web/core/retime.mjs";
import { bake, evaluate, poseAt, slopesAt } from "../../web/core/spline.js";
import {
  cutNumFrames, moveInTime, segmentSeconds, setNumFrames, setSegmentSeconds, validNumFrames,
} from "../../web/core/timing.mjs";
import { apart, generator, near, randomPath } from "./tools.mjs";

const poseOf = (path, frame) => Array.from(bake(path).slice(8 * frame, 8 * frame + 8));

/** A path of every kind: plain, tense, eased, held, a loop, pinned. */
function anyPath(seed, options = {}) {
  let path = randomPath(seed, { tension: seed % 3 ? 0 : 0.4, ...options });
  if (seed % 4 === 1) path = setKey(path, 2, { easing: ["ease_in", "ease_out", "ease_in_out"][seed % 3] });
  if (seed % 5 === 2) path = setKey(path, 3, { hold: 3 });
  if (seed % 7 === 3) path = insertKey(path, 41.5).path;
  return seed % 2 ? closeLoop(path) : path;
}

/** Whether the field of view would leave the range of a segment and is kept at its edge. */
function zoomIsCut(path) {
  return path.keyframes.slice(1).some((b, i) => {
    const a = path.keyframes[i];
    const step = (b.frame - leaves(a)) / 32;
    const inside = Array.from({ length: 31 }, (_, n) => poseAt(path, leaves(a) + step * (n + 1))[7]);
    return a.verticalFov !== b.verticalFov && inside.some((fov) => fov === a.verticalFov || fov === b.verticalFov);
  });
}

test("a key is inserted without changing the shape: position 1e-9, rotation as memory/spline.py says", (context) => {
  let [worst, wide] = [0, 0];
  for (let seed = 0; seed < 120; seed++) {
    const random = generator(seed);
    const path = anyPath(seed, { degrees: 20 });
    const frame = 0.5 + random() * 95;
    const { path: more, index } = insertKey(path, frame);
    const { distance, degrees, fov } = apart(path, more);
    assert.ok(distance <= 1e-9, `seed ${seed}: ${distance}`);
    assert.ok(fov <= 1e-9 || zoomIsCut(path), `seed ${seed}: fov ${fov}`);
    assert.ok(index === 0 || Math.abs(more.keyframes[index].frame - frame) < 6);
    if (seed % 2 === 0) worst = Math.max(worst, degrees); // a closing segment may turn further
    const turning = randomPath(seed, { degrees: 60 });
    wide = Math.max(wide, apart(turning, insertKey(turning, frame).path).degrees);
  }
  context.diagnostic(`rotation moves by ${worst.toFixed(6)} degrees at turns of 20, ${wide.toFixed(4)} at turns of 60`);
  assert.ok(worst < 0.002 && wide < 0.1, `${worst}, ${wide}`);
});

test("keys can be inserted one after the other, and the path as saved stays within the text's grid", () => {
  let path = settled(randomPath(5, { tension: 0.3 }));
  const before = path;
  for (const frame of [3.5, 50.5, 51.5, 93.5, 7.25, 80.5]) path = settled(insertKey(path, frame).path);
  assert.equal(path.keyframes.length, before.keyframes.length + 6);
  const { distance, degrees } = apart(before, path);
  assert.ok(distance < 1e-5 && degrees < 0.01, `${distance}, ${degrees}`);
  assert.equal(insertKey(path, 50.5).path, path); // there is one already
});

test("K stamps a key, updates the one that is there, grows the path and keeps it 1 + 4 n", () => {
  const path = randomPath(1);
  const pose = [9, 8, 7, 1, 0, 0, 0, 33];
  const added = stampKey(path, 33.3, pose);
  assert.equal(added.keyframes.length, path.keyframes.length + 1);
  near(poseAt(added, 33), pose);
  const again = stampKey(added, 33, [1, 2, 3, 1, 0, 0, 0, 40]);
  assert.equal(again.keyframes.length, added.keyframes.length);
  near(poseAt(again, 33), [1, 2, 3, 1, 0, 0, 0, 40]);
  const longer = stampKey(path, 101, pose);
  assert.equal(longer.numFrames, 105);
  assert.equal(longer.keyframes.at(-1).frame, 104);
  assert.equal(stampKey(closeLoop(path), 120, pose).loop, false);
  const cut = cutNumFrames(path, 49); // keys behind the end stay
  assert.equal(stampKey(cut, 60, pose).numFrames, 61);
  const resting = setHold(path, [6], 12);
  near(poseAt(stampKey(resting, 100, pose), 108), pose);
  const looped = stampKey(setHold(closeLoop(path), [7], 12), 100, pose);
  near(poseAt(looped, 108), poseAt(path, 0));
  near(poseAt(looped, 100), pose);
  assert.equal(keyAt(added, 33.4), added.keyframes.findIndex((key) => key.frame === 33));
  assert.equal(keyAt(path, 5, 0.1), -1);
});

test("deleting keys leaves a path, joins easings, and rests at an end that moved inwards", () => {
  const path = setKey(setKey(randomPath(2), 2, { easing: "ease_in" }), 3, { easing: "ease_out" });
  assert.equal(deleteKeys(path, [3]).keyframes[2].easing, "ease_in_out");
  const early = deleteKeys(path, [0, 1]);
  assert.deepEqual([early.keyframes[0].frame, leaves(early.keyframes[0])], [0, path.keyframes[2].frame]);
  const late = deleteKeys(path, [6]);
  assert.equal(leaves(late.keyframes.at(-1)), 96);
  assert.equal(deleteKeys(path, [0, 1, 2, 3, 4, 5]), path);
  const loop = deleteKeys(closeLoop(path), [0]);
  assert.ok(loop.loop && loopGap(loop).distance === 0);
});

test("in a loop the end keys change together, whichever is edited", () => {
  const loop = closeLoop(randomPath(3));
  const last = loop.keyframes.length - 1;
  for (const index of [0, last]) {
    const path = setKey(loop, index, { position: [5, 6, 7], verticalFov: 61 });
    near(poseOf(path, 0), poseOf(path, 96), 0);
    near(poseOf(path, 0).slice(0, 3), [5, 6, 7]);
  }
  const handled = setHandle(loop, last, "into", [9, 9, 9]);
  near(slopesAt(handled, 0).velocity, slopesAt(handled, last).velocity, 0);
});

test("roll, fov, hold and slopes are set a key at a time", () => {
  const path = randomPath(4);
  const rolled = setRoll(path, [1, 3], 12);
  near([rollOf(normalised(rolled.keyframes[1].rotation))], [12], 1e-9);
  near(rotated(rolled.keyframes[1].rotation, [0, 0, 1]), rotated(normalised(path.keyframes[1].rotation), [0, 0, 1]));
  near([rollOf(move.levelHorizon(rolled, [1]).keyframes[1].rotation)], [0], 1e-9);
  assert.equal(setKeys(path, [0, 1], { verticalFov: 70 }).keyframes[1].verticalFov, 70);
  const held = setHold(path, [2, 4], 10);
  assert.equal(held.keyframes[2].hold, 10);
  assert.equal((held.numFrames - 1) % 4, 0);
  const atEnd = setHold(path, [6], 9);
  assert.deepEqual([atEnd.numFrames, atEnd.keyframes.at(-1).hold], [105, 8]);
  assert.equal(setHold(atEnd, [6], 0).numFrames, 97);
  const pinned = insertKey(path, 40.5).path;
  assert.ok(pinned.keyframes.some((key) => key.velocity));
  const free = freeSlopes(pinned, move.allKeys(pinned)).keyframes;
  assert.ok(free.every((key) => !key.velocity && !key.spin && key.zoom === null));
  assert.notDeepEqual(evaluate(setTension(path, 1)), evaluate(path));
});

test("a handle goes where it is dragged, and lifts a rest", () => {
  for (const side of ["into", "out"]) {
    const path = setHandle(setKeys(randomPath(6), [1, 2], { easing: "ease_in_out" }), 2, side, [1, 2, 3]);
    near(handlesOf(path, 2)[side], [1, 2, 3]);
    assert.equal(path.keyframes[1].easing, "ease_in");
    assert.equal(path.keyframes[2].easing, "ease_out");
  }
  assert.equal(handlesOf(randomPath(6), 0).into, null);
  assert.notEqual(handlesOf(closeLoop(randomPath(6)), 0).into, null);
});

test("whole-path moves move every frame alike, pinned slopes included", () => {
  for (let seed = 0; seed < 24; seed++) {
    const path = anyPath(seed);
    const all = move.allKeys(path);
    const centre = move.centreOf(path, all);
    const turn = fromAxis([0.6, 0, 0.8], 50);
    const larger = move.scaleKeys(move.moveKeys(path, all, [1, 2, 3]), all, 2, centre);
    const moved = move.rotateKeys(larger, all, turn, centre);
    for (const frame of [0, 13, 50, 96]) {
      const [a, b] = [poseAt(path, frame), poseAt(moved, frame)];
      const place = a.slice(0, 3).map((x, n) => 2 * (x + [1, 2, 3][n] - centre[n]));
      near(b.slice(0, 3), rotated(turn, place).map((x, n) => x + centre[n]), 1e-9);
      const want = multiply(turn, a.slice(3, 7));
      assert.ok(Math.abs(Math.abs(want.reduce((sum, x, n) => sum + x * b[3 + n], 0)) - 1) < 1e-9);
    }
  }
});

test("a falloff move is whole at the key, nothing at the radius", () => {
  const path = randomPath(7, { count: 33, numFrames: 97 });
  const moved = move.moveWithFalloff(path, 16, [0, 1, 0], 20);
  const shift = moved.keyframes.map((key, i) => key.position[1] - path.keyframes[i].position[1]);
  near([shift[16]], [1]);
  assert.ok(shift[14] > 0 && shift[14] < 1 && shift[14] > shift[12]);
  assert.equal(shift[0] + shift[32], 0);
  near(move.snapped([0.34, -0.26, 5], 0.25), [0.25, -0.25, 5]);
  const snapped = move.snappedRotation(multiply(fromAxis([0, 1, 0], 41), fromAxis([0, 0, 1], 8)), 15);
  near(snapped, multiply(fromAxis([0, 1, 0], 45), fromAxis([0, 0, 1], 15)));
});

test("times change as asked and stay in order; the shape stays under stretching", () => {
  const path = insertKey(randomPath(8), 30).path;
  const moved = moveInTime(path, [2, 3], 1000);
  assert.equal(moved.keyframes[3].frame, moved.keyframes[4].frame - 1);
  assert.equal(moveInTime(path, [0], 5).keyframes[0].frame, 0);
  const later = moveInTime(path, [path.keyframes.length - 1], 9);
  assert.equal(later.numFrames, 105);
  const slow = setSegmentSeconds(path, 1, 2);
  assert.equal(segmentSeconds(slow, 1), 2);
  assert.equal((slow.numFrames - 1) % 4, 0);
  const stretched = setNumFrames(path, 193);
  for (const frame of [10, 35, 70]) near(poseAt(stretched, 2 * frame), poseAt(path, frame), 1e-9);
  const cut = cutNumFrames(path, 49);
  near(Array.from(evaluate(cut)).slice(0, 8 * 49), Array.from(evaluate(path)).slice(0, 8 * 49), 2e-5);
  assert.equal(leaves(cutNumFrames(path, 121).keyframes.at(-1)), 120);
  assert.deepEqual([validNumFrames(80), validNumFrames(82), validNumFrames(1)], [81, 81, 5]);
});

test("a loop closes position, rotation, roll and fov, with matched slopes", () => {
  for (let seed = 0; seed < 40; seed++) {
    const path = closeLoop(setRoll(openLoop(anyPath(seed)), [1], 20));
    const gap = loopGap(path);
    assert.deepEqual([gap.distance, gap.rollDegrees, gap.fov], [0, 0, 0]);
    assert.ok(gap.degrees < 1e-9);
    const last = path.keyframes.length - 1;
    for (const name of ["velocity", "spin"]) near(slopesAt(path, 0)[name], slopesAt(path, last)[name], 1e-12);
    near([slopesAt(path, 0).zoom], [slopesAt(path, last).zoom], 1e-12);
    assert.equal(path.numFrames, 97);
    near(poseOf(path, 0), poseOf(path, 96), 0);
  }
});

test("return to start ends at the first pose, at rest, and is no loop", () => {
  const before = setKey(randomPath(9), 5, { easing: "ease_out" });
  const path = returnToStart(before, 30);
  assert.equal(path.loop, false);
  assert.equal((path.numFrames - 1) % 4, 0);
  near(poseOf(path, path.numFrames - 1), poseOf(path, 0), 0);
  near(slopesAt(path, path.keyframes.length - 1).velocity, [0, 0, 0]);
  near(Array.from(evaluate(path)).slice(0, 8 * 97), Array.from(evaluate(before)), 1e-12);
});

test("constant speed is constant, along the same curve, from the first pose to the last", (context) => {
  for (const path of [
    ...["dolly", "orbit", "arc", "figure_eight", "spiral"].map((name) => preset(name, 153)),
    ...[1, 2, 4, 5].map((seed) => randomPath(seed)),
  ]) {
    const even = constantSpeed(path);
    const fine = Array.from({ length: 20 * (even.numFrames - 1) + 1 }, (_, i) => poseAt(even, i / 20));
    const steps = fine.slice(1).map((pose, i) => Math.hypot(...[0, 1, 2].map((n) => pose[n] - fine[i][n])));
    const mean = steps.reduce((sum, x) => sum + x, 0) / steps.length;
    const off = Math.max(...steps.map((step) => Math.abs(step / mean - 1)));
    const counts = `${path.keyframes.length} to ${even.keyframes.length} keys`;
    const says = `${path.name}: ${counts}, speed within ${(100 * off).toFixed(1)} %`;
    context.diagnostic(says);
    assert.ok(off < (path.name === "path" ? 0.12 : 0.04), says); // wild paths have bends that few keys cannot follow
    assert.equal(even.numFrames, path.numFrames);
    near(poseOf(even, 0), poseOf(path, 0), 1e-6);
    const far = offCurve(evaluate(even), path);
    assert.ok(far < 0.02, `${path.name} leaves its curve by ${far}`);
  }
  const pan = constantSpeed(preset("pan", 57));
  near([slopesAt(pan, 0).spin[1]], [(40 * Math.PI) / 180 / 56], 1e-6);
  const rested = constantSpeed(setHold(setHold(preset("arc", 57), [2], 4), [4], 8));
  assert.ok(rested.keyframes.every((key) => key.hold === 0));
  assert.equal(leaves(rested.keyframes.at(-1)), rested.numFrames - 1);
  const still = preset("hold", 57);
  assert.equal(constantSpeed(still), still);
});

/** The furthest that a frame is from the curve of a path. */
function offCurve(poses, path) {
  const curve = Array.from({ length: 40 * path.numFrames }, (_, i) => poseAt(path, i / 40));
  let far = 0;
  for (let i = 0; i < poses.length; i += 8) {
    const away = (p) => Math.hypot(p[0] - poses[i], p[1] - poses[i + 1], p[2] - poses[i + 2]);
    far = Math.max(far, Math.min(...curve.map(away)));
  }
  return far;
}

test("no edit writes into its path", () => {
  const path = randomPath(10);
  assert.ok(Object.isFrozen(path) && Object.isFrozen(path.keyframes) && Object.isFrozen(path.keyframes[0].position));
  const message = "tension is 2.0, expected 0 (rounded) to 1 (straight)";
  assert.throws(() => changed(path, { tension: 2 }), { message });
  assert.throws(() => makePath({ numFrames: 5, keyframes: [] }), /0 keyframe/);
});
