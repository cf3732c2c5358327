"""A picture of a camera path: from above, from the side, and how fast it moves and turns.

Both views have one scale, so that lengths compare. The path is coloured by speed, keys carry their frusta, and the
points of a memory lie under it as faint dots.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .cloud import SpatialMemory
from .path import CameraPath
from .quaternion import matrices_from_quaternions

WIDTH, HEIGHT, FINE = 1280, 760, 3  # drawn FINE times larger, then reduced: smooth lines
BACKGROUND, PANEL, GRID, TEXT, FAINT = (15, 17, 23), (22, 25, 33), (40, 45, 58), (222, 227, 237), (134, 143, 161)
START, END, TURN = (94, 226, 142), (255, 104, 104), (167, 139, 250)
SPEEDS = ((64, 124, 255), (48, 190, 220), (120, 220, 120), (252, 204, 70), (255, 116, 66))
MAX_DOTS, MAX_FRUSTA, ASPECT = 30_000, 25, 5 / 3

Box = tuple[int, int, int, int]  # left, top, right, bottom in fine pixels
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class _View:
    """An orthographic view: world axes along its right and its up, and where its middle lies."""

    title: str
    box: Box
    right: tuple[int, float]  # axis index and sign
    up: tuple[int, float]
    centre: np.ndarray  # (3,) in path units
    scale: float  # fine pixels a unit

    def at(self, points: np.ndarray) -> np.ndarray:  # (..., 3) path units -> (..., 2) fine pixels
        left, top, right, bottom = self.box
        offset = points - self.centre
        x = (left + right) / 2 + self.scale * self.right[1] * offset[..., self.right[0]]
        y = (top + bottom) / 2 - self.scale * self.up[1] * offset[..., self.up[0]]
        return np.stack([x, y], axis=-1)


def draw_path(path: CameraPath, memory: SpatialMemory | None = None) -> Tensor:
    """Draw a path, over a memory's points where one is given: (760, 1280, 3) uint8."""
    from PIL import Image, ImageDraw, ImageFont

    poses = path.poses()
    positions = poses.positions.numpy()
    rotations = matrices_from_quaternions(poses.quaternions).numpy()
    speed = np.linalg.norm(np.diff(positions, axis=0), axis=-1) * path.fps
    turn = _turning(rotations) * path.fps
    dots, tints = _dots(path, memory)
    image = Image.new("RGB", (WIDTH * FINE, HEIGHT * FINE), BACKGROUND)
    draw = ImageDraw.Draw(image)
    fonts = {size: ImageFont.load_default(size * FINE) for size in (12, 13, 15, 22)}

    top_box, side_box, curve_box = _box(24, 76, 740, 520), _box(756, 76, 1256, 520), _box(24, 536, 1256, 736)
    views, reach = _views(positions, rotations, float(poses.vertical_fov.max()), dots, top_box, side_box)
    for box in (top_box, side_box, curve_box):
        draw.rounded_rectangle(box, radius=10 * FINE, fill=PANEL)
    for view in views:
        _grid(draw, view, fonts[12])
        image.paste(_with_dots(image.crop(view.box), view, dots, tints), view.box[:2])
        draw = ImageDraw.Draw(image)
        _frusta(draw, view, path, positions, rotations, reach)
        _track(draw, view, positions, speed)
        _ends(draw, view, positions, fonts[13])
        draw.text((view.box[0] + 14 * FINE, view.box[1] + 10 * FINE), view.title, font=fonts[15], fill=TEXT)
    _curves(draw, curve_box, path, speed, turn, fonts)
    _heading(draw, path, positions, turn, fonts)
    fine = image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(fine))


def _box(left: int, top: int, right: int, bottom: int) -> Box:
    return left * FINE, top * FINE, right * FINE, bottom * FINE


def _turning(rotations: np.ndarray) -> np.ndarray:  # (T, 3, 3) -> (T - 1,) degrees a frame
    between = np.einsum("tji,tjk->tik", rotations[:-1], rotations[1:])
    sine = np.stack([between[:, 2, 1] - between[:, 1, 2], between[:, 0, 2] - between[:, 2, 0]], axis=-1)
    sine = np.concatenate([sine, (between[:, 1, 0] - between[:, 0, 1])[:, None]], axis=-1)
    return np.degrees(np.arctan2(np.linalg.norm(sine, axis=-1), np.trace(between, axis1=1, axis2=2) - 1))


def _dots(path: CameraPath, memory: SpatialMemory | None) -> tuple[np.ndarray, np.ndarray]:
    """At most MAX_DOTS points of the memory in path units (n, 3), and their colours (n, 3) in 0..255."""
    if memory is None or not memory.num_points:
        return np.zeros((0, 3)), np.zeros((0, 3))
    step = math.ceil(memory.num_points / MAX_DOTS)
    points = memory.points[::step].double().numpy()
    colours = np.broadcast_to(np.array([150.0, 160.0, 180.0]), points.shape)
    if memory.kind == "rgb":
        colours = memory.features[::step].float().numpy()
    return points / (memory.scene_unit if path.units == "scene" else 1.0), colours


def _views(
    positions: np.ndarray, rotations: np.ndarray, fov: float, dots: np.ndarray, top: Box, side: Box
) -> tuple[tuple[_View, _View], float]:
    """The two views at one scale, and how long a frustum is drawn, in path units."""
    extent = max(float(np.ptp(positions, axis=0).max()), 1e-6)
    reach = 0.16 * max(extent, 0.2 if len(dots) == 0 else 0.0) if extent > 1e-3 else 0.4
    seen = [positions, *(positions + reach * corner @ rotations.transpose(0, 2, 1) for corner in _corners(fov))]
    low, high = np.concatenate(seen).min(axis=0), np.concatenate(seen).max(axis=0)
    if len(dots):
        near, far = np.quantile(dots, [0.03, 0.97], axis=0)
        room = 3 * max(float((high - low).max()), 1e-6)  # so that far points do not shrink the path to a dot
        low, high = np.minimum(low, np.maximum(near, low - room)), np.maximum(high, np.minimum(far, high + room))
    centre, spans = (low + high) / 2, np.maximum(high - low, 1e-3)
    pixels = [(box[2] - box[0] - 110 * FINE, box[3] - box[1] - 110 * FINE) for box in (top, side)]
    scale = min(pixels[0][0] / spans[0], pixels[0][1] / spans[2], pixels[1][0] / spans[2], pixels[1][1] / spans[1])
    above = _View("From above", top, (0, 1.0), (2, 1.0), centre, scale)
    beside = _View("From the right side", side, (2, 1.0), (1, -1.0), centre, scale)
    return (above, beside), max(reach, 34 * FINE / scale)


def _grid(draw, view: _View, font) -> None:
    """Lines at round distances, with their coordinates along the lower and the left edge."""
    left, top, right, bottom = view.box
    step = _round_step(70 * FINE / view.scale)
    for axis, sign, low, high, along_x in (
        (*view.right, left, right, True),
        (*view.up, top, bottom, False),
    ):
        half = (high - low) / 2 / view.scale
        first = math.ceil((view.centre[axis] - half) / step)
        for i in range(first, math.floor((view.centre[axis] + half) / step) + 1):
            offset = view.scale * sign * (i * step - view.centre[axis])
            at = (low + high) / 2 + (offset if along_x else -offset)
            if not low + (30 if along_x else 56) * FINE < at < high - 30 * FINE:
                continue
            label, colour = f"{sign * i * step if i else 0:.6g}", GRID if i else (66, 74, 94)
            line = (at, top, at, bottom) if along_x else (left, at, right, at)
            draw.line(line, fill=colour, width=FINE)
            where = (at, bottom - 8 * FINE) if along_x else (left + 8 * FINE, at)
            draw.text(where, label, font=font, fill=FAINT, anchor="ms" if along_x else "lm")
    names = {0: "right", 1: "up", 2: "forward"}
    draw.text((right - 10 * FINE, bottom - 22 * FINE), names[view.right[0]], font=font, fill=FAINT, anchor="rs")
    draw.text((left + 10 * FINE, top + 48 * FINE), names[view.up[0]], font=font, fill=FAINT, anchor="ls")


def _with_dots(panel, view: _View, dots: np.ndarray, tints: np.ndarray):
    """The panel with faint dots where the memory's points fall."""
    from PIL import Image

    pixels = np.array(panel).astype(np.float32)
    at = np.floor(np.clip(view.at(dots), -1, 1e6)).astype(int) - np.array(view.box[:2])
    inside = ((at >= 4) & (at < np.array([pixels.shape[1] - 4, pixels.shape[0] - 4]))).all(axis=-1)
    at, tints = at[inside], tints[inside]
    for dx, dy in ((x, y) for x in range(FINE) for y in range(FINE)):
        pixels[at[:, 1] + dy, at[:, 0] + dx] = 0.5 * pixels[at[:, 1] + dy, at[:, 0] + dx] + 0.5 * tints
    return Image.fromarray(pixels.astype(np.uint8))


def _frusta(draw, view: _View, path: CameraPath, positions: np.ndarray, rotations: np.ndarray, reach: float) -> None:
    keys = [key for key in path.keyframes if key.frame <= path.num_frames - 1]
    for key in keys[:: math.ceil(len(keys) / MAX_FRUSTA)]:
        frame = round(key.frame)
        ends = view.at(positions[frame] + reach * _corners(key.vertical_fov) @ rotations[frame].T)
        eye = view.at(positions[frame])
        colour = _mix(START, END, frame / (path.num_frames - 1), 0.62)
        for i in range(4):
            draw.line([tuple(eye), tuple(ends[i])], fill=colour, width=FINE)
            draw.line([tuple(ends[i]), tuple(ends[(i + 1) % 4])], fill=colour, width=FINE)


def _corners(vertical_fov: float) -> np.ndarray:  # (4, 3) of the image at depth 1, camera axes
    tall = math.tan(math.radians(vertical_fov) / 2)
    return np.array([[x * ASPECT * tall, y * tall, 1.0] for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))])


def _track(draw, view: _View, positions: np.ndarray, speed: np.ndarray) -> None:
    at, fastest = view.at(positions), max(float(speed.max()), 1e-9)
    for i, value in enumerate(speed):
        draw.line([tuple(at[i]), tuple(at[i + 1])], fill=_heat(value / fastest), width=4 * FINE)
        x, y = at[i + 1]
        draw.ellipse((x - 2 * FINE, y - 2 * FINE, x + 2 * FINE, y + 2 * FINE), fill=_heat(value / fastest))


def _ends(draw, view: _View, positions: np.ndarray, font) -> None:
    first, last = view.at(positions[[0, -1]])
    together = float(np.linalg.norm(positions[0] - positions[-1])) * view.scale < 14 * FINE
    marks = [(last, END, "" if together else "end", 9 if together else 6, -22)]
    marks += [(first, START, "start = end" if together else "start", 6, 22)]
    for (x, y), colour, label, radius, below in marks:
        r = radius * FINE
        draw.ellipse((x - r, y - r, x + r, y + r), fill=colour, outline=PANEL, width=FINE)
        where, edge = (x, y + below * FINE), {"stroke_width": FINE, "stroke_fill": PANEL}
        draw.text(where, label, font=font, fill=colour, anchor="mm", **edge)


def _curves(draw, box: Box, path: CameraPath, speed: np.ndarray, turn: np.ndarray, fonts) -> None:
    left, top, right, bottom = box[0] + 62 * FINE, box[1] + 40 * FINE, box[2] - 62 * FINE, box[3] - 34 * FINE
    last = path.num_frames - 1
    step = max(1, round(_round_step(last / 12)))
    for frame in range(0, last + 1, step):
        x = left + (right - left) * frame / last
        draw.line((x, top, x, bottom), fill=GRID, width=FINE)
        draw.text((x, bottom + 18 * FINE), str(frame), font=fonts[12], fill=FAINT, anchor="ms")
    draw.line((left, bottom, right, bottom), fill=FAINT, width=FINE)
    draw.text((right + 12 * FINE, bottom + 18 * FINE), "frame", font=fonts[12], fill=FAINT, anchor="ls")
    for key in path.keyframes:
        if key.frame <= last:
            x, r = left + (right - left) * key.frame / last, 4 * FINE
            draw.polygon([(x, bottom - r), (x + r, bottom), (x, bottom + r), (x - r, bottom)], fill=TEXT)
    fastest, quickest = _ceiling(speed), _ceiling(turn)
    across = left + (right - left) * (np.arange(last) + 0.5) / last
    for values, limit, width, colour in ((turn, quickest, 2, TURN), (speed, fastest, 3, None)):
        height = bottom - (bottom - top) * values / limit
        for i in range(last - 1):
            shade = colour or _heat((values[i] + values[i + 1]) / 2 / max(float(values.max()), 1e-9))
            line = [(across[i], height[i]), (across[i + 1], height[i + 1])]
            draw.line(line, fill=shade, width=width * FINE)
    for limit, at, anchor, colour in (
        (fastest, left - 8 * FINE, "rm", SPEEDS[-1]),
        (quickest, right + 8 * FINE, "lm", TURN),
    ):
        for part in (0.0, 0.5, 1.0):
            y = bottom - (bottom - top) * part
            draw.text((at, y), f"{limit * part:.4g}", font=fonts[12], fill=colour, anchor=anchor)
    y, x = box[1] + 22 * FINE, box[0] + 14 * FINE
    draw.text((x, y), f"Speed, {path.units} units a second", font=fonts[15], fill=SPEEDS[-1], anchor="lm")
    draw.text((box[2] - 14 * FINE, y), "Turning, degrees a second", font=fonts[15], fill=TURN, anchor="rm")


def _heading(draw, path: CameraPath, positions: np.ndarray, turn: np.ndarray, fonts) -> None:
    length = float(np.linalg.norm(np.diff(positions, axis=0), axis=-1).sum())
    fov = sorted({round(key.vertical_fov, 1) for key in path.keyframes})
    facts = [
        f"{path.num_frames} frames, {path.num_frames / path.fps:.1f} s at {path.fps:g} fps",
        f"{len(path.keyframes)} keys",
        f"travels {length:.3g} {path.units} units, turns {float(turn.sum()) / path.fps:.0f}°",
        f"vertical fov {fov[0]:g}°" + (f" to {fov[-1]:g}°" if len(fov) > 1 else ""),
        "closed loop" if path.loop else "open",
    ]
    draw.text((24 * FINE, 40 * FINE), path.name[:40], font=fonts[22], fill=TEXT, anchor="lm")
    draw.text((1256 * FINE, 40 * FINE), "   ·   ".join(facts), font=fonts[13], fill=FAINT, anchor="rm")


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is at least ``least``."""
    return _round_up(least, (1, 2, 5, 10))


def _round_up(least: float, steps: tuple[float, ...]) -> float:
    power = 10 ** math.floor(math.log10(least))
    return next(m * power for m in steps if m * power >= least * (1 - 1e-9))


def _ceiling(values: np.ndarray) -> float:
    """A round number above all values; 1 where nothing moves."""
    return _round_up(1.05 * float(values.max()), (1, 1.2, 1.6, 2, 3, 4, 6, 8, 10)) if values.max() > 1e-6 else 1.0


def _mix(a: Colour, b: Colour, part: float, strength: float = 1.0) -> Colour:
    red, green, blue = (round(strength * (x + (y - x) * part) + (1 - strength) * p) for x, y, p in zip(a, b, PANEL))
    return red, green, blue


def _heat(part: float) -> Colour:
    """Blue for rest, over green, to orange for the fastest frame."""
    place = min(max(float(part), 0.0), 1.0) * (len(SPEEDS) - 1)
    low = min(int(place), len(SPEEDS) - 2)
    return _mix(SPEEDS[low], SPEEDS[low + 1], place - low)
