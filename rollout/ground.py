"""A map of a place from above: x to the right, z (ahead) up, with points, the way of the cameras and a scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from ..memory.camera import Cameras
from .pen import BACKGROUND, TEXT, Box, Colour, Pen, nice_step

MAX_DOTS = 60_000
LINES, TRACK, FRUSTUM = (30, 34, 44), (240, 244, 252), (190, 198, 214)
FRUSTA = 9  # at most


@dataclass(frozen=True, eq=False)
class Ground:
    """Where places in the world lie in a box of the picture."""

    pen: Pen
    box: Box
    middle: np.ndarray  # (2,) x, z in the world
    scale: float  # picture pixels a world unit

    def at(self, places: np.ndarray) -> np.ndarray:
        """Picture pixels of places (..., 2) on the ground, x and z."""
        left, top, right, bottom = self.box
        return (places - self.middle) * (self.scale, -self.scale) + ((left + right) / 2, (top + bottom) / 2)

    def units(self, share: float) -> float:
        """World units that a share of the box's width is."""
        return share * (self.box[2] - self.box[0]) / self.scale

    def lines(self) -> None:
        """Lines at round coordinates."""
        left, top, right, bottom = self.box
        step = nice_step(self.units(1), 8)
        for axis, (a, b) in enumerate(((left, right), (top, bottom))):
            reach = (b - a) / self.scale / 2
            first, last = (self.middle[axis] - reach) / step, (self.middle[axis] + reach) / step
            for i in range(math.ceil(first), math.floor(last) + 1):
                x, y = self.at(np.array([i * step, i * step]))
                self.pen.line([(x, top), (x, bottom)] if axis == 0 else [(left, y), (right, y)], LINES, 1)

    def way(self, cameras: Sequence[Cameras], length: float, start: Colour) -> None:
        """The way of some cameras, where it begins, and what a few of them look at, ``length`` world units far."""
        track = track_of(cameras)
        pixels = [(x, y) for x, y in self.at(track).tolist()]
        self.pen.line(pixels, BACKGROUND, 5)
        self.pen.line(pixels, TRACK, 2)
        for i in sorted({round(x) for x in np.linspace(0, len(track) - 1, FRUSTA)}):
            ahead = cameras[i].c2w[[0, 2], 2].double().numpy()
            half = 0.5 * cameras[i].width / cameras[i].K[0, 0].item()
            side = np.array([ahead[1], -ahead[0]])
            corners = [track[i], track[i] + length * (ahead - half * side), track[i] + length * (ahead + half * side)]
            self.pen.line([tuple(self.at(corner)) for corner in (*corners, corners[0])], FRUSTUM, 1.2)
        self.pen.dot(pixels[0], start, 7)

    def bar(self, share: float, metric: bool) -> None:
        """How long a round length is, at least ``share`` of the width."""
        left, _, _, bottom = self.box
        length = nice_step(self.units(share), 1)
        self.pen.line([(left + 5, bottom - 7), (left + 5 + length * self.scale, bottom - 7)], TEXT, 2)
        unit = "m" if metric else "unit" if length == 1 else "units"
        self.pen.text((left + 5, bottom - 12), f"{length:g} {unit}", 13, TEXT, "lb")


def ground(pen: Pen, box: Box, places: np.ndarray, track: np.ndarray) -> Ground:
    """A map in which nearly all places (N, 2) and the whole way (V, 2) of the cameras have room."""
    spread = np.concatenate([places, track])
    low, high = np.quantile(spread, 0.01, axis=0), np.quantile(spread, 0.99, axis=0)
    if len(track):
        low, high = np.minimum(low, track.min(0)), np.maximum(high, track.max(0))
    left, top, right, bottom = box
    scale = 0.94 * min((right - left) / max(high[0] - low[0], 1e-6), (bottom - top) / max(high[1] - low[1], 1e-6))
    return Ground(pen, box, (low + high) / 2, scale)


def track_of(cameras: Sequence[Cameras]) -> np.ndarray:
    """Where V single cameras, of any grids, stand on the ground: (V, 2)."""
    return np.array([camera.position[[0, 2]].tolist() for camera in cameras]).reshape(-1, 2)


def lowest_first(points: Tensor) -> Tensor:
    """An order of points (N, 3) in which what lies higher is drawn later, thinned to ``MAX_DOTS``: indices (n,)."""
    order = points[:, 1].argsort(descending=True, stable=True)  # y points down
    return order[:: max(1, math.ceil(len(points) / MAX_DOTS))]


def on_ground(points: Tensor) -> np.ndarray:
    """x and z of points (N, 3): (N, 2)."""
    return points[:, [0, 2]].double().numpy()
