"""Space carving: a view that sees through an old point contradicts it; contradicted twice, the point draws no more.

So the ghost of a thing that moved away disappears without a rebuild. Evidence has two ranks: a picture that was given
contradicts anything, a frame that was made only what was made. What an edit has touched or locked is not carved.
"""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

from .between import ANYWHERE, WIDER, between
from .blocks import least
from .camera import Cameras
from .cloud import SpatialMemory
from .geometry import Geometry
from .merge import held_by, touched_by
from .observation import NEVER, by_observation
from .which import which

BEYOND = 0.1  # relative: what a view sees this much farther away is clearly behind the point
SURE_ENOUGH = 0.5  # confidence of depth that may contradict
COARSE = 8  # pixels a side of the cells that are looked at; all of a cell and of its eight neighbours must agree


def see_through(geometry: Geometry) -> tuple[Tensor, Cameras]:
    """How far each coarse cell and its neighbours see at least: (V, h, w), 0 where any of it is not known for sure."""
    h, w = max(1, geometry.cameras.height // COARSE), max(1, geometry.cameras.width // COARSE)
    height, width = geometry.cameras.height // h, geometry.cameras.width // w
    nearest = []
    for view, depth in enumerate(geometry.depth):  # one by one: a view fits in a cache
        counts = (geometry.confidence[view] >= SURE_ENOUGH).logical_and_(geometry.known[view])
        sees = torch.where(counts.logical_and_(geometry.keep[view]), depth, 0.0)
        nearest.append(least(sees[None, : h * height, : w * width], h, w))
    around = pad(torch.stack(nearest), (1, 1, 1, 1))  # beyond the edge nothing is known
    reach = -max_pool2d(-around, 3, stride=1)[:, 0]
    K = geometry.cameras.K / geometry.cameras.K.new_tensor([width, height, 1.0])[:, None]
    return reach, Cameras(geometry.cameras.c2w, K, h, w)


def carve(memory: SpatialMemory, geometry: Geometry, frames: tuple[int, ...], chunk: int) -> tuple[SpatialMemory, dict]:
    """Stamp the points that new views see through.

    Args:
        geometry: of the V new views.
        frames: the V frames; what a view wrote itself, or another view of its own chunk that was made, it does not
            contradict.

    Returns:
        the memory, and the numbers of points that were ``doubted`` for the first time and ``retired`` by the second.
    """
    reach, cameras = see_through(geometry)
    tally = {"doubted": 0, "retired": 0}
    if not memory.observations:
        return memory, tally
    changed = list(memory.observations)
    spared = [held_by(memory, o) | touched_by(memory, o) for o in changed] if memory.edits else None
    nearest = reach / (1 + BEYOND) * (1 + WIDER)
    found = between(memory.laid_as_stored, cameras, torch.zeros_like(reach), nearest, ANYWHERE)
    beyond = which(found.z * (1 + BEYOND) < reach.flatten(1)[found.view, found.cell])
    ends = torch.bincount(found.view[beyond], minlength=len(cameras)).tolist()
    for view, point in enumerate(found.point[beyond].split(ends)):
        for number, _, local in by_observation(memory.observations, point):
            o = changed[number]
            mine = o.chunk == chunk and (chunk >= 0 or o.frame == frames[view])
            if mine or (o.chunk < 0 <= chunk):
                continue
            through = torch.zeros(len(o), dtype=torch.bool, device=local.device)
            through[local] = True
            through &= o.retired == NEVER
            if spared is not None:
                through &= ~spared[number]
            first, again = through & (o.doubted == NEVER), through & (o.doubted != NEVER)
            tally["doubted"] += int(first.sum())
            tally["retired"] += int(again.sum())
            o = o.marked("doubted", first, chunk) if bool(first.any()) else o
            changed[number] = o.marked("retired", again, chunk) if bool(again.any()) else o
    return (replace(memory, observations=tuple(changed)) if any(tally.values()) else memory), tally
