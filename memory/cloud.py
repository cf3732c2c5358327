"""The spatial memory: a tuple of immutable observations, each the points that one frame taught.

Nothing here changes in place. Inserting shares every tensor that was there before, so appending costs what is new, and
a memory that ComfyUI has cached stays what it was.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .camera import Cameras, flat_cells, project_planar
from .discs import SURFACE
from .shapes import sizes
from .splat import read

KINDS = ("latent", "rgb")
CENTRED = 0.1  # cells: a latent whose point lies this near to the middle of a cell serves it


@dataclass(frozen=True, eq=False)
class Observation:
    """What one frame taught: N points with where, when and from which cell they came."""

    points: Tensor  # (N, 3) float32 world
    features: Tensor  # (N, C) float16: latent channels in model space, or a colour in [0, 1]
    cells: Tensor  # (N,) int32 flat index of the cell in the source grid
    depth: Tensor  # (N,) float32 z-depth in the source camera
    camera: Cameras  # () the source camera on its source grid
    frame: int  # pixel frame of the whole video
    chunk: int  # the chunk that made it, -1 = given at the start
    voxel: float = 0.0  # world units; the points were thinned to one a voxel, 0 = not thinned

    def __post_init__(self) -> None:
        sizes("N 3 | N C | N | N", points=self.points, features=self.features, cells=self.cells, depth=self.depth)

    def __len__(self) -> int:
        return self.points.shape[0]

    @property
    def spacing(self) -> Tensor:  # (N,) world units
        """How far apart neighbouring points lie at each point's depth: the footprint of a source cell, or the voxel."""
        focal = min(self.camera.K[0, 0].item(), self.camera.K[1, 1].item())
        return (self.depth / focal).clamp(min=self.voxel)

    def where(self, keep: Tensor) -> "Observation":  # keep: (N,) bool, True = stays
        """The points that ``keep`` marks, in their order."""
        return replace(
            self,
            points=self.points[keep],
            features=self.features[keep],
            cells=self.cells[keep],
            depth=self.depth[keep],
        )


@dataclass(frozen=True, eq=False)
class SpatialMemory:
    """A place as points, oldest observation first."""

    kind: str  # "latent" or "rgb"
    codec: str  # name of the codec whose latents these are; "" for rgb
    channels: int
    scene_unit: float  # median known depth of the start frame, world units
    metric: bool  # world units are metres
    observations: tuple[Observation, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}, expected one of {KINDS}")
        for o in self.observations:
            if o.features.shape[1] != self.channels:
                raise ValueError(
                    f"an observation of frame {o.frame} has {o.features.shape[1]} channels, the memory holds "
                    f"{self.channels}; it comes from another codec than {self.codec!r}, or of another kind"
                )

    @property
    def num_points(self) -> int:
        return sum(len(o) for o in self.observations)

    @property
    def points(self) -> Tensor:  # (M, 3) world
        """All points in the order of the observations. A new tensor each time: hold on to it in a loop."""
        return torch.cat([torch.empty(0, 3), *(o.points for o in self.observations)])

    @property
    def features(self) -> Tensor:  # (M, C) float16
        """All features in the order of ``points``. A new tensor each time: hold on to it in a loop."""
        empty = torch.empty(0, self.channels, dtype=torch.float16)
        return torch.cat([empty, *(o.features for o in self.observations)])

    @property
    def spacing(self) -> Tensor:  # (M,) world units
        return torch.cat([torch.empty(0), *(o.spacing for o in self.observations)])

    def gather(self, index: Tensor) -> Tensor:  # index: (K,) int64 into points
        """Features (K, C) of some points, without joining the features of all."""
        gathered = torch.empty(index.shape[0], self.channels, dtype=torch.float16)
        ordered, order = torch.sort(index)
        ends = torch.tensor([len(o) for o in self.observations], dtype=torch.int64).cumsum(0)
        cuts = [0, *torch.searchsorted(ordered, ends).tolist()]
        for o, end, low, high in zip(self.observations, ends.tolist(), cuts, cuts[1:]):
            if high > low:
                gathered[order[low:high]] = o.features[ordered[low:high] - (end - len(o))]
        return gathered

    def seniority(self) -> Tensor | None:  # (M,) int64, or None where the memory is in this order already
        """The order by (chunk, frame, cell): entry r is the index of the point of rank r. Settles ties in depth."""
        times = [(o.chunk, o.frame) for o in self.observations]
        strictly = all(a < b for a, b in zip(times, times[1:]))
        if strictly and all(bool((o.cells[1:] > o.cells[:-1]).all()) for o in self.observations):
            return None
        ranks = {time: rank for rank, time in enumerate(sorted(set(times)))}
        keys = [(ranks[time] << 32) + o.cells.long() for time, o in zip(times, self.observations)]
        return torch.argsort(torch.cat(keys), stable=True)

    def insert(self, observations: Sequence[Observation]) -> "SpatialMemory":
        """This memory and the new observations behind it; empty ones are left out.

        Raises:
            ValueError: an observation has another number of channels.
        """
        return replace(self, observations=self.observations + tuple(o for o in observations if len(o)))

    def select(self, predicate: Callable[[Observation], Tensor]) -> "SpatialMemory":
        """The points for which ``predicate(observation)`` (N,) bool is True; observations left empty go."""
        kept = [(o, predicate(o)) for o in self.observations]
        chosen = [o if bool(keep.all()) else o.where(keep) for o, keep in kept]
        return replace(self, observations=tuple(o for o in chosen if len(o)))

    def revert(self, chunk: int) -> "SpatialMemory":
        """The memory as it was after ``chunk`` (-1 = at the start)."""
        return replace(self, observations=tuple(o for o in self.observations if o.chunk <= chunk))

    def get_ram_usage(self) -> int:
        """Bytes that the observations hold."""
        tensors = (t for o in self.observations for t in (o.points, o.features, o.cells, o.depth))
        return sum(t.numel() * t.element_size() for t in tensors)


def fresh_only(
    memory: SpatialMemory, observations: Sequence[Observation], tolerance: float = SURFACE
) -> tuple[Observation, ...]:
    """Merge on insert, keep first: drop what the memory shows well already, and what a given picture looked through.

    A cell goes where the readout on its own grid is known (at least half, for discs), lies within ``tolerance`` x z of
    the cell's depth, and its point lies within ``CENTRED`` of the cell's middle: so a surface ends with a bounded
    number of points a cell, whatever is seen of it. It goes too where ``looked_through`` says so. Each observation is
    held against the memory and against the ones before it.
    """
    kept: list[Observation] = []
    for o in observations:
        before = memory.insert(kept)
        camera = Cameras(o.camera.c2w[None], o.camera.K[None], o.camera.height, o.camera.width)
        shown = read(before, camera)
        aside = shown.offset.square().sum(1).sqrt()
        known, depth, aside = (t[0].flatten()[o.cells.long()] for t in (shown.known, shown.depth, aside))
        there = (known >= 0.5) & ((o.depth - depth).abs() <= tolerance * o.depth) & (aside <= CENTRED)
        kept.append(o.where(~there & ~looked_through(before, o.points, tolerance)))
    return tuple(kept)


def looked_through(memory: SpatialMemory, points: Tensor, tolerance: float = SURFACE) -> Tensor:
    """Which points (N, 3) stand where a given picture (chunk -1) saw past them to a surface behind: (N,) bool.

    A picture that was given is evidence, a frame that was made is not. Its own surfaces are never hidden from its own
    camera by what is estimated later: so the way back ends at what was seen at first. Only cells that the picture
    still holds in memory count; by ``tolerance`` (relative) a point may stand in front of them.
    """
    blocked = torch.zeros(len(points), dtype=torch.bool)
    planar = points.T.contiguous()
    for o in memory.observations:
        if o.chunk >= 0:
            continue
        h, w = o.camera.height, o.camera.width
        behind = torch.full((h * w + 1,), -torch.inf)  # no surface; the last entry takes what falls outside
        behind[o.cells.long()] = o.depth
        u, v, z = project_planar(planar, o.camera)
        blocked |= z < behind[flat_cells(u, v, z, h, w)] * (1 - tolerance)
    return blocked
