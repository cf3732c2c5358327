// What the dialog's parts share: the path with its history, the chosen keys, the playhead, the tools.

import { PathError } from "../core/path.js";
import { settled, toCompact } from "../core/path_text.js";
import { begin, cancel, commit, newHistory, redo, show, undo } from "../core/undo.mjs";

/** events: "path" (another path is shown), "saved" (a gesture has ended), "chosen", "playhead", "view", "scene",
 * "tool". save(path) is called once a gesture. */
export function newSession(start, save) {
  let history = newHistory(start);
  const listeners = new Map();
  const session = {
    chosen: new Set(), playhead: 0, tool: "move", mode: null, axis: null, snap: false, falloff: 0, playing: false,
    through: false, scene: null, told: null, holes: null, ghost: null,
    shown: { contradicted: false, edited: false, references: true, pictures: true, mask: true },
    get path() { return history.state; },
    get before() { return history.gesture?.before ?? history.state; },
    get dragging() { return history.gesture !== null; },
    get canUndo() { return history.past.length > 0; },
    get canRedo() { return history.future.length > 0; },
    on(event, listener) {
      listeners.set(event, [...(listeners.get(event) ?? []), listener]);
    },
    tell(event) {
      for (const listener of listeners.get(event) ?? []) listener();
    },
    begin() {
      history = begin(history);
    },
    /** What the gesture shows now; a path that is none (PathError) leaves what was shown. */
    show(make) {
      const next = attempt(make);
      if (next && next !== history.state) become(show(history, next));
    },
    commit() {
      if (!history.gesture) return;
      const { before } = history.gesture;
      const next = before === history.state ? before : settled(history.state);
      const same = toCompact(next) === toCompact(before);
      become(commit(show(history, same ? before : next)));
      if (!same) saved();
    },
    cancel() {
      if (history.gesture) become(cancel(history));
    },
    /** A whole gesture. Returns whether it changed something. */
    step(make) {
      const before = history.state;
      session.begin();
      session.show(make);
      session.commit();
      return history.state !== before;
    },
    undo() {
      const [before, running] = [history.state, history.gesture];
      become(undo(history));
      if (!running && history.state !== before) saved();
    },
    redo() {
      const before = history.state;
      become(redo(history));
      if (history.state !== before) saved();
    },
    choose(indices) {
      session.chosen = new Set(indices);
      session.tell("chosen");
    },
    seek(frame) {
      session.playhead = Math.min(Math.max(frame, 0), session.path.numFrames - 1);
      session.tell("playhead");
    },
    set(fields, event) {
      Object.assign(session, fields);
      session.tell(event);
    },
    said: () => {},
  };

  function attempt(make) {
    try {
      return make(session.before);
    } catch (error) {
      if (!(error instanceof PathError)) throw error;
      session.said(error.message);
      return null;
    }
  }

  function become(next) {
    if (next === history) return;
    const other = next.state !== history.state;
    history = next;
    if (!other) return;
    const count = history.state.keyframes.length;
    if ([...session.chosen].some((i) => i >= count)) session.choose([]);
    session.playhead = Math.min(session.playhead, history.state.numFrames - 1);
    session.tell("path");
  }

  function saved() {
    save(history.state);
    session.tell("saved");
  }

  return session;
}
