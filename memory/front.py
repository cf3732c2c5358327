"""The front of a memory: for many views at once, how near the nearest point of each cell is, and which lie there.

Pairs of a view and a tile are worked through from near to far. Their points are projected; those that lie behind the
front so far are dropped at once, and a minimum over float32 depths of the rest brings it nearer. Tiles that then lie
behind the front all over are dropped untouched. What is left is compared with the final front. A minimum knows no
order, so the same points give the same bits in any order and on any number of threads. Features are never touched here.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .bounds import Nearest, Pairs, may_see, pairs
from .camera import Cameras, Lenses, bordered_cells, lenses
from .laid import Laid, shown
from .order import ascending
from .steps import at_once
from .tiles import TILE
from .which import which

BLOCK = (1 << 17) // TILE  # pairs of a tile and a view that are worked on at once: they stay in the cache
FIRST = (1 << 16) // TILE  # pairs of the first step, before which there is no front; each step is twice the one before
CLOSED = 10  # points a cell that must have been looked at until it is worth asking what the front hides
MOST_CELLS = 1 << 24  # up to here float32 counts cells exactly
LANES = TILE.bit_length() - 1  # bits of a place within a tile
NOWHERE = 1e30  # the depth of a cell without points: farther than any (``cloud.FARTHEST``), nearer than infinity


@dataclass(frozen=True, eq=False)
class Front:
    """F pairs of a view (V,) and a point, the frontmost of each cell among them, and how far away these are."""

    depth: Tensor  # (V, h, w) z of the nearest point in each cell, 0 at holes
    where: Tensor  # (F,) int64 the bordered cell of each, of all views' grids in a row
    point: Tensor  # (F,) int32 its index among the points of all observations; -1 = none, never at the front
    image: tuple[Tensor, Tensor, Tensor]  # u, v, z of each (F,), as ``project_planar`` gives them
    hit: Tensor  # (F,) bool, which of them lie at the front
    slot: Tensor  # (F,) int32 its place among those of the tiles that were asked ...
    owners: Tensor  # (K,) int64 and which observation each of these tiles is of

    @property
    def z(self) -> Tensor:  # (F,)
        return self.image[2]

    @cached_property
    def seen(self) -> tuple[Tensor, Tensor]:
        """The view of each point and the flat cell that it falls into, both (F,) int64."""
        views, h, w = self.depth.shape
        return unbordered(self.where, bordered_size(views, h, w), w)

    def owner(self, some: Tensor) -> Tensor:
        """Which observations some of these points (P,) int64 are of: (P,) int64."""
        return self.owners.index_select(0, self.slot.index_select(0, some) >> LANES)


def front(laid: Laid, cameras: Cameras, tolerance: float = 0.0) -> Front:
    """The points within ``tolerance`` (relative) behind the nearest of their cell, in every view (V,), and no others.

    Raises:
        ValueError: a grid of more than 2^24 cells.
    """
    found = candidates(laid, cameras, tolerance)
    here = which(found.hit)
    where, point, u, v, z, hit, slot = (
        t.index_select(0, here) for t in (found.where, found.point, *found.image, found.hit, found.slot)
    )
    return Front(found.depth, where, point, (u, v, z), hit, slot, found.owners)


def candidates(laid: Laid, cameras: Cameras, tolerance: float = 0.0) -> Front:
    """``front``, and some that were nearer than all that had been looked at before them: less to do where they are few.

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
    inner = best[:, 1:-1, 1:-1].fill_(NOWHERE)
    nearest = best.view(-1)
    left = pairs(scene.hulls, cameras)
    wanted = torch.zeros(len(scene.owner), dtype=torch.bool, device=device).index_fill_(0, left.block, True)
    tiles = which(wanted)
    planar, number = scene.points(tiles)
    left = replace(left, block=(wanted.cumsum(0) - 1).index_select(0, left.block))
    step, found = FIRST, []
    for some in _near_to_far(left, inner, tolerance):
        end = 0
        while end < some.shape[1]:
            begin, end, step = end, end + step, min(2 * step, most)
            view, tile = some[:, begin:end]
            room = held.sized(len(view))
            image = fallen(planar, view, tile, every, size, room)
            cells, z = room.cells.view(-1), image[2].view(-1)
            limit = torch.index_select(nearest, 0, cells, out=room.limit)
            if tolerance:
                limit.mul_(1 + tolerance)
            at = reaching(z, limit, room.hit)
            cell = cells.index_select(0, at)
            slot = slots(tile, at).int()
            u, v, z = (row.view(-1).index_select(0, at) for row in image)
            nearest.scatter_reduce_(0, cell.long(), z, "amin")
            found.append((cell, slot, u, v, z))
    none, nothing = torch.empty(0, dtype=torch.int32, device=device), best.new_empty(0)
    where, slot, u, v, z = (torch.cat(p) for p in zip((none, none, nothing, nothing, nothing), *found))
    found.clear()
    point, where = number.index_select(0, slot), where.long()
    hit = (z <= nearest.index_select(0, where) * (1 + tolerance)).logical_and_(point >= 0)
    owners = scene.number.index_select(0, scene.owner.index_select(0, tiles))
    return Front(torch.where(inner < NOWHERE, inner, 0.0), where, point, (u, v, z), hit, slot, owners)


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
    both, order = torch.stack([left.view, left.block]), ascending(left.near)
    size, done = 2 * layer, 0
    while len(order) > size:
        yield both.index_select(1, order[:size])
        done, order, size = done + size, order[size:], 2 * size
        if done > CLOSED * layer:
            rest = left[order]
            order = order.index_select(0, which(rest.near <= Nearest(best).over(rest) * (1 + tolerance)))
    yield both.index_select(1, order)


def visible(laid: Laid, cameras: Cameras, margin: float = 0.0) -> Iterator[tuple[Tensor, Tensor]]:
    """For each view (V,) the points of the tiles that it may see: planar (3, n), and their index (n,), ascending.

    Args:
        margin: pixels around the image that count as seen.
    """
    cameras = cameras.to(laid.begin.device)
    scene = shown(laid, cameras, margin)
    for view in range(len(cameras)):
        tiles = which(may_see(scene.hulls, cameras[view : view + 1], margin))
        planar, number = scene.points(tiles)
        order = torch.argsort(number)[int((number < 0).sum()) :]  # a tile that is not full repeats a point as -1
        yield planar.view(3, -1)[:, order], number[order].long()


class Room(NamedTuple):
    """What a pass over P tiles writes into."""

    points: Tensor  # (3, P, TILE) float32
    work: Tensor  # (6, P, TILE) float32
    cells: Tensor  # (P, TILE) int32
    limit: Tensor  # (P TILE,) float32
    hit: Tensor  # (P TILE,) bool


class Scratch:
    """Tensors that are written over again and again, so that no pass waits for new memory."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.size = device, -1

    def sized(self, tiles: int) -> Room:
        """Room for some tiles; what it held is lost."""
        count = tiles * TILE
        if count > self.size:
            self.size = count
            self.floats = torch.empty(10 * count, device=self.device)
            self.cells = torch.empty(count, dtype=torch.int32, device=self.device)
            self.hit = torch.empty(count, dtype=torch.bool, device=self.device)
        points, work, limit = self.floats[: 10 * count].split([3 * count, 6 * count, count])
        return Room(
            points.view(3, tiles, TILE),
            work.view(6, tiles, TILE),
            self.cells[:count].view(tiles, TILE),
            limit,
            self.hit[:count],
        )


def fallen(planar: Tensor, view: Tensor, tile: Tensor, every: Lenses, size: int, room: Room) -> Tensor:
    """Where the points of P pairs of a view and a tile fall.

    Args:
        planar: (3, T, TILE) world, of all tiles.
        view, tile: (P,) int64.
        every: all views.
        size: cells of a view's bordered grid.

    Returns:
        u, v, z (3, P, TILE), a part of ``room``, whose ``cells`` then say the cell among those of all views in a row.
    """
    points = torch.index_select(planar, 1, tile, out=room.points)
    image = bordered_cells(points, every[view], room.work, room.cells)
    room.cells.add_((view * size).int()[:, None])
    return image


def slots(tile: Tensor, at: Tensor) -> Tensor:
    """The place among the points of all tiles of points (H,) int64 counted along some tiles (P,) behind one another."""
    moved = (tile - torch.arange(len(tile), device=tile.device)) << LANES
    return moved.index_select(0, at >> LANES).add_(at)


def reaching(z: Tensor, limit: Tensor, hit: Tensor) -> Tensor:
    """Where z is no more than its limit: (H,) int64, ascending. All three (N,) contiguous; ``hit`` is lost."""
    if z.device.type != "cpu":
        return which(torch.le(z, limit, out=hit))
    np.less_equal(z.numpy(), limit.numpy(), out=hit.numpy())  # a fifth of the time that torch takes
    return which(hit)
