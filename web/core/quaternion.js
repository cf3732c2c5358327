// Unit quaternions wxyz as plain arrays of 4; vectors are arrays of 3. The twin of memory/quaternion.py, formula by
// formula and in the same order, so that both get the same numbers. Axes: +X right, +Y down, +Z forward.

const DEGREE = Math.PI / 180;

/** The unit quaternion of the same rotation, not changed in sign. */
export function normalised(q) {
  const norm = Math.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
  return [q[0] / norm, q[1] / norm, q[2] / norm, q[3] / norm];
}

/** The one of q and -q whose first component that is not zero is positive. */
export function canonical(q) {
  return (q.find((x) => x !== 0) ?? 1) > 0 ? q : [-q[0], -q[1], -q[2], -q[3]];
}

/** The inverse of a unit quaternion. */
export function conjugate(q) {
  return [q[0], -q[1], -q[2], -q[3]];
}

/** The rotation b, then a. */
export function multiply(a, b) {
  return [
    a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
    a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
    a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
    a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
  ];
}

/** The rotation by degrees about a unit axis. */
export function fromAxis(axis, degrees) {
  const half = (degrees * DEGREE) / 2;
  const s = Math.sin(half);
  return [Math.cos(half), s * axis[0], s * axis[1], s * axis[2]];
}

/** Axis times angle in radians of a unit quaternion, the short way round. */
export function rotationVector(q) {
  const sine = Math.sqrt(q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
  const sign = q[0] < 0 ? -1 : 1;
  const factor = sign * (sine > 1e-12 ? (2 * Math.atan2(sine, sign * q[0])) / sine : 2);
  return [factor * q[1], factor * q[2], factor * q[3]];
}

/** The inverse of rotationVector. */
export function fromRotationVector(vector) {
  const angle = Math.sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]);
  const factor = angle > 1e-12 ? Math.sin(angle / 2) / angle : 0.5;
  return [Math.cos(angle / 2), factor * vector[0], factor * vector[1], factor * vector[2]];
}

/** The rotation at u of the short way from a to b; v is 1 - u. */
export function slerp(a, b, u, v) {
  const side = a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3] < 0 ? -1 : 1;
  const bw = side * b[0];
  const bx = side * b[1];
  const by = side * b[2];
  const bz = side * b[3];
  const apart = (a[0] - bw) ** 2 + (a[1] - bx) ** 2 + (a[2] - by) ** 2 + (a[3] - bz) ** 2;
  const along = (a[0] + bw) ** 2 + (a[1] + bx) ** 2 + (a[2] + by) ** 2 + (a[3] + bz) ** 2;
  const angle = 2 * Math.atan2(Math.sqrt(apart), Math.sqrt(along));
  if (angle > 1e-7) {
    const sine = Math.sin(angle);
    u = Math.sin(u * angle) / sine;
    v = Math.sin(v * angle) / sine;
  }
  return [v * a[0] + u * bw, v * a[1] + u * bx, v * a[2] + u * by, v * a[3] + u * bz];
}

/** The vector turned by a unit quaternion: camera to world for a camera's rotation. */
export function rotated(q, vector) {
  const turned = multiply(multiply(q, [0, ...vector]), conjugate(q));
  return [turned[1], turned[2], turned[3]];
}

/** The rotation matrix, 9 numbers row by row; its columns are right, down, forward in the world. */
export function matrixOf(q) {
  const [w, x, y, z] = normalised(q);
  return [
    1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
    2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
    2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
  ];
}

/** The canonical quaternion of a rotation matrix, 9 numbers row by row. */
export function fromMatrix(m) {
  const [a, b, c] = [m[7] - m[5], m[2] - m[6], m[3] - m[1]];
  const [d, e, f] = [m[3] + m[1], m[2] + m[6], m[7] + m[5]];
  const rows = [
    [1 + m[0] + m[4] + m[8], a, b, c],
    [a, 1 + m[0] - m[4] - m[8], d, e],
    [b, d, 1 - m[0] + m[4] - m[8], f],
    [c, e, f, 1 - m[0] - m[4] + m[8]],
  ];
  let best = 0;
  for (let i = 1; i < 4; i++) if (rows[i][i] > rows[best][best]) best = i;
  return canonical(normalised(rows[best]));
}

/** The level rotation (no roll; world up is -Y) that looks along a direction of any length. */
export function facing(direction) {
  const [x, y, z] = direction;
  const yaw = fromAxis([0, 1, 0], Math.atan2(x, z) / DEGREE);
  return multiply(yaw, fromAxis([1, 0, 0], Math.atan2(-y, Math.hypot(x, z)) / DEGREE));
}

/** Degrees about the viewing axis by which a camera is not level; clockwise for who holds it is positive. */
export function rollOf(q) {
  const level = facing(rotated(q, [0, 0, 1]));
  return rotationVector(multiply(conjugate(level), q))[2] / DEGREE;
}

/** The same viewing direction with this roll. */
export function withRoll(q, degrees) {
  return multiply(facing(rotated(q, [0, 0, 1])), fromAxis([0, 0, 1], degrees));
}
