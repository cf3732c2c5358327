"""What the report is drawn with: a pen over a picture three times as fine, curves, bars, and a map of the memory."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..memory.camera import Cameras
from ..memory.cloud import SpatialMemory
from ..memory.observation import Observation

if TYPE_CHECKING:
    from PIL import Image

FINE = 2  # drawn so many times larger, then reduced: smooth lines
BACKGROUND, PANEL, GRID = (15, 17, 23), (22, 25, 33), (44, 49, 62)
TEXT, FAINT = (222, 227, 237), (134, 143, 161)
START, RETURN, TRACK = (94, 226, 142), (255, 104, 104), (240, 244, 252)
MAX_DOTS = 60_000

Box = tuple[float, float, float, float]  # left, top, right, bottom
Colour = tuple[int, int, int]
Series = tuple[str, Colour, Sequence[float | None]]


@dataclass(frozen=True)
class Pen:
    """Draws in picture pixels onto a finer canvas."""

    canvas: "Image.Image"

    @staticmethod
    def blank(width: int, height: int) -> "Pen":
        from PIL import Image

        return Pen(Image.new("RGB", (width * FINE, height * FINE), BACKGROUND))

    def picture(self) -> Tensor:
        """(height, width, 3) uint8."""
        from PIL import Image

        size = self.canvas.width // FINE, self.canvas.height // FINE
        return torch.from_numpy(np.array(self.canvas.resize(size, Image.Resampling.LANCZOS)))

    def text(self, at: tuple[float, float], text: str, size: float, colour: Colour, anchor: str = "la") -> None:
        from PIL import ImageDraw, ImageFont

        font = ImageFont.load_default(size * FINE)
        ImageDraw.Draw(self.canvas).text((at[0] * FINE, at[1] * FINE), text, font=font, fill=colour, anchor=anchor)

    def width_of(self, text: str, size: float) -> float:
        from PIL import ImageFont

        return ImageFont.load_default(size * FINE).getlength(text) / FINE

    def box(self, box: Box, fill: Colour, radius: float = 0) -> None:
        from PIL import ImageDraw

        left, top, right, bottom = (x * FINE for x in box)
        if min(right - left, bottom - top) >= 1:
            ImageDraw.Draw(self.canvas).rounded_rectangle((left, top, right - 1, bottom - 1), radius * FINE, fill=fill)

    def line(self, points: Sequence[tuple[float, float]], colour: Colour, width: float = 1) -> None:
        from PIL import ImageDraw

        fine = [(x * FINE, y * FINE) for x, y in points]
        if len(fine) > 1:
            ImageDraw.Draw(self.canvas).line(fine, fill=colour, width=max(1, round(width * FINE)), joint="curve")

    def dot(self, at: tuple[float, float], colour: Colour, radius: float) -> None:
        from PIL import ImageDraw

        x, y, r = at[0] * FINE, at[1] * FINE, radius * FINE
        ImageDraw.Draw(self.canvas).ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def image(self, image: Tensor, box: tuple[int, int, int, int]) -> None:  # image: (3, H, W) in [0, 1]
        from PIL import Image

        pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        size = (box[2] - box[0]) * FINE, (box[3] - box[1]) * FINE
        self.canvas.paste(
            Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC), (box[0] * FINE, box[1] * FINE)
        )

    def dots(self, box: Box, places: np.ndarray, colours: np.ndarray, radius: int) -> None:
        """Square dots: places (N, 2) in picture pixels, colours (N, 3) uint8; later ones lie above."""
        from PIL import Image

        left, top, right, bottom = (round(x * FINE) for x in box)
        region = np.array(self.canvas.crop((left, top, right, bottom)))
        at = np.round(places * FINE).astype(int) - (left, top)
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                x, y = at[:, 0] + dx, at[:, 1] + dy
                inside = (x >= 0) & (x < right - left) & (y >= 0) & (y < bottom - top)
                region[y[inside], x[inside]] = colours[inside]
        self.canvas.paste(Image.fromarray(region), (left, top))


def nice_step(span: float, most: int = 5) -> float:
    """A step of 1, 2 or 5 times a power of ten that parts ``span`` into at most ``most`` pieces."""
    raw = max(span, 1e-9) / most
    power = 10 ** math.floor(math.log10(raw))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= raw)


def curves(pen: Pen, box: Box, series: Sequence[Series], unit: str, marks: Sequence[int] = ()) -> None:
    """Lines over frames with a grid; None breaks a line. ``marks``: frames at which a chunk begins."""
    left, top, right, bottom = box
    values = [v for _, _, line in series for v in line if v is not None]
    if not values:
        pen.text(((left + right) / 2, (top + bottom) / 2), "no frames share a camera", 15, FAINT, "mm")
        return
    count = max(len(line) for _, _, line in series)
    step = nice_step(max(values) - min(values) + 1e-6)
    low, high = math.floor(min(values) / step) * step, math.ceil(max(values) / step + 1e-9) * step

    def at(frame: float, value: float) -> tuple[float, float]:
        return left + (right - left) * frame / max(1, count - 1), bottom - (bottom - top) * (value - low) / (high - low)

    for mark in marks:
        pen.line([at(mark, low), at(mark, high)], (33, 37, 48), 1)
    for i in range(round((high - low) / step) + 1):
        value = low + i * step
        pen.line([at(0, value), at(count - 1, value)], GRID, 1)
        pen.text((left - 8, at(0, value)[1]), f"{value:g}", 13, FAINT, "rm")
    pen.text((left - 8, top - 12), unit, 13, FAINT, "rb")
    every = int(max(1, nice_step(count, 8)))
    for frame in range(0, count, every):
        pen.text((at(frame, low)[0], bottom + 7), str(frame), 13, FAINT, "ma")
    for _, colour, line in series:
        run: list[tuple[float, float]] = []
        for frame, found in enumerate([*line, None]):
            if found is not None:
                run.append(at(frame, found))
                continue
            if len(run) == 1:
                pen.dot(run[0], colour, 2.5)
            pen.line(run, colour, 2.2)
            run = []


def bars(
    pen: Pen, box: Box, groups: Sequence[Sequence[tuple[Colour, float]]], form: str, highest: float | None = None
) -> None:
    """One stack of (colour, value) a chunk, its sum above it in ``form``, chunk numbers below."""
    left, top, right, bottom = box
    most = highest or max((sum(value for _, value in group) for group in groups), default=0.0) or 1.0
    pitch = (right - left) / max(1, len(groups))
    width = min(46.0, 0.62 * pitch)
    pen.line([(left, bottom), (right, bottom)], GRID, 1)
    for i, group in enumerate(groups):
        centre, y = left + (i + 0.5) * pitch, bottom
        for colour, value in group:
            height = (bottom - top) * value / most
            pen.box((centre - width / 2, y - height, centre + width / 2, y), colour)
            y -= height
        pen.text((centre, y - 5), form.format(sum(value for _, value in group)), 13, TEXT, "mb")
        pen.text((centre, bottom + 7), str(i), 13, FAINT, "ma")


def from_above(
    pen: Pen, box: Box, memory: SpatialMemory | None, pictures: dict[int, Tensor], cameras: Cameras, back: int | None
) -> None:
    """A map: x to the right, z (ahead) up. Points in the colours they were seen in; the path, its start and its return.

    ``pictures``: (3, H, W) in [0, 1] by frame number, for the colours of a latent memory's points.
    """
    track = cameras.position[:, [0, 2]].double().numpy()
    places, tints = _dots(memory, pictures)
    spread = np.concatenate([places, track]) if len(places) else track
    low, high = np.quantile(spread, 0.01, axis=0), np.quantile(spread, 0.99, axis=0)
    low, high = np.minimum(low, track.min(0)), np.maximum(high, track.max(0))
    left, top, right, bottom = box
    scale = min((right - left) / max(high[0] - low[0], 1e-6), (bottom - top) / max(high[1] - low[1], 1e-6)) * 0.94
    middle = (low + high) / 2

    def at(points: np.ndarray) -> np.ndarray:
        offset = (points - middle) * (scale, -scale)
        return offset + ((left + right) / 2, (top + bottom) / 2)

    step = nice_step((right - left) / scale, 8)
    for axis, (a, b) in enumerate(((left, right), (top, bottom))):
        reach = (b - a) / scale / 2
        for i in range(math.ceil((middle[axis] - reach) / step), math.floor((middle[axis] + reach) / step) + 1):
            x, y = at(np.array([i * step, i * step]))
            pen.line([(x, top), (x, bottom)] if axis == 0 else [(left, y), (right, y)], (30, 34, 44), 1)
    if len(places):
        pen.dots(box, at(places), tints, 1 if len(places) > 4000 else 2)
    pen.line([tuple(p) for p in at(track)], BACKGROUND, 5)
    pen.line([tuple(p) for p in at(track)], TRACK, 2)
    ahead = cameras.c2w[:, [0, 2], 2].double().numpy()
    length = 0.06 * (right - left) / scale
    for i in sorted({round(x) for x in np.linspace(0, len(track) - 1, 9)}):
        half = 0.5 * cameras.width / cameras.K[i, 0, 0].item()
        side = np.array([ahead[i, 1], -ahead[i, 0]])
        corners = [track[i], track[i] + length * (ahead[i] - half * side), track[i] + length * (ahead[i] + half * side)]
        pen.line([tuple(at(c)) for c in (*corners, corners[0])], (190, 198, 214), 1.2)
    pen.dot(tuple(at(track[0])), START, 7)
    if back is not None:
        pen.dot(tuple(at(track[back])), RETURN, 4)
    bar = nice_step(0.3 * (right - left) / scale, 1)
    pen.line([(left + 4, bottom - 6), (left + 4 + bar * scale, bottom - 6)], TEXT, 2)
    pen.text((left + 4, bottom - 12), f"{bar:g} m" if memory and memory.metric else f"{bar:g} units", 13, TEXT, "lb")


def _dots(memory: SpatialMemory | None, pictures: dict[int, Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Places (N, 2) on the ground and colours (N, 3) uint8, the lowest first."""
    if memory is None or not memory.num_points:
        return np.zeros((0, 2)), np.zeros((0, 3), np.uint8)
    stride = -(-memory.num_points // MAX_DOTS)
    points = memory.points[::stride]
    colours = torch.cat([_seen(o, memory.kind, pictures) for o in memory.drawn])[::stride]
    order = points[:, 1].argsort(descending=True, stable=True)  # y points down
    places = points[order][:, [0, 2]].double().numpy()
    return places, (colours[order].clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def _seen(observation: Observation, kind: str, pictures: dict[int, Tensor]) -> Tensor:
    """The colour (N, 3) in which each point was seen; grey where its picture is not at hand."""
    if kind == "rgb":
        return observation.features.float() / 255
    picture = pictures.get(observation.frame)
    if picture is None:
        return torch.full((len(observation), 3), 0.5)
    grid = torch.nn.functional.adaptive_avg_pool2d(picture, (observation.camera.height, observation.camera.width))
    return grid.flatten(1).T[observation.cells.long()]
