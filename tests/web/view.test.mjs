// The dialog's parts that need no document: the session, from where it looks, the gizmo, the ruler, a scene's bytes.

import assert from "node:assert/strict";
import test from "node:test";

import { moveKeys } from "../../web/core/move.mjs";
import { PathError } from "../../web/core/path.js";
import { preset } from "../../web/core/presets.mjs";
import { viewOf } from "../../web/core/frusta.js";
import { rotated, rollOf } from "../../web/core/quaternion.js";
import { eyeOf, flight, looked, moved, neared, orbited, panned } from "../../web/dialog/eye.mjs";
import { aboutAxis, alongAxis, gizmoAt } from "../../web/dialog/gizmo.mjs";
import { newSession } from "../../web/dialog/session.mjs";
import { frameAt, xOf } from "../../web/view/ruler.js";
import { chunksOf, drawnPoints, poseOf, readScene } from "../../web/view/scene.js";

const near = (a, b, tolerance = 1e-9) => a.forEach((x, i) => assert.ok(Math.abs(x - b[i]) < tolerance, `${a} ${b}`));
const pivotOf = ({ pose, distance }) =>
  rotated(pose.slice(3, 7), [0, 0, distance]).map((x, n) => x + pose[n]);

test("a gesture of many moves is saved once and undone in one step", () => {
  const saved = [];
  const start = preset("arc", 57);
  const session = newSession(start, (path) => saved.push(path));
  session.begin();
  for (let i = 1; i < 9; i++) session.show((path) => moveKeys(path, [1], [i / 100, 0, 0]));
  assert.equal(saved.length, 0);
  session.commit();
  assert.equal(saved.length, 1);
  near(session.path.keyframes[1].position, moveKeys(start, [1], [0.08, 0, 0]).keyframes[1].position, 1e-6);
  session.undo();
  assert.equal(session.path, start);
  assert.equal(saved.at(-1), start);
  session.undo();
  assert.equal(saved.length, 2, "nothing to undo is nothing to save");
  session.redo();
  assert.equal(saved.length, 3);
});

test("a gesture that ends where it began, or is cancelled, or is no path, saves nothing", () => {
  const saved = [];
  const session = newSession(preset("arc", 57), (path) => saved.push(path));
  const start = session.path;
  session.begin();
  session.show((path) => moveKeys(path, [1], [0.5, 0, 0]));
  session.show((path) => moveKeys(path, [1], [0, 0, 0]));
  session.commit();
  assert.equal(session.path, start);
  session.begin();
  session.show((path) => moveKeys(path, [1], [0.5, 0, 0]));
  session.cancel();
  let said = "";
  session.said = (text) => (said = text);
  session.step(() => {
    throw new PathError("no path");
  });
  assert.deepEqual([session.path === start, saved.length, said], [true, 0, "no path"]);
});

test("orbiting keeps the pivot, looking keeps the place, neither rolls", () => {
  const eye = eyeOf([1, -2, 3, 1, 0, 0, 0, 50], 2.5);
  const around = orbited(eye, 35, -20);
  near(pivotOf(around), pivotOf(eye));
  near(looked(eye, 20, 10).pose.slice(0, 3), [1, -2, 3]);
  near(pivotOf(neared(around, 0.5)), pivotOf(eye));
  assert.ok(Math.abs(rollOf(around.pose.slice(3, 7))) < 1e-9);
  let steep = eye;
  for (let i = 0; i < 40; i++) steep = orbited(steep, 3, 11);
  assert.ok(Math.abs(rotated(steep.pose.slice(3, 7), [0, 0, 1])[1]) <= 0.995);
});

test("panning moves the pivot with the pointer, flying goes where the keys point", () => {
  const eye = eyeOf([0, 0, 0, 1, 0, 0, 0, 90], 2);
  near(panned(eye, 100, 0, 400).pose.slice(0, 3), [-1, 0, 0]);
  near(flight(new Set(["KeyW"]), 0.5, 2), [0, 0, 1]);
  near(flight(new Set(["KeyE", "ShiftLeft"]), 1, 1), [0, -3, 0]);
  assert.equal(flight(new Set(["KeyA", "KeyD"]), 1, 1), null);
  near(moved(orbited(eye, 90, 0), [0, 0, 1]).pose.slice(0, 3), [-1, 0, 2]);
});

test("a drag along an axis moves as far as the pointer, about an axis as it turns", () => {
  const view = viewOf([0, 0, -4, 1, 0, 0, 0, 60], 800, 600);
  const pixels = view.focal / 4; // of a unit
  assert.ok(Math.abs(alongAxis(view, [0, 0, 0], "x", pixels, 0) - 1) < 1e-9);
  assert.ok(Math.abs(alongAxis(view, [0, 0, 0], "y", 30, pixels) - 1) < 1e-9);
  assert.ok(Math.abs(aboutAxis(view, [0, 0, 0], "z", [500, 300], [400, 400]) - 90) < 1e-9);
  const behind = viewOf([0, 0, 4, 0, 0, 1, 0, 60], 800, 600);
  assert.ok(Math.abs(aboutAxis(behind, [0, 0, 0], "z", [500, 300], [400, 400]) + 90) < 1e-9);
  assert.equal(gizmoAt(view, [0, 0, 0], "move", 450, 302), "x");
  assert.equal(gizmoAt(view, [0, 0, 0], "move", 398, 350), "y");
  assert.equal(gizmoAt(view, [0, 0, 0], "scale", 439, 310), "all");
  assert.equal(gizmoAt(view, [0, 0, 0], "rotate", 700, 500), null);
});

test("the ruler's pixels and frames are each other's inverse", () => {
  const path = preset("arc", 57);
  for (const frame of [0, 13.5, 56]) assert.ok(Math.abs(frameAt(xOf(frame, path, 700), path, 700) - frame) < 1e-9);
  assert.deepEqual([frameAt(-50, path, 700), frameAt(9000, path, 700)], [0, 56]);
});

test("chunks go on from those of the film", () => {
  assert.deepEqual(chunksOf(60), [[0, 33], [33, 57], [57, 60]]);
  assert.deepEqual(chunksOf(60, { chunks: [{ start: 0, stop: 21 }] }), [[0, 21], [21, 45], [45, 60]]);
});

test("a scene's bytes are read as they were laid out, without what no run reads", () => {
  const header = {
    box: { low: [0, 1, 2], step: [0.5, 0.25, 0.125] },
    arrays: { place: { shape: [3, 4], offset: 0 }, look: { shape: [3, 4], offset: 0 }, pictures: { shape: [0], offset: 0 } },
  };
  header.arrays.place.offset = 1024;
  header.arrays.look.offset = header.arrays.pictures.offset = 1048;
  const buffer = new ArrayBuffer(1064);
  const text = new TextEncoder().encode(JSON.stringify(header).padEnd(1008));
  new Uint8Array(buffer).set(new TextEncoder().encode("SMSCENE1"));
  new DataView(buffer).setUint32(8, text.length, true);
  new Uint8Array(buffer).set(text, 16);
  new Uint16Array(buffer, 1024, 12).set([2, 4, 8, 0, 1, 1, 1, 0, 4, 0, 0, 0]);
  new Uint8Array(buffer, 1048, 12).set([9, 8, 7, 0, 1, 2, 3, 2, 5, 5, 5, 4]);
  const scene = readScene(buffer);
  const { points, colours } = drawnPoints(scene, 10, 2);
  assert.deepEqual([Array.from(points), colours], [[0.5, 1, 1.5, 1, 0.5, 1], ["rgb(9,8,7)", "rgb(5,5,5)"]]);
  assert.throws(() => readScene(new ArrayBuffer(32)), /SMSCENE1/);
});

test("a camera of the header is a pose in units of the path", () => {
  const c2w = [0, 0, 1, 4, 0, 1, 0, 2, -1, 0, 0, 6, 0, 0, 0, 1];
  const half = Math.SQRT1_2;
  near(poseOf({ c2w, vertical_fov: 40 }, 2), [2, 1, 3, half, 0, half, 0, 40]);
});
