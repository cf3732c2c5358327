// Recording, drawing, fitting, and what is said about a path.

import assert from "node:assert/strict";
import { test } from "node:test";
import { closeLoop } from "../../web/core/closing.mjs";
import {
  diagnose, frameCount, holes, nearlyClosed, overflow, parallax, pointGrid, rollingHorizon, speedSpikes,
  throughGeometry,
} from "../../web/core/diagnostics.mjs";
import { onPlane, screenRay, strokeAlong, strokeFacing } from "../../web/core/draw.mjs";
import { setRoll, setKey } from "../../web/core/edit.mjs";
import { inUnits, lockFirstPose, reach, scaleByDepth, scaleFromStart, suggestScale } from "../../web/core/fit.mjs";
import {
  frustumCorners, project, projectPoints, speedColour, speeds, turnSpeeds, viewOf,
} from "../../web/core/frusta.js";
import { makePath } from "../../web/core/path.js";
import { preset } from "../../web/core/presets.mjs";
import { facing, fromAxis, fromMatrix, matrixOf, multiply, rollOf, rotated } from "../../web/core/quaternion.js";
import { pathFromSamples } from "../../web/core/record.mjs";
import { bake, evaluate, poseAt } from "../../web/core/spline.js";
import { cutNumFrames } from "../../web/core/timing.mjs";
import { apart, near, randomPath } from "./tools.mjs";

const TOLERANCE = { distance: 0.01, degrees: 0.5, fov: 0.5 };

function samplesOf(path, every = 0.25) {
  return Array.from({ length: Math.floor((path.numFrames - 1) / every) + 1 }, (_, i) => {
    const pose = poseAt(path, i * every);
    return { frame: i * every, position: pose.slice(0, 3), rotation: pose.slice(3, 7), verticalFov: pose[7] };
  });
}

test("a recording becomes few keys that stay within the tolerance at every sample", (context) => {
  for (let seed = 0; seed < 6; seed++) {
    const flown = randomPath(seed);
    const path = pathFromSamples(samplesOf(flown), TOLERANCE, { fps: 24 });
    const { distance, degrees, fov } = apart(flown, path);
    assert.ok(distance <= 0.0101 && degrees <= 0.505 && fov <= 0.505, `${distance}, ${degrees}, ${fov}`);
    assert.ok(path.keyframes.length <= 36, `${path.keyframes.length} keys`);
    assert.deepEqual([path.numFrames, path.fps], [97, 24]);
    context.diagnostic(`385 samples of a path with 7 keys: ${path.keyframes.length} keys`);
  }
  assert.throws(() => pathFromSamples([], TOLERANCE), /0 samples/);
  const noise = samplesOf(randomPath(1)).map((s, i) => ({ ...s, position: [i % 2, (i % 3) / 2, (i % 5) / 4] }));
  assert.throws(() => pathFromSamples(noise, TOLERANCE), /more than 256 keys/);
});

test("a stroke becomes a path from rest to rest, looking along it or at a point", () => {
  const stroke = Array.from({ length: 200 }, (_, i) => [2 * Math.sin(i / 60), 0, 2 - 2 * Math.cos(i / 60)]);
  const along = strokeAlong(stroke, { numFrames: 97, fps: 16 });
  const facingIt = strokeFacing(stroke, [0, 0, 2], { numFrames: 97, verticalFov: 35 });
  for (const path of [along, facingIt]) {
    assert.ok(path.keyframes.length <= 12, `${path.keyframes.length} keys`);
    near(poseAt(path, 0).slice(0, 3), stroke[0], 1e-9);
    near(poseAt(path, 96).slice(0, 3), stroke.at(-1), 1e-9);
    const rates = speeds(evaluate(path));
    assert.ok(rates[0] < 0.2 * Math.max(...rates) && rates[96] < 0.2 * Math.max(...rates));
    for (const frame of [10, 48, 90]) near([Math.hypot(poseAt(path, frame)[0], poseAt(path, frame)[2] - 2)], [2], 0.06);
  }
  const pose = poseAt(facingIt, 48);
  const ahead = rotated(pose.slice(3, 7), [0, 0, 1]);
  near(ahead, [0, 1, 2].map((n) => ([0, 0, 2][n] - pose[n]) / 2), 0.06);
  assert.equal(facingIt.keyframes[0].verticalFov, 35);
  assert.ok(Math.abs(rollOf(poseAt(along, 48).slice(3, 7))) < 0.5);
  assert.throws(() => strokeAlong([[0, 0, 0], [0, 0, 0]], { numFrames: 9 }), /no length/);
  const view = viewOf([0, -1, 0, ...fromAxis([1, 0, 0], -90), 50], 200, 100); // looks down
  const { origin, direction } = screenRay(view, 150, 20);
  const hit = onPlane(origin, direction, [0, 0, 0], [0, 1, 0]);
  near(project(view, hit).slice(0, 2), [150, 20], 1e-9);
  assert.equal(onPlane([0, -1, 0], [0, -1, 0], [0, 0, 0], [0, 1, 0]), null);
});

test("frusta and projection keep the conventions: OpenCV axes, pixel (0, 0) has its centre at a half", () => {
  const view = viewOf([0, 0, 0, 1, 0, 0, 0, 90], 16, 8);
  near(project(view, [0, 0, 2]), [8, 4, 2]);
  near(project(view, [1, 1, 1]), [12, 8, 1]); // right and down
  near(project(viewOf([1, 2, 3, ...fromAxis([0, 1, 0], 90), 90], 16, 8), [5, 2, 3]), [8, 4, 4]); // looks to +X
  const corners = frustumCorners([0, 0, 0, 1, 0, 0, 0, 90], 2, 3);
  near(corners, [0, 0, 0, -6, -3, 3, 6, -3, 3, 6, 3, 3, -6, 3, 3]);
  const pose = poseAt(randomPath(3), 40);
  const turned = viewOf(pose, 64, 48);
  const out = projectPoints(turned, new Float32Array(frustumCorners(pose, 64 / 48, 2)), new Float32Array(15));
  near(Array.from(out.slice(3)), [0, 0, 2, 64, 0, 2, 64, 48, 2, 0, 48, 2], 1e-3);
  near(fromMatrix(matrixOf(pose.slice(3, 7))).map(Math.abs), pose.slice(3, 7).map(Math.abs));
  near(rotated(facing([1, -2, 3]), [0, 0, Math.sqrt(14)]), [1, -2, 3]);
  near([rollOf(multiply(facing([1, -2, 3]), fromAxis([0, 0, 1], 25)))], [25]);
  assert.equal(speedColour(2), speedColour(1));
  const rates = turnSpeeds(bake(preset("pan", 57)));
  assert.ok(Math.max(...rates) > 0.9 && Math.max(...rates) < 1.3);
});

test("an imported path is locked to a first pose, scaled about it, and named units convert both ways", () => {
  const path = closeLoop(randomPath(4));
  const rotation = fromAxis([0, 1, 0], 30);
  const locked = lockFirstPose(path, [1, 2, 3], rotation);
  near(poseAt(locked, 0).slice(0, 3), [1, 2, 3]);
  near(poseAt(locked, 0).slice(3, 7), rotation);
  near([reach(locked)], [reach(path)], 2e-6);
  near([reach(scaleFromStart(locked, 3))], [3 * reach(path)], 1e-5);
  near(poseAt(scaleFromStart(locked, 3), 0).slice(0, 3), [1, 2, 3]);
  assert.throws(() => scaleFromStart(path, 0), /positive/);
  near([suggestScale(scaleFromStart(path, 0.5 / reach(path)), 4)], [5], 1e-9); // 4 is wanted, 5 is the nearest step
  assert.equal(suggestScale(preset("hold", 57), 2), 1);
  assert.equal(scaleByDepth(4, 2), 0.5);
  const world = inUnits(path, "world", 2.5);
  assert.equal(world.units, "world");
  near(poseAt(world, 40).slice(0, 3), poseAt(path, 40).slice(0, 3).map((x) => 2.5 * x));
  assert.ok(apart(inUnits(world, "scene", 2.5), path).distance < 1e-12);
});

test("diagnostics find what was put in, and nothing on a plain move", () => {
  const plain = preset("arc", 57);
  assert.deepEqual(diagnose(plain), []);

  const keys = [0, 40, 44, 96].map((frame, i) => ({ frame, position: [[0, 0.4, 2.4, 2.9][i], 0, 0] }));
  const [spike] = speedSpikes(makePath({ keyframes: keys, numFrames: 97 }));
  assert.equal(spike.code, "speed_spike");
  assert.ok(spike.frames[0] >= 36 && spike.frames[1] <= 48 && spike.values.times > 3, JSON.stringify(spike));

  const rolled = setRoll(preset("dolly", 57), [1], 15);
  assert.deepEqual(rollingHorizon(rolled).map(({ severity }) => severity), ["note"]);
  const tilted = makePath({ numFrames: 57, keyframes: [
    { frame: 0, position: [0, 0, 0], rotation: facing([0, -1, 1]) },
    { frame: 56, position: [0, 0, 1], rotation: facing([1, 0.5, 0]) },
  ] });
  assert.deepEqual(rollingHorizon(tilted).map(({ severity }) => severity), ["warning"]);

  const wall = new Float32Array(Array.from({ length: 121 }, (_, i) =>
    [((i % 11) - 5) / 10, (Math.floor(i / 11) - 5) / 10, 0.5]).flat());
  const grid = pointGrid(wall, 0.1);
  const [hit] = throughGeometry(preset("dolly", 57, 1), grid, 0.1, 1);
  assert.ok(hit.values.distance < 0.03 && hit.frames[0] > 15 && hit.frames[1] < 41, JSON.stringify(hit));
  assert.deepEqual(throughGeometry(preset("dolly", 57, 1), grid, 0.05, 0.2), []); // in a small scene it stops before
  assert.equal(diagnose(preset("dolly", 57, 1), { grid, clearance: 0.1 })[0].code, "through_geometry");

  const depth = { median: 2, relativeError: 0.1, height: 480, sceneUnit: 2 };
  const [far] = parallax(preset("truck", 57, 1), depth);
  near([far.values.pixels], [(240 / Math.tan((25 * Math.PI) / 180)) * 0.1], 1e-6);
  assert.equal(far.frames[1], 56);
  assert.deepEqual(parallax(preset("truck", 57, 0.1), depth), []);

  const nearly = makePath({ numFrames: 97, keyframes: [
    { frame: 0, position: [0, 0, 0] }, { frame: 48, position: [1, 0, 0] }, { frame: 96, position: [0.05, 0, 0] },
  ] });
  near([nearlyClosed(nearly)[0].values.distance], [0.05]);
  assert.deepEqual(nearlyClosed(closeLoop(nearly)), []);
  assert.deepEqual(nearlyClosed(plain), []);

  const [unknown] = holes([{ frames: [0, 32], hole: 0.1 }, { frames: [33, 56], hole: 0.9 }]);
  assert.deepEqual([unknown.frames, unknown.values], [[33, 56], { percent: 90, chunk: 1 }]);
  assert.deepEqual(frameCount({ numFrames: 80 })[0].values, { frames: 80, below: 77, above: 81 });
  assert.equal(overflow(cutNumFrames(randomPath(1), 49))[0].code, "overflow");
  const all = diagnose(setKey(makePath({ ...nearly, numFrames: 96 }), 2, { frame: 95 }));
  assert.deepEqual(all.map(({ code }) => code).sort(), ["frame_count", "not_closed"]);
  assert.equal(all[0].severity, "error");
  assert.ok(all.every(({ key, code }) => key === `diagnostics.${code}`));
});
