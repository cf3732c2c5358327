// Paths as the editor leaves them, for tests/test_web.py: one JSON list on stdout. `like` is the path before a key was
// inserted, in the long form, whose numbers are not quantised.

import { closeLoop, returnToStart } from "../../web/core/closing.mjs";
import { setHold, setKeys, stampKey } from "../../web/core/edit.mjs";
import { setHandle } from "../../web/core/handles.mjs";
import { insertKey } from "../../web/core/insert.mjs";
import { settled, toCompact, toJson } from "../../web/core/path_text.js";
import { PRESETS, preset } from "../../web/core/presets.mjs";
import { constantSpeed } from "../../web/core/retime.mjs";
import { bake, poseAt } from "../../web/core/spline.js";
import { randomPath } from "./tools.mjs";

const edited = Object.keys(PRESETS).map((name) => constantSpeed(preset(name, 57)));
for (let seed = 0; seed < 8; seed++) {
  const path = randomPath(seed, { tension: seed / 10, fps: 12.5, name: `пример ${seed} "quoted"`, units: "world" });
  edited.push(setHandle(setHold(setKeys(path, [1, 3], { easing: "ease_out" }), [2], 5.5), 4, "out", [1, 1, 1]));
  edited.push(returnToStart(stampKey(path, 20, poseAt(path, 50)), 17), closeLoop(insertKey(path, 33.3).path));
}
const written = edited.map((path) => ({ compact: toCompact(path), poses: Array.from(bake(settled(path))) }));
const inserted = Array.from({ length: 12 }, (_, seed) => {
  const path = randomPath(seed, { tension: seed % 3 ? 0 : 0.5 });
  const like = seed % 2 ? closeLoop(path) : path;
  return { json: toJson(insertKey(like, 5 + 7.1 * seed).path), like: toJson(like) };
});
console.log(JSON.stringify({ written, inserted }));
