"""Which cells of new observations fall on points that a memory holds already, on the surface of the cell.

All views are asked in one pass: what a view costs is then its points, not the steps that each view begins anew.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from .between import WIDER, between
from .camera import concatenate
from .laid import Laid
from .normals import decode_normals
from .observation import Observation, depth_of, owners, runs, spacing_of
from .which import which

AGREES = 0.5  # cosine between the normals of one surface, at least
TOGETHER = 1 << 18  # cells of the views that are asked at once


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs of a new cell and an older point on its surface."""

    cell: Tensor  # (P,) int64 index into the new observation
    footprint: Tensor  # (P,) world units, of the new cell
    old_footprint: Tensor  # (P,) of the older point
    confidence: Tensor  # (P,) 0..255
    old_confidence: Tensor  # (P,)

    def __getitem__(self, index: Tensor) -> "Pairs":
        """Some of the pairs: (K,) bool or int64."""
        return Pairs(*(getattr(self, field.name)[index] for field in fields(Pairs)))


@dataclass(frozen=True, eq=False)
class Meeting:
    """The pairs of one new observation, and the older point of each."""

    pairs: Pairs
    point: Tensor  # (P,) int64 index among all older points

    def among(self, kept: Tensor) -> "Meeting":
        """The pairs of some of the new cells (N,) bool, which are counted anew."""
        stays = kept[self.pairs.cell]
        pairs = self.pairs[stays]
        return Meeting(replace(pairs, cell=(kept.cumsum(0) - 1)[pairs.cell]), self.point[stays])

    def moved(self, place: Tensor) -> "Meeting":
        """The pairs whose older points (M,) int64 says to stand at a new place; those at -1 are gone."""
        point = place[self.point]
        stays = point >= 0
        return Meeting(self.pairs[stays], point[stays])

    def followed(self, other: "Meeting") -> "Meeting":
        """These pairs and those with other points."""
        both = zip(*([getattr(m.pairs, field.name) for field in fields(Pairs)] for m in (self, other)))
        return Meeting(Pairs(*map(torch.cat, both)), torch.cat([self.point, other.point]))


def meetings(older: Laid, fresh: Sequence[Observation], tolerance: float, near: float) -> list[Meeting]:
    """For each new observation every older point within ``near`` cells of the middle of a cell, on its surface.

    Args:
        older: what the points are counted in.
        tolerance: relative depth within which points lie on one surface; their normals must agree too, if known.
    """
    if not older.observations:
        return [_nobody(o) for o in fresh]
    groups = [fresh] if together(fresh) else [[o] for o in fresh]
    return [met for group in groups for met in _met(older, group, tolerance, near)]


def together(fresh: Sequence[Observation]) -> bool:
    """Whether it pays to ask for all of some observations at once: they are of one grid, and few cells in all."""
    grids = {(o.camera.height, o.camera.width) for o in fresh}
    return len(grids) == 1 and len(fresh) * math.prod(*grids) <= TOGETHER


def _nobody(fresh: Observation) -> Meeting:
    """The meeting of an observation where there is nobody to meet."""
    none = torch.empty(0, dtype=torch.int64, device=fresh.points.device)
    return Meeting(Pairs(none, none.float(), none.float(), none.byte(), none.byte()), none)


def _met(older: Laid, fresh: Sequence[Observation], tolerance: float, near: float) -> list[Meeting]:
    """``meetings`` of observations on one grid."""
    device = fresh[0].points.device
    cameras = concatenate([o.camera.alone() for o in fresh]).to(device)
    views, size = len(fresh), cameras.height * cameras.width
    counts = torch.tensor([len(o) for o in fresh], device=device)
    begin = counts.cumsum(0) - counts
    place = torch.cat([o.cells.long() + view * size for view, o in enumerate(fresh)])
    mine = torch.full((views * size,), -1, device=device)
    mine[place] = torch.arange(len(place), device=device)
    nowhere = torch.zeros(1, device=device)  # the depth where there is no cell: nothing is near it
    owner = torch.arange(views, device=device).repeat_interleave(counts)
    planar = torch.cat([o.planar for o in fresh], 1)
    depth = torch.cat([depth_of(fresh, owner, planar), nowhere])
    grid = depth[mine].view(views, cameras.height, cameras.width)
    apart = tolerance + WIDER
    found = between(older, cameras, torch.where(grid > 0, grid * (1 - apart), torch.inf), grid * (1 + apart), near)
    cell = mine[found.view * size + found.cell]
    here = which((found.z - depth[cell]).abs() <= tolerance * depth[cell])  # on its surface
    view, cell, point = found.view[here], cell[here], found.point[here]
    footprint = spacing_of(fresh, view, planar.index_select(1, cell))
    confidence, normals = (torch.cat([getattr(o, name) for o in fresh])[cell] for name in ("confidence", "normals"))
    old_footprint, old_confidence, old_normals = _told(older.observations, point, found.place[:, here])
    one, other = decode_normals(normals), decode_normals(old_normals)
    unsure = (one == 0).all(1) | (other == 0).all(1)
    same = which(unsure | ((one * other).sum(1) >= AGREES))
    pairs = Pairs(cell - begin[view], footprint, old_footprint, confidence, old_confidence)[same]
    ends = torch.bincount(view[same], minlength=views).tolist()
    parts = zip(*(getattr(pairs, field.name).split(ends) for field in fields(Pairs)))
    return [Meeting(Pairs(*part), own) for part, own in zip(parts, point[same].split(ends))]


def _told(observations: Sequence[Observation], point: Tensor, place: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Footprint (P,), confidence (P,) and normal (P, 2) of some points (P,) of all observations, which lie there."""
    owner, local = owners(observations, point)
    confidence = torch.empty(len(point), dtype=torch.uint8, device=point.device)
    normals = torch.empty(len(point), 2, dtype=torch.uint8, device=point.device)
    for number, index in runs(owner, len(observations)):
        o, there = observations[number], local.index_select(0, index)
        confidence.index_copy_(0, index, o.confidence.index_select(0, there))
        normals.index_copy_(0, index, o.normals.index_select(0, there))
    return spacing_of(observations, owner, place), confidence, normals
