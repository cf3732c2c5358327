"""Which past frames see what the next ones will: overlap, and three ways to choose references.

A view's voxels are those of the memory that it sees (``memory/sight.py``), as sorted keys. Overlap is the IoU of two
such sets. ``algorithm1`` is the paper's (Spatia, supplement, Algorithm 1); ``set_cover`` is greedy over what is still
uncovered; ``union_overlap`` is what Mirage's released code does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .libraries import import_open3d
from .shapes import sizes

THRESHOLD = 0.04  # IoU below which two views share nothing worth a reference


@dataclass(frozen=True, eq=False)
class References:
    """The frames chosen for one chunk: the pinned ones, then in the order of the target views that they serve."""

    frames: tuple[int, ...]  # pixel frame of each of the K chosen
    latents: Tensor  # (C, K, h, w) single-frame codes in model space
    scores: Tensor  # (K,) best IoU with any target view
    coverage: Tensor  # (K, T) share of each target view's voxels that the reference sees
    considered: tuple[dict, ...]  # one row a candidate: frame, score, coverage of each target view, chosen, why

    def __len__(self) -> int:
        return len(self.frames)

    def get_ram_usage(self) -> int:
        """Bytes that this value keeps alive (the host's cache asks)."""
        return sum(t.numel() * t.element_size() for t in (self.latents, self.scores, self.coverage))


def overlap_and_coverage(targets: Sequence[Tensor], candidates: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """How much of sets of sorted unique keys is the same.

    Returns:
        IoU (T, V), 0 where both are empty; and the share of each target's keys that each candidate has (T, V), 0 where
        the target is empty.
    """
    shared = shared_keys(targets, candidates)
    t, c = counts(targets)[:, None], counts(candidates)[None]
    return shared / (t + c - shared).clamp(min=1), shared / t.clamp(min=1)


def overlap_matrix(targets: Sequence[Tensor], candidates: Sequence[Tensor]) -> Tensor:
    """IoU (T, V) of sets of sorted unique keys; 0 where both are empty."""
    return overlap_and_coverage(targets, candidates)[0]


def shared_keys(targets: Sequence[Tensor], candidates: Sequence[Tensor]) -> Tensor:
    """How many keys each target shares with each candidate: (T, V) float32, whole numbers."""
    every = torch.cat([torch.empty(0, dtype=torch.int64), *targets]).unique()
    return _rows(targets, every) @ _rows(candidates, every).T  # sums of 0 and 1: exact in any order below 2^24


def counts(sets: Sequence[Tensor]) -> Tensor:
    """How many keys each set has: (V,) float32."""
    return torch.tensor([float(len(keys)) for keys in sets])


def algorithm1(iou: Tensor, k: int, threshold: float = THRESHOLD, pinned: Sequence[int] = ()) -> list[int]:
    """For each target view in turn the candidate of largest overlap, if above ``threshold``; ``k`` of them at most.

    Algorithm 1 of the Spatia supplement with its two misprints corrected: a target that nothing overlaps is passed over
    (the print breaks off there), and the set is capped at K (the print never is).

    Args:
        iou: (T, V) overlap of the sampled target views with the candidates.
        pinned: candidates that are taken first and count among the ``k``.

    Returns:
        Indices of candidates: the pinned ones, then in target order.
    """
    _, candidates = sizes("T V", iou=iou)
    chosen = list(pinned)
    for row in iou if candidates else ():
        if len(chosen) >= k:
            break
        best = int(row.argmax())
        if row[best] <= threshold or best in chosen:
            continue
        chosen.append(best)
    return chosen


def set_cover(
    targets: Sequence[Tensor],
    candidates: Sequence[Tensor],
    k: int,
    threshold: float = THRESHOLD,
    pinned: Sequence[int] = (),
) -> list[int]:
    """Greedy cover: again and again the candidate that shows most of what no chosen one shows, at most ``k``.

    Gain is the newly covered share of a target view's voxels, averaged over the views. Candidates whose overlap with
    every view is at most ``threshold`` are left out; it stops when nothing is gained.

    Returns:
        Indices of candidates: the pinned ones, then in the order of the target view that each overlaps most.
    """
    iou = overlap_matrix(targets, candidates)
    taken, _ = greedy(targets, candidates, iou, k, threshold, pinned)
    return in_target_order([c for c, _ in taken], iou, pinned)


def union_overlap(overlap: Tensor, k: int, threshold: float = THRESHOLD, pinned: Sequence[int] = ()) -> list[int]:
    """The ``k`` candidates that overlap all target views together most, if above ``threshold``; of equals the first.

    What Mirage's released code does. It asks nothing of a candidate but its own overlap, so that neighbours which show
    the same are taken together, and a chunk soon has all the references that it may have.

    Args:
        overlap: (V,) IoU of each candidate with the union of the target views.
        pinned: candidates that are taken first and count among the ``k``.

    Returns:
        Indices of candidates: the pinned ones, then by falling overlap.
    """
    sizes("V", overlap=overlap)
    ranked, enough = overlap.sort(descending=True, stable=True).indices.tolist(), (overlap > threshold).tolist()
    able = [candidate for candidate in ranked if enough[candidate] and candidate not in pinned]
    return [*pinned, *able[: k - len(pinned)]]


def joint_overlap(targets: Sequence[Tensor], candidates: Sequence[Tensor]) -> Tensor:
    """The IoU (V,) of each candidate with all that the targets see together."""
    together = torch.cat([torch.empty(0, dtype=torch.int64), *targets]).unique()
    return overlap_matrix([together], candidates)[0]


def in_target_order(chosen: Sequence[int], iou: Tensor, pinned: Sequence[int] = ()) -> list[int]:
    """The pinned candidates, then the others in the order of the target view that each overlaps most."""
    others = [c for c in chosen if c not in pinned]
    return [*pinned, *sorted(others, key=lambda candidate: (int(iou[:, candidate].argmax()), candidate))]


def greedy(
    targets: Sequence[Tensor],
    candidates: Sequence[Tensor],
    iou: Tensor,  # (T, V)
    k: int,
    threshold: float,
    pinned: Sequence[int] = (),
) -> tuple[list[tuple[int, float]], Tensor]:
    """What ``set_cover`` takes, in the order in which it does.

    Returns:
        each with what it gains, and what each candidate would still gain (V,): mean shares of the target views.
    """
    if not iou.numel():
        return [(candidate, 0.0) for candidate in pinned], torch.zeros(len(candidates))
    every = torch.cat(list(targets)).unique()
    uncovered, shown = _rows(targets, every), _rows(candidates, every)  # (T, U), (V, U) of 0 and 1
    share = 1 / (len(targets) * counts(targets).clamp(min=1))  # (T,) weight of one voxel
    taken: list[tuple[int, float]] = []
    able = iou.amax(0) > threshold  # (V,)
    gain = share @ (uncovered @ shown.T)  # (V,)
    while len(taken) < k:
        free = torch.where(able, gain, 0.0)
        best = pinned[len(taken)] if len(taken) < len(pinned) else int(free.argmax())
        if len(taken) >= len(pinned) and free[best] <= 0:
            break
        taken.append((best, gain[best].item()))
        able = able & (torch.arange(len(able)) != best)
        uncovered = uncovered * (1 - shown[best])
        gain = share @ (uncovered @ shown.T)
    return taken, gain


def refine_registration(source: Tensor, target: Tensor, initial: Tensor, max_distance: float) -> tuple[Tensor, float]:
    """Refine a pose that is only an estimate: point-to-point ICP of one cloud onto another (open3d).

    Args:
        source: (N, 3) points to move.
        target: (M, 3) points in world.
        initial: (4, 4) first guess of the transform from source to target.
        max_distance: world units; pairs farther apart count for nothing.

    Returns:
        transform (4, 4) float32, and fitness: the share of source points that found a partner.

    Raises:
        ValueError: a cloud is empty or not finite, or the distance is not positive.
        ImportError: open3d or a system library that it needs is missing.
    """
    n, m = sizes("N 3 | M 3 | 4 4", source=source, target=target, initial=initial)
    if not (n and m and source.isfinite().all() and target.isfinite().all() and initial.isfinite().all()):
        raise ValueError(f"source has {n} points, target {m}: expected some in each, all finite, and a finite guess")
    if not max_distance > 0:
        raise ValueError(f"max_distance is {max_distance}, expected a positive distance in world units")
    o3d = import_open3d()
    clouds = [o3d.geometry.PointCloud(o3d.utility.Vector3dVector(p.double().numpy())) for p in (source, target)]
    result = o3d.pipelines.registration.registration_icp(*clouds, max_distance, initial.double().numpy())
    return torch.from_numpy(result.transformation.copy()).float(), float(result.fitness)


def _rows(sets: Sequence[Tensor], every: Tensor) -> Tensor:
    """Which of the keys ``every`` (U,), sorted, each set has: (V, U) float32 of 0 and 1."""
    rows = torch.zeros(len(sets), len(every))
    if sets and len(every):
        keys = torch.cat(list(sets))
        owner = torch.repeat_interleave(torch.arange(len(sets)), torch.tensor([len(s) for s in sets]))
        place = torch.searchsorted(every, keys).clamp(max=len(every) - 1)
        here = every[place] == keys
        rows.view(-1)[(owner * len(every) + place)[here]] = 1.0
    return rows
