// The scene's bytes (docs/editor_api.md) as arrays, and its poses.

import { fromMatrix } from "../core/quaternion.js";

const MAGIC = "SMSCENE1";
export const [CONTRADICTED, RETIRED, EDITED, HIDDEN] = [1, 2, 4, 8];

/** Frozen {header, place Uint16Array (4 N), look Uint8Array (4 N), pictures Uint8Array, count}. Throws Error. */
export function readScene(buffer) {
  const magic = String.fromCharCode(...new Uint8Array(buffer, 0, 8));
  if (magic !== MAGIC) throw new Error(`the scene begins with ${JSON.stringify(magic)}, expected ${MAGIC}`);
  const length = new DataView(buffer).getUint32(8, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 16, length)));
  const array = (name, Kind) => {
    const { offset, shape } = header.arrays[name];
    return new Kind(buffer, offset, shape.reduce((product, n) => product * n, 1));
  };
  const [place, look] = [array("place", Uint16Array), array("look", Uint8Array)];
  return Object.freeze({ header, place, look, pictures: array("pictures", Uint8Array), count: place.length / 4 });
}

/** The first N points that a run reads, in units of `unit` world units: {points Float32Array (3 n), colours (4 n)}. */
export function drawnPoints({ header, place, look, count }, most, unit) {
  const { low, step } = header.box;
  const kept = [];
  for (let i = 0; i < count && kept.length < most; i++) if (!(look[4 * i + 3] & (RETIRED | HIDDEN))) kept.push(i);
  const points = Float32Array.from({ length: 3 * kept.length }, (_, n) => {
    const axis = n % 3;
    return (low[axis] + place[4 * kept[(n - axis) / 3] + axis] * step[axis]) / unit;
  });
  const colours = kept.map((i) => `rgb(${look[4 * i]},${look[4 * i + 1]},${look[4 * i + 2]})`);
  return { points, colours };
}

/** How many world units are one unit of the path. */
export function unitOf(path, header) {
  return path.units === "scene" && header ? header.scene_unit : 1;
}

/** The pose (8 numbers) of a camera of the header, in units of `unit` world units. */
export function poseOf({ c2w: m, vertical_fov: fov }, unit) {
  const rotation = fromMatrix([m[0], m[1], m[2], m[4], m[5], m[6], m[8], m[9], m[10]]);
  return [m[3] / unit, m[7] / unit, m[11] / unit, ...rotation, fov];
}

/** [start, stop) of the chunks that make `numFrames` frames: those of the film, then as the mini model goes on. */
export function chunksOf(numFrames, header) {
  const made = (header?.chunks ?? []).map(({ start, stop }) => [start, stop]);
  const chunks = made.length ? made : [[0, 33]];
  for (let stop = chunks.at(-1)[1]; stop < numFrames; stop += 24) chunks.push([stop, stop + 24]);
  return chunks.filter(([start]) => start < numFrames).map(([start, stop]) => [start, Math.min(stop, numFrames)]);
}
