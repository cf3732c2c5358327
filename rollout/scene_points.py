"""The points of a scene as a browser draws them: coloured, marked, thinned evenly, in few bytes.

All points lie in one order whose every prefix covers the scene evenly: they are sorted along a space-filling curve and
taken with the bits of their places reversed (van der Corput). So level of detail is "the first N", and a coarse scene
is the beginning of a fine one, to the bit.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..memory.cloud import SpatialMemory
from ..memory.exchange import Factors, rgb_from_latents
from ..memory.observation import NEVER, Observation, by_observation, joined

MOST = 1_000_000  # points that a browser is asked to draw
CONTRADICTED, RETIRED, EDITED, HIDDEN = 1, 2, 4, 8
STEPS = 65535  # of the box that the points lie in, along each axis
CURVE = 10  # bits of an axis that the curve tells apart
REACH = 8.0  # times the radius of 99 % of the points: what lies farther out would coarsen all others
SAMPLE = 65536  # points by which the extent is measured


@dataclass(frozen=True, eq=False)
class ScenePoints:
    """N points: ``low + place * step`` in world units."""

    place: np.ndarray  # (N, 4) uint16: x, y, z in steps of the box, and the chunk + 1 (0 = given at the start)
    look: np.ndarray  # (N, 4) uint8: red, green, blue, flags
    low: tuple[float, ...]  # (3,) world
    step: tuple[float, ...]  # (3,) world
    total: int  # points of the memory, drawn or not
    far: int  # of them so far out that they are left out

    def __len__(self) -> int:
        return len(self.place)


def scene_points(memory: SpatialMemory, factors: Factors | None, most: int = MOST) -> ScenePoints:
    """At most ``most`` points of a memory, those included that no longer draw.

    Args:
        factors: of a latent memory, which become its colours.

    Raises:
        ValueError: ``most`` is not from 1 to a million.
    """
    if not 1 <= most <= MOST:
        raise ValueError(f"a scene of {most} points was asked for, expected 1 to {MOST}")
    parts = marked(memory)
    owned = [o for o, _ in parts]
    points = joined(owned, "points", torch.empty(0, 3)).T.contiguous()  # (3, M)
    near = _near(points)
    order = _evenly(points, near)[:most]
    chosen = points[:, order].numpy().astype(np.float64)
    low, high = _box(points, near)
    step = (high - low) / STEPS
    place = np.zeros((len(order), 4), np.uint16)
    place[:, :3] = np.rint((chosen - low[:, None]) / np.where(step > 0, step, 1.0)[:, None]).T
    look = np.zeros((len(order), 4), np.uint8)
    flags = torch.cat([torch.empty(0, dtype=torch.uint8), *(f for _, f in parts)])
    look[:, 3] = flags[order].numpy()
    for number, mine, local in by_observation(owned, order):
        place[mine.numpy(), 3] = min(max(owned[number].chunk + 1, 0), STEPS)
        look[mine.numpy(), :3] = _colours(owned[number].features[local], factors)
    return ScenePoints(place, look, tuple(low.tolist()), tuple(step.tolist()), points.shape[1], int((~near).sum()))


def marked(memory: SpatialMemory) -> list[tuple[Observation, Tensor]]:
    """All that a memory holds: what it draws, what is retired, what edits hide, with the flags (N,) uint8 of each."""
    parts = []
    stored = {id(o) for o in memory.living}
    for o in memory.drawn:
        edited = torch.zeros(len(o), dtype=torch.bool) if id(o) in stored else _edited(o, memory.living)
        parts.append((o, _flags(o) | edited * EDITED))
    shown = {id(o) for o in memory.drawn}
    for o in memory.living:
        hidden = torch.zeros(len(o), dtype=torch.bool) if id(o) in shown else ~_cells_in(o, memory.drawn)
        if bool(hidden.any()):
            rest = o.where(hidden)
            parts.append((rest, _flags(rest) | HIDDEN))
    for o in memory.observations:
        if o.live is not None and not bool(o.live.all()):
            rest = o.where(~o.live)
            parts.append((rest, _flags(rest) | RETIRED))
    return parts


def _flags(observation: Observation) -> Tensor:
    return (observation.doubted != NEVER).to(torch.uint8) * CONTRADICTED


def _same_frame(observation: Observation, others: tuple[Observation, ...]) -> list[Observation]:
    return [o for o in others if (o.chunk, o.frame) == (observation.chunk, observation.frame) and len(o)]


def _cells_in(observation: Observation, others: tuple[Observation, ...]) -> Tensor:
    """Which points come from a cell of their frame that some of the others' points come from: (N,) bool."""
    cells = joined(_same_frame(observation, others), "cells", torch.empty(0, dtype=torch.int32))
    return torch.isin(observation.cells, cells)


def _edited(observation: Observation, stored: tuple[Observation, ...]) -> Tensor:
    """Which points of what is drawn are not in their stored frame with the same place and look: (N,) bool."""
    edited = torch.ones(len(observation), dtype=torch.bool)
    for origin in _same_frame(observation, stored):
        cells, order = origin.cells.sort()
        at = torch.searchsorted(cells, observation.cells).clamp(max=len(cells) - 1)
        same, at = cells[at] == observation.cells, order[at]
        same &= (origin.points[at] == observation.points).all(1) & (origin.features[at] == observation.features).all(1)
        edited &= ~same
    return edited


def _colours(features: Tensor, factors: Factors | None) -> np.ndarray:
    """Features (K, C) as (K, 3) uint8."""
    if factors is None:
        return features.cpu().numpy()
    return (rgb_from_latents(features.cpu(), factors) * 255).round().to(torch.uint8).numpy()


def _near(points: Tensor) -> Tensor:
    """Which points (3, M) do not lie far outside of all others: (M,) bool."""
    if not points.shape[1]:
        return torch.zeros(0, dtype=torch.bool)
    some = points[:, :: -(-points.shape[1] // SAMPLE)]
    middle = some.median(1).values[:, None]
    away = (some - middle).abs().amax(0)
    usual = away.kthvalue(max(1, round(0.99 * len(away)))).values
    return (points - middle).abs().amax(0) <= (REACH * usual if usual > 0 else torch.inf)


def _box(points: Tensor, near: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and highest corner (3,) of the near ones of some points (3, M)."""
    if not bool(near.any()):
        return np.zeros(3), np.zeros(3)
    low = torch.where(near, points, torch.inf).amin(1)
    high = torch.where(near, points, -torch.inf).amax(1)
    return low.double().numpy(), high.double().numpy()


def _evenly(points: Tensor, near: Tensor) -> Tensor:
    """The near ones of some points (3, M) in an order whose every prefix covers the scene: (N,) int64 indices."""
    index = near.nonzero()[:, 0]
    low, high = (torch.from_numpy(corner).float()[:, None] for corner in _box(points, near))
    cube = (high - low).amax().clamp(min=1e-30)
    cells = ((points[:, index] - low) / cube * (2**CURVE - 1)).to(torch.int32)
    key = _spread(cells[0]) | _spread(cells[1]) << 1 | _spread(cells[2]) << 2
    along = index[torch.sort(key, stable=True).indices]
    turned = _reversed_bits(len(along))
    return along[turned]


def _spread(bits: Tensor) -> Tensor:
    """Numbers below 2^10 (N,) int32 with two zero bits between any two of theirs."""
    for shift, mask in ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249)):
        bits = (bits | bits << shift) & mask
    return bits


def _reversed_bits(count: int) -> Tensor:
    """0 .. count - 1, ordered by the van der Corput sequence: (count,) int64."""
    order = torch.zeros(1, dtype=torch.int64)
    while len(order) < count:
        order = torch.cat([order * 2, order * 2 + 1])
    return order[order < count]
