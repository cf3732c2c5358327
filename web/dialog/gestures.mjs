// What the pointer does on the stage. One gesture is one step of undo; Esc gives it up.

import { onPlane, screenRay, strokeAlong } from "../core/draw.mjs";
import { project } from "../core/frusta.js";
import { handlesOf, setHandle } from "../core/handles.mjs";
import { insertKey } from "../core/insert.mjs";
import { minus, plus, times } from "../core/keys.mjs";
import { centreOf, moveKeys, moveWithFalloff, rotateKeys, scaleKeys, snapped } from "../core/move.mjs";
import { fromAxis } from "../core/quaternion.js";
import { bake } from "../core/spline.js";
import { looked, neared, orbited, panned } from "./eye.mjs";
import { aboutAxis, alongAxis, axisOf, distance, gizmoAt } from "./gizmo.mjs";

const REACH = 10; // pixels
export const [GRID_STEP, ANGLE_STEP] = [0.05, 15];

/** stage: {canvas, view(), eye, setEye(eye), more, redraw()}. Returns {cancel()}: whether a gesture was given up. */
export function listenToPointer(stage, session) {
  const { canvas } = stage;
  let gesture = null; // {move(x, y, event), end(), drop()}

  canvas.addEventListener("pointerdown", (event) => {
    canvas.focus();
    if (gesture) return;
    const [x, y] = [event.offsetX, event.offsetY];
    gesture = starting(event, x, y);
    if (gesture) canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const [x, y] = [event.offsetX, event.offsetY];
    if (gesture) return gesture.move(x, y, event);
    const hover = keyUnder(x, y);
    if (hover !== stage.more.hover) {
      stage.more.hover = hover;
      canvas.style.cursor = hover >= 0 ? "move" : "";
      stage.redraw();
    }
  });
  canvas.addEventListener("pointerup", () => {
    const ending = gesture;
    gesture = null;
    ending?.end();
    stage.redraw();
  });
  canvas.addEventListener("pointercancel", cancel);
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (session.mode === "fly") return stage.faster(event.deltaY < 0 ? 1.15 : 1 / 1.15);
    stage.setEye(neared(stage.eye, Math.exp(0.0012 * event.deltaY)));
  }, { passive: false });
  canvas.addEventListener("dblclick", (event) => {
    const frame = frameUnder(event.offsetX, event.offsetY);
    if (frame === null) return;
    let index = -1;
    session.step((path) => {
      const inserted = insertKey(path, frame);
      index = inserted.index;
      return inserted.path;
    });
    session.choose([index]);
    session.seek(Math.round(frame));
  });

  function cancel() {
    if (!gesture) return false;
    const dropped = gesture;
    gesture = null;
    dropped.drop();
    stage.redraw();
    return true;
  }

  function starting(event, x, y) {
    if (event.button === 1 || (event.button === 0 && event.ctrlKey && session.mode)) return panning(x, y);
    if (event.button === 2 || (session.mode === "fly" && event.button === 0)) return looking(x, y);
    if (event.button !== 0) return null;
    if (session.mode === "draw") return drawing();
    if (session.mode === "marquee") return boxing(x, y);
    const grip = gripUnder(x, y);
    if (grip) return grip;
    const key = keyUnder(x, y);
    if (key >= 0) {
      if (event.shiftKey) {
        const chosen = new Set(session.chosen);
        if (!chosen.delete(key)) chosen.add(key);
        session.choose(chosen);
        return null;
      }
      if (!session.chosen.has(key)) session.choose([key]);
      session.seek(session.path.keyframes[key].frame);
      return edit(dragOf(session.path.keyframes[key].position, key), x, y);
    }
    if (event.ctrlKey) return panning(x, y);
    return event.shiftKey ? boxing(x, y) : orbiting(x, y);
  }

  /** A gesture that changes the path: make(before, dx, dy, {x, y}) gives the path that it shows. */
  function edit(make, x0, y0) {
    let moved = false;
    session.begin();
    return {
      move(x, y, event) {
        if (!moved && Math.hypot(x - x0, y - y0) < 3) return;
        moved = true;
        const snap = session.snap !== event.ctrlKey; // Ctrl turns it round
        session.show((before) => make(before, x - x0, y - y0, { from: [x0, y0], to: [x, y], snap }));
      },
      end: () => session.commit(),
      drop: () => session.cancel(),
    };
  }

  function gripUnder(x, y) {
    const indices = [...session.chosen];
    if (!indices.length || session.through) return null;
    const [view, path] = [stage.view(), session.path];
    if (indices.length === 1) {
      const ends = handlesOf(path, indices[0]);
      for (const side of ["into", "out"]) {
        if (!ends[side] || away(view, ends[side], x, y) > REACH) continue;
        return edit((before, dx, dy) =>
          setHandle(before, indices[0], side, plus(ends[side], across(view, ends[side], dx, dy))), x, y);
      }
    }
    const centre = centreOf(path, indices);
    const name = gizmoAt(view, centre, session.tool, x, y);
    if (!name) return null;
    if (session.tool === "rotate") {
      return edit((before, dx, dy, { from, to, snap }) => {
        const turn = aboutAxis(view, centre, name, from, to);
        const degrees = snap ? ANGLE_STEP * Math.round(turn / ANGLE_STEP) : turn;
        return rotateKeys(before, indices, fromAxis(axisOf(name), degrees), centre);
      }, x, y);
    }
    if (session.tool === "scale") {
      const [cx, cy] = project(view, centre);
      return edit((before, dx, dy, { from, to, snap }) => {
        const factor = Math.hypot(to[0] - cx, to[1] - cy) / Math.hypot(from[0] - cx, from[1] - cy);
        return scaleKeys(before, indices, Math.max(snap ? Math.round(10 * factor) / 10 : factor, 0.01), centre);
      }, x, y);
    }
    return edit(dragOf(centre, indices[0], name), x, y);
  }

  /** How the chosen keys follow the pointer from a place: in the plane of the screen, or along an axis. */
  function dragOf(place, key, gripped = null) {
    const [view, indices] = [stage.view(), [...session.chosen]];
    return (before, dx, dy, { snap }) => {
      const axis = gripped ?? session.axis;
      const way = axis ? times(axisOf(axis), alongAxis(view, place, axis, dx, dy)) : across(view, place, dx, dy);
      const vector = snap ? snapped(way, GRID_STEP) : way;
      return session.falloff > 0 && indices.length === 1
        ? moveWithFalloff(before, key, vector, session.falloff)
        : moveKeys(before, indices, vector);
    };
  }

  const following = (turn) => (x, y) => {
    let [px, py] = [x, y];
    const before = stage.eye;
    return {
      move(nx, ny) {
        stage.setEye(turn(stage.eye, nx - px, ny - py));
        [px, py] = [nx, ny];
      },
      end() {},
      drop: () => stage.setEye(before),
    };
  };
  const orbiting = (x, y) => {
    const turning = following((eye, dx, dy) => orbited(eye, 0.35 * dx, -0.35 * dy))(x, y);
    let moved = false;
    return {
      ...turning,
      move(nx, ny) {
        moved ||= Math.hypot(nx - x, ny - y) > 3;
        if (moved) turning.move(nx, ny);
      },
      end: () => moved || session.choose([]),
    };
  };
  const looking = following((eye, dx, dy) => looked(eye, 0.18 * dx, -0.18 * dy));
  const panning = following((eye, dx, dy) => panned(eye, dx, dy, canvas.clientHeight));

  function boxing(x0, y0) {
    const already = new Set(session.chosen);
    return {
      move(x, y) {
        stage.more.box = [Math.min(x0, x), Math.min(y0, y), Math.max(x0, x), Math.max(y0, y)];
        const [left, top, right, bottom] = stage.more.box;
        const view = stage.view();
        const inside = session.path.keyframes.flatMap(({ position }, i) => {
          const [px, py, depth] = project(view, position);
          return depth > 0 && px >= left && px <= right && py >= top && py <= bottom ? [i] : [];
        });
        session.choose([...already, ...inside]);
      },
      end: () => {
        stage.more.box = null;
        session.set({ mode: null }, "tool");
      },
      drop: () => {
        stage.more.box = null;
        session.choose(already);
      },
    };
  }

  function drawing() {
    const start = session.path.keyframes[0];
    stage.more.stroke = [];
    return {
      move(x, y) {
        const { origin, direction } = screenRay(stage.view(), x, y);
        const point = onPlane(origin, direction, start.position, [0, 1, 0]);
        if (point && Math.hypot(...minus(point, start.position)) < 50) stage.more.stroke.push(point);
        stage.redraw();
      },
      end() {
        const { stroke } = stage.more;
        stage.more.stroke = null;
        session.set({ mode: null }, "tool");
        const { numFrames, fps, units } = session.path;
        const fields = { numFrames, fps, units, name: "drawn", verticalFov: start.verticalFov };
        if (stroke.length > 1) session.step(() => strokeAlong(stroke, fields));
      },
      drop() {
        stage.more.stroke = null;
      },
    };
  }

  /** A drag over so many pixels as a vector in the plane of the screen at a place. */
  function across(view, place, dx, dy) {
    const scale = project(view, place)[2] / view.focal;
    return [0, 1, 2].map((n) => scale * (dx * view.matrix[n] + dy * view.matrix[3 + n]));
  }

  function away(view, point, x, y) {
    const [px, py, depth] = project(view, point);
    return depth > 0 ? Math.hypot(px - x, py - y) : Infinity;
  }

  function keyUnder(x, y) {
    const view = stage.view();
    const near = session.path.keyframes.map(({ position }) => away(view, position, x, y));
    const best = Math.min(...near);
    if (best > REACH) return -1;
    const chosen = [...session.chosen].find((i) => near[i] < best + 2); // of keys that coincide, the chosen one
    return chosen ?? near.indexOf(best);
  }

  /** The frame of the path under a pixel, or null. */
  function frameUnder(x, y) {
    const [view, poses] = [stage.view(), bake(session.path)];
    let [best, found, before] = [REACH, null, null];
    for (let frame = 0; frame < session.path.numFrames; frame++) {
      const here = project(view, poses.subarray(8 * frame, 8 * frame + 3));
      if (before && here[2] > 0 && before[2] > 0) {
        const near = distance([x, y], before, here);
        const [dx, dy] = [here[0] - before[0], here[1] - before[1]];
        const square = dx * dx + dy * dy;
        const share = square ? ((x - before[0]) * dx + (y - before[1]) * dy) / square : 0;
        if (near < best) [best, found] = [near, frame - 1 + Math.min(Math.max(share, 0), 1)];
      }
      before = here;
    }
    return found;
  }

  return { cancel };
}
