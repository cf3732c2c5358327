"""A bound on the memory: what is worth least goes, the start frame's and what is locked never."""

from dataclasses import replace

import torch
from torch import Tensor

from .camera import Cameras
from .cloud import SpatialMemory
from .discs import SURFACE
from .front import front
from .laid import laid_out
from .merge import held_by
from .observation import NEVER
from .which import which

LOOKED_FROM = 16  # views, evenly spread over the memory's own, that are asked whether they see a point
GRID = 48  # cells along the short side of such a view


def evict(memory: SpatialMemory, max_points: int) -> tuple[SpatialMemory, dict]:
    """Keep at most ``max_points`` stored points: retired ones go first, then those of least ``worth``.

    Points of the pictures that were given at frame 0 and locked ones stay, even if they alone are more.

    Returns:
        the memory, and the numbers ``purged`` (retired before) and ``evicted`` (drawn before).

    Raises:
        ValueError: ``max_points`` is below 1.
    """
    if max_points < 1:
        raise ValueError(f"max_points is {max_points}, expected at least 1")
    tally, surplus = {"purged": 0, "evicted": 0}, memory.num_points - max_points
    if surplus <= 0:
        return memory, tally
    alive = torch.cat([o.retired == NEVER for o in memory.observations])
    held = torch.cat([_kept(memory, i) for i in range(len(memory.observations))])
    value = torch.where(alive, worth(memory), -1.0)
    value = torch.where(held, torch.inf, value)
    order = torch.argsort(value, stable=True)[:surplus]  # of equal worth the older goes
    gone = torch.zeros(len(value), dtype=torch.bool)
    gone[order[value[order] < torch.inf]] = True
    tally["purged"], tally["evicted"] = int((gone & ~alive).sum()), int((gone & alive).sum())
    kept, begin = [], 0
    for o in memory.observations:
        stays = ~gone[begin : begin + len(o)]
        begin += len(o)
        kept.append(o if bool(stays.all()) else o.where(stays))
    return replace(memory, observations=tuple(o for o in kept if len(o))), tally


def worth(memory: SpatialMemory) -> Tensor:
    """What each stored point (N,) is worth: views that see it x confidence / (footprint x distance), all but scale.

    The views are up to 16 of the memory's own, evenly spread in time; distance is to the nearest of them.
    """
    points = torch.cat([o.points for o in memory.observations])
    seen, nearest = torch.zeros(len(points)), torch.full((len(points),), torch.inf)
    alive = which(torch.cat([o.retired == NEVER for o in memory.observations]))
    living = laid_out(memory.living)
    for view in _views(memory):
        found = front(living, view, SURFACE)
        seen.index_add_(0, alive[found.point], torch.ones(len(found.point)))
        nearest = torch.minimum(nearest, (points - view.position).square().sum(1).sqrt())
    nearest = torch.where(nearest < torch.inf, nearest, memory.scene_unit)
    spacing = torch.cat([o.spacing for o in memory.observations]).abs()
    sure = torch.cat([o.confidence for o in memory.observations]).float() + 1
    return (1 + seen) * sure / (spacing * nearest + 1e-6 * memory.scene_unit**2)


def _kept(memory: SpatialMemory, index: int) -> Tensor:
    o = memory.observations[index]
    held = held_by(memory, o)
    return torch.ones_like(held) if o.chunk < 0 and o.frame == 0 else held


def _views(memory: SpatialMemory) -> list[Cameras]:
    """Cameras of some observations, (1,) each on one coarse grid; points from a file have no camera worth asking."""
    cameras = [o.camera for o in memory.observations if min(o.camera.height, o.camera.width) > 1]
    last = len(cameras) - 1
    picked = sorted({round(i * last / (LOOKED_FROM - 1)) for i in range(LOOKED_FROM)}) if cameras else []
    made = []
    for index in picked:
        first, c = cameras[0], cameras[index]
        short = min(first.height, first.width)
        h, w = (max(1, round(GRID * side / short)) for side in (first.height, first.width))
        made.append(c.alone().resized(h, w))
    return made
