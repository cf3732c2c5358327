"""Retrieval: visible voxels past a z-test, overlap, both policies against loop twins, ICP."""

import oracle
import pytest
import torch
from scenes import geometry, memory_of, pose
from spatial_memory.memory.camera import Cameras, intrinsics_from_fov, transform_points
from spatial_memory.memory.lift import lift_latents
from spatial_memory.memory.retrieve import (
    algorithm1,
    overlap_matrix,
    refine_registration,
    set_cover,
    visible_voxels,
)
from spatial_memory.memory.voxels import REACH, voxel_keys


def random_sets(count, seed, universe=60):
    generator = torch.Generator().manual_seed(seed)
    sets = [torch.randint(0, universe, (30,), generator=generator).unique() for _ in range(count - 1)]
    return [*sets, torch.empty(0, dtype=torch.int64)]


def as_sets(keys):
    return [set(k.tolist()) for k in keys]


@pytest.mark.parametrize("seed", range(5))
def test_overlap_equals_its_loop_twin(seed):
    targets, candidates = random_sets(5, seed), random_sets(8, seed + 100)
    iou = overlap_matrix(targets, candidates)
    twin = [[oracle.overlap(t, c) for c in as_sets(candidates)] for t in as_sets(targets)]
    assert torch.allclose(iou, torch.tensor(twin))
    assert iou[0, 0] > 0.1 and iou[-1, -1] == 0


@pytest.mark.parametrize("k, threshold", [(1, 0.04), (3, 0.3), (7, 0.04), (0, 0.0), (7, 0.99)])
@pytest.mark.parametrize("seed", range(4))
def test_algorithm1_equals_its_loop_twin(seed, k, threshold):
    iou = torch.rand(9, 12, generator=torch.Generator().manual_seed(seed)) ** 2
    assert algorithm1(iou, k, threshold) == oracle.algorithm1(iou.tolist(), k, threshold)


def test_algorithm1_passes_over_a_target_that_nothing_overlaps():
    iou = torch.tensor([[0.0, 0.0, 0.0], [0.1, 0.9, 0.0], [0.2, 0.95, 0.1], [0.5, 0.0, 0.1]])
    assert algorithm1(iou, 7) == [1, 0]  # the print's `break` would have stopped at the first target


def test_algorithm1_is_capped_at_k_and_above_the_threshold():
    iou = torch.eye(5) * 0.5
    assert algorithm1(iou, 2) == [0, 1] and algorithm1(iou, 9) == [0, 1, 2, 3, 4]
    assert algorithm1(iou, 9, threshold=0.5) == []


def test_no_candidates_no_references():
    assert algorithm1(torch.zeros(3, 0), 7) == [] and set_cover([torch.arange(3)], [], 7) == []


@pytest.mark.parametrize("k", [1, 3, 20])
@pytest.mark.parametrize("seed", range(4))
def test_set_cover_equals_its_loop_twin_in_target_order(seed, k):
    targets, candidates = random_sets(5, seed, 200), random_sets(12, seed + 100, 200)
    chosen = set_cover(targets, candidates, k, 0.04)
    assert set(chosen) == oracle.set_cover(as_sets(targets), as_sets(candidates), k, 0.04) and len(chosen) <= k
    best = overlap_matrix(targets, candidates).argmax(0)
    assert best[chosen].tolist() == sorted(best[chosen].tolist())


def test_set_cover_takes_two_halves_before_a_twin():
    target = [torch.arange(100)]
    candidates = [torch.arange(60), torch.arange(58), torch.arange(50, 100), torch.arange(300, 400)]
    assert sorted(set_cover(target, candidates, 2)) == [0, 2]
    assert sorted(set_cover(target, candidates, 7)) == [0, 2]  # nothing is left to gain
    assert set_cover(target, candidates, 7, threshold=0.55) == [0]  # the other half overlaps too little


def rooms():
    """A near panel on the left before a far wall, seen from straight ahead, from the side, and from behind."""
    far, near = geometry(torch.full((1, 48, 80), 4.0)), geometry(torch.full((1, 48, 80), 2.0))
    lifted = [lift_latents(torch.zeros(4, 1, 12, 20), g, [0], 0)[0] for g in (far, near)]
    memory = memory_of([lifted[0], lifted[1].where(lifted[1].cells % 20 < 10)])
    c2w = torch.stack([torch.eye(4), pose((0.2, 0.0, 0.0)), pose(axis=(0.0, 1.0, 0.0), degrees=180.0)])
    return memory, Cameras(c2w, intrinsics_from_fov(60.0, 48, 80).expand(3, 3, 3), 48, 80).resized(12, 20)


def test_what_lies_behind_a_panel_is_not_visible():
    memory, cameras = rooms()
    (ahead,) = visible_voxels(memory, cameras[:1], 0.01)  # one point a voxel
    shown = set(ahead.tolist())
    keys = [set(voxel_keys(o.points, 0.01).tolist()) for o in memory.observations]
    assert keys[1] <= shown  # the whole panel
    hidden = memory.observations[0].cells % 20 < 9
    behind = set(voxel_keys(memory.observations[0].points[hidden], 0.01).tolist())
    assert not behind & shown and len(shown & keys[0]) == 12 * 10


def test_overlap_falls_with_distance_and_is_zero_behind():
    memory, cameras = rooms()
    seen = visible_voxels(memory, cameras, 0.3)
    iou = overlap_matrix(seen[:1], seen)[0]
    assert iou[0] == 1 and 0.4 < iou[1] < 1 and iou[2] == 0 and len(seen[2]) == 0


def test_voxels_of_an_empty_memory_are_empty():
    _, cameras = rooms()
    assert [len(k) for k in visible_voxels(memory_of([]), cameras, 0.1)] == [0, 0, 0]


def test_voxel_keys_differ_for_neighbours_and_agree_within():
    points = torch.tensor(
        [[0.05, 0.05, 0.05], [0.06, 0.01, 0.09], [-0.05, 0.05, 0.05], [0.05, -0.05, 0.05], [0.05, 0.05, 0.15]]
    )
    keys = voxel_keys(points, 0.1)
    assert keys[0] == keys[1] and keys.unique().numel() == 4
    far = voxel_keys(torch.tensor([[1e9, 0.0, 0.0], [0.1 * REACH * 2, 0.0, 0.0]]), 0.1)
    assert far[0] == far[1]
    with pytest.raises(ValueError, match="voxel is 0"):
        voxel_keys(points, 0.0)


def test_icp_refuses_what_it_cannot_register():
    points = torch.rand(10, 3)
    with pytest.raises(ValueError, match="0 points"):
        refine_registration(points[:0], points, torch.eye(4), 0.3)
    with pytest.raises(ValueError, match="max_distance"):
        refine_registration(points, points, torch.eye(4), 0.0)


def test_icp_refines_a_pose_that_is_an_estimate():
    pytest.importorskip("open3d", reason="open3d misses a system library here", exc_type=ImportError)
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2000, 3, generator=generator) * 4
    truth = pose((0.3, -0.1, 0.2), (0.3, 1.0, 0.1), 10.0)
    source = transform_points(pose(axis=(0.3, 1.0, 0.1), degrees=-10.0), target - truth[:3, 3])
    guess = pose((0.27, -0.08, 0.21), (0.3, 1.0, 0.1), 9.0)
    refined, fitness = refine_registration(source, target, guess, 0.3)
    assert fitness > 0.99 and torch.allclose(refined, truth, atol=1e-3)
    assert (guess - truth).abs().max() > 1e-2
