"""What a film's report is drawn with: curves over frames, bars by chunk, and a map of the memory."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ..memory.camera import Cameras
from ..memory.cloud import SpatialMemory
from ..memory.observation import Observation
from .ground import ground, lowest_first, on_ground, track_of
from .pen import FAINT, GRID, RETURN, START, TEXT, Box, Colour, Pen, nice_step

Series = tuple[str, Colour, Sequence[float | None]]


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
    """A map: points in the colours they were seen in; the path, its start and its return.

    ``pictures``: (3, H, W) in [0, 1] by frame number, for the colours of a latent memory's points.
    """
    points, colours = _dots(memory, pictures)
    places, way = on_ground(points), [cameras[i] for i in range(len(cameras))]
    track = track_of(way)
    place = ground(pen, box, places, track)
    place.lines()
    if len(points):
        pen.dots(box, place.at(places), colours.numpy(), 1 if len(points) > 4000 else 2)
    place.way(way, place.units(0.06), START)
    if back is not None:
        pen.dot(tuple(place.at(track[back])), RETURN, 4)
    place.bar(0.3, memory is not None and memory.metric)


def _dots(memory: SpatialMemory | None, pictures: dict[int, Tensor]) -> tuple[Tensor, Tensor]:
    """Points (N, 3) and their colours (N, 3) uint8, the lowest first."""
    if memory is None or not memory.num_points:
        return torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.uint8)
    points, order = memory.points, lowest_first(memory.points)
    colours = torch.cat([_seen(o, memory.kind, pictures) for o in memory.drawn])[order]
    return points[order], (colours.clamp(0, 1) * 255).round().to(torch.uint8)


def _seen(observation: Observation, kind: str, pictures: dict[int, Tensor]) -> Tensor:
    """The colour (N, 3) in which each point was seen; grey where its picture is not at hand."""
    if kind == "rgb":
        return observation.features.float() / 255
    picture = pictures.get(observation.frame)
    if picture is None:
        return torch.full((len(observation), 3), 0.5)
    grid = torch.nn.functional.adaptive_avg_pool2d(picture, (observation.camera.height, observation.camera.width))
    return grid.flatten(1).T[observation.cells.long()]
