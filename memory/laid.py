"""The tiles of many observations laid out behind one another, and those of them that some view may see."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .bounds import may_see
from .camera import Cameras
from .observation import Observation, tiled
from .tiles import TILE, corners
from .which import which

FEW = 1 << 11  # tiles: what follows asks them all in less time than they would take to be sifted
SIDE_BY_SIDE = 8  # tiles that are asked together first: neighbours, as ``compact`` parts points


@dataclass(frozen=True, eq=False)
class Laid:
    """O observations, empty ones left out, and where their B tiles lie. Made once for many readouts."""

    observations: tuple[Observation, ...]
    begin: Tensor  # (O,) int64 the index of their first point among those of all
    hulls: Tensor  # (3, 8, O) world, of all points of each
    low: Tensor  # (3, B) as in ``Tiles``
    high: Tensor  # (3, B)
    tiles: Tensor  # (O,) int64 how many tiles each has
    group_low: Tensor  # (3, G) the same of every ``SIDE_BY_SIDE`` tiles of an observation
    group_high: Tensor  # (3, G)
    ahead: Tensor  # (O,) bool
    c2w: Tensor  # (4, 4, O)

    def get_ram_usage(self) -> int:
        """Bytes of what was derived."""
        bounds = (self.hulls, self.low, self.high, self.group_low, self.group_high)
        own = (self.begin, self.tiles, self.ahead, self.c2w, *bounds)
        return sum(t.numel() * t.element_size() for t in own)


def laid_out(observations: Sequence[Observation]) -> Laid:
    """Observations ready to be looked at."""
    device = observations[0].points.device if observations else torch.device("cpu")
    sizes = torch.tensor([len(o) for o in observations], dtype=torch.int64, device=device)
    begin = _begins(sizes)[sizes > 0]
    kept = tuple(o for o in observations if len(o))
    nothing = torch.empty(3, 0, device=device)
    tiles = tiled(kept)
    low, high = (torch.cat([nothing, *(getattr(t, side) for t in tiles)], 1) for side in ("low", "high"))
    count = torch.tensor([len(t) for t in tiles], dtype=torch.int64, device=device)
    groups = _groups(count)
    owner, first = _numbered(groups)
    group = _begins(groups).repeat_interleave(count) + _numbered(count)[1] // SIDE_BY_SIDE
    wide = group.expand(3, -1)
    return Laid(
        kept,
        begin,
        torch.stack([t.hull for t in tiles], -1) if kept else torch.empty(3, 8, 0, device=device),
        low,
        high,
        count,
        low.new_full((3, len(owner)), torch.inf).scatter_reduce_(1, wide, low, "amin"),
        high.new_full((3, len(owner)), -torch.inf).scatter_reduce_(1, wide, high, "amax"),
        torch.tensor([t.ahead for t in tiles], dtype=torch.bool, device=device),
        torch.stack([o.camera.c2w for o in kept], -1).to(device) if kept else torch.empty(4, 4, 0, device=device),
    )


def _groups(tiles: Tensor) -> Tensor:
    """How many groups the tiles of each observation (O,) make: (O,)."""
    return (tiles + (SIDE_BY_SIDE - 1)) // SIDE_BY_SIDE


def _begins(counts: Tensor) -> Tensor:
    """Where each of some runs (R,) begins that lie behind one another: (R,), in the dtype of the counts."""
    return counts.cumsum(0, dtype=counts.dtype) - counts


def _numbered(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Runs of so many (R,), behind one another: the run that each is in, and its number there."""
    run = torch.arange(len(counts), device=counts.device).repeat_interleave(counts)
    return run, torch.arange(len(run), device=counts.device) - _begins(counts).index_select(0, run)


@dataclass(frozen=True, eq=False)
class Shown:
    """The observations of which a view may see something, and those M of their tiles that it may, in their order."""

    observations: tuple[Observation, ...]
    number: Tensor  # (O,) int64 which of all observations each is ...
    begin: Tensor  # (O,) int64 and the index of its first point among those of all
    owner: Tensor  # (M,) int64 the observation of each tile ...
    tile: Tensor  # (M,) int64 and its number there
    hulls: Tensor  # (3, 8, M) world

    @cached_property
    def _places(self) -> tuple[Tensor, Tensor, Tensor]:
        """For each observation its first point among those shown and how many it has (2, O); the order, the points."""
        counts = torch.tensor([len(o) for o in self.observations], dtype=torch.int32, device=self.begin.device)
        order = torch.cat([o.tiles.order for o in self.observations])
        return (
            torch.stack([_begins(counts), counts]),
            order,
            torch.cat([o.planar for o in self.observations], 1),
        )

    def points(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """The points of some tiles (K,): (3, K, TILE) world, and (K TILE,) int32 their index among those of all.

        A tile that is not full repeats one of its points, with the index -1.
        """
        device = tiles.device
        if not len(tiles):
            return torch.empty(3, 0, TILE, device=device), torch.empty(0, dtype=torch.int32, device=device)
        ends, order, planar = self._places
        owner = self.owner.index_select(0, tiles)
        base, count = ends.index_select(1, owner)[..., None]
        lane = torch.arange(TILE, dtype=torch.int32, device=device)
        lane = lane + TILE * self.tile.index_select(0, tiles).int()[:, None]  # (K, TILE) within the observation
        last = torch.minimum(lane, count - 1).add_(base).flatten()
        place = order.index_select(0, last).view_as(lane).int()
        index = torch.where(lane < count, place + self.begin.int().index_select(0, owner)[:, None], -1).flatten()
        place = place.add_(base).flatten()
        found = torch.empty(3, len(place), device=device)
        for row, there in zip(planar, found):
            torch.index_select(row, 0, place, out=there)
        return found.view(3, -1, TILE), index


def shown(laid: Laid, cameras: Cameras, margin: float = 0.0) -> Shown:
    """The observations and tiles of which a view (V,) may see something, or all where they are few.

    Args:
        margin: pixels around the image that count as seen.
    """
    return everything(laid) if laid.low.shape[1] <= FEW else sifted(laid, cameras, margin)


def sifted(laid: Laid, cameras: Cameras, margin: float = 0.0) -> Shown:
    """``shown``, but for how many they are: whole observations are asked, then groups of their tiles."""
    asked = which(may_see(laid.hulls, cameras, margin).any(0))
    owner, group = _numbered(_groups(laid.tiles.index_select(0, asked)))
    every = _groups(laid.tiles)
    column = _begins(every).index_select(0, asked).index_select(0, owner) + group
    hulls = _hulls(laid, laid.group_low, laid.group_high, column, asked.index_select(0, owner))
    near = which(may_see(hulls, cameras, margin).any(0))
    owner, tile = owner.index_select(0, near)[:, None], group.index_select(0, near)[:, None] * SIDE_BY_SIDE
    tile = tile + torch.arange(SIDE_BY_SIDE, device=tile.device)  # of each group (K, SIDE_BY_SIDE)
    there = which(tile < laid.tiles.index_select(0, asked)[owner])
    tile, owner = tile.flatten().index_select(0, there), owner.expand_as(tile).flatten().index_select(0, there)
    source = asked.index_select(0, owner)
    column = _begins(laid.tiles).index_select(0, source) + tile
    hulls = _hulls(laid, laid.low, laid.high, column, source)
    some = tuple(laid.observations[i] for i in asked.tolist())
    return Shown(some, asked, laid.begin.index_select(0, asked), owner, tile, hulls)


def everything(laid: Laid) -> Shown:
    """All observations and all their tiles. Not kept: it would take two bytes a point."""
    owner, tile = _numbered(laid.tiles)
    number = torch.arange(len(laid.tiles), device=owner.device)
    hulls = corners(laid.low, laid.high, laid.ahead.index_select(0, owner), laid.c2w.index_select(2, owner))
    return Shown(laid.observations, number, laid.begin, owner, tile, hulls)


def _hulls(laid: Laid, low: Tensor, high: Tensor, column: Tensor, source: Tensor) -> Tensor:
    """The corners (3, 8, K) of some blocks (K,), each of an observation (K,) int64."""
    low, high = low.index_select(1, column), high.index_select(1, column)
    return corners(low, high, laid.ahead.index_select(0, source), laid.c2w.index_select(2, source))
