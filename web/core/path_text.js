// A path as text and back: the twin of memory/path_text.py and of the JSON of CameraPath, with the same words where a
// text is no path.

import { MAX_KEYS, PathError, makeKey, makePath } from "./path.js";
import { canonical, normalised } from "./quaternion.js";
import { EASINGS, bake } from "./spline.js";
import { float, kind, repr } from "./words.js";

/** Newest version of the text that is read, and the one that is written. */
export const VERSION = 2;
const MAX_TEXT = 8_000_000;
const NAMES = Object.keys(EASINGS);
const [FRAME, POSE, SLOPE] = [1e3, 1e6, 1e8]; // units of the compact text

/** Read the compact text, the long form or version 1. Throws PathError. */
export function parsePath(text) {
  const record = load(text);
  if ((record.format ?? "spatial-memory-path") !== "spatial-memory-path") {
    throw new PathError(`camera path has format ${repr(record.format)}, expected 'spatial-memory-path'`);
  }
  const keyframes = readKeys(record);
  const numFrames = number(record.num_frames, "num_frames");
  if (!Number.isInteger(numFrames)) throw new PathError(`num_frames is ${float(numFrames)}, expected a whole number`);
  const { loop = false, units = "scene", name = "path" } = record;
  if (typeof loop !== "boolean" || typeof units !== "string" || typeof name !== "string") {
    throw new PathError(
      `camera path has loop=${repr(loop)}, units=${repr(units)}, name=${repr(name)}; ` +
        "expected true or false and two texts");
  }
  const [fps, tension] = [number(record.fps ?? 16, "fps"), number(record.tension ?? 0, "tension")];
  return makePath({ keyframes, numFrames, fps, loop, tension, units, name });
}

/** Never throws: frozen {text, path|null, problem: null|{code: "empty"|"newer"|"invalid", message}}. Where path is null
 * the text is to be kept as it is. */
export function openText(text) {
  if (!text.trim()) return Object.freeze({ text, path: null, problem: { code: "empty", message: "" } });
  try {
    return Object.freeze({ text, path: parsePath(text), problem: null });
  } catch (error) {
    if (!(error instanceof PathError)) throw error;
    return Object.freeze({ text, path: null, problem: { code: error.code, message: error.message } });
  }
}

/** The widget's text: one JSON object, the keys one string (see memory/path_text.py), quantised. */
export function toCompact(path) {
  return JSON.stringify({ ...header(path), keys: path.keyframes.map(words).join(";") });
}

/** The long, readable form for files, with the bake. */
export function toJson(path) {
  const keyframes = path.keyframes.map((key) => ({
    frame: key.frame, position: key.position, rotation: key.rotation, vertical_fov: key.verticalFov, easing: key.easing,
    ...(key.hold && { hold: key.hold }),
    ...(key.velocity && { velocity: key.velocity }),
    ...(key.spin && { spin: key.spin }),
    ...(key.zoom !== null && { zoom: key.zoom }),
  }));
  const poses = Array.from({ length: path.numFrames }, (_, i) => Array.from(bake(path).subarray(8 * i, 8 * i + 8)));
  const baked = { columns: "x y z qw qx qy qz vertical_fov", poses };
  return JSON.stringify({ format: "spatial-memory-path", ...header(path), keyframes, bake: baked });
}

/** The path as its compact text holds it: what Python will read. */
export function settled(path) {
  return parsePath(toCompact(path));
}

function header({ name, numFrames, fps, loop, tension, units }) {
  return { version: VERSION, name, num_frames: numFrames, fps, loop, tension, units };
}

function load(text) {
  if (text.length > MAX_TEXT) {
    throw new PathError(`the camera path is ${text.length} characters long, at most ${MAX_TEXT} are read`);
  }
  let record;
  try {
    record = JSON.parse(text);
  } catch (error) {
    throw new PathError(`the camera path is no JSON: ${error.message}`);
  }
  if (record === null || typeof record !== "object" || Array.isArray(record)) {
    throw new PathError(`the camera path is a JSON ${kind(record)}, expected an object`);
  }
  const found = record.version;
  if (!Number.isInteger(found) || found < 1) {
    throw new PathError(`the camera path has version ${repr(found)}, expected ${VERSION}`);
  }
  if (found > VERSION) {
    throw new PathError(
      `the camera path has version ${found}, this pack reads up to ${VERSION}: update the pack`, "newer");
  }
  return record;
}

function readKeys(record) {
  const { keyframes, keys } = record;
  const list = Array.isArray(keyframes);
  const parts = list ? keyframes : typeof keys === "string" ? keys.split(";") : [];
  if (!parts.length) throw new PathError("camera path has no list 'keyframes'; expected at least 2 keys");
  if (parts.length > MAX_KEYS) {
    throw new PathError(
      `camera path has ${parts.length} keyframes, at most ${MAX_KEYS} are read; thin the keys out`);
  }
  return parts.map(list ? longKey : compactKey);
}

function longKey(record, i) {
  if (record === null || typeof record !== "object" || Array.isArray(record)) {
    throw new PathError(`key ${i} is ${repr(record)}, expected an object with frame, position, rotation`);
  }
  const { easing = "linear" } = record;
  if (typeof easing !== "string") {
    throw new PathError(`key ${i} has easing ${repr(easing)}, expected one of ${NAMES.join(", ")}`);
  }
  const position = numbers(record.position, 3, `key ${i} position`);
  const { rotation: turn = [1, 0, 0, 0], vertical_fov: fov = 50, hold: rest = 0 } = record;
  const rotation = numbers(turn, 4, `key ${i} rotation (wxyz)`);
  const verticalFov = number(fov, `key ${i} vertical_fov`);
  const frame = number(record.frame, `key ${i} frame`);
  const hold = number(rest, `key ${i} hold`);
  const slope = (name) => record[name] == null ? null : numbers(record[name], 3, `key ${i} ${name}`);
  const [velocity, spin] = [slope("velocity"), slope("spin")];
  const zoom = record.zoom == null ? null : number(record.zoom, `key ${i} zoom`);
  return makeKey({ frame, position, rotation, verticalFov, easing, hold, velocity, spin, zoom });
}

function compactKey(part, i) {
  const row = part.split(" ");
  if (row.length < 9) {
    throw new PathError(`key ${i} has ${row.length} words, expected at least 9: frame, x y z, qw qx qy qz, fov`);
  }
  const value = (word, unit) => {
    if (!/^-?[0-9a-z]{1,10}$/.test(word)) {
      throw new PathError(`key ${i} has the word ${repr(word.slice(0, 20))}, expected a whole number in base 36`);
    }
    return parseInt(word, 36) / unit + 0;
  };
  const frame = value(row[0], FRAME);
  const pose = row.slice(1, 9).map((word) => value(word, POSE));
  const named = new Map(row.slice(9).map((word) => {
    const [name, ...rest] = word.split("=");
    return [name, rest.join("=")];
  }));
  const easing = NAMES[value(named.get("e") ?? "0", 1)];
  if (!easing) {
    const found = value(named.get("e"), 1);
    throw new PathError(`key ${i} has easing number ${found}, expected 0 to ${NAMES.length - 1}`);
  }
  const hold = value(named.get("h") ?? "0", FRAME);
  const slope = (name, count) => {
    if (!named.has(name)) return null;
    const list = named.get(name).split(",");
    if (list.length !== count) {
      throw new PathError(`key ${i} has ${list.length} numbers in ${name}=, expected ${count}`);
    }
    return list.map((word) => value(word, SLOPE));
  };
  const [velocity, spin, zoom] = [slope("v", 3), slope("s", 3), slope("z", 1)];
  return makeKey({
    frame, position: pose.slice(0, 3), rotation: pose.slice(3, 7), verticalFov: pose[7], easing, hold, velocity, spin,
    zoom: zoom && zoom[0],
  });
}

function words(key) {
  const word = (x, unit) => (Math.floor(x * unit + 0.5) + 0).toString(36);
  const norm = key.rotation.reduce((sum, x) => sum + x * x, 0);
  const rotation = canonical(Math.abs(norm - 1) < 1e-5 ? key.rotation : normalised(key.rotation));
  const row = [word(key.frame, FRAME)];
  for (const x of [...key.position, ...rotation, key.verticalFov]) row.push(word(x, POSE));
  if (key.easing !== "linear") row.push(`e=${NAMES.indexOf(key.easing)}`);
  if (key.hold) row.push(`h=${word(key.hold, FRAME)}`);
  if (key.velocity) row.push(`v=${key.velocity.map((x) => word(x, SLOPE))}`);
  if (key.spin) row.push(`s=${key.spin.map((x) => word(x, SLOPE))}`);
  if (key.zoom !== null) row.push(`z=${word(key.zoom, SLOPE)}`);
  return row.join(" ");
}

function numbers(values, count, what) {
  if (!Array.isArray(values) || values.length !== count) {
    throw new PathError(`${what} is ${repr(values)}, expected ${count} numbers`);
  }
  return values.map((value) => number(value, what));
}

function number(value, what) {
  if (typeof value !== "number" || !(Math.abs(value) < 1e300)) {
    throw new PathError(`${what} is ${repr(value)}, expected a finite number`);
  }
  return value;
}
