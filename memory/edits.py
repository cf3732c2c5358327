"""What a user changed in a memory: kept beside the points, replayed over them at every read, undone one by one.

An edit knows the last chunk of the memory that it was made in. Deleting and hiding hold for ever: what is lifted there
later is refused, so a deleted thing does not come back. Moving and painting hold for the points that were there. What
is inserted is part of the edit, so no later frame replaces, carves or evicts it.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .camera import check_motion, transform_points
from .cloud import SpatialMemory
from .normals import decode_normals, encode_normals
from .observation import Observation
from .regions import Selection

Observations = tuple[Observation, ...]


def _nothing(count: int, device: torch.device) -> Tensor:
    return torch.zeros(count, dtype=torch.bool, device=device)


class Change:
    """What an edit says of points that it does not concern."""

    def refuses(self, points: Tensor) -> Tensor:
        """None (N,)."""
        return _nothing(len(points), points.device)

    def holds(self, observation: Observation) -> Tensor:
        """None (N,)."""
        return _nothing(len(observation), observation.points.device)

    def touches(self, observation: Observation) -> Tensor:
        """None (N,)."""
        return _nothing(len(observation), observation.points.device)

    def carried(self, observation: Observation) -> Observation:
        """Where they were."""
        return observation


@dataclass(frozen=True, eq=False)
class Delete(Change):
    """Points that are gone, and a place where none is remembered again."""

    selection: Selection
    chunk: int

    def replay(self, observations: Observations) -> Observations:
        return tuple(_without(o, self.selection.mask(o)) for o in observations)

    def refuses(self, points: Tensor) -> Tensor:
        chosen_by_place = self.selection.frames is None
        return self.selection.region.contains(points) if chosen_by_place else _nothing(len(points), points.device)

    def touches(self, observation: Observation) -> Tensor:
        return self.selection.mask(observation)


@dataclass(frozen=True, eq=False)
class Hide(Delete):
    """As ``Delete``, but meant to be taken back: a budget does not evict what is hidden."""

    def holds(self, observation: Observation) -> Tensor:
        return self.selection.mask(observation)


@dataclass(frozen=True, eq=False)
class Lock(Change):
    """Points that are never replaced, evicted or contradicted."""

    selection: Selection
    chunk: int

    def replay(self, observations: Observations) -> Observations:
        return observations

    def holds(self, observation: Observation) -> Tensor:
        if observation.chunk > self.chunk:
            return _nothing(len(observation), observation.points.device)
        return self.selection.mask(observation)


@dataclass(frozen=True, eq=False)
class Move(Change):
    """Points that stand elsewhere: a rigid ``transform`` (4, 4) in world."""

    selection: Selection
    chunk: int
    transform: Tensor

    def __post_init__(self) -> None:
        check_motion(self.transform)

    def replay(self, observations: Observations) -> Observations:
        shown: list[Observation] = []
        for o in observations:
            mask = self.touches(o)
            shown.append(_without(o, mask))
            if bool(mask.any()):
                shown.append(moved(o.where(mask), self.transform))
        return tuple(shown)

    def touches(self, observation: Observation) -> Tensor:
        there = observation.chunk <= self.chunk
        return self.selection.mask(observation) if there else _nothing(len(observation), observation.points.device)

    def carried(self, observation: Observation) -> Observation:
        mask = self.touches(observation)
        if not bool(mask.any()):
            return observation
        there = transform_points(self.transform.to(observation.points), observation.points)
        return replace(observation, points=torch.where(mask[:, None], there, observation.points))


@dataclass(frozen=True, eq=False)
class Patch:
    """New features of some cells of one frame's points."""

    frame: int
    at_chunk: int
    cells: Tensor  # (K,) int32, ascending
    features: Tensor  # (K, C) float16 or uint8


@dataclass(frozen=True, eq=False)
class Paint(Change):
    """Points that look otherwise."""

    chunk: int
    patches: tuple[Patch, ...]

    def replay(self, observations: Observations) -> Observations:
        by_frame = {(p.at_chunk, p.frame): p for p in self.patches}
        return tuple(_painted(o, by_frame.get((o.chunk, o.frame))) for o in observations)

    def touches(self, observation: Observation) -> Tensor:
        mine = [p.cells for p in self.patches if (p.at_chunk, p.frame) == (observation.chunk, observation.frame)]
        return torch.isin(observation.cells, torch.cat([observation.cells[:0], *mine]))


@dataclass(frozen=True, eq=False)
class Insert(Change):
    """Points from elsewhere: a file, or another picture."""

    chunk: int
    observations: Observations

    def replay(self, observations: Observations) -> Observations:
        return (*observations, *self.observations)


def moved(observation: Observation, transform: Tensor) -> Observation:
    """An observation in another place: its camera goes along, so depth, footprint and bounds stay what they are."""
    turn = transform.to(observation.points)
    normals = observation.normals
    if bool((normals != 0).any()):
        normals = encode_normals(transform_points(_rotation(turn), decode_normals(normals)))
    return replace(
        observation,
        points=transform_points(turn, observation.points),
        normals=normals,
        camera=observation.camera.moved(turn),
    )


def last_chunk(memory: SpatialMemory) -> int:
    """The last chunk that wrote into a memory, points or none: the time of an edit made now."""
    return max([-1, *(o.chunk for o in memory.observations), *(row["chunk"] for row in memory.ledger)])


def _rotation(transform: Tensor) -> Tensor:
    turned = torch.eye(4).to(transform)
    turned[:3, :3] = transform[:3, :3]
    return turned


def _without(observation: Observation, mask: Tensor) -> Observation:
    return observation.where(~mask) if bool(mask.any()) else observation


def _painted(observation: Observation, patch: Patch | None) -> Observation:
    if patch is None or not len(patch.cells):
        return observation
    place = torch.searchsorted(patch.cells, observation.cells).clamp(max=len(patch.cells) - 1)
    hit = patch.cells[place] == observation.cells
    if not bool(hit.any()):
        return observation
    return replace(observation, features=torch.where(hit[:, None], patch.features[place], observation.features))
