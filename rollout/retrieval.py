"""Which frames of the past the chunk at hand looks at again."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..memory.retrieve import References, algorithm1, overlap_matrix, set_cover, visible_voxels
from ..models.world import WorldModel
from .control import chunk_window, new_cameras, preceding_latents
from .state import RolloutState

RETRIEVAL_VOXEL = 1 / 30  # scene units


@dataclass(frozen=True, eq=False)
class TimedReferences(References):
    """References, and how long it took to find them."""

    seconds: float = 0.0


def retrieve(
    world: WorldModel, state: RolloutState, policy: str = "algorithm1", k: int = 7, threshold: float = 0.04
) -> TimedReferences:
    """Choose up to ``k`` references for the chunk's new views among the frames of the past that are not its history.

    Overlap is the IoU of the voxels (1/30 scene unit) that two cameras see of the memory, z-tested on the latent grid.

    Args:
        policy: ``algorithm1`` (the best candidate of each of k target views) or ``set_cover`` (greedy coverage).
        threshold: overlaps below it do not count.

    Raises:
        ValueError: an unknown policy, more references than the world was trained with, no target or no memory.
    """
    begun = time.perf_counter()
    chunk = chunk_window(world, state)
    if policy not in POLICIES:
        raise ValueError(f"policy is {policy!r}, expected one of {sorted(POLICIES)}")
    if not 0 <= k <= world.layout.max_references:
        raise ValueError(
            f"max_references is {k}, expected 0 to {world.layout.max_references}, what {world.name} was trained with"
        )
    if state.memory is None:
        raise ValueError("the state has no memory to compare views by; InitMemory comes before the first chunk")
    grid = world.codec.grid
    h, w = grid.cells(state.height, state.width)
    behind = preceding_latents(world, state)
    shown = min([chunk.window_start, *(grid.frame_of(i) for i in behind)])  # history shows the frames from here on
    allowed = [i for i, frame in enumerate(state.code_frames) if frame < shown]
    if not (allowed and k and state.memory.num_points):
        empty = state.codes[:, :0]
        views = len(new_cameras(world, state))
        return TimedReferences((), empty, torch.zeros(0), torch.zeros(0, views), (), time.perf_counter() - begun)
    voxel = state.memory.scene_unit * RETRIEVAL_VOXEL
    targets = visible_voxels(state.memory, new_cameras(world, state).resized(h, w), voxel)
    candidates = visible_voxels(state.memory, state.code_cameras[allowed], voxel)
    chosen = POLICIES[policy](targets, candidates, k, threshold)
    best = overlap_matrix(targets, candidates).amax(dim=0)  # (V,)
    coverage = torch.tensor([[_share(target, candidates[i]) for target in targets] for i in chosen])
    rows = tuple(
        {
            "frame": state.code_frames[allowed[i]],
            "score": score,
            "chosen": i in chosen,
            "why": _why(i in chosen, score, threshold),
        }
        for i, score in enumerate(best.tolist())
    )
    picked = [allowed[i] for i in chosen]
    return TimedReferences(
        tuple(state.code_frames[i] for i in picked),
        state.codes[:, picked],
        best[chosen],
        coverage.reshape(len(chosen), len(targets)),
        rows,
        time.perf_counter() - begun,
    )


def _algorithm1(targets: list[Tensor], candidates: list[Tensor], k: int, threshold: float) -> list[int]:
    """The paper's policy over ``k`` target views spread evenly over the chunk."""
    sampled = targets[:: math.ceil(len(targets) / k)]
    return algorithm1(overlap_matrix(sampled, candidates), k, threshold)


POLICIES: dict[str, Callable[[list[Tensor], list[Tensor], int, float], list[int]]] = {
    "algorithm1": _algorithm1,
    "set_cover": set_cover,
}


def reference_rows(found: References | None) -> list[dict]:
    """The chosen frames and their scores, for the record."""
    if found is None:
        return []
    return [{"frame": f, "score": s} for f, s in zip(found.frames, found.scores.tolist())]


def _share(target: Tensor, candidate: Tensor) -> float:
    """The share of the target's voxels that the candidate sees."""
    return torch.isin(target, candidate).float().mean().item() if len(target) else 0.0


def _why(chosen: bool, score: float, threshold: float) -> str:
    if chosen:
        return "best overlap"
    return f"overlap at most {threshold}" if score <= threshold else "another frame shows the same, or K is reached"
