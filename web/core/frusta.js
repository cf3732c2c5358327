// Cameras as lines and points on a screen, and how fast they move. A pose is 8 numbers (see spline.js).

import { conjugate, matrixOf, multiply, rotated, rotationVector } from "./quaternion.js";

/** 15 numbers in the world: the centre, then top left, top right, bottom right, bottom left at that z-depth. */
export function frustumCorners(pose, aspect, depth) {
  const y = depth * Math.tan((pose[7] * Math.PI) / 360);
  const x = y * aspect;
  const rotation = pose.slice(3, 7);
  const corners = [[0, 0, 0], [-x, -y, depth], [x, -y, depth], [x, y, depth], [-x, y, depth]];
  return corners.flatMap((corner) => rotated(rotation, corner).map((value, n) => value + pose[n]));
}

/** A frozen view {position, matrix (9, world to camera, row by row), focal, width, height} of a pose on a grid. */
export function viewOf(pose, width, height) {
  const focal = height / 2 / Math.tan((pose[7] * Math.PI) / 360);
  const matrix = matrixOf(conjugate(pose.slice(3, 7)));
  return Object.freeze({ position: Array.from(pose.slice(0, 3)), matrix, focal, width, height });
}

/** [x, y, z-depth] in pixels of a world point; z-depth <= 0 is behind the camera. */
export function project(view, point) {
  return Array.from(projectPoints(view, point, new Float64Array(3)));
}

/** Project points (3 N, world) into `out` (3 N): x, y, z-depth each. Returns out. */
export function projectPoints({ position: [px, py, pz], matrix: m, focal, width, height }, points, out) {
  for (let i = 0; i + 2 < points.length; i += 3) {
    const [x, y, z] = [points[i] - px, points[i + 1] - py, points[i + 2] - pz];
    const depth = m[6] * x + m[7] * y + m[8] * z;
    const scale = focal / depth;
    out[i] = width / 2 + scale * (m[0] * x + m[1] * y + m[2] * z);
    out[i + 1] = height / 2 + scale * (m[3] * x + m[4] * y + m[5] * z);
    out[i + 2] = depth;
  }
  return out;
}

/** Units a frame at every frame (central differences), Float64Array, of baked poses. */
export function speeds(poses) {
  return rates(poses, (i, j) =>
    Math.hypot(poses[j] - poses[i], poses[j + 1] - poses[i + 1], poses[j + 2] - poses[i + 2]));
}

/** Degrees a frame at every frame, Float64Array, of baked poses. */
export function turnSpeeds(poses) {
  const rotation = (i) => poses.slice(i + 3, i + 7);
  return rates(poses, (i, j) =>
    (Math.hypot(...rotationVector(multiply(conjugate(rotation(i)), rotation(j)))) * 180) / Math.PI);
}

/** CSS colour for a speed: 0 blue (slow), 0.5 green, 1 red (fastest). */
export function speedColour(share) {
  return `hsl(${Math.round(240 * (1 - Math.min(Math.max(share, 0), 1)))}, 85%, 55%)`;
}

function rates(poses, distance) {
  const last = poses.length / 8 - 1;
  return Float64Array.from({ length: last + 1 }, (_, i) => {
    const [from, to] = [Math.max(i - 1, 0), Math.min(i + 1, last)];
    return to > from ? distance(8 * from, 8 * to) / (to - from) : 0;
  });
}
