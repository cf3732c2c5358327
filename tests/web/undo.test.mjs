// Undo is exact, one step a gesture, whatever was done.

import assert from "node:assert/strict";
import { test } from "node:test";
import { closeLoop, openLoop, returnToStart } from "../../web/core/closing.mjs";
import { deleteKeys, setHold, setKey, setRoll, setTension, stampKey } from "../../web/core/edit.mjs";
import { setHandle } from "../../web/core/handles.mjs";
import { insertKey } from "../../web/core/insert.mjs";
import {
  allKeys, centreOf, levelHorizon, moveKeys, moveWithFalloff, rotateKeys, scaleKeys,
} from "../../web/core/move.mjs";
import { parsePath, settled, toCompact } from "../../web/core/path_text.js";
import { poseAt } from "../../web/core/spline.js";
import { cutNumFrames, moveInTime, setNumFrames, setSegmentSeconds } from "../../web/core/timing.mjs";
import * as undo from "../../web/core/undo.mjs";
import { generator, randomPath } from "./tools.mjs";

const EDITS = [
  (path, { key }) => moveKeys(path, [key], [0.1, 0.2, -0.3]),
  (path, { frame }) => insertKey(path, frame).path,
  (path, { frame }) => stampKey(path, frame + 5, poseAt(path, frame)),
  (path, { key }) => deleteKeys(path, [key]),
  (path, { key, x }) => setKey(path, key, { verticalFov: 30 + 60 * x, easing: x < 0.5 ? "ease_in" : "ease_in_out" }),
  (path, { key, x }) => setHold(path, [key], 6 * x),
  (path, { key, x }) => setHandle(path, key, x < 0.5 ? "into" : "out", [x, 1 - x, x * x]),
  (path, { x }) => rotateKeys(path, allKeys(path), [1, x, 0.3, -x], centreOf(path, allKeys(path))),
  (path, { x }) => scaleKeys(path, allKeys(path), 0.5 + x, [0, 0, 0]),
  (path, { key }) => moveWithFalloff(path, key, [0, 0.5, 0], 30),
  (path, { key, x }) => moveInTime(path, [key], 40 * (x - 0.5)),
  (path, { key, x }) => setSegmentSeconds(path, Math.min(key, path.keyframes.length - 2), 0.2 + 2 * x),
  (path, { x }) => setNumFrames(path, 1 + 4 * Math.round(5 + 40 * x)),
  (path, { x }) => cutNumFrames(path, 1 + 4 * Math.round(5 + 40 * x)),
  (path, { x }) => setTension(path, Math.round(10 * x) / 10),
  (path, { key, x }) => setRoll(path, [key], 20 * x),
  (path) => levelHorizon(path, allKeys(path)),
  (path) => closeLoop(path),
  (path) => openLoop(path),
  (path) => (path.keyframes.length < 40 ? returnToStart(path, 20) : path),
];

test("random edits give paths that are read back as they were, and undo restores every state exactly", () => {
  for (let seed = 0; seed < 25; seed++) {
    const random = generator(seed);
    let history = undo.newHistory(settled(randomPath(seed)));
    const texts = [toCompact(history.state)];
    for (let n = 0; n < 30; n++) {
      const { state } = history;
      const key = Math.floor(random() * state.keyframes.length);
      const at = { key, frame: random() * (state.numFrames - 1), x: random() };
      const which = Math.floor(random() * EDITS.length);
      let next = settled(EDITS[which](state, at));
      if (next.numFrames > 1000 || next.keyframes.length > 60) next = settled(setNumFrames(randomPath(seed), 57));
      assert.deepEqual(parsePath(toCompact(next)), next, `seed ${seed}, edit ${which}`);
      history = undo.begin(history); // a drag: many states shown, one step
      for (const shown of [moveKeys(state, [0], [9, 9, 9]), moveKeys(state, [0], [1, 0, 0]), next]) {
        history = undo.show(history, shown);
      }
      history = undo.commit(history);
      if (next !== state) texts.push(toCompact(next));
    }
    for (const text of texts.toReversed().slice(1)) {
      history = undo.undo(history);
      assert.equal(toCompact(history.state), text);
    }
    assert.equal(undo.undo(history), history);
    for (const text of texts.slice(1)) {
      history = undo.redo(history);
      assert.equal(toCompact(history.state), text);
    }
    assert.equal(undo.redo(history), history);
  }
});

test("a gesture is one step; cancelled it is none; a new one forgets what was undone", () => {
  let history = undo.newHistory("a");
  history = undo.step(history, "b");
  history = undo.show(undo.begin(history), "x");
  assert.equal(undo.cancel(history).state, "b");
  assert.equal(undo.undo(history).state, "b"); // Ctrl+Z in a drag cancels the drag
  assert.equal(undo.undo(undo.undo(history)).state, "a");
  assert.equal(undo.commit(undo.begin(undo.newHistory("a"))).past.length, 0);
  history = undo.undo(undo.cancel(history));
  assert.equal(undo.redo(history).state, "b");
  history = undo.step(history, "c");
  assert.deepEqual([history.future, history.past], [[], ["a"]]);
  history = undo.begin(undo.show(undo.begin(history), "d")); // a lost pointer-up: the first gesture still counts
  assert.deepEqual([history.state, history.past], ["d", ["a", "c"]]);
});
