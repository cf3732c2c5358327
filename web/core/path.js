// The recipe of a camera movement as frozen values: the twin of memory/path.py, with the same words where something is
// no path. path_text.js reads and writes it.
//
// key:  {frame, position [3], rotation [4] wxyz, verticalFov, easing, hold, velocity [3], spin [3], zoom}; the last 3
//       (slopes a frame, see memory/spline.py) are null where the neighbours decide
// path: {keyframes, numFrames, fps, loop, tension, units "scene"|"world", name}

import { canonical, normalised } from "./quaternion.js";
import { EASINGS } from "./spline.js";
import { float, repr } from "./words.js";

export const MAX_FRAMES = 4096;
export const MAX_KEYS = 256;
export const UNITS = Object.freeze(["scene", "world"]);
const NAMES = Object.keys(EASINGS);

/** What is no path. `code` is "newer" for a text of a later version, else "invalid". */
export class PathError extends Error {
  constructor(message, code = "invalid") {
    super(message);
    this.code = code;
  }
}

/** A frozen key; what is missing gets its default (frame and position must be given). */
export function makeKey(fields) {
  const key = {
    rotation: [1, 0, 0, 0], verticalFov: 50, easing: "linear", hold: 0, velocity: null, spin: null, zoom: null,
    ...fields,
  };
  for (const name of ["position", "rotation", "velocity", "spin"]) key[name] &&= Object.freeze([...key[name]]);
  return Object.freeze(key);
}

/** A frozen path of what is given. Throws PathError where it is no path, with the words of Python's check_path. */
export function makePath(fields) {
  const defaults = { fps: 16, loop: false, tension: 0, units: "scene", name: "path" };
  const path = { ...defaults, ...fields, keyframes: Object.freeze(fields.keyframes.map(makeKey)) };
  check(path);
  return Object.freeze(path);
}

/** The path with some fields replaced, checked again. */
export function changed(path, fields) {
  return makePath({ ...path, ...fields });
}

/** Whether two keys hold the same position, field of view and rotation. */
export function samePose(a, b) {
  const numbers = (key) => [...key.position, key.verticalFov, ...canonical(normalised(key.rotation))];
  const other = numbers(b);
  return numbers(a).every((x, i) => x === other[i]);
}

/** The frame at which the camera leaves a key. */
export function leaves(key) {
  return key.frame + key.hold;
}

function check({ keyframes: keys, numFrames, fps, loop, tension, units }) {
  const refuse = (message) => {
    throw new PathError(message);
  };
  if (!(numFrames >= 2 && numFrames <= MAX_FRAMES)) refuse(`num_frames is ${numFrames}, expected 2 to ${MAX_FRAMES}`);
  if (!(keys.length >= 2 && keys.length <= MAX_KEYS)) {
    refuse(
      `the path has ${keys.length} keyframe(s), expected 2 to ${MAX_KEYS}; a camera at rest takes two equal keys`);
  }
  if (!(Number.isFinite(fps) && fps > 0)) refuse(`fps is ${float(fps)}, expected a positive number`);
  if (!(tension >= 0 && tension <= 1)) refuse(`tension is ${float(tension)}, expected 0 (rounded) to 1 (straight)`);
  if (!UNITS.includes(units)) refuse(`units is ${repr(units)}, expected one of ${UNITS.join(", ")}`);
  keys.forEach((key, i) => {
    const { frame, position, rotation, verticalFov, hold, velocity, spin, zoom } = key;
    if (position.length !== 3 || rotation.length !== 4) {
      refuse(`key ${i} has ${position.length} and ${rotation.length} numbers, expected position (3), wxyz (4)`);
    }
    const held = [frame, ...position, ...rotation, verticalFov, hold, ...(velocity ?? []), ...(spin ?? []), zoom ?? 0];
    if (!held.every(Number.isFinite)) refuse(`key ${i} holds NaN or infinity, expected finite numbers`);
    if (held.some((x) => Math.abs(x) > 1e6)) refuse(`key ${i} holds a number beyond a million; scale the path down`);
    if ((velocity ?? "xyz").length !== 3 || (spin ?? "xyz").length !== 3) {
      refuse(`key ${i} has a velocity or spin that is not 3 numbers`);
    }
    if (hold < 0) refuse(`key ${i} has hold ${float(hold)}, expected 0 or more frames`);
    if (rotation.reduce((sum, x) => sum + x * x, 0) < 1e-12) {
      refuse(`key ${i} has rotation (${rotation.map(float).join(", ")}), expected a quaternion wxyz that is not zero`);
    }
    if (!(verticalFov >= 1 && verticalFov <= 170)) {
      refuse(`key ${i} has vertical_fov ${float(verticalFov)}, expected 1 to 170 degrees`);
    }
    if (!Object.hasOwn(EASINGS, key.easing)) {
      refuse(`key ${i} has easing ${repr(key.easing)}, expected one of ${NAMES.join(", ")}`);
    }
    if (i && frame - leaves(keys[i - 1]) < 1e-3 - 1e-9) {
      refuse(
        `key ${i} is at frame ${float(frame)}, key ${i - 1} at ${float(leaves(keys[i - 1]))}: ` +
          "expected increasing frames");
    }
  });
  if (keys[0].frame !== 0) {
    refuse(`key 0 is at frame ${float(keys[0].frame)}, expected frame 0, where the start image stands`);
  }
  const [final, last, end] = [keys.at(-1), keys.length - 1, numFrames - 1];
  const slack = final.hold ? 1e-6 : 0;
  if (leaves(final) < end - slack) {
    refuse(`key ${last} is at frame ${float(leaves(final))}, the path ends at frame ${end}: add a key`);
  }
  if (loop && !(samePose(keys[0], final) && Math.abs(leaves(final) - end) <= slack)) {
    refuse(`loop: key ${last} is not at frame ${end} with key 0's pose; close it with close_loop`);
  }
}
