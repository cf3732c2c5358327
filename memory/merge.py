"""Merging on insert: a cell that falls on a surface which the memory already holds adds no point.

The cell itself is the voxel: of all points that fall into it, those within ``SURFACE`` of its depth, with a normal that
agrees, lie on its surface. They serve a latent cell if they lie near its middle (a latent codes its pixels in their
places), and a pixel wherever in it they lie; so does the memory's own surface that covers it. What then happens to the
older points is the policy's: three named functions. What a picture that was given saw is evidence and never gives way
to what was made.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate

import torch
from torch import Tensor

from .between import ANYWHERE
from .camera import flat_cells, project_planar
from .cloud import Edit, SpatialMemory, check_places
from .discs import SURFACE
from .laid import laid_out
from .meeting import Meeting, Pairs, meetings, together
from .observation import Observation, by_observation
from .splat import render_depth
from .which import which

CENTRED = 0.1  # cells: a latent whose point lies this near to the middle of a cell serves it
FINER = 0.8  # a footprint below this share of the older one's is finer ...
ALIKE = 1.25  # ... and one above this is coarser
SURER = 64  # steps of 255 by which confidence is higher

Policy = Callable[[Pairs], Tensor]  # -> (P,) bool, True = the older point gives way


def keep_first(pairs: Pairs) -> Tensor:
    """The older point stays."""
    return torch.zeros_like(pairs.cell, dtype=torch.bool)


def keep_newest(pairs: Pairs) -> Tensor:
    """The older point gives way."""
    return torch.ones_like(pairs.cell, dtype=torch.bool)


def keep_finest(pairs: Pairs) -> Tensor:
    """The older point gives way to one that saw the surface closer, or as close and with more confidence."""
    closer = pairs.footprint < FINER * pairs.old_footprint
    surer = pairs.confidence.int() >= pairs.old_confidence.int() + SURER
    return closer | (surer & (pairs.footprint <= ALIKE * pairs.old_footprint))


POLICIES: dict[str, Policy] = {"keep_first": keep_first, "keep_finest": keep_finest, "keep_newest": keep_newest}


def merge(
    memory: SpatialMemory,
    observations: Sequence[Observation],
    policy: Policy = keep_first,
    tolerance: float = SURFACE,
) -> tuple[SpatialMemory, dict]:
    """Insert observations, each held against the memory and against those before it.

    Left out is what an edit refuses, what a given picture looked through, and what the memory shows already.

    Returns:
        the memory, and what happened: ``lifted``, ``refused``, ``overlooked``, ``merged``, ``added``, ``replaced``.

    Raises:
        ValueError: points that are not finite, or another kind of features.
    """
    check_places(observations)
    near = CENTRED if memory.kind == "latent" else ANYWHERE
    ahead: list[Meeting] = []  # whom the new cells meet among all that was there before, asked in one pass ...
    among: list[Meeting] = []  # ... and among one another
    if not memory.edits and together(observations):  # edits show and hide points of their own
        ahead = meetings(memory.laid, observations, tolerance, near)
    device = observations[0].points.device if observations else memory.device
    counts, end = [len(o) for o in observations], sum(len(o) for o in memory.drawn)
    place = torch.full((sum(counts),), -1, device=device)  # of each new point among those drawn, -1 = not there (yet)
    tally = dict.fromkeys(("lifted", "refused", "overlooked", "merged", "added", "replaced"), 0)
    hidden: Sequence[Tensor] = ()
    if observations and all(o.chunk >= 0 for o in observations):  # what was given does not change by what was made
        every = torch.cat([o.points for o in observations])
        hidden = looked_through(memory, every, tolerance).split(counts)
    for number, (o, places) in enumerate(zip(observations, place.split(counts))):
        refused = refused_by(memory, o.points)
        overlooked = ~refused & (hidden[number] if hidden else looked_through(memory, o.points, tolerance))
        wanted = ~(refused | overlooked)
        fresh = o if bool(wanted.all()) else o.where(wanted)
        if ahead and tally["added"]:
            among = among or meetings(laid_out(observations), observations, tolerance, near)
            met = ahead[number].followed(among[number].moved(place)).among(wanted)
        elif ahead:
            met = ahead[number].among(wanted)
        else:
            met = meetings(memory.laid, [fresh], tolerance, near)[0]
        added, old = _held_against(memory, fresh, met, policy, tolerance)
        if len(old):
            ahead = []  # what it knows is no longer all there
        memory = retired(memory, old, o.chunk).insert([fresh.where(added)] if bool(added.any()) else [])
        there = which(wanted)[added]
        places[there] = torch.arange(end, end + len(there), device=device)
        end += len(there)
        tally["lifted"] += len(o)
        tally["refused"] += int(refused.sum())
        tally["overlooked"] += int(overlooked.sum())
        tally["merged"] += int((~added).sum())
        tally["added"] += int(added.sum())
        tally["replaced"] += len(old)
    return memory, tally


def refused_by(memory: SpatialMemory, points: Tensor) -> Tensor:
    """Which points (N, 3) an edit keeps out of the memory, where something was deleted: (N,) bool."""
    refused = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    for edit in memory.edits:
        refused |= edit.refuses(points)
    return refused


def held_by(memory: SpatialMemory, observation: Observation) -> Tensor:
    """Which points of a stored observation an edit locks in place, wherever edits before it show them: (N,) bool."""
    return _by_edits(memory, observation, lambda edit, shown: edit.holds(shown))


def touched_by(memory: SpatialMemory, observation: Observation) -> Tensor:
    """Which points of a stored observation edits remove, move or paint: (N,) bool."""
    return _by_edits(memory, observation, lambda edit, shown: edit.touches(shown))


def carried_by(memory: SpatialMemory, observation: Observation) -> Observation:
    """A stored observation with its points where all edits show them, deleted ones included."""
    for edit in memory.edits:
        observation = edit.carried(observation)
    return observation


def _by_edits(
    memory: SpatialMemory, observation: Observation, chooses: Callable[[Edit, Observation], Tensor]
) -> Tensor:
    """Which points of a stored observation any edit chooses, each asked of where the edits before it show them."""
    chosen = torch.zeros(len(observation), dtype=torch.bool, device=observation.points.device)
    for edit in memory.edits:
        chosen |= chooses(edit, observation)
        observation = edit.carried(observation)
    return chosen


def looked_through(memory: SpatialMemory, points: Tensor, tolerance: float = SURFACE) -> Tensor:
    """Which points (N, 3) stand where a given picture (chunk -1) saw past them to a surface behind: (N,) bool.

    A picture that was given is evidence, a frame that was made is not. Its own surfaces are never hidden from its own
    camera by what is estimated later: so the way back ends at what was seen at first. Only cells that the picture
    still holds in memory count; by ``tolerance`` (relative) a point may stand in front of them.
    """
    blocked = torch.zeros(len(points), dtype=torch.bool, device=points.device)
    planar = points.T.contiguous()
    for o in memory.living:
        if o.chunk >= 0:
            continue
        h, w = o.camera.height, o.camera.width
        behind = torch.full((h * w + 1,), -torch.inf, device=points.device)  # the last entry takes what falls outside
        behind[o.cells.long()] = o.depth
        u, v, z = project_planar(planar, o.camera)
        blocked |= z < behind[flat_cells(u, v, z, h, w)] * (1 - tolerance)
    return blocked


def retired(memory: SpatialMemory, index: Tensor, chunk: int) -> SpatialMemory:
    """The memory in which some points draw no more from ``chunk`` on. ``index`` (K,) into the living points."""
    if not len(index):
        return memory
    kept = list(memory.observations)
    for number, _, local in by_observation(memory.living, index):
        o = kept[number]
        mask = torch.zeros(len(o), dtype=torch.bool, device=index.device)
        mask[local if o.live is None else which(o.live)[local]] = True
        kept[number] = o.marked("retired", mask, chunk)
    return replace(memory, observations=tuple(kept))


def _held_against(
    memory: SpatialMemory, fresh: Observation, met: Meeting, policy: Policy, tolerance: float
) -> tuple[Tensor, Tensor]:
    """Which new points (N,) bool are added, and the living points (K,) int64 that give way to them."""
    pairs, point = met.pairs, met.point
    paired = torch.zeros(len(fresh), dtype=torch.bool, device=point.device)
    paired[pairs.cell] = True
    shown = paired if memory.kind == "latent" else paired | _covered(memory, fresh, tolerance)
    living, able = _yielding(memory, fresh, point, policy(pairs))
    stays = torch.zeros_like(paired)
    stays[pairs.cell[~able]] = True  # one of the older points of this cell stays
    wins = paired & ~stays
    return ~shown | wins, living[able & wins[pairs.cell]].unique()


def _yielding(memory: SpatialMemory, fresh: Observation, point: Tensor, yields: Tensor) -> tuple[Tensor, Tensor]:
    """Where the drawn points (P,) stand among the living, and which of them may be replaced.

    Not what was given, unless by what was given too, and nothing that an edit has touched, locked or brought in.
    """
    living, able = point.clone(), torch.zeros_like(yields)
    if not bool(yields.any()):
        return living, able
    firsts, homes = list(accumulate((len(o) for o in memory.living), initial=0)), _homes(memory)
    for index, mine, local in by_observation(memory.drawn, point):
        o, number = memory.drawn[index], homes[index]
        if number is None or (o.chunk < 0 <= fresh.chunk):
            continue
        stored, alive = memory.observations[number], memory.living[number]
        at = local if alive is o else _place_of(o.cells.index_select(0, local), alive)
        spared = held_by(memory, stored) | touched_by(memory, stored)
        spared = spared if stored.live is None else spared[stored.live]
        living[mine] = firsts[number] + at
        able[mine] = yields[mine] & ~spared[at]
    return living, able


def _homes(memory: SpatialMemory) -> list[int | None]:
    """Which of the stored observations each drawn one shows points of; None for what an edit brought in.

    Told by chunk and frame where an edit remade it; None too where two are stored under one (a merged world may do so).
    """
    itself = {id(alive): number for number, alive in enumerate(memory.living)}
    times: dict[tuple[int, int], list[int]] = {}
    for number, o in enumerate(memory.observations):
        times.setdefault((o.chunk, o.frame), []).append(number)
    alone = {time: numbers[0] for time, numbers in times.items() if len(numbers) == 1}
    return [itself.get(id(o), alone.get((o.chunk, o.frame))) for o in memory.drawn]


def _place_of(cells: Tensor, observation: Observation) -> Tensor:
    """Where the points of some cells (K,) stand in an observation that has one for each: (K,) int64."""
    ordered, order = observation.cells.sort()
    return order.index_select(0, torch.searchsorted(ordered, cells))


def _covered(memory: SpatialMemory, fresh: Observation, tolerance: float) -> Tensor:
    """Which new pixels (N,) the memory's own surface covers at their depth."""
    if not len(fresh):
        return torch.zeros(0, dtype=torch.bool)
    camera = fresh.camera
    depth, known = render_depth(memory, camera.alone())
    depth, known = depth[0].flatten()[fresh.cells.long()], known[0].flatten()[fresh.cells.long()]
    return known & ((fresh.depth - depth).abs() <= tolerance * fresh.depth)
