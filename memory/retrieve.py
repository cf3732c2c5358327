"""Which past frames see what the next ones will: voxels, overlap, and two ways to choose references.

A view's voxels are those of the memory's points that it sees past a z-test. Overlap is the IoU of two such sets.
``algorithm1`` is the paper's (Spatia, supplement, Algorithm 1); ``set_cover`` is greedy over what is still uncovered.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .camera import Cameras, project_planar
from .cloud import SpatialMemory
from .shapes import sizes
from .splat import render_depth
from .voxels import voxel_keys

THRESHOLD = 0.04  # IoU below which two views share nothing worth a reference
BEHIND = 0.1  # relative: a point this much farther than the surface in its cell is hidden


@dataclass(frozen=True, eq=False)
class References:
    """The frames chosen for one chunk, in the order of the target views that they serve."""

    frames: tuple[int, ...]  # pixel frame of each of the K chosen
    latents: Tensor  # (C, K, h, w) single-frame codes in model space
    scores: Tensor  # (K,) best IoU with any target view
    coverage: Tensor  # (K, T) share of each target view's voxels that the reference sees
    considered: tuple[dict, ...]  # one row a candidate: frame, score, chosen, why

    def __len__(self) -> int:
        return len(self.frames)

    def get_ram_usage(self) -> int:
        """Bytes that this value keeps alive (the host's cache asks)."""
        return sum(t.numel() * t.element_size() for t in (self.latents, self.scores, self.coverage))


def visible_voxels(memory: SpatialMemory, cameras: Cameras, voxel: float) -> list[Tensor]:
    """The voxels of side ``voxel`` (world units) that each camera (V,) sees: V sorted tensors of unique int64 keys.

    A point is seen where it falls into the image no more than ``BEHIND`` behind the memory's own surface there.
    """
    points = memory.points
    keys, planar = voxel_keys(points, voxel), points.T.contiguous()
    surface, _ = render_depth(memory, cameras)
    seen = []
    for view in range(len(cameras)):
        u, v, z = project_planar(planar, cameras[view])
        inside = (z > 0) & (z < torch.inf) & (u >= 0) & (u < cameras.width) & (v >= 0) & (v < cameras.height)
        index = inside.nonzero()[:, 0]
        front = surface[view].flatten()[(v[index].floor() * cameras.width + u[index].floor()).long()]
        # a point that covers no pixel centre has no surface over it
        unhidden = (front == 0) | (z[index] <= front * (1 + BEHIND))
        seen.append(keys[index[unhidden]].unique())
    return seen


def overlap_matrix(targets: Sequence[Tensor], candidates: Sequence[Tensor]) -> Tensor:
    """IoU (T, V) of sets of sorted unique keys; 0 where both are empty."""
    shared = _shared(targets, candidates)
    t = torch.tensor([len(keys) for keys in targets])[:, None]
    c = torch.tensor([len(keys) for keys in candidates])[None]
    return shared / (t + c - shared).clamp(min=1)


def algorithm1(iou: Tensor, k: int, threshold: float = THRESHOLD) -> list[int]:
    """For each target view in turn the candidate of largest overlap, if above ``threshold``; ``k`` of them at most.

    Algorithm 1 of the Spatia supplement with its two misprints corrected: a target that nothing overlaps is passed over
    (the print breaks off there), and the set is capped at K (the print never is).

    Args:
        iou: (T, V) overlap of the sampled target views with the candidates.

    Returns:
        Indices of candidates, in target order.
    """
    _, candidates = sizes("T V", iou=iou)
    chosen: list[int] = []
    for row in iou if candidates else ():
        if len(chosen) == k:
            break
        best = int(row.argmax())
        if row[best] <= threshold or best in chosen:
            continue
        chosen.append(best)
    return chosen


def set_cover(
    targets: Sequence[Tensor], candidates: Sequence[Tensor], k: int, threshold: float = THRESHOLD
) -> list[int]:
    """Greedy cover: again and again the candidate that shows most of what no chosen one shows, at most ``k``.

    Gain is the newly covered share of a target view's voxels, averaged over the views. Candidates whose overlap with
    every view is at most ``threshold`` are left out; it stops when nothing is gained.

    Returns:
        Indices of candidates, in the order of the target view that each overlaps most.
    """
    if not (targets and candidates):
        return []
    iou = overlap_matrix(targets, candidates)
    eligible = set((iou.amax(0) > threshold).nonzero()[:, 0].tolist())
    uncovered = list(targets)
    chosen: list[int] = []
    share = torch.tensor([1.0 / (len(targets) * max(1, len(keys))) for keys in targets])  # (T,) weight of one voxel
    while eligible and len(chosen) < k:
        gain = (share[:, None] * _shared(uncovered, candidates)).sum(0)  # (V,)
        best = max(sorted(eligible), key=lambda candidate: gain[candidate].item())
        if gain[best] <= 0:
            break
        uncovered = [keys[~torch.isin(keys, candidates[best])] for keys in uncovered]
        chosen.append(best)
        eligible.remove(best)
    return sorted(chosen, key=lambda candidate: (int(iou[:, candidate].argmax()), candidate))


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
    try:
        import open3d as o3d
    except ImportError as error:
        raise ImportError(
            f"ICP needs open3d, which cannot be imported here ({error}); install what it names"
        ) from error

    clouds = [o3d.geometry.PointCloud(o3d.utility.Vector3dVector(p.double().numpy())) for p in (source, target)]
    result = o3d.pipelines.registration.registration_icp(*clouds, max_distance, initial.double().numpy())
    return torch.from_numpy(result.transformation.copy()).float(), float(result.fitness)


def _shared(targets: Sequence[Tensor], candidates: Sequence[Tensor]) -> Tensor:
    """How many keys each target shares with each candidate: (T, V) int64."""
    counts = torch.tensor([len(keys) for keys in candidates], dtype=torch.int64)
    keys = torch.cat([torch.empty(0, dtype=torch.int64), *candidates])
    owner = torch.repeat_interleave(torch.arange(len(candidates)), counts)
    shared = torch.zeros(len(targets), len(candidates), dtype=torch.int64)
    for row, target in enumerate(targets):
        if len(target):
            place = torch.searchsorted(target, keys).clamp(max=len(target) - 1)
            shared[row] = torch.bincount(owner[target[place] == keys], minlength=len(candidates))
    return shared
