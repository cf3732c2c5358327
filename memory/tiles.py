"""An observation cut into tiles: runs of points that lie close together, and the block of space that holds each.

A tile is a block of the frustum that its points were seen in, between its nearest and its farthest depth; where some
points lie behind their camera or far off its axis, a box along the camera's axes. The order in which points make tiles
is kept beside them, so that the points themselves stay in the order of their cells.

All points of a tile lie in the hull of the eight corners of its block.
"""

import math
from dataclasses import dataclass
from functools import cache

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


def tiles_of(planar: Tensor, camera: Cameras) -> Tiles:
    """Cut points (3, N) into tiles; ``camera`` is where they were seen from."""
    n, w2c = planar.shape[1], camera.w2c.double()
    x, y, z = w2c[:3, :3] @ planar.double() + w2c[:3, 3:]
    ahead = n > 0 and bool((z * STEEP > torch.maximum(x.abs(), y.abs())).all())
    rows = torch.stack([x / z, y / z, z]) if ahead else torch.stack([x, y, z])
    order = compact(torch.stack([rows[0], rows[1], z.log()]) if ahead else rows)
    blocks = _padded(rows[:, order], TILE).view(3, -1, TILE)
    low, high = blocks.amin(2), blocks.amax(2)
    grow = SLACK * torch.maximum(low.abs(), high.abs()) + SLACK * (high - low)
    low, high = low - grow, high + grow
    least, most = (side(1, keepdim=True) if n else rows.new_zeros(3, 1) for side in (low.amin, high.amax))
    hull = corners(least, most, torch.tensor([ahead], device=rows.device), camera.c2w.double()[..., None])[..., 0]
    kind = torch.int16 if n <= torch.iinfo(torch.int16).max else torch.int32
    return Tiles(order.to(kind), low.float(), high.float(), ahead, hull.float())


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


def compact(places: Tensor) -> Tensor:
    """An order in which every ``TILE`` points lie close together: (N,) int64.

    Points are sorted along a space-filling curve into groups, and each group is parted at the middle of its widest side
    until its parts are tiles.

    Args:
        places: (3, N) on axes that can be compared.
    """
    n = places.shape[1]
    order = torch.arange(n, device=places.device) if n <= GROUP else _along_curve(places)
    size = min(GROUP, TILE << max(0, math.ceil(math.log2(max(1, n) / TILE))))
    spare = -n % size
    order = torch.cat([order, order.new_full((spare,), -1)]).view(-1, size)
    missing = order < 0
    found = places[:, order.clamp(min=0)] if n else places.new_zeros(3, *order.shape)
    while size > TILE:
        wide = torch.where(missing, -torch.inf, found).amax(2) - torch.where(missing, torch.inf, found).amin(2)
        along = torch.gather(found, 0, wide.argmax(0)[None, :, None].expand(1, -1, size))[0]
        turn = torch.where(missing, torch.inf, along).argsort(1)  # what is missing goes to the end
        order, missing = torch.gather(order, 1, turn), torch.gather(missing, 1, turn)
        found = torch.gather(found, 2, turn.expand(3, -1, -1))
        size //= 2
        order, missing, found = order.view(-1, size), missing.view(-1, size), found.view(3, -1, size)
    return order[~missing]


def _along_curve(places: Tensor) -> Tensor:
    """The order of points (3, N) along a Morton curve of 2^10 steps a side."""
    low = places.amin(1, True)
    steps = (places - low) * (1023 / (places.amax(1, True) - low).amax().clamp(min=1e-30))
    key = torch.zeros_like(steps[0], dtype=torch.int32)
    for axis, step in enumerate(steps.int()):
        for bit in range(10):
            key |= (step >> bit & 1) << (3 * bit + axis)
    return key.argsort()


def _padded(rows: Tensor, size: int) -> Tensor:
    """Rows (3, N) with their last column repeated until ``size`` divides N."""
    return torch.cat([rows, rows[:, -1:].expand(3, -rows.shape[1] % size)], 1) if rows.shape[1] else rows
