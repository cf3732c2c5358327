"""Parts of space that a user selects: a box, a sphere, a half-space, or the voxels around chosen points.

A region is a value of its own, apart from any memory: what is lifted later falls into it or not. A selection is a
region and, where asked for, the frames by which the points were seen.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .observation import Observation
from .quaternion import matrices_from_quaternions
from .shapes import sizes
from .voxels import voxel_keys

Vector = tuple[float, float, float]


class Region(Protocol):
    """A part of space."""

    def contains(self, points: Tensor) -> Tensor:
        """Which points (N, 3) lie in it: (N,) bool."""


@dataclass(frozen=True)
class Everywhere:
    """All of space: what is selected is chosen by its frames."""

    def contains(self, points: Tensor) -> Tensor:
        return torch.ones(len(points), dtype=torch.bool, device=points.device)


@dataclass(frozen=True)
class Box:
    """A box of ``size`` (world units) about ``centre``, turned by ``rotation`` (wxyz)."""

    centre: Vector
    size: Vector
    rotation: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        _check_numbers("a box", (*self.centre, *self.size, *self.rotation))
        if min(self.size) <= 0 or sum(r * r for r in self.rotation) < 1e-12:
            raise ValueError(f"a box of size {self.size} turned by {self.rotation} is none; expected positive sides")

    def contains(self, points: Tensor) -> Tensor:
        turn = matrices_from_quaternions(torch.tensor(self.rotation, dtype=torch.float64))
        local = (points.double() - torch.tensor(self.centre, dtype=torch.float64)) @ turn
        return (local.abs() <= torch.tensor(self.size, dtype=torch.float64) / 2).all(1)


@dataclass(frozen=True)
class Sphere:
    """All within ``radius`` (world units) of ``centre``."""

    centre: Vector
    radius: float

    def __post_init__(self) -> None:
        _check_numbers("a sphere", (*self.centre, self.radius))
        if self.radius <= 0:
            raise ValueError(f"a sphere of radius {self.radius} is none; expected a positive radius in world units")

    def contains(self, points: Tensor) -> Tensor:
        away = points.double() - torch.tensor(self.centre, dtype=torch.float64)
        return away.square().sum(1) <= self.radius * self.radius


@dataclass(frozen=True)
class HalfSpace:
    """All on the side of the plane through ``point`` to which ``normal`` points."""

    point: Vector
    normal: Vector

    def __post_init__(self) -> None:
        _check_numbers("a half-space", (*self.point, *self.normal))
        if not any(self.normal):
            raise ValueError("the normal of a half-space is zero; expected the direction of the side that is selected")

    def contains(self, points: Tensor) -> Tensor:
        away = points.double() - torch.tensor(self.point, dtype=torch.float64)
        return (away * torch.tensor(self.normal, dtype=torch.float64)).sum(1) >= 0


@dataclass(frozen=True, eq=False)
class Voxels:
    """The cubes of side ``voxel`` (world units) with these keys."""

    keys: Tensor  # (K,) int64 sorted, unique
    voxel: float

    def contains(self, points: Tensor) -> Tensor:
        if not len(self.keys):
            return torch.zeros(len(points), dtype=torch.bool, device=points.device)
        found = voxel_keys(points, self.voxel)
        place = torch.searchsorted(self.keys, found).clamp(max=len(self.keys) - 1)
        return self.keys[place] == found


@dataclass(frozen=True, eq=False)
class Selection:
    """The points of a region; with ``frames``, only those that one of these frames taught."""

    region: Region
    frames: tuple[int, ...] | None = None

    def mask(self, observation: Observation) -> Tensor:
        """Which points of an observation are selected: (N,) bool."""
        if self.frames is not None and observation.frame not in self.frames:
            return torch.zeros(len(observation), dtype=torch.bool, device=observation.points.device)
        return self.region.contains(observation.points)


def voxels_around(points: Tensor, voxel: float) -> Voxels:
    """The voxels that hold the points (N, 3) and all voxels beside those: what is lifted there later is selected too.

    Raises:
        ValueError: no points, or a voxel that is not positive.
    """
    (n,) = sizes("N 3", points=points)
    if not n:
        raise ValueError("nothing is selected: no point of the memory lies in that part of it")
    steps = torch.cartesian_prod(*[torch.arange(-1, 2, dtype=points.dtype)] * 3) * voxel
    centres = (torch.floor(points / voxel) + 0.5) * voxel
    keys = torch.cat([voxel_keys(centres + step, voxel).unique() for step in steps]).unique()
    return Voxels(keys, voxel)


def _check_numbers(what: str, values: Sequence[float]) -> None:
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"{what} holds NaN or infinite numbers: {tuple(values)}")
