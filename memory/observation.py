"""What one frame taught: points, what they carry, and the stamps that later frames put on them.

What is kept a point is what cannot be derived; where all points agree, one number stands for all (a tensor of stride
0). Depth and footprint follow from the points and the camera; bounds are computed once and can be dropped.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from .camera import Cameras, depth_planar, invert_rigid
from .copies import Shared, located
from .order import grouped
from .shapes import sizes
from .tiles import Tiles, tiles_of

NEVER = 32767  # the stamp of what has not happened
SURE = 255  # the confidence of depth that is known

PER_POINT = ("points", "features", "cells", "confidence", "normals", "doubted", "retired")


@dataclass(frozen=True, eq=False)
class Observation:
    """N points with where, when and from which cell they came. ``confidence`` and what follows may be one value."""

    points: Tensor  # (N, 3) float32 world
    features: Tensor  # (N, C): float16 latent channels in model space, or an uint8 colour, 255 = full
    cells: Tensor  # (N,) int32 flat index of the cell in the source grid
    camera: Cameras  # () the source camera on its source grid
    frame: int  # pixel frame of the whole video
    chunk: int  # the chunk that made it, -1 = given at the start
    voxel: float = 0.0  # world units; the points were thinned to one a voxel, 0 = not thinned
    confidence: Tensor = torch.tensor(
        SURE, dtype=torch.uint8
    )  # (N,) 0..255: of the depth, times the cosine of incidence
    normals: Tensor = torch.zeros(2, dtype=torch.uint8)  # (N, 2) octahedral, world axes; (0, 0) = not known
    doubted: Tensor = torch.tensor(NEVER, dtype=torch.int16)  # (N,) the chunk that first saw past the point, or NEVER
    retired: Tensor = torch.tensor(NEVER, dtype=torch.int16)  # (N,) from this chunk on it draws no more, or NEVER

    def __post_init__(self) -> None:
        (n,) = sizes("N 3", points=self.points)
        object.__setattr__(self, "points", self.points.T.contiguous().T)  # laid out as ``planar``; no copy if it is
        for name, shape in (("confidence", (n,)), ("normals", (n, 2)), ("doubted", (n,)), ("retired", (n,))):
            value = getattr(self, name)
            if value.shape != shape and value.ndim == len(shape) - 1:
                object.__setattr__(self, name, value.to(self.points.device).expand(shape))
        sizes("N 3 | N C | N", points=self.points, features=self.features, cells=self.cells)
        sizes(
            f"{n} | {n} 2 | {n} | {n}",
            confidence=self.confidence,
            normals=self.normals,
            doubted=self.doubted,
            retired=self.retired,
        )

    def __len__(self) -> int:
        return self.points.shape[0]

    @property
    def planar(self) -> Tensor:  # (3, N) contiguous
        """The points as three rows: every step of a projection runs over contiguous numbers."""
        return self.points.T

    @property
    def depth(self) -> Tensor:  # (N,) float32
        """z-depth in the source camera."""
        return depth_planar(self.planar, self.camera)

    @cached_property
    def tiles(self) -> Tiles:
        """Runs of points close together and where each lies at most: what a view asks before it touches them.

        Made on the CPU wherever the points lie, so that they are the same everywhere.
        """
        return _cut([self])[0]

    @cached_property
    def live(self) -> Tensor | None:  # (N,) bool
        """Which points draw; None where all do."""
        if self.retired.numel() == 0 or (self.retired.stride(0) == 0 and self.retired[0] == NEVER):
            return None
        alive = self.retired == NEVER
        return None if bool(alive.all()) else alive

    @cached_property
    def living(self) -> "Observation":
        """The points that draw; the observation itself where all do. Kept, so that all memories share it."""
        return self if self.live is None else self.where(self.live)

    @cached_property
    def ascending(self) -> bool:
        """Whether the cells rise strictly, as a lifted view leaves them."""
        return bool((self.cells[1:] > self.cells[:-1]).all())

    @property
    def spacing(self) -> Tensor:  # (N,) world units
        """How far apart neighbouring points lie at each point's depth: the footprint of a source cell, or the voxel."""
        focal = min(self.camera.K[0, 0].item(), self.camera.K[1, 1].item())
        return (self.depth / focal).clamp(min=self.voxel)

    def where(self, keep: Tensor) -> "Observation":  # keep: (N,) bool, True = stays, or (K,) int64 indices
        """The points that ``keep`` picks, in their order."""
        picked: dict[str, Any] = {name: taken(getattr(self, name), keep) for name in PER_POINT}
        return replace(self, **picked)

    def marked(self, name: str, chosen: Tensor, stamp: int) -> "Observation":  # chosen: (N,) bool
        """The same points with ``stamp`` in the field ``name`` of those chosen; all else is shared."""
        stamped: dict[str, Any] = {name: torch.where(chosen, stamp, getattr(self, name)).to(torch.int16)}
        made = replace(self, **stamped)
        if "tiles" in self.__dict__:
            made.__dict__["tiles"] = self.tiles  # the same points
        return made

    def to(self, device: torch.device | str) -> "Observation":
        """The same points and their tiles there; itself where they lie there already, the copy that is in use if any.

        The camera stays where it is: it is a handful of numbers, which are read as numbers.
        """
        device = located(device)
        if self.points.device == device:
            return self
        return COPIES.copy(self, device, lambda: self._brought(device))

    def _brought(self, device: torch.device) -> "Observation":
        there: dict[str, Any] = {name: _moved(getattr(self, name), device) for name in PER_POINT}
        made = replace(self, **there)
        made.__dict__["tiles"] = self.tiles.to(device)
        return made

    def get_ram_usage(self) -> int:
        """Bytes of what is kept a point; one value that stands for all counts once."""
        return sum(_stored(getattr(self, name)) for name in PER_POINT)

    def index_bytes(self) -> int:
        """Bytes of what has been derived so far and can be dropped."""
        alive, part = self.__dict__.get("live"), self.__dict__.get("living", self)
        marks = 0 if alive is None else _stored(alive)
        copied = 0 if part is self else part.get_ram_usage() + part.index_bytes()
        return marks + copied + (self.tiles.get_ram_usage() if "tiles" in self.__dict__ else 0)


def tiled(observations: Sequence[Observation]) -> list[Tiles]:
    """The tiles of each observation; those that were not made yet are made together."""
    bare = [o for o in observations if "tiles" not in o.__dict__]
    if bare:
        for o, tiles in zip(bare, _cut(bare)):
            o.__dict__["tiles"] = tiles
    return [o.tiles for o in observations]


def _cut(observations: Sequence[Observation]) -> list[Tiles]:
    """The tiles of each observation, made on the CPU."""
    cpu = torch.device("cpu")
    made = tiles_of([o.planar.to(cpu) for o in observations], [o.camera.to(cpu) for o in observations])
    return [tiles.to(o.points.device) for o, tiles in zip(observations, made)]


def taken(values: Tensor, keep: Tensor) -> Tensor:
    """Some of the values along the first axis; one value that stands for all goes on standing for all."""
    if values.shape[0] and values.stride(0) == 0:
        count = int(keep.sum()) if keep.dtype == torch.bool else keep.shape[0]
        return values[:1].expand(count, *values.shape[1:])
    return values[keep]


def owners(observations: Sequence[Observation], index: Tensor) -> tuple[Tensor, Tensor]:
    """Which observation each of some points (K,) is of, and its place in it; the index runs over all in their order."""
    ends = torch.tensor([len(o) for o in observations], dtype=torch.int64, device=index.device).cumsum(0)
    owner = torch.searchsorted(ends, index, right=True)
    return owner, index - torch.cat([ends.new_zeros(1), ends])[owner]


def by_observation(observations: Sequence[Observation], index: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
    """The observations that some points (K,) are of: number, which of the indices are its own, their place in it."""
    owner, local = owners(observations, index)
    for number, mine in runs(owner, len(observations)):
        yield number, mine, local.index_select(0, mine)


def runs(owner: Tensor, count: int) -> Iterator[tuple[int, Tensor]]:
    """Of labels (K,) below ``count`` each that occurs, rising, and where it does, ascending."""
    counts, order = torch.bincount(owner, minlength=count).tolist(), grouped(owner)
    for number, index in enumerate(order.split(counts)):
        if len(index):
            yield number, index


def spacing_of(observations: Sequence[Observation], owner: Tensor, place: Tensor) -> Tensor:
    """``Observation.spacing`` of points (3, K) world, each of an observation of its own (K,) int64: the same bits."""
    if not observations:
        return place.new_empty(0)
    K = torch.stack([o.camera.K for o in observations]).to(place.device)
    voxel = torch.tensor([o.voxel for o in observations], device=place.device)
    focal = torch.minimum(K[:, 0, 0], K[:, 1, 1])
    depth = depth_of(observations, owner, place)
    return torch.maximum(depth / focal.index_select(0, owner), voxel.index_select(0, owner))


def depth_of(observations: Sequence[Observation], owner: Tensor, place: Tensor) -> Tensor:
    """``Observation.depth`` of points (3, K) world, each of an observation of its own (K,) int64: the same bits."""
    if not observations:
        return place.new_empty(0)
    c2w = torch.stack([o.camera.c2w for o in observations]).to(place.device)
    x, y, z = place
    a, b, c, d = (column.index_select(0, owner) for column in invert_rigid(c2w)[:, 2].T)
    return x * a + y * b + z * c + d


def joined(observations: Sequence[Observation], name: str, empty: Tensor) -> Tensor:
    """A field of all observations behind one another; ``empty`` has its shape and dtype where there are none."""
    return torch.cat([empty, *(getattr(o, name) for o in observations)])


def _moved(values: Tensor, device: torch.device) -> Tensor:
    """The values there; one that stands for all goes on standing for all."""
    if values.shape[0] and values.stride(0) == 0:
        return values[:1].to(device).expand(values.shape)
    return values.to(device)


def _stored(values: Tensor) -> int:
    count = values[:1].numel() if values.shape[0] and values.stride(0) == 0 else values.numel()
    return count * values.element_size()


COPIES: Shared[Observation] = Shared()

assert {f.name for f in fields(Observation)} >= set(PER_POINT)
