"""The front of a memory: for many views at once, how near the nearest point of each cell is, and which lie there.

Pairs of a view and a tile are worked through from near to far. Their points are projected; those that lie behind the
front so far are dropped at once, and a minimum over float32 depths of the rest brings it nearer. Tiles that then lie
behind the front all over are dropped untouched. What is left is compared with the final front. A minimum knows no
order, so the same points give the same bits in any order and on any number of threads. Features are never touched here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .bounds import Nearest, Pairs, may_see, pairs
from .camera import Cameras, bordered_cells, lenses
from .laid import Laid, shown
from .steps import at_once
from .tiles import TILE

BLOCK = (1 << 17) // TILE  # pairs of a tile and a view that are worked on at once: they stay in the cache
FIRST = (1 << 13) // TILE  # pairs of the first step, before which there is no front; each step is twice the one before
CLOSED = 10  # points a cell that must have been looked at until it is worth asking what the front hides
MOST_CELLS = 1 << 24  # up to here float32 counts cells exactly
LANES = TILE.bit_length() - 1  # bits of a place within a tile


@dataclass(frozen=True, eq=False)
class Front:
    """The frontmost points of V views, and how far away they are."""

    depth: Tensor  # (V, h, w) z of the nearest point in each cell, 0 at holes
    view: Tensor  # (H,) int64 of each point at the front ...
    cell: Tensor  # (H,) int64 the flat cell that it falls into
    point: Tensor  # (H,) int64 its index among the points of all observations
    owner: Tensor  # (H,) int64 which observation it is of
    z: Tensor  # (H,) its z-depth there
    place: Tensor  # (3, H) where it lies, world


def front(laid: Laid, cameras: Cameras, tolerance: float = 0.0) -> Front:
    """The points within ``tolerance`` (relative) behind the nearest of their cell, in every view (V,).

    A view touches only tiles that it may see. What is found lies where the points lie.

    Raises:
        ValueError: a grid of more than 2^24 cells.
    """
    views, h, w = len(cameras), cameras.height, cameras.width
    size = bordered_size(views, h, w)
    device = laid.begin.device
    cameras = cameras.to(device)
    most = at_once(device, BLOCK * TILE) // TILE
    every, held = lenses(cameras), Scratch(device)
    scene = shown(laid, cameras)
    best = torch.full((views, h + 2, w + 2), -torch.inf, device=device)  # nothing comes nearer than the border
    inner = best[:, 1:-1, 1:-1].fill_(torch.inf)
    nearest = best.view(-1)
    left, found = pairs(scene.hulls, cameras), []  # of cell of all views in a row, place among the points laid out, z
    wanted = torch.zeros(len(scene.owner), dtype=torch.bool, device=device).index_fill_(0, left.block, True)
    tiles = wanted.nonzero()[:, 0]
    planar, number = scene.points(tiles)
    owner = scene.number.index_select(0, scene.owner.index_select(0, tiles))
    left = replace(left, block=(wanted.cumsum(0) - 1).index_select(0, left.block))
    step = FIRST
    for some in _near_to_far(left, inner, tolerance):
        end = 0
        while end < some.shape[1]:
            begin, end, step = end, end + step, min(2 * step, most)
            view, tile = some[:, begin:end]
            points = planar.index_select(1, tile)  # (3, P, TILE)
            work, cells, hit = held.sized(len(view), TILE)
            z = bordered_cells(points, every[view], work, cells)
            cells.add_((view * size).int()[:, None])
            limit = nearest.index_select(0, cells.view(-1)).view(-1, TILE)
            if tolerance:
                limit.mul_(1 + tolerance)
            at = reaching(z, limit, hit)
            cell, depth = cells.view(-1).index_select(0, at).long(), z.reshape(-1).index_select(0, at)
            nearest.scatter_reduce_(0, cell, depth, "amin")
            first = tile.index_select(0, at >> LANES) << LANES
            found.append((cell, first | (at & (TILE - 1)), depth))
    none = torch.empty(0, dtype=torch.int64, device=device)
    where, slot, z = (torch.cat(parts) for parts in zip((none, none, best.new_empty(0)), *found))
    limit = nearest.index_select(0, where) * (1 + tolerance)
    kept = ((z <= limit) & (z < torch.inf) & (number.index_select(0, slot) >= 0)).nonzero()[:, 0]
    where, slot, z = (t.index_select(0, kept) for t in (where, slot, z))
    view, cell = unbordered(where, size, w)
    return Front(
        torch.where(inner < torch.inf, inner, 0.0),
        view,
        cell,
        number.index_select(0, slot).long(),
        owner.index_select(0, slot >> LANES),
        z,
        torch.stack([along.index_select(0, slot) for along in planar.view(3, -1)]),
    )


def bordered_size(views: int, h: int, w: int) -> int:
    """Cells of a grid with a border of one cell.

    Raises:
        ValueError: more cells than float32 counts, or more in all views than int32 does.
    """
    size = (h + 2) * (w + 2)
    if size > MOST_CELLS:
        raise ValueError(f"the grid is {h} x {w}, expected at most {MOST_CELLS} cells; read a smaller one")
    if views * size > torch.iinfo(torch.int32).max:
        raise ValueError(f"{views} views of {h} x {w} are asked for at once, expected at most 2^31 cells; read fewer")
    return size


def unbordered(where: Tensor, size: int, w: int) -> tuple[Tensor, Tensor]:
    """The view and the flat cell without border of cells (N,) of all views' bordered grids in a row; none is border."""
    view = where // size
    bordered = where - view * size
    return view, bordered - 2 * (bordered // (w + 2)) - (w + 1)


def _near_to_far(left: Pairs, best: Tensor, tolerance: float) -> Iterator[Tensor]:
    """Views and blocks of pairs (2, P), the nearest first, in ever larger parts.

    What ``best`` (V, h, w) hides by then is left out.
    """
    layer = 1 + best.numel() // TILE  # pairs that hold a point for each cell
    size, done, near = 2 * layer, 0, left.near
    both, index = torch.stack([left.view, left.block]), torch.arange(len(left), device=near.device)
    while len(near) > size:
        sample = near[:: max(1, len(near) // 1024)].sort()[0]
        nearer = near <= sample[len(sample) * size // len(near)]
        part = index.index_select(0, nearer.nonzero()[:, 0])
        yield both.index_select(1, part)
        done, size = done + len(part), 2 * size
        rest = (~nearer).nonzero()[:, 0]
        index, near = index.index_select(0, rest), near.index_select(0, rest)
        if done > CLOSED * layer:
            seen = (near <= Nearest(best).over(left[index]) * (1 + tolerance)).nonzero()[:, 0]
            index, near = index.index_select(0, seen), near.index_select(0, seen)
    yield both.index_select(1, index)


def visible(laid: Laid, cameras: Cameras, margin: float = 0.0) -> Iterator[tuple[Tensor, Tensor]]:
    """For each view (V,) the points of the tiles that it may see: planar (3, n), and their index (n,), ascending.

    Args:
        margin: pixels around the image that count as seen.
    """
    cameras = cameras.to(laid.begin.device)
    scene = shown(laid, cameras, margin)
    for view in range(len(cameras)):
        tiles = may_see(scene.hulls, cameras[view : view + 1], margin)[0].nonzero()[:, 0]
        planar, number = scene.points(tiles)
        order = torch.argsort(number)[int((number < 0).sum()) :]  # a tile that is not full repeats a point as -1
        yield planar.view(3, -1)[:, order], number[order].long()


class Scratch:
    """Tensors that are written over again and again, so that no pass waits for new memory."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.size = device, -1

    def sized(self, views: int, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """work (6, V, N) float32, cells (V, N) int32, hit (V, N) bool; what they held is lost."""
        count = views * n
        if count > self.size:
            self.size = count
            self.work = torch.empty(6 * count, device=self.device)
            self.cells = torch.empty(count, dtype=torch.int32, device=self.device)
            self.hit = torch.empty(count, dtype=torch.bool, device=self.device)
        return (
            self.work[: 6 * count].view(6, views, n),
            self.cells[:count].view(views, n),
            self.hit[:count].view(views, n),
        )


def reaching(z: Tensor, limit: Tensor, hit: Tensor) -> Tensor:
    """Where z is no more than its limit: (H,) int64 flat, ascending. All three (V, N) contiguous; ``hit`` is lost."""
    if z.device.type != "cpu":
        return torch.le(z, limit, out=hit).view(-1).nonzero()[:, 0]
    np.less_equal(z.numpy(), limit.numpy(), out=hit.numpy())  # a fifth of the time that torch takes
    return torch.from_numpy(np.flatnonzero(hit.numpy()))
