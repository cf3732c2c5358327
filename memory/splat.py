"""Reading the memory at a camera: which point each cell sees, and what it says.

Three readouts. ``splat_nearest``: one point, one cell, the nearest wins. ``splat_centred``: the same, but of the points
on the frontmost surface the one nearest to the cell's middle wins (latent clouds). ``splat_discs``: soft discs, the
nearest five composited front to back over black (RGB clouds).

The nearest is a minimum: no order of writes enters, so the same points give the same bits in any order and on any
number of threads. Ties in depth go to the smaller (chunk, frame, cell). A view touches only what it may see.

Everything is computed, and given, where the points of the memory lie (``memory.to(device)``), wherever the cameras do.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .camera import Cameras, from_middle
from .cloud import SpatialMemory, told
from .discs import SURFACE, Radius, discs_of, nearest_discs, representatives, surface_depth
from .front import Front, bordered_size, candidates, front, visible
from .which import which

EMPTY = (1 << 63) - 1  # no point
NEAREST = 5  # discs a pixel composites
STEPS = 10  # a cell: points that lie off its middle by the same step are told apart by age alone


@dataclass(frozen=True, eq=False)
class Readout:
    """What V cameras see of a memory, on the cameras' grid."""

    features: Tensor  # (V, C, h, w) float32, 0 at holes
    depth: Tensor  # (V, h, w) z-depth of the nearest point, 0 at holes
    known: Tensor  # (V, h, w) float32: 1 = known, 0 = hole; soft for discs
    winner: Tensor  # (V, h, w) int64 index of the point in memory.points, -1 at holes
    offset: Tensor  # (V, 2, h, w) u, v of the winner from the middle of its cell, in cells; 0 at holes and for discs

    def to(self, device: torch.device) -> "Readout":
        """The same there; itself where it lies there already."""
        if self.known.device == device:
            return self
        return Readout(*(getattr(self, f.name).to(device) for f in fields(self)))


def adaptive(factor: float = 1.3, least: float = 0.75, most: float = 1 / 16) -> Radius:
    """Discs as wide as ``factor`` times the spacing of their points, seen from the target: surfaces stay closed.

    Narrower ones leave gaps where a surface is stretched, wider ones blur and use up the five layers at their rims.
    ``least`` in pixels (below 0.71 a disc can miss every pixel centre), ``most`` as a share of the short side.
    """
    return lambda spacing, short_side: (factor * spacing).clamp(least, max(least, most * short_side))


FOOTPRINT = adaptive(1.0, most=1 / 4)  # of a rendered depth: as wide as what the point was written from


def fixed(radius: float = 3.52, short_side: int = 704) -> Radius:
    """Discs of one size, ``radius`` pixels where the short side is ``short_side``: 0.01 NDC, as Spatia renders."""
    return lambda spacing, target: torch.full_like(spacing, radius * target / short_side)


def splat_nearest(memory: SpatialMemory, cameras: Cameras) -> Readout:
    """One point, one cell (floor(u), floor(v)), nearest wins. ``cameras``: (V,) on the grid to read."""
    found = front(memory.laid, cameras)
    return _told(memory, found, _first(found, _rank(memory, found.point)))


def splat_centred(memory: SpatialMemory, cameras: Cameras, tolerance: float = SURFACE) -> Readout:
    """One point, one cell; of the points within ``tolerance`` (relative) of the nearest, the best centred wins.

    A latent codes the pixels of its own cell in their places, so it says little half a cell away from where it was
    written. Of the points on the frontmost surface the one nearest to the cell's middle is taken, in steps of a tenth
    of a cell; within a step the oldest. So a camera that returns reads what it wrote. ``cameras``: (V,).
    """
    found = candidates(memory.laid, cameras, tolerance)
    u, v, _ = found.image
    off = from_middle(u, v).mul_(STEPS).long()
    return _told(memory, found, _first(found, off.bitwise_left_shift_(32).bitwise_or_(_rank(memory, found.point))))


def _rank(memory: SpatialMemory, point: Tensor) -> Tensor:
    """Who of several points is asked first: the smaller (chunk, frame, cell). Anything where there is no point."""
    return point.long() if memory.rank is None else memory.rank[point]


def _first(found: Front, key: Tensor) -> Tensor:
    """In each cell that of the points at the front whose key (F,) is least: (V, h, w) indices into ``found``.

    Holes have -1. The keys are lost.
    """
    views, h, w = found.depth.shape
    key.masked_fill_(~found.hit, EMPTY)
    grid = torch.full((views * bordered_size(views, h, w),), EMPTY - 1, device=key.device)
    least = grid.scatter_reduce_(0, found.where, key, "amin")
    wins = which(key == least.index_select(0, found.where))  # one a cell: keys differ
    chosen = least.fill_(-1).scatter_(0, found.where.index_select(0, wins), wins)
    return chosen.view(views, h + 2, w + 2)[:, 1:-1, 1:-1]


def _told(memory: SpatialMemory, found: Front, chosen: Tensor) -> Readout:
    """What the chosen of the points found (V, h, w), -1 at holes, say, and where in their cells they lie."""
    views, h, w = chosen.shape
    if not len(found.point):
        return _nothing(memory, views, h, w)
    known, pick = chosen >= 0, chosen.clamp(min=0).flatten()
    point, u, v, z = (t.index_select(0, pick).view(views, h * w) for t in (found.point, *found.image))
    cell = torch.arange(h * w, device=chosen.device)
    line = cell // w
    offset = torch.stack([u - (cell - line * w + 0.5), v - (line + 0.5)], 1).view(views, 2, h, w)
    told_of = which(known)  # the cells in a row that are no holes
    here = pick.index_select(0, told_of)
    owner = found.owner(here)
    rows, stored = memory.stored(owner, found.point.index_select(0, here) - memory.laid.begin.index_select(0, owner))
    row = torch.full_like(pick, len(stored)).scatter_(0, told_of, stored)  # of each cell; a hole has the one of zeros
    features = torch.empty(views, memory.channels, h * w, device=chosen.device)
    for said, cells in zip(features, row.view(views, -1)):  # what a view gathers stays in a cache
        said.copy_(rows.index_select(0, cells).T)
    return Readout(
        told(memory.kind, features).view(views, -1, h, w),
        torch.where(known, z.view_as(chosen), 0.0),
        known.float(),
        torch.where(known, point.view_as(chosen).long(), -1),
        torch.where(known[:, None], offset, 0.0),
    )


def _nothing(memory: SpatialMemory, views: int, h: int, w: int) -> Readout:
    """What V views read where they see nothing: holes all over."""
    device = memory.device
    return Readout(
        torch.zeros(views, memory.channels, h, w, device=device),
        torch.zeros(views, h, w, device=device),
        torch.zeros(views, h, w, device=device),
        torch.full((views, h, w), -1, device=device),
        torch.zeros(views, 2, h, w, device=device),
    )


def splat_discs(memory: SpatialMemory, cameras: Cameras, radius: Radius = adaptive()) -> Readout:  # noqa: B008
    """Composite the nearest five discs, front to back over black, each with weight 1 - d²/r². ``cameras``: (V,).

    ``known`` is soft: 1 - the transmittance that is left. Features stay multiplied by it, black behind.
    """
    views, h, w, device = len(cameras), cameras.height, cameras.width, memory.device
    read = _nothing(memory, views, h, w)
    every = torch.arange(sum(len(o) for o in memory.drawn), device=device)
    said = memory.gather(every)  # asked for five times a pixel
    for view, (planar, spacing, index) in enumerate(_visible(memory, cameras, radius)):
        layers = nearest_discs(discs_of(planar, spacing, cameras[view], radius), NEAREST)
        if not len(index):
            continue
        points = index[layers.winner.clamp(min=0)]  # (L, P); where there is none, alpha is 0
        clear = torch.ones(h * w, device=device)
        for point, alpha in zip(points, layers.alpha):
            share = clear * alpha
            read.features[view].view(-1, h * w).add_(share * said.index_select(0, point).T)
            clear -= share
        read.depth[view] = layers.depth[0].view(h, w)
        read.known[view] = (1 - clear).view(h, w)
        read.winner[view] = torch.where(layers.winner[0] >= 0, points[0], -1).view(h, w)
    return read


def read(memory: SpatialMemory, cameras: Cameras) -> Readout:
    """Read a memory the way its kind is read: latent cells by ``splat_centred``, colours by ``splat_discs``."""
    return splat_centred(memory, cameras) if memory.kind == "latent" else splat_discs(memory, cameras)


def render_depth(memory: SpatialMemory, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Dense depth of a memory of either kind: every point covers its footprint, one surface a pixel.

    Returns:
        depth (V, H, W), 0 where unknown, and known (V, H, W) bool.
    """
    depth = torch.zeros(len(cameras), cameras.height, cameras.width, device=memory.device)
    for view, (planar, spacing, _) in enumerate(_visible(memory, cameras, FOOTPRINT)):
        picked = representatives(planar, spacing, cameras[view], FOOTPRINT)
        discs = discs_of(planar[:, picked], spacing[picked], cameras[view], FOOTPRINT)
        depth[view] = surface_depth(discs).view(cameras.height, cameras.width)
    return depth, depth > 0


def _visible(memory: SpatialMemory, cameras: Cameras, radius: Radius) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """For each view the points whose discs it may see, eldest first: planar (3, n), spacing (n,), index (n,)."""
    widest = radius(cameras.K.new_full((1,), torch.inf), min(cameras.height, cameras.width)).item()
    margin = widest if widest < torch.inf else float(max(cameras.height, cameras.width))
    spacing = memory.spacing
    for planar, index in visible(memory.laid, cameras, margin):
        if memory.rank is not None:
            order = torch.argsort(memory.rank[index])
            planar, index = planar[:, order].contiguous(), index[order]
        yield planar, spacing[index], index
