// The keyboard, as long as the dialog has it. Nothing that it uses reaches the host.

import { closeLoop, openLoop } from "../core/closing.mjs";
import { deleteKeys, keyAt, stampKey } from "../core/edit.mjs";
import { insertKey } from "../core/insert.mjs";
import { allKeys, moveKeys } from "../core/move.mjs";
import { poseAt } from "../core/spline.js";
import { GRID_STEP } from "./gestures.mjs";

const FLYING = new Set(["KeyW", "KeyA", "KeyS", "KeyD", "KeyQ", "KeyE", "ShiftLeft", "ShiftRight"]);
const NUDGES = {
  ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, 0, 1], ArrowDown: [0, 0, -1],
  PageUp: [0, -1, 0], PageDown: [0, 1, 0],
};

/** A key at the playhead with what the view shows. */
export function stamp(session, stage) {
  const frame = Math.round(session.playhead);
  const pose = [...stage.eye.pose.slice(0, 7), poseAt(session.path, frame)[7]];
  session.step((path) => stampKey(path, frame, pose));
  session.choose([keyAt(session.path, frame)].filter((i) => i >= 0));
}

/** A key at the playhead, on the curve. */
export function insert(session) {
  let index = -1;
  session.step((path) => {
    const inserted = insertKey(path, session.playhead);
    index = inserted.index;
    return inserted.path;
  });
  session.choose([index]);
}

/** actions {close, help, through, mode, escape(), play, record, codes}: what the keys do beside editing. */
export function listenToKeys(dialog, session, stage, actions) {
  const { codes } = actions;
  const seekKey = (side) => {
    const frames = session.path.keyframes.map((key) => key.frame);
    const next = side > 0
      ? frames.find((frame) => frame > session.playhead + 0.5)
      : frames.findLast((frame) => frame < session.playhead - 0.5);
    if (next !== undefined) session.seek(next);
  };
  const stepped = (side, event) =>
    event.shiftKey ? seekKey(side) : session.seek(Math.round(session.playhead) + side);
  const tool = (name) => session.set({ tool: name, axis: null }, "tool");
  const axis = (name) => session.set({ axis: session.axis === name ? null : name }, "tool");
  const held = { // by the code of the key: the same places on every keyboard
    KeyK: () => stamp(session, stage), KeyI: () => insert(session),
    KeyW: () => tool("move"), KeyE: () => tool("rotate"), KeyR: () => tool("scale"),
    KeyX: () => axis("x"), KeyY: () => axis("y"), KeyZ: () => axis("z"),
    KeyN: () => session.set({ snap: !session.snap }, "tool"),
    KeyB: () => actions.mode("marquee"), KeyP: () => actions.mode("draw"), KeyF: () => actions.mode("fly"),
    KeyC: actions.through, KeyA: () => stage.overview(),
    KeyL: () => session.step((path) => (path.loop ? openLoop(path) : closeLoop(path))),
    Space: actions.play, Delete: remove, Backspace: remove,
    Comma: (event) => stepped(-1, event), Period: (event) => stepped(1, event),
    Home: () => session.seek(0), End: () => session.seek(session.path.numFrames - 1),
    Enter: () => stage.samples && actions.record(),
    Slash: (event) => event.shiftKey && actions.help(),
  };

  function remove() {
    const chosen = [...session.chosen];
    if (chosen.length && session.step((path) => deleteKeys(path, chosen))) session.choose([]);
  }

  function arrows(event) {
    const way = NUDGES[event.code];
    if (session.chosen.size && (event.shiftKey || event.code.startsWith("Page"))) {
      const step = session.snap ? GRID_STEP : 0.01;
      session.step((path) => moveKeys(path, [...session.chosen], way.map((x) => x * step)));
    } else if (event.code === "ArrowLeft" || event.code === "ArrowRight") {
      session.seek(Math.round(session.playhead) + way[0]);
    } else if (event.code.startsWith("Arrow")) {
      seekKey(-way[2]);
    }
  }

  function typed(event) {
    const [target] = event.composedPath();
    const typing = target.matches?.("input:not([type=checkbox]):not([type=range]), select, textarea");
    if (event.key === "Escape") {
      event.preventDefault();
      return actions.escape(typing ? target : null);
    }
    const command = event.ctrlKey || event.metaKey;
    if (command && event.code === "KeyZ" && !typing) return used(event, event.shiftKey ? session.redo : session.undo);
    if (command && event.code === "KeyY" && !typing) return used(event, session.redo);
    if (command && event.code === "KeyA" && !typing) {
      return used(event, () => session.choose(allKeys(session.path)));
    }
    if (typing || command || event.altKey) return;
    if (session.mode === "fly" && FLYING.has(event.code)) {
      codes.add(event.code);
      return used(event, () => stage.fly(codes));
    }
    if (event.key === "?") return used(event, actions.help);
    const onControl = target.matches?.("button, summary, input");
    if (onControl && ["Space", "Enter"].includes(event.code)) return;
    if (NUDGES[event.code] && !target.matches?.("input")) return used(event, () => arrows(event));
    if (held[event.code]) used(event, () => held[event.code](event));
  }

  function used(event, action) {
    event.preventDefault();
    action();
  }

  dialog.addEventListener("keydown", (event) => {
    event.stopPropagation();
    typed(event);
  });
  dialog.addEventListener("keyup", (event) => codes.delete(event.code));
  dialog.addEventListener("focusout", () => codes.clear());
}
