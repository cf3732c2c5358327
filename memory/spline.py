"""The curve through a path's keyframes, one frame at a time, in float64.

Positions follow a cubic Hermite spline, rotations the same curve on unit quaternions (Bezier by slerps), the field of
view a third. The slope at a key depends on its two neighbours alone, so an edit moves four segments at most. Its speed
is weighed by time and its direction by length, so re-timing keeps the shape, and it is at most three times the slower
chord's, so the camera does not swing out where speeds change, and two equal keys are a pause. Where an easing asks for
rest the slope is zero, and the key parts the spline: what is appended behind a key that the camera eases into changes
nothing before it. A key may hold: the camera rests there for some frames, which parts the spline too. A key may name
its slopes itself (handles that the user drags); tension leaves those alone.

A key put on the curve changes no position, and no field of view where the zoom stays in its segment's range, when it
and its two neighbours name the slopes that the curve has there. Rotations are Bezier by slerps, which no key divides
exactly: a segment that turns by 20 degrees moves by less than 0.002 degrees, one of 60 degrees by less than 0.1.

Every formula is symmetric in the two ends of a segment, so a mirrored path gives mirrored bits.
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

# For the segment that leaves a key: does the camera start from rest at the key, does it come to rest at the next one?
EASINGS = {
    "linear": (False, False),
    "ease_in": (True, False),
    "ease_out": (False, True),
    "ease_in_out": (True, True),
}


@dataclass(frozen=True)
class Keyframe:
    """A pose at a time, OpenCV axes. ``easing`` is that of the segment that leaves the key.

    ``velocity``, ``spin`` and ``zoom`` are slopes a frame; None lets the neighbours decide. A rest at the key (from an
    easing or ``hold``) comes before them. In a loop those of key 0 count at both ends.
    """

    frame: float  # in frames, fractions allowed
    position: tuple[float, float, float]  # in the path's units
    rotation: Quaternion = (1.0, 0.0, 0.0, 0.0)  # wxyz, camera to world, any length
    vertical_fov: float = 50.0  # degrees over the full height
    easing: str = "linear"
    hold: float = 0.0  # frames that the camera rests at the key, from ``frame`` on
    velocity: tuple[float, float, float] | None = None  # the path's units, world axes
    spin: tuple[float, float, float] | None = None  # radians, about the camera's own axes
    zoom: float | None = None  # degrees

    @property
    def leaves(self) -> float:
        """The frame at which the camera moves on."""
        return self.frame + self.hold

    def same_pose(self, other: "Keyframe") -> bool:
        """Whether two keys hold the same numbers, quaternions up to sign."""
        rotations = canonical(normalised(self.rotation)), canonical(normalised(other.rotation))
        return (self.position, self.vertical_fov, rotations[0]) == (other.position, other.vertical_fov, rotations[1])


def evaluate(keys: Sequence[Keyframe], num_frames: int, loop: bool, tension: float) -> list[Vector]:
    """The exact pose of every frame: T times (x, y, z, qw, qx, qy, qz, fov) in float64."""
    times = [key.frame for key in keys]
    q = [normalised(key.rotation) for key in keys]
    position = _tangents(
        keys,
        loop,
        tension,
        [key.velocity for key in keys],
        lambda i, j: tuple(b - a for a, b in zip(keys[i].position, keys[j].position)),
    )
    spin = _tangents(
        keys, loop, tension, [key.spin for key in keys], lambda i, j: rotation_vector(multiply(conjugate(q[i]), q[j]))
    )
    zoom = _tangents(
        keys,
        loop,
        tension,
        [None if key.zoom is None else (key.zoom,) for key in keys],
        lambda i, j: (keys[j].vertical_fov - keys[i].vertical_fov,),
    )
    poses: list[Vector] = []
    for frame in range(num_frames):
        found = bisect_right(times, frame) - 1
        if keys[found].hold > 0 and (frame <= keys[found].leaves or found == len(keys) - 1):
            poses.append((*keys[found].position, *q[found], keys[found].vertical_fov))
            continue
        i = min(found, len(keys) - 2)
        a, b, h = keys[i], keys[i + 1], times[i + 1] - keys[i].leaves
        u, v = (frame - a.leaves) / h, (times[i + 1] - frame) / h
        place = _hermite(a.position, b.position, *position[i], h, u, v)
        turn = _hermite_rotation(q[i], q[i + 1], *spin[i], h, u, v)
        low, high = sorted((a.vertical_fov, b.vertical_fov))
        (fov,) = _hermite((a.vertical_fov,), (b.vertical_fov,), *zoom[i], h, u, v)
        poses.append((*place, *turn, min(max(fov, low), high)))
    return poses


def _tangents(
    keys: Sequence[Keyframe],
    loop: bool,
    tension: float,
    named: Sequence[Vector | None],
    delta: Callable[[int, int], Vector],
) -> list[tuple[Vector, Vector]]:
    """The slopes (a frame) at both ends of every segment.

    ``named`` are those that the keys ask for; ``delta(i, j)`` leads from key i to key j, as seen at i.
    """
    last = len(keys) - 1
    span = [b.frame - a.leaves for a, b in zip(keys, keys[1:])]
    asked = [named[i % last] for i in range(last + 1)] if loop else named

    def rests(i: int) -> bool:  # the easings on both sides have a say; an open path has one side at its ends
        starts = EASINGS[keys[i % last].easing][0] and (i < last or loop)
        stops = EASINGS[keys[(i or last) - 1].easing][1] and (i > 0 or loop)
        holds = keys[i].hold > 0 or (loop and i in (0, last) and keys[0].hold + keys[last].hold > 0)
        return starts or stops or holds

    def slope(i: int) -> Vector | None:  # at key i, or nothing at an open end
        own = asked[i]
        if rests(i):
            return tuple(0.0 for _ in delta(0, 1))
        if own is not None:
            return own
        if i in (0, last) and not loop:
            return None
        before, after = (i or last) - 1, i % last
        into = tuple(-x / span[before] for x in delta(i or last, before))
        out = tuple(x / span[after] for x in delta(after, after + 1))
        return _passing(into, out, span[before], span[after])

    def at(i: int, chord: Vector, other: int) -> Vector:  # chord: the mean slope of the segment between i and other
        own, far = slope(i), slope(other)
        start = own if own is not None else chord if far is None else _leaving(chord, far)
        return start if asked[i] is not None else tuple((1 - tension) * x for x in start)

    return [
        (
            at(i, tuple(x / span[i] for x in delta(i, i + 1)), i + 1),
            at(i + 1, tuple(-x / span[i] for x in delta(i + 1, i)), i),
        )
        for i in range(last)
    ]


def _passing(into: Vector, out: Vector, h_in: float, h_out: float) -> Vector:
    """The slope at a key between two chords: their speeds weighed by time, their directions by length."""
    fast_in, fast_out = math.hypot(*into), math.hypot(*out)
    if min(fast_in, fast_out) < 1e-12:
        return tuple(0.0 for _ in into)
    long_in, long_out = fast_in * h_in, fast_out * h_out
    speed = min((fast_in * h_out + fast_out * h_in) / (h_in + h_out), 3 * fast_in, 3 * fast_out)
    part_in, part_out = speed * long_out / fast_in, speed * long_in / fast_out
    return tuple((part_in * a + part_out * b) / (long_in + long_out) for a, b in zip(into, out))


def _leaving(chord: Vector, far: Vector) -> Vector:
    """The slope at an open end, so that the segment is as round as its other end: ``far`` mirrored in the chord."""
    mean, speed = math.hypot(*chord), math.hypot(*far)
    along = sum(c * m for c, m in zip(chord, far))
    if along <= 0:  # the other end is at rest or turns back
        return tuple(2 * c for c in chord) if mean else chord
    scale = max(2 * mean - speed, 0.0) / speed
    return tuple(scale * (2 * along / (mean * mean) * c - m) for c, m in zip(chord, far))


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
