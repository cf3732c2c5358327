// One step of undo a gesture. A history is frozen: {past, state, future, gesture}, where gesture is null or {before};
// every function gives a new one. At most DEPTH steps are kept.

const DEPTH = 200;

/** Nothing done yet. */
export function newHistory(state) {
  return Object.freeze({ past: [], state, future: [], gesture: null });
}

/** A gesture starts; the state is kept for cancel. A gesture that still runs is committed. */
export function begin(history) {
  const settled = commit(history);
  return Object.freeze({ ...settled, gesture: { before: settled.state } });
}

/** What the gesture shows now; no step of its own. */
export function show(history, state) {
  return Object.freeze({ ...history, state });
}

/** The gesture ends: one step, or none where nothing changed. */
export function commit(history) {
  if (!history.gesture) return history;
  const { before } = history.gesture;
  if (before === history.state) return Object.freeze({ ...history, gesture: null });
  const past = [...history.past, before].slice(-DEPTH);
  return Object.freeze({ past, state: history.state, future: [], gesture: null });
}

/** The gesture ends and the state is that of its begin. */
export function cancel(history) {
  return history.gesture ? Object.freeze({ ...history, state: history.gesture.before, gesture: null }) : history;
}

/** begin, show and commit in one. */
export function step(history, state) {
  return commit(show(begin(history), state));
}

/** One step back; where a gesture runs, it is cancelled and that is all. */
export function undo(history) {
  if (history.gesture) return cancel(history);
  if (!history.past.length) return history;
  const state = history.past.at(-1);
  const future = [history.state, ...history.future];
  return Object.freeze({ past: history.past.slice(0, -1), state, future, gesture: null });
}

/** One step forth. */
export function redo(history) {
  if (history.gesture || !history.future.length) return history;
  const [state, ...future] = history.future;
  return Object.freeze({ past: [...history.past, history.state], state, future, gesture: null });
}
