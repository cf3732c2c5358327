"""An observation cut into tiles: runs of points that lie close together, and the block of space that holds each.

A tile is a block of the frustum that its points were seen in, between its nearest and its farthest depth; where some
points lie behind their camera or far off its axis, a box along the camera's axes. The order in which points make tiles
is kept beside them, so that the points themselves stay in the order of their cells.

All points of a tile lie in the hull of the eight corners of its block.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from torch import Tensor

from .camera import Cameras

TILE = 64  # points, a power of two
GROUP = 4096  # points that are parted in halves, again and again, until they are tiles
STEEP = 1e6  # tangent to the axis from where on a frustum is no measure
SLACK = 1e-4  # relative growth of a block, far above what float32 rounds


@dataclass(frozen=True, eq=False)
class Tiles:
    """M runs of ``TILE`` points, the last one shorter, and where each lies at most."""

    order: Tensor  # (N,) int16, or int32 where they are many: which points make the tiles, one tile after another
    low: Tensor  # (3, M) float32 least x / z, y / z, z in the source camera; x, y, z where not ``ahead``
    high: Tensor  # (3, M) float32 the largest
    ahead: bool
    hull: Tensor  # (3, 8) float32 world, the corners of a block that holds all points

    def __len__(self) -> int:
        return self.low.shape[1]

    def to(self, device: torch.device) -> "Tiles":
        """The same tiles, for points that lie there."""
        order, low, high, hull = (t.to(device) for t in (self.order, self.low, self.high, self.hull))
        return Tiles(order, low, high, self.ahead, hull)

    def get_ram_usage(self) -> int:
        return sum(t.numel() * t.element_size() for t in (self.order, self.low, self.high, self.hull))


def tiles_of(planars: Sequence[Tensor], cameras: Sequence[Cameras]) -> list[Tiles]:
    """Cut sets of points, each (3, N), into tiles; ``cameras`` are where each was seen from.

    Many sets at once take fewer steps: what a small set costs is the steps, not the points.
    """
    rows, ahead = zip(*(_axes(planar, camera) for planar, camera in zip(planars, cameras)))
    orders = compact([torch.stack([x, y, z.log()]) if a else r for r, a in zip(rows, ahead) for x, y, z in [r]])
    blocks = torch.cat([_padded(r[:, order], TILE).view(3, -1, TILE) for r, order in zip(rows, orders)], 1)
    low, high = blocks.amin(2), blocks.amax(2)
    grow = SLACK * torch.maximum(low.abs(), high.abs()) + SLACK * (high - low)
    counts = [-(-len(order) // TILE) for order in orders]
    lows, highs = (low - grow).split(counts, 1), (high + grow).split(counts, 1)
    least = torch.cat([t.amin(1, keepdim=True) if t.numel() else t.new_zeros(3, 1) for t in lows], 1)
    most = torch.cat([t.amax(1, keepdim=True) if t.numel() else t.new_zeros(3, 1) for t in highs], 1)
    places = torch.stack([camera.c2w for camera in cameras], -1).double()
    hulls = corners(least, most, torch.tensor(ahead, device=low.device), places).float().unbind(2)
    return [
        Tiles(order.to(_small(len(order))), low.float(), high.float(), a, hull.contiguous())
        for order, low, high, a, hull in zip(orders, lows, highs, ahead, hulls)
    ]


def _axes(planar: Tensor, camera: Cameras) -> tuple[Tensor, bool]:
    """Points on the axes of ``Tiles`` (3, N) float64, and whether they lie ahead of the camera."""
    w2c = camera.w2c.double()
    x, y, z = w2c[:3, :3] @ planar.double() + w2c[:3, 3:]
    ahead = planar.shape[1] > 0 and bool((z * STEEP > torch.maximum(x.abs(), y.abs())).all())
    return torch.stack([x / z, y / z, z] if ahead else [x, y, z]), ahead


def _small(count: int) -> torch.dtype:
    """The smallest type that counts so many."""
    return torch.int16 if count <= torch.iinfo(torch.int16).max else torch.int32


def corners(low: Tensor, high: Tensor, ahead: Tensor, c2w: Tensor) -> Tensor:
    """The eight corners of M blocks: (3, 8, M) world.

    Args:
        low, high: (3, M) as in ``Tiles``.
        ahead: (M,) bool.
        c2w: (4, 4, M) of the source cameras.
    """
    x, y, z = torch.where(_corner_picks(low.device)[..., None], high[:, None], low[:, None])  # (8, M) each
    scale = torch.where(ahead, z, 1.0)
    x, y = x * scale, y * scale
    return torch.stack([c2w[i, 0] * x + c2w[i, 1] * y + c2w[i, 2] * z + c2w[i, 3] for i in range(3)])


@cache
def _corner_picks(device: torch.device) -> Tensor:
    """Which corner (3, 8) of a block lies at its high side along each axis: bool."""
    picks = [[bool(corner >> axis & 1) for corner in range(8)] for axis in range(3)]
    with torch.inference_mode(False):  # made once, for whoever asks
        return torch.tensor(picks, device=device)


def compact(many: Sequence[Tensor]) -> list[Tensor]:
    """Orders in which every ``TILE`` points of a set lie close together: each (N,) int64, ascending within a tile.

    Points are sorted along a space-filling curve into groups, and each group is parted at the middle of its widest side
    until its parts are tiles. Groups of one size are parted together, whatever set they are of.

    Args:
        many: sets of points, each (3, N) on the CPU, finite, on axes that can be compared.
    """
    orders = [_grouped(places.numpy()) for places in many]
    found: dict[int, Tensor] = {}
    for size in {order.shape[1] for order in orders}:
        mine = [number for number, order in enumerate(orders) if order.shape[1] == size]
        order = np.concatenate([orders[number] for number in mine])
        spread = np.concatenate([_taken(many[number].numpy(), orders[number]) for number in mine], 1)
        parted = torch.from_numpy(_parted(order, spread))
        for number, own in zip(mine, parted.split([orders[number].size for number in mine])):
            found[number] = own[: many[number].shape[1]]  # what is missing stands at the end
    return [found[number] for number in range(len(many))]


def _grouped(places: np.ndarray) -> np.ndarray:
    """The points (3, N) of each group: (G, size) int64, -1 where the last one is not full."""
    n = places.shape[1]
    order = np.arange(n) if n <= GROUP else _along_curve(places)
    size = min(GROUP, TILE << max(0, math.ceil(math.log2(max(1, n) / TILE))))
    return np.pad(order, (0, -n % size), constant_values=-1).reshape(-1, size)


def _taken(places: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Where the points of some groups (G, size) lie: (3, G, size), anywhere for those that are missing."""
    return places[:, np.maximum(order, 0)] if places.shape[1] else np.zeros((3, *order.shape))


def _parted(order: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Groups of points (G, size), -1 = none, that lie at ``found`` (3, G, size), parted into tiles: (G size,).

    numpy parts them in a tenth of the time that a sort in torch takes.
    """
    size = order.shape[1]
    while size > TILE:
        group = np.arange(len(order))
        missing = order < 0
        wide = np.where(missing, -np.inf, found).max(2) - np.where(missing, np.inf, found).min(2)
        along = np.where(missing, np.inf, found[wide.argmax(0), group])  # what is missing goes to the end
        turn = along.argpartition(size // 2 - 1, 1) + group[:, None] * size
        size //= 2
        order = order.take(turn).reshape(-1, size)
        found = found.reshape(3, -1).take(turn, 1).reshape(3, -1, size)
    last = np.iinfo(order.dtype).max
    return np.sort(np.where(order < 0, last, order), 1).ravel()


def _along_curve(places: np.ndarray) -> np.ndarray:
    """The order of points (3, N) along a Morton curve of 2^10 steps a side."""
    low = places.min(1, keepdims=True)
    steps = (places - low) * (1023 / max((places.max(1, keepdims=True) - low).max(), 1e-30))
    key = np.zeros(places.shape[1], np.int32)
    for axis, step in enumerate(steps.astype(np.int32)):
        for bit in range(10):
            key |= (step >> bit & 1) << (3 * bit + axis)
    return key.argsort()


def _padded(rows: Tensor, size: int) -> Tensor:
    """Rows (3, N) with their last column repeated until ``size`` divides N."""
    return torch.cat([rows, rows[:, -1:].expand(3, -rows.shape[1] % size)], 1) if rows.shape[1] else rows
