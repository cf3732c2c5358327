"""Which frames of the past the chunk at hand looks at again, and why each was taken or not."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..memory.camera import concatenate
from ..memory.retrieve import (
    References,
    algorithm1,
    greedy,
    in_target_order,
    joint_overlap,
    overlap_and_coverage,
    union_overlap,
)
from ..memory.sight import visible_voxels
from ..models.world import WorldModel
from .control import chunk_window, new_cameras, preceding_latents
from .state import RolloutState

RETRIEVAL_VOXEL = 1 / 30  # scene units
DEFAULT = "default"  # the policy of the world's own release
STALE = "shows what was edited since"
BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, eq=False)
class TimedReferences(References):
    """References, and how long it took to find them."""

    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class Views:
    """What the T target views and the V candidates see: sorted voxel keys, and their overlap."""

    targets: Sequence[Tensor]
    candidates: Sequence[Tensor]
    iou: Tensor  # (T, V)


@dataclass(frozen=True)
class Choice:
    """The candidates chosen, and for each candidate why it was taken or not."""

    chosen: list[int]
    why: list[str]  # (V,)


def retrieve(
    world: WorldModel,
    state: RolloutState,
    policy: str = DEFAULT,
    k: int = -1,
    threshold: float = 0.04,
    pinned: Sequence[int] = (),
    banned: Sequence[int] = (),
) -> TimedReferences:
    """Choose up to ``k`` references for the chunk's new views among the frames of the past that are not its history.

    As the world's release does it, where nothing else is asked for.

    Overlap is the IoU of the voxels (1/30 scene unit) that two cameras see of the memory, z-tested on the latent grid.
    Frames that show what was edited since (``state.stale``) are banned.

    Args:
        policy: ``default`` (the layout's), ``algorithm1`` (the best candidate of each of k target views), ``set_cover``
            (greedy coverage) or ``union_overlap`` (the k that overlap all views together most).
        k: -1 = as many as the world was trained with.
        threshold: overlaps up to it do not count.
        pinned: frames that are taken first, whatever they overlap; they count among the ``k``. A chunk that has no
            candidates at all, as the first, takes none.
        banned: frames that are never taken; numbers of frames that are not there yet are allowed.

    Raises:
        ValueError: an unknown policy, more references than the world was trained with, no target or no memory; more
            pins than ``k``, or a pin that is banned, history, or not among the frames.
    """
    begun = time.perf_counter()
    chunk = chunk_window(world, state)
    policy, k = policy if policy != DEFAULT else world.layout.references, k if k != -1 else world.layout.max_references
    if policy not in POLICIES:
        raise ValueError(f"policy is {policy!r}, expected {DEFAULT!r} or one of {sorted(POLICIES)}")
    if not 0 <= k <= world.layout.max_references:
        raise ValueError(
            f"max_references is {k}, expected -1 to {world.layout.max_references}, what {world.name} was trained with"
        )
    if state.memory is None:
        raise ValueError("the state has no memory to compare views by; InitMemory comes before the first chunk")
    grid = world.codec.grid
    h, w = grid.cells(state.height, state.width)
    behind = preceding_latents(world, state)
    shown = min([chunk.window_start, *(grid.frame_of(i) for i in behind)])  # history shows the frames from here on
    allowed = [i for i, frame in enumerate(state.code_frames) if frame < shown]
    frames = [state.code_frames[i] for i in allowed]
    pinned = tuple(dict.fromkeys(pinned))
    _check_pins(state, frames, k, pinned, banned)
    if not (allowed and k):
        empty = state.codes[:, :0]
        views = len(new_cameras(world, state))
        return TimedReferences((), empty, torch.zeros(0), torch.zeros(0, views), (), time.perf_counter() - begun)
    voxel = state.memory.scene_unit * RETRIEVAL_VOXEL
    asked = concatenate([state.code_cameras[allowed], new_cameras(world, state).resized(h, w)])
    seen = visible_voxels(state.memory, asked, voxel)
    candidates, targets = seen[: len(allowed)], seen[len(allowed) :]
    barred = {**dict.fromkeys(state.stale, STALE), **dict.fromkeys(banned, "banned")}
    able = [i for i, frame in enumerate(frames) if frame not in barred]
    iou, coverage = overlap_and_coverage(targets, candidates)
    able_views = Views(targets, [candidates[i] for i in able], iou[:, able])
    choice = POLICIES[policy](able_views, k, threshold, [able.index(frames.index(f)) for f in pinned])
    why = [barred.get(frame, "") for frame in frames]
    for i, reason in zip(able, choice.why):
        why[i] = reason
    chosen = [able[i] for i in choice.chosen]
    best = iou.amax(dim=0)
    rows = tuple(
        {"frame": frame, "score": score, "coverage": shares, "chosen": i in chosen, "why": why[i]}
        for i, (frame, score, shares) in enumerate(zip(frames, best.tolist(), coverage.T.tolist()))
    )
    return TimedReferences(
        tuple(frames[i] for i in chosen),
        state.codes[:, [allowed[i] for i in chosen]],
        best[chosen],
        coverage[:, chosen].T.contiguous(),
        rows,
        time.perf_counter() - begun,
    )


def choose_algorithm1(views: Views, k: int, threshold: float, pinned: Sequence[int] = ()) -> Choice:
    """The paper's policy over target views spread evenly over the chunk: one for each place that no pin takes."""
    places = k - len(pinned)
    step = max(1, math.ceil(len(views.iou) / places)) if places else len(views.iou) + 1
    asked = range(0, len(views.iou), step) if places else range(0)
    chosen = algorithm1(views.iou[list(asked)], k, threshold, pinned)
    best = views.iou.argmax(1).tolist() if views.iou.numel() else []  # (T,) the candidate that each target likes best
    why = []
    for i, score in enumerate(_scores(views)):
        favoured = [t for t, candidate in enumerate(best) if candidate == i and views.iou[t, i] > threshold]
        if i in pinned:
            why.append("pinned")
        elif i in chosen:
            why.append(f"best for target view {1 + next(t for t in favoured if t in asked)}")
        elif score <= threshold:
            why.append(_apart(threshold))
        elif favoured:
            why.append(f"K reached: best for target view {1 + favoured[0]}, which was not asked")
        else:
            why.append("another frame shows the same: each view overlaps another as much or more")
    return Choice(chosen, why)


def choose_set_cover(views: Views, k: int, threshold: float, pinned: Sequence[int] = ()) -> Choice:
    """Greedy coverage of all target views, and what each candidate adds."""
    taken, left = greedy(views.targets, views.candidates, views.iou, k, threshold, pinned)
    chosen, gains = in_target_order([c for c, _ in taken], views.iou, pinned), dict(taken)
    why = []
    for i, score in enumerate(_scores(views)):
        if i in pinned:
            why.append("pinned")
        elif i in chosen:
            why.append(f"adds {100 * gains[i]:.1f} %")
        elif score <= threshold:
            why.append(_apart(threshold))
        else:
            more = 100 * left[i].item()
            why.append(f"K reached: would add {more:.1f} %" if more > 0 else "another frame shows the same")
    return Choice(chosen, why)


def choose_union_overlap(views: Views, k: int, threshold: float, pinned: Sequence[int] = ()) -> Choice:
    """Mirage's: the candidates that overlap all target views together most, whether they show the same or not."""
    overlap = joint_overlap(views.targets, views.candidates)
    chosen = union_overlap(overlap, k, threshold, pinned)
    why = []
    for i, score in enumerate(overlap.tolist()):
        share = f"overlaps all views together by {100 * score:.1f} %"
        if i in pinned:
            why.append("pinned")
        elif i in chosen:
            why.append(share)
        else:
            why.append(f"K reached: {share}" if score > threshold else f"{_apart(threshold)} with all views together")
    return Choice(chosen, why)


POLICIES: dict[str, Callable[[Views, int, float, Sequence[int]], Choice]] = {
    "algorithm1": choose_algorithm1,
    "set_cover": choose_set_cover,
    "union_overlap": choose_union_overlap,
}


def reference_rows(found: References | None) -> list[dict]:
    """The chosen frames and their scores, for the record."""
    if found is None:
        return []
    return [{"frame": f, "score": s} for f, s in zip(found.frames, found.scores.tolist())]


def frame_numbers(text: str, name: str) -> tuple[int, ...]:
    """Frame numbers from a text such as ``0, 48, -1``; nothing from an empty one.

    Raises:
        ValueError: something else stands between the commas.
    """
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    try:
        return tuple(int(part) for part in parts)
    except ValueError:
        raise ValueError(
            f"{name} is {text!r}, expected frame numbers with commas between them, such as 0, 48, or nothing"
        ) from None


def reference_table(found: References) -> str:
    """One line for each frame considered: its score, how much it covers of each target view, and why it was taken."""
    if not found.considered:
        return "no frame is old enough to be a reference, or none is asked for"
    wide = max(len(str(row["frame"])) for row in found.considered)
    views = max(len("covers"), *(len(row["coverage"]) for row in found.considered))
    lines = [f"  {'frame':>{wide + 6}}  score  {'covers':<{views}}  {'from..to':>10}  why"]
    for row in found.considered:
        shares = row["coverage"]
        bar = "".join(BARS[min(len(BARS) - 1, int(share * len(BARS)))] for share in shares)
        span = f"{100 * min(shares):.0f}..{100 * max(shares):.0f} %"
        label = f"{'*' if row['chosen'] else ' '} {'frame ' + str(row['frame']):>{wide + 6}}"
        lines.append(f"{label}  {row['score']:.3f}  {bar:<{views}}  {span:>10}  {row['why']}")
    return "\n".join(lines)


def _check_pins(
    state: RolloutState, frames: Sequence[int], k: int, pinned: Sequence[int], banned: Sequence[int]
) -> None:
    if len(pinned) > k:
        raise ValueError(f"pinned are {len(pinned)} frames, expected at most {k}; unpin some or raise max_references")
    for frame in pinned:
        if frame in banned:
            raise ValueError(f"frame {frame} is pinned and banned, expected one of the two")
        if frame in state.stale:
            raise ValueError(f"frame {frame} is pinned, but it {STALE}; unpin it")
        if frames and frame not in frames:
            if frame in state.code_frames:
                raise ValueError(
                    f"frame {frame} is pinned, but it is history of this chunk, which sees it anyway; unpin it"
                )
            raise ValueError(f"frame {frame} is pinned, expected one of the candidates {', '.join(map(str, frames))}")


def _scores(views: Views) -> list[float]:
    return views.iou.amax(0).tolist() if len(views.iou) else [0.0] * len(views.candidates)


def _apart(threshold: float) -> str:
    return f"overlap at most {threshold:g}"
