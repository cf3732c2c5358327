"""The curve through a path's keyframes, one frame at a time, in float64.

Positions follow a cubic Hermite spline, rotations the same curve on unit quaternions (Bezier by slerps), the field of
view a third. A slope at a key is that of the parabola through the key and its two neighbours, so an edit moves four
segments at most, and it is never longer than three times the shorter chord, so the camera does not swing out where
speeds change, and two equal keys are a pause. A key at which the camera comes to rest (``ease_out`` before it or
``ease_in`` after it) parts the spline: what is appended behind such a key changes nothing before it.

Shape and timing are apart: an easing warps the time inside one segment and leaves the curve alone. Every formula is
symmetric in the two ends of a segment, so a mirrored path gives mirrored bits.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .quaternion import (
    Quaternion,
    Vector,
    canonical,
    conjugate,
    from_rotation_vector,
    multiply,
    normalised,
    rotation_vector,
    slerp,
)

# Each easing maps (u, v = 1 - u) to that pair at the warped time. Its slope is 0 at an eased end, 1 at a linear one.
EASINGS: dict[str, Callable[[float, float], tuple[float, float]]] = {
    "linear": lambda u, v: (u, v),
    "ease_in": lambda u, v: (u * u * (1 + v), v * (1 + u * v)),
    "ease_out": lambda u, v: (u * (1 + u * v), v * v * (1 + u)),
    "ease_in_out": lambda u, v: (u * u * (1 + 2 * v), v * v * (1 + 2 * u)),
}


@dataclass(frozen=True)
class Keyframe:
    """A pose at a time, OpenCV axes. ``easing`` is that of the segment that leaves the key."""

    frame: float  # in frames, fractions allowed
    position: tuple[float, float, float]  # in the path's units
    rotation: Quaternion = (1.0, 0.0, 0.0, 0.0)  # wxyz, camera to world, any length
    vertical_fov: float = 50.0  # degrees over the full height
    easing: str = "linear"

    def same_pose(self, other: "Keyframe") -> bool:
        """Whether two keys hold the same numbers, quaternions up to sign."""
        rotations = canonical(normalised(self.rotation)), canonical(normalised(other.rotation))
        return (self.position, self.vertical_fov, rotations[0]) == (other.position, other.vertical_fov, rotations[1])


def evaluate(keys: Sequence[Keyframe], num_frames: int, loop: bool, tension: float) -> list[Vector]:
    """The exact pose of every frame: T times (x, y, z, qw, qx, qy, qz, fov) in float64."""
    times = [key.frame for key in keys]
    q = [normalised(key.rotation) for key in keys]
    position = _tangents(
        keys, loop, tension, lambda i, j: tuple(b - a for a, b in zip(keys[i].position, keys[j].position))
    )
    spin = _tangents(keys, loop, tension, lambda i, j: rotation_vector(multiply(conjugate(q[i]), q[j])))
    zoom = _tangents(keys, loop, tension, lambda i, j: (keys[j].vertical_fov - keys[i].vertical_fov,))
    poses = []
    for frame in range(num_frames):
        i = min(bisect_right(times, frame), len(keys) - 1) - 1
        a, b, h = keys[i], keys[i + 1], times[i + 1] - times[i]
        u, v = EASINGS[a.easing]((frame - times[i]) / h, (times[i + 1] - frame) / h)
        place = _hermite(a.position, b.position, *position[i], h, u, v)
        turn = _hermite_rotation(q[i], q[i + 1], *spin[i], h, u, v)
        low, high = sorted((a.vertical_fov, b.vertical_fov))
        (fov,) = _hermite((a.vertical_fov,), (b.vertical_fov,), *zoom[i], h, u, v)
        poses.append((*place, *turn, min(max(fov, low), high)))
    return poses


def _tangents(
    keys: Sequence[Keyframe], loop: bool, tension: float, delta: Callable[[int, int], Vector]
) -> list[tuple[Vector, Vector]]:
    """The slopes (a frame) at both ends of every segment; ``delta(i, j)`` leads from key i to key j, as seen at i."""
    last = len(keys) - 1
    span = [b.frame - a.frame for a, b in zip(keys, keys[1:])]

    def rests(i: int) -> bool:
        if i in (0, last) and not loop:
            return True
        before, after = keys[(i or last) - 1].easing, keys[i % last].easing
        return before in ("ease_out", "ease_in_out") or after in ("ease_in", "ease_in_out")

    def chords(i: int) -> tuple[Vector, Vector, float, float]:  # slope in, slope out, and their spans
        before, after = (i or last) - 1, i % last
        into = tuple(-x / span[before] for x in delta(i or last, before))
        return into, tuple(x / span[after] for x in delta(i % last, after + 1)), span[before], span[after]

    def through(i: int) -> Vector:
        into, out, h_in, h_out = chords(i)
        slope = tuple((a * h_out + b * h_in) / (h_in + h_out) for a, b in zip(into, out))
        return _shortened(slope, 3 * min(math.hypot(*into), math.hypot(*out)))

    def at_end(chord: Vector, other: int) -> Vector:  # the parabola through the chord that has the other key's slope
        if rests(other):
            return chord
        slope = tuple(2 * c - m for c, m in zip(chord, through(other)))
        forward = sum(c * m for c, m in zip(chord, slope)) > 0
        return _shortened(slope, 3 * math.hypot(*chord)) if forward else tuple(0.0 for _ in chord)

    ends = []
    for i in range(last):
        start = at_end(tuple(x / span[i] for x in delta(i, i + 1)), i + 1) if rests(i) else through(i)
        stop = at_end(tuple(-x / span[i] for x in delta(i + 1, i)), i) if rests(i + 1) else through(i + 1)
        ends.append((tuple((1 - tension) * x for x in start), tuple((1 - tension) * x for x in stop)))
    return ends


def _shortened(vector: Vector, length: float) -> Vector:
    norm = math.hypot(*vector)
    return vector if norm <= length else tuple(x * (length / norm) for x in vector)


def _hermite(a: Vector, b: Vector, slope_a: Vector, slope_b: Vector, h: float, u: float, v: float) -> Vector:
    """The cubic from a to b with the given slopes over h frames; u + v = 1. Swapping the ends gives the same bits."""
    from_a, from_b, bend = v * v * (1 + 2 * u), u * u * (1 + 2 * v), h * (u * v)
    return tuple((from_a * p + from_b * r) + bend * (v * m - u * n) for p, r, m, n in zip(a, b, slope_a, slope_b))


def _hermite_rotation(
    a: Quaternion, b: Quaternion, spin_a: Vector, spin_b: Vector, h: float, u: float, v: float
) -> Quaternion:
    """The same curve on the sphere: Bezier by slerps, with angular velocities ``spin`` (radians a frame)."""
    after = multiply(a, from_rotation_vector(tuple(h / 3 * x for x in spin_a)))
    before = multiply(b, from_rotation_vector(tuple(h / 3 * -x for x in spin_b)))
    first, middle, third = slerp(a, after, u, v), slerp(after, before, u, v), slerp(before, b, u, v)
    return normalised(slerp(slerp(first, middle, u, v), slerp(middle, third, u, v), u, v))
