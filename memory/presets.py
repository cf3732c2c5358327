"""Camera movements with a name: a few editable keys each, starting from rest at the origin and looking along +Z.

``amount`` is in the path's units (multiples of the scene unit) or in degrees, as each docstring says. Positive means
right, up, forward, clockwise. Where a movement turns about a point, the point lies 1 unit ahead of the first camera.
"""

import math
from collections.abc import Callable
from dataclasses import replace

from .path import CameraPath
from .quaternion import Quaternion, conjugate, from_axis, multiply, normalised, rotation_vector
from .spline import Keyframe

Shape = Callable[[float], tuple[tuple[float, float, float], Quaternion]]  # progress 0..1 -> position, rotation wxyz

LEVEL: Quaternion = (1.0, 0.0, 0.0, 0.0)
REVERSED = {"ease_in": "ease_out", "ease_out": "ease_in"}


def hold(num_frames: int, amount: float = 0.0, fps: float = 16.0, vertical_fov: float = 50.0) -> CameraPath:
    """Stand still. ``amount`` is not used."""
    return _path("hold", lambda s: ((0.0, 0.0, 0.0), LEVEL), 1, num_frames, fps, vertical_fov)


def dolly(num_frames: int, amount: float = 0.5, fps: float = 16.0, vertical_fov: float = 50.0) -> CameraPath:
    """Move forward by ``amount`` units."""
    return _path("dolly", lambda s: ((0.0, 0.0, amount * s), LEVEL), 1, num_frames, fps, vertical_fov)


def truck(num_frames: int, amount: float = 0.4, fps: float = 16.0, vertical_fov: float = 50.0) -> CameraPath:
    """Move to the right by ``amount`` units."""
    return _path("truck", lambda s: ((amount * s, 0.0, 0.0), LEVEL), 1, num_frames, fps, vertical_fov)


def pedestal(num_frames: int, amount: float = 0.3, fps: float = 16.0, vertical_fov: float = 50.0) -> CameraPath:
    """Move up by ``amount`` units."""
    return _path("pedestal", lambda s: ((0.0, -amount * s, 0.0), LEVEL), 1, num_frames, fps, vertical_fov)


def pan(num_frames: int, amount: float = 40.0, fps: float = 16.0, vertical_fov: float = 50.0) -> CameraPath:
    """Turn to the right by ``amount`` degrees."""
    return _path("pan", lambda s: ((0.0, 0.0, 0.0), _yaw(amount * s)), _parts(amount), num_frames, fps, vertical_fov)


def tilt(num_frames: int, amount: float = 20.0, fps: float = 16.0, vertical_fov: float = 50.0) -> CameraPath:
    """Look up by ``amount`` degrees."""
    shape = lambda s: ((0.0, 0.0, 0.0), from_axis((1.0, 0.0, 0.0), amount * s))  # noqa: E731
    return _path("tilt", shape, _parts(amount), num_frames, fps, vertical_fov)


def roll(num_frames: int, amount: float = 30.0, fps: float = 16.0, vertical_fov: float = 50.0) -> CameraPath:
    """Turn about the viewing axis by ``amount`` degrees, clockwise for who holds the camera."""
    shape = lambda s: ((0.0, 0.0, 0.0), from_axis((0.0, 0.0, 1.0), amount * s))  # noqa: E731
    return _path("roll", shape, _parts(amount), num_frames, fps, vertical_fov)


def orbit(num_frames: int, amount: float = 360.0, fps: float = 16.0, vertical_fov: float = 50.0) -> CameraPath:
    """Circle the point ahead by ``amount`` degrees, to the right; full turns close exactly."""
    path = _path("orbit", _around(amount, 1.0), _parts(amount), num_frames, fps, vertical_fov)
    return close_loop(_ending_at_start(path)) if amount and amount % 360 == 0 else path


def arc(num_frames: int, amount: float = 30.0, fps: float = 16.0, vertical_fov: float = 50.0) -> CameraPath:
    """Swing to the right about the point ahead by ``amount`` degrees and keep looking at it."""
    return _path("arc", _around(amount, 1.0), 2 + _parts(amount), num_frames, fps, vertical_fov)


def spiral(num_frames: int, amount: float = 0.3, fps: float = 16.0, vertical_fov: float = 50.0) -> CameraPath:
    """Wind outwards to a radius of ``amount`` units in one turn and a half, looking at the point ahead."""

    def shape(s: float) -> tuple[tuple[float, float, float], Quaternion]:
        turn = 3 * math.pi * s**0.6  # about as much way in every part of the progress
        radius = amount * s**0.6
        return _facing_point(radius * math.cos(turn), -radius * math.sin(turn))

    return _path("spiral", shape, 16, num_frames, fps, vertical_fov)


def figure_eight(num_frames: int, amount: float = 0.3, fps: float = 16.0, vertical_fov: float = 50.0) -> CameraPath:
    """Draw a lying eight of half-width ``amount`` units, looking at the point ahead; ends exactly where it began."""

    def shape(s: float) -> tuple[tuple[float, float, float], Quaternion]:
        return _facing_point(amount * math.sin(2 * math.pi * s), -amount / 2 * math.sin(4 * math.pi * s))

    return close_loop(_ending_at_start(_path("figure_eight", shape, 12, num_frames, fps, vertical_fov)))


def push_in(num_frames: int, amount: float = 0.4, fps: float = 16.0, vertical_fov: float = 50.0) -> CameraPath:
    """Move forward by ``amount`` units in three quarters of the time, then rest there."""
    end = num_frames - 1
    keys = (
        Keyframe(0.0, (0.0, 0.0, 0.0), LEVEL, vertical_fov, "ease_in_out"),
        Keyframe(round(0.75 * end) if end > 2 else 0.75 * end, (0.0, 0.0, amount), LEVEL, vertical_fov, "ease_in_out"),
        Keyframe(float(end), (0.0, 0.0, amount), LEVEL, vertical_fov),
    )
    return CameraPath(keys, num_frames, fps, name="push_in")


def out_and_back(num_frames: int, amount: float = 0.35, fps: float = 16.0, vertical_fov: float = 50.0) -> CameraPath:
    """Swing ``amount`` units to the right about the point ahead, turning a little past it, and return the same way.

    The path ends at its first pose, and the cameras of frames j and num_frames - 1 - j are equal to the bit.

    Raises:
        ValueError: ``amount`` is beyond 1, the radius of the arc.
    """
    if not -1 <= amount <= 1:
        raise ValueError(f"amount is {amount}, expected -1 to 1: the arc has radius 1 and reaches no further sideways")
    shape = _around(math.degrees(math.asin(amount)), 1.2)
    end = num_frames - 1
    *out, turn = _eased_keys(shape, 4, end / 2, vertical_fov)
    back = [
        replace(key, frame=end - key.frame, easing=REVERSED.get(before.easing, "linear"))
        for before, key in zip([turn, *out], out)
    ]
    turn = replace(turn, easing=REVERSED.get(out[-1].easing, "linear"))
    return CameraPath((*out, turn, *back[::-1]), num_frames, fps, loop=True, name="out_and_back")


def look_around(num_frames: int, amount: float = 30.0, fps: float = 16.0, vertical_fov: float = 50.0) -> CameraPath:
    """Look ``amount`` degrees to the right, then as far to the left, and end exactly where it began."""
    shape = lambda s: ((0.0, 0.0, 0.0), _yaw(amount * math.sin(2 * math.pi * s)))  # noqa: E731
    path = _path("look_around", shape, 4 + 4 * _parts(amount), num_frames, fps, vertical_fov)
    return close_loop(_ending_at_start(path))


def zoom(num_frames: int, amount: float = 1.5, fps: float = 16.0, vertical_fov: float = 50.0) -> CameraPath:
    """Magnify ``amount`` times from where the camera stands; below 1 widens the view.

    Raises:
        ValueError: ``amount`` is not positive.
    """
    if not amount > 0:
        raise ValueError(f"amount is {amount}, expected a positive magnification")
    path = _path("zoom", lambda s: ((0.0, 0.0, 0.0), LEVEL), 4, num_frames, fps, vertical_fov)
    return _zoomed(path, lambda s: 1 + (amount - 1) * s)


def dolly_zoom(num_frames: int, amount: float = 0.4, fps: float = 16.0, vertical_fov: float = 50.0) -> CameraPath:
    """Move forward by ``amount`` units while the view widens: what is 1 unit ahead of the start keeps its size.

    Raises:
        ValueError: ``amount`` reaches the point that keeps its size.
    """
    if not amount < 1:
        raise ValueError(f"amount is {amount}, expected below 1: what keeps its size is 1 unit ahead")
    path = _path("dolly_zoom", lambda s: ((0.0, 0.0, amount * s), LEVEL), 6, num_frames, fps, vertical_fov)
    return _zoomed(path, lambda s: 1 - amount * s)


PRESETS: dict[str, Callable[..., CameraPath]] = {
    preset.__name__: preset
    for preset in (
        hold,
        dolly,
        truck,
        pedestal,
        pan,
        tilt,
        roll,
        orbit,
        arc,
        spiral,
        figure_eight,
        push_in,
        out_and_back,
        look_around,
        zoom,
        dolly_zoom,
    )
}


def close_loop(path: CameraPath) -> CameraPath:
    """The same movement, closed: its last frame is, to the bit, its first pose.

    A path that does not end at its first pose gets a way back. Its keys keep their order and are moved to earlier
    frames, so that the way back takes the share of the time that its length asks for (a tenth to a half); the number of
    frames stays. Keys beyond the last frame are dropped.
    """
    end = float(path.num_frames - 1)
    keys = [
        replace(key, hold=min(key.hold, end - key.frame)) for key in path.keyframes if key.frame <= path.num_frames - 1
    ]
    if keys[0].same_pose(keys[-1]) and keys[-1].leaves == end and len(keys) > 1:
        final = replace(keys[0], frame=keys[-1].frame, hold=keys[-1].hold, easing=keys[-1].easing)
        return replace(path, keyframes=(*keys[:-1], final), loop=True)
    way, back = sum(_length(a, b) for a, b in zip(keys, keys[1:])), _length(keys[-1], keys[0])
    share = min(max(back / (way + back), 0.1), 0.5) if back else 0.1
    scale = end * (1 - share) / keys[-1].leaves if keys[-1].leaves else 1.0
    moved = [_stretched(key, scale) for key in keys]
    final = replace(moved[0], frame=end, hold=0.0, easing="linear")
    return replace(path, keyframes=(*moved, final), loop=True)


def _stretched(key: Keyframe, scale: float) -> Keyframe:
    """The key where time runs ``scale`` times slower: the curve keeps its shape."""
    return replace(
        key,
        frame=key.frame * scale,
        hold=key.hold * scale,
        velocity=key.velocity and _slower(key.velocity, scale),
        spin=key.spin and _slower(key.spin, scale),
        zoom=None if key.zoom is None else key.zoom / scale,
    )


def _slower(slope: tuple[float, float, float], scale: float) -> tuple[float, float, float]:
    return slope[0] / scale, slope[1] / scale, slope[2] / scale


def _yaw(degrees: float) -> Quaternion:
    return from_axis((0.0, 1.0, 0.0), degrees)


def _parts(degrees: float) -> int:
    """Segments of at most 24 degrees, so that arcs stay round."""
    if not abs(degrees) <= 5400:
        raise ValueError(f"amount is {degrees}, expected at most 5400 degrees (15 turns)")
    return max(1, math.ceil(abs(degrees) / 24))


def _around(degrees: float, turning: float) -> Shape:
    """To the right about the point ahead; ``turning`` 1 keeps facing it, more turns past it."""

    def shape(s: float) -> tuple[tuple[float, float, float], Quaternion]:
        angle = math.radians(degrees * s)
        return (math.sin(angle), 0.0, 1 - math.cos(angle)), _yaw(-turning * degrees * s)

    return shape


def _facing_point(x: float, y: float) -> tuple[tuple[float, float, float], Quaternion]:
    """A camera at (x, y, 0) without roll that faces (0, 0, 1)."""
    up = math.degrees(math.atan2(y, math.hypot(x, 1.0)))  # +Y is down: a camera below the axis looks up
    return (x, y, 0.0), multiply(_yaw(-math.degrees(math.atan2(x, 1.0))), from_axis((1.0, 0.0, 0.0), up))


def _eased_keys(shape: Shape, parts: int, duration: float, vertical_fov: float) -> list[Keyframe]:
    """parts + 1 keys at equal progress along ``shape``, at the frames where a movement from rest to rest passes them.

    Progress follows 3 u^2 - 2 u^3 over ``duration`` frames; keys lie on whole frames where there are enough.
    """
    if not duration > 0:
        raise ValueError("num_frames is below 2, the fewest that a movement takes")
    grid = 1 if duration > 2 * parts else 1024
    keys = []
    for i in range(parts + 1):
        u = 0.5 - math.sin(math.asin(1 - 2 * i / parts) / 3)  # the inverse of 3 u^2 - 2 u^3
        frame = round(u * duration * grid) / grid if i < parts else float(duration)
        u = frame / duration
        position, rotation = shape(u * u * (3 - 2 * u))
        x, y, z = (round(number, 6) + 0.0 for number in position)
        qw, qx, qy, qz = (round(number, 9) + 0.0 for number in rotation)
        first, final = i == 0, i == parts - 1
        easing = "ease_in_out" if first and final else "ease_in" if first else "ease_out" if final else "linear"
        keys.append(Keyframe(frame, (x, y, z), (qw, qx, qy, qz), vertical_fov, easing))
    return keys


def _path(name: str, shape: Shape, parts: int, num_frames: int, fps: float, vertical_fov: float) -> CameraPath:
    keys = _eased_keys(shape, parts, float(num_frames - 1), vertical_fov)
    return CameraPath(tuple(keys), num_frames, fps, name=name)


def _zoomed(path: CameraPath, magnification: Callable[[float], float]) -> CameraPath:
    """The path with the view of each key magnified; ``magnification`` takes the key's progress."""
    half, end = math.tan(math.radians(path.keyframes[0].vertical_fov) / 2), path.num_frames - 1
    keys = []
    for key in path.keyframes:
        u = key.frame / end
        fov = math.degrees(2 * math.atan(half / magnification(u * u * (3 - 2 * u))))
        keys.append(replace(key, vertical_fov=round(fov, 6)))
    return replace(path, keyframes=tuple(keys))


def _ending_at_start(path: CameraPath) -> CameraPath:
    """The path with its last key at the first pose, for shapes that come round but for rounding."""
    first, last = path.keyframes[0], path.keyframes[-1]
    return replace(path, keyframes=(*path.keyframes[:-1], replace(first, frame=last.frame, easing=last.easing)))


def _length(a: Keyframe, b: Keyframe) -> float:
    """How far two keys are apart: units of distance plus radians of turn."""
    turn = rotation_vector(multiply(conjugate(normalised(a.rotation)), normalised(b.rotation)))
    return math.dist(a.position, b.position) + math.hypot(*turn)
