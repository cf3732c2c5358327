"""Reading the memory at a camera: which point each cell sees, and what it says.

Three readouts. ``splat_nearest``: one point, one cell, the nearest wins. ``splat_centred``: the same, but of the points
on the frontmost surface the one nearest to the cell's middle wins (latent clouds). ``splat_discs``: soft discs, the
nearest five composited front to back over black (RGB clouds).

The nearest is a minimum over 64-bit keys, (depth, seniority): no order of writes enters, so the same points give the
same bits in any order and on any number of threads. Ties in depth go to the smaller (chunk, frame, cell).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .camera import Cameras, flat_cells, project_planar
from .discs import (
    BLOCK,
    EMPTY,
    RANKS,
    SURFACE,
    Radius,
    depth_keys,
    discs_of,
    nearest_discs,
    representatives,
    surface_depth,
)

if TYPE_CHECKING:
    from .cloud import SpatialMemory

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


def splat_nearest(memory: "SpatialMemory", cameras: Cameras) -> Readout:
    """One point, one cell (floor(u), floor(v)), nearest wins. ``cameras``: (V,) on the grid to read."""
    planar, order = _by_seniority(memory)
    best = _nearest_keys(planar, cameras)
    winner = torch.where(best != EMPTY, best & RANKS, -1)
    if order is not None:
        winner = torch.where(winner >= 0, order[winner], -1)
    return _told(memory, cameras, _front(best), winner)


def _nearest_keys(planar: Tensor, cameras: Cameras) -> Tensor:
    """The key (depth, rank) of the nearest point (3, N) in each cell: (V, h, w), EMPTY at holes."""
    h, w = cameras.height, cameras.width
    best = torch.full((len(cameras), h * w + 1), EMPTY)  # the last entry takes what falls outside
    for view in range(len(cameras)):
        for start in range(0, planar.shape[1], BLOCK):
            u, v, z = project_planar(planar[:, start : start + BLOCK], cameras[view])
            cell = flat_cells(u, v, z, h, w)
            best[view].scatter_reduce_(0, cell, depth_keys(z, start), "amin")
    return best[:, :-1].reshape(-1, h, w)


def _front(keys: Tensor) -> Tensor:
    """The depth that keys hold, 0 at holes."""
    return torch.where(keys != EMPTY, (keys >> 32).int().view(torch.float32), 0.0)


def splat_centred(memory: "SpatialMemory", cameras: Cameras, tolerance: float = SURFACE) -> Readout:
    """One point, one cell; of the points within ``tolerance`` (relative) of the nearest, the best centred wins.

    A latent codes the pixels of its own cell in their places, so it says little half a cell away from where it was
    written. Of the points on the frontmost surface the one nearest to the cell's middle is taken, in steps of a tenth
    of a cell; within a step the oldest. So a camera that returns reads what it wrote. ``cameras``: (V,).
    """
    h, w = cameras.height, cameras.width
    planar, order = _by_seniority(memory)
    front = _front(_nearest_keys(planar, cameras))
    limit = torch.cat([front.flatten(1) * (1 + tolerance), torch.zeros(len(cameras), 1)], dim=1)  # 0: nothing fits
    best = torch.full((len(cameras), h * w + 1), EMPTY)
    depth = torch.zeros(len(cameras), h * w)
    for view in range(len(cameras)):
        for start in range(0, planar.shape[1], BLOCK):
            u, v, z = project_planar(planar[:, start : start + BLOCK], cameras[view])
            cell = flat_cells(u, v, z, h, w)
            cell = torch.where(z <= limit[view][cell], cell, h * w)
            aside = ((u - u.floor() - 0.5) ** 2 + (v - v.floor() - 0.5) ** 2).sqrt()
            key = ((aside * STEPS).long() << 32) | torch.arange(start, start + len(z))
            best[view].scatter_reduce_(0, cell, torch.where(cell < h * w, key, EMPTY), "amin")
    known = front > 0
    winner = torch.where(known, best[:, :-1].reshape(-1, h, w) & RANKS, -1)
    for view in range(len(cameras)):
        here = known[view]
        depth[view, here.flatten()] = project_planar(planar[:, winner[view][here]], cameras[view])[2]
    if order is not None:
        winner[known] = order[winner[known]]
    return _told(memory, cameras, depth.view(-1, h, w), winner)


def _told(memory: "SpatialMemory", cameras: Cameras, depth: Tensor, winner: Tensor) -> Readout:
    """What the winning points (V, h, w), -1 at holes, say, and where in their cells they lie."""
    known = winner >= 0
    features = torch.zeros(*known.shape, memory.channels)
    features[known] = memory.gather(winner[known]).float()
    points = memory.points
    rows, columns = torch.meshgrid(torch.arange(cameras.height) + 0.5, torch.arange(cameras.width) + 0.5, indexing="ij")
    offset = torch.zeros(len(cameras), 2, cameras.height, cameras.width)
    for view in range(len(cameras)):
        here = known[view]
        u, v, _ = project_planar(points[winner[view][here]].T.contiguous(), cameras[view])
        offset[view, :, here] = torch.stack([u - columns[here], v - rows[here]])
    return Readout(features.permute(0, 3, 1, 2).contiguous(), depth, known.float(), winner, offset)


def splat_discs(memory: "SpatialMemory", cameras: Cameras, radius: Radius = adaptive()) -> Readout:  # noqa: B008
    """Composite the nearest five discs, front to back over black, each with weight 1 - d²/r². ``cameras``: (V,).

    ``known`` is soft: 1 - the transmittance that is left. Features stay multiplied by it, black behind.
    """
    h, w = cameras.height, cameras.width
    planar, order = _by_seniority(memory)
    spacing, features = memory.spacing, memory.features.float()
    if order is not None:
        spacing, features = spacing[order], features[order]
    read = Readout(
        torch.zeros(len(cameras), memory.channels, h, w),
        torch.zeros(len(cameras), h, w),
        torch.zeros(len(cameras), h, w),
        torch.full((len(cameras), h, w), -1),
        torch.zeros(len(cameras), 2, h, w),
    )
    for view in range(len(cameras)):
        layers = nearest_discs(discs_of(planar, spacing, cameras[view], radius), NEAREST)
        clear = torch.ones(h * w)
        for winner, alpha in zip(layers.winner, layers.alpha):
            here = (winner >= 0).nonzero()[:, 0]
            share = clear[here] * alpha[here]
            read.features[view].view(-1, h * w)[:, here] += (share[:, None] * features[winner[here]]).T
            clear[here] -= share
        read.depth[view] = layers.depth[0].view(h, w)
        read.known[view] = (1 - clear).view(h, w)
        front = layers.winner[0]
        read.winner[view] = (front if order is None else torch.where(front >= 0, order[front], -1)).view(h, w)
    return read


def read(memory: "SpatialMemory", cameras: Cameras) -> Readout:
    """Read a memory the way its kind is read: latent cells by ``splat_centred``, colours by ``splat_discs``."""
    return splat_centred(memory, cameras) if memory.kind == "latent" else splat_discs(memory, cameras)


def render_depth(memory: "SpatialMemory", cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Dense depth of a memory of either kind: every point covers its footprint, one surface a pixel.

    Returns:
        depth (V, H, W), 0 where unknown, and known (V, H, W) bool.
    """
    planar, order = _by_seniority(memory)
    spacing = memory.spacing if order is None else memory.spacing[order]
    depth = torch.zeros(len(cameras), cameras.height, cameras.width)
    for view in range(len(cameras)):
        picked = representatives(planar, spacing, cameras[view], FOOTPRINT)
        discs = discs_of(planar[:, picked], spacing[picked], cameras[view], FOOTPRINT)
        depth[view] = surface_depth(discs).view(cameras.height, cameras.width)
    return depth, depth > 0


def _by_seniority(memory: "SpatialMemory") -> tuple[Tensor, Tensor | None]:
    """Points as (3, M) rows ordered by (chunk, frame, cell), and that order (None where the memory is in it)."""
    order = memory.seniority()
    points = memory.points if order is None else memory.points[order]
    return points.T.contiguous(), order
