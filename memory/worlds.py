"""Two memories as one: the second's points, brought into the first's world and merged with what is there."""

from dataclasses import replace

import torch
from torch import Tensor

from .camera import Cameras, check_motion
from .cloud import SpatialMemory
from .edits import Insert, last_chunk, moved
from .merge import Policy, keep_first, merge
from .observation import Observation


def merge_worlds(
    memory: SpatialMemory,
    other: SpatialMemory,
    transform: Tensor,
    scale: float = 1.0,
    policy: Policy = keep_first,
) -> tuple[SpatialMemory, dict]:
    """Bring what another memory shows into this one. Its edits are applied first and end there.

    Its points count as written with the last chunk of this memory, so that reverting behind that chunk drops them; its
    frames get numbers below all of this one's.

    Args:
        transform: (4, 4) rigid, from the other world, after scaling about its origin, into this one.
        scale: world units of this memory for one of the other.

    Returns:
        the memory, and what ``merge`` tells.

    Raises:
        ValueError: another kind or codec, a scale that is not positive, or a transform that is no rigid motion.
    """
    if (memory.kind, memory.codec, memory.channels) != (other.kind, other.codec, other.channels):
        raise ValueError(
            f"a {other.kind} memory of codec {other.codec!r} does not merge into a {memory.kind} memory of "
            f"{memory.codec!r}; make both with the same world model and kind"
        )
    check_motion(transform, scale)
    inserted = (o for e in memory.edits if isinstance(e, Insert) for o in e.observations)
    first = min([0, *(o.frame for o in (*memory.observations, *inserted))]) - 1
    frames = sorted({o.frame for o in other.drawn}, reverse=True)
    number = {frame: first - i for i, frame in enumerate(frames)}
    chunk = last_chunk(memory)
    brought = [replace(moved(scaled(o, scale), transform), chunk=chunk, frame=number[o.frame]) for o in other.drawn]
    merged, tally = merge(memory, brought, policy)
    row = {"chunk": chunk, "merged_world": True, **tally, "points": merged.num_points}
    return replace(merged, ledger=(*merged.ledger, row)), tally


def scaled(observation: Observation, scale: float) -> Observation:
    """An observation in a world that was scaled about its origin: its camera goes along, so it looks the same."""
    if scale == 1.0:
        return observation
    camera = observation.camera
    grown = camera.moved(torch.eye(4), scale)
    return replace(
        observation,
        points=observation.points * scale,
        voxel=observation.voxel * scale,
        camera=Cameras(grown.c2w, camera.K, camera.height, camera.width),
    )
