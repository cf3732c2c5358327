"""Retrieval: visible voxels past a z-test, overlap, the policies against loop twins, pins, bans and reasons, ICP."""

from dataclasses import replace

import oracle
import pytest
import tiny_rollout as tiny
import torch
from scenes import geometry, memory_of, pose
from spatial_memory.memory.camera import Cameras, intrinsics_from_fov, transform_points
from spatial_memory.memory.libraries import import_open3d
from spatial_memory.memory.lift import lift_latents
from spatial_memory.memory.retrieve import (
    algorithm1,
    greedy,
    joint_overlap,
    overlap_and_coverage,
    overlap_matrix,
    refine_registration,
    set_cover,
    union_overlap,
)
from spatial_memory.memory.sight import visible_voxels
from spatial_memory.memory.voxels import REACH, voxel_keys
from spatial_memory.models.layout import WAN_LAYOUTS
from spatial_memory.rollout.retrieval import (
    Views,
    choose_algorithm1,
    choose_set_cover,
    choose_union_overlap,
    frame_numbers,
    reference_table,
    retrieve,
)


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


@pytest.mark.parametrize("k", [1, 3, 20])
@pytest.mark.parametrize("seed", range(4))
def test_union_overlap_equals_its_loop_twin(seed, k):
    targets, candidates = random_sets(5, seed, 200), random_sets(12, seed + 100, 200)
    candidates += [candidates[3], candidates[0], torch.empty(0, dtype=torch.int64)]  # equals, and one that sees nothing
    overlap = joint_overlap(targets, candidates)
    assert union_overlap(overlap, k, 0.04) == oracle.union_overlap(as_sets(targets), as_sets(candidates), k, 0.04)
    assert union_overlap(overlap, 3, 0.04, pinned=[14, 2])[:2] == [14, 2]
    assert len(union_overlap(overlap, 3, 1.0, pinned=[14, 2])) == 2  # a pin needs no overlap
    assert union_overlap(torch.tensor([0.5, 0.25, 0.75]), 3, 0.5) == [2]  # more than the threshold
    first, second = union_overlap(overlap, 2, 0.04)
    assert union_overlap(overlap, 2, 0.04, pinned=[second]) == [second, first]  # what is pinned is taken once
    assert union_overlap(overlap, 2, 0.04, pinned=[first]) == [first, second]


def test_union_overlap_takes_twins_that_set_cover_passes_over():
    target = [torch.arange(60), torch.arange(40, 100)]
    candidates = [torch.arange(60), torch.arange(58), torch.arange(60, 100), torch.arange(300, 400)]
    assert union_overlap(joint_overlap(target, candidates), 2) == [0, 1] and sorted(
        set_cover(target, candidates, 2)
    ) == [0, 2]
    assert union_overlap(joint_overlap(target, candidates), 7) == [0, 1, 2]
    assert joint_overlap(target, []).shape == joint_overlap([], []).shape == (0,)


def test_set_cover_takes_two_halves_before_a_twin():
    target = [torch.arange(100)]
    candidates = [torch.arange(60), torch.arange(58), torch.arange(50, 100), torch.arange(300, 400)]
    assert sorted(set_cover(target, candidates, 2)) == [0, 2]
    assert sorted(set_cover(target, candidates, 7)) == [0, 2]  # nothing is left to gain
    assert set_cover(target, candidates, 7, threshold=0.55) == [0]  # the other half overlaps too little


@pytest.mark.parametrize("seed", range(3))
def test_coverage_equals_its_loop_twin(seed):
    targets, candidates = random_sets(5, seed), random_sets(8, seed + 100)
    twin = [[len(t & c) / max(1, len(t)) for c in as_sets(candidates)] for t in as_sets(targets)]
    assert torch.allclose(overlap_and_coverage(targets, candidates)[1], torch.tensor(twin))


@pytest.mark.parametrize("seed", range(4))
def test_greedy_says_what_each_adds_and_what_is_left(seed):
    targets, candidates = random_sets(5, seed, 200), random_sets(12, seed + 100, 200)
    taken, left = greedy(targets, candidates, overlap_matrix(targets, candidates), 4, 0.04, pinned=[2])
    assert taken[0][0] == 2 and len(taken) == 4
    uncovered, whole = as_sets(targets), as_sets(targets)
    gain = lambda c: sum(len(u & c) / max(1, len(t)) for u, t in zip(uncovered, whole)) / len(whole)  # noqa: E731
    for candidate, gained in taken:
        shown = set(candidates[candidate].tolist())
        assert gained == pytest.approx(gain(shown))
        uncovered = [u - shown for u in uncovered]
    assert left.tolist() == pytest.approx([gain(c) for c in as_sets(candidates)])


def test_pinned_candidates_come_first_and_count():
    iou = torch.eye(5) * 0.5
    assert algorithm1(iou, 3, pinned=[4, 1]) == [4, 1, 0] and algorithm1(iou, 1, pinned=[4]) == [4]
    target, candidates = [torch.arange(100)], [torch.arange(60), torch.arange(58), torch.arange(50, 100)]
    assert set_cover(target, candidates, 2, pinned=[1]) == [1, 2] and set_cover(target, candidates, 1, pinned=[1]) == [
        1
    ]


def views(targets, candidates):
    return Views(targets, candidates, overlap_matrix(targets, candidates))


def test_each_reason_is_true():
    a, b, c = torch.arange(100), torch.arange(100, 200), torch.arange(200, 300)
    found = choose_algorithm1(views([a, b, c], [b[:90], b[:80], a[:50], c[:1], c]), 3, 0.04)
    assert found.chosen == [2, 0, 4] and found.why == [
        "best for target view 2",
        "another frame shows the same: each view overlaps another as much or more",
        "best for target view 1",
        "overlap at most 0.04",
        "best for target view 3",
    ]
    few = choose_algorithm1(views([a, b, c], [a, b, c]), 2, 0.04, pinned=[1])
    assert few.chosen == [1, 0] and few.why[1:] == [
        "pinned",
        "K reached: best for target view 3, which was not asked",
    ]
    cover = choose_set_cover(views([a, b], [a[:80], a[:60], a[:90], b[:30], c]), 2, 0.04)
    assert cover.chosen == [2, 3] and cover.why == [
        "another frame shows the same",
        "another frame shows the same",
        "adds 45.0 %",
        "adds 15.0 %",
        "overlap at most 0.04",
    ]
    short = choose_set_cover(views([a, b], [a[:80], b[:30], b]), 2, 0.04, pinned=[1])
    assert short.chosen == [1, 0] and short.why == ["adds 40.0 %", "pinned", "K reached: would add 35.0 %"]
    union = choose_union_overlap(views([a, b], [a[:80], b[:30], torch.cat([a, b]), a, c]), 2, 0.16, pinned=[1])
    assert union.chosen == [1, 2] and union.why == [
        "K reached: overlaps all views together by 40.0 %",
        "pinned",
        "overlaps all views together by 100.0 %",
        "K reached: overlaps all views together by 50.0 %",
        "overlap at most 0.16 with all views together",
    ]
    for choose in (choose_algorithm1, choose_set_cover, choose_union_overlap):
        assert choose(views([a, b], []), 2, 0.04).chosen == []
        assert choose(views([a, b], [a]), 1, 0.04, [0]).why == ["pinned"]


@pytest.fixture(scope="module")
def third():
    """A state that is aimed at its third chunk: frames below 48 are candidates."""
    return tiny.aimed(tiny.one_chunk(tiny.one_chunk(tiny.begin())))


def reasons(found):
    return {row["frame"]: row["why"] for row in found.considered}


@pytest.mark.parametrize("policy", ["algorithm1", "set_cover", "union_overlap"])
def test_pins_are_taken_first_and_bans_never(third, policy):
    plain = retrieve(tiny.WORLD, third, policy, 2)
    first, frames = plain.frames[0], [row["frame"] for row in plain.considered]
    without = retrieve(tiny.WORLD, third, policy, 2, banned=[first, 4000])
    assert first not in without.frames and reasons(without)[first] == "banned" and without.frames
    assert [row["frame"] for row in without.considered] == frames
    other = next(f for f in frames if f not in plain.frames)
    pinned = retrieve(tiny.WORLD, third, policy, 2, pinned=[other, other])
    assert pinned.frames[0] == other and len(pinned.frames) <= 2 and reasons(pinned)[other] == "pinned"
    assert torch.equal(pinned.latents[:, 0], third.codes[:, third.code_frames.index(other)])
    unrelated = retrieve(tiny.WORLD, third, policy, 2, threshold=1.0, pinned=[other])
    assert unrelated.frames == (other,)  # a pin needs no overlap
    everything = retrieve(tiny.WORLD, third, policy, 2, banned=frames)
    assert everything.frames == () and set(reasons(everything).values()) == {"banned"}


def test_a_world_is_driven_as_its_release_does_where_nothing_else_is_asked_for(third):
    assert {layout.name: (layout.references, layout.max_references) for layout in WAN_LAYOUTS.values()} == {
        "spatia": ("algorithm1", 7),
        "mirage": ("union_overlap", 4),
        "mask": ("union_overlap", 4),
    }
    found = {
        policy: retrieve(tiny.WORLD, third, policy, tiny.WORLD.layout.max_references).frames
        for policy in ("algorithm1", "union_overlap")
    }
    assert found["algorithm1"] != found["union_overlap"]
    assert retrieve(tiny.WORLD, third).frames == found["algorithm1"]
    other = replace(tiny.WORLD, layout=replace(tiny.WORLD.layout, references="union_overlap"))
    assert retrieve(other, third).frames == found["union_overlap"]
    assert retrieve(other, third, "algorithm1").frames == found["algorithm1"]
    few = replace(tiny.WORLD, layout=replace(tiny.WORLD.layout, max_references=1))
    assert len(retrieve(few, third).frames) == 1


@pytest.mark.parametrize("policy", ["algorithm1", "set_cover", "union_overlap"])
def test_frames_that_show_what_was_edited_are_banned(third, policy):
    first = retrieve(tiny.WORLD, third, policy, 2).frames[0]
    edited = replace(third, stale=(first, 76))
    found = retrieve(tiny.WORLD, edited, policy, 2)
    assert first not in found.frames and reasons(found)[first] == "shows what was edited since"
    with pytest.raises(ValueError, match=f"frame {first} is pinned, but it shows what was edited since"):
        retrieve(tiny.WORLD, edited, policy, 2, pinned=[first])


def test_what_cannot_be_pinned_is_refused(third):
    for pins, message in (
        ([0, 4, 8], "pinned are 3 frames, expected at most 2"),
        ([56], "frame 56 is pinned, but it is history"),
        ([3], "frame 3 is pinned, expected one of the candidates 0, 4, 8"),
        ([4000], "frame 4000 is pinned, expected one of"),
        ([8], "frame 8 is pinned and banned"),
    ):
        with pytest.raises(ValueError, match=message):
            retrieve(tiny.WORLD, third, "algorithm1", 2, pinned=pins, banned=[8])
    with pytest.raises(ValueError, match="pinned are 1 frames, expected at most 0"):
        retrieve(tiny.WORLD, third, "algorithm1", 0, pinned=[0])
    assert retrieve(tiny.WORLD, tiny.aimed(tiny.begin()), "algorithm1", 2, pinned=[0]).frames == ()


def test_every_row_says_what_it_covers(third):
    found = retrieve(tiny.WORLD, third, "set_cover", 3)
    rows = {row["frame"]: row for row in found.considered}
    for frame, score, shares in zip(found.frames, found.scores.tolist(), found.coverage.tolist()):
        assert rows[frame]["chosen"] and rows[frame]["score"] == score and rows[frame]["coverage"] == shares
    assert sum(row["chosen"] for row in rows.values()) == len(found.frames)
    assert all(len(row["coverage"]) == 6 and 0 <= min(row["coverage"]) <= 1 for row in rows.values())
    assert max(max(row["coverage"]) for row in rows.values()) > 0.8


def test_an_emptied_memory_gives_no_reference_but_a_pinned_one(third):
    bare = replace(third, memory=replace(third.memory, observations=()))
    for policy in ("algorithm1", "set_cover", "union_overlap"):
        assert retrieve(tiny.WORLD, bare, policy, 2).frames == ()
        assert retrieve(tiny.WORLD, bare, policy, 2, pinned=[8]).frames == (8,)


def test_the_table_is_aligned_and_marks_what_was_taken(third):
    found = retrieve(tiny.WORLD, third, "set_cover", 3, banned=[0])
    head, *lines = reference_table(found).split("\n")
    assert len(lines) == len(found.considered)
    for line, row in zip(lines, found.considered):
        assert line.startswith("* " if row["chosen"] else "  ") and f"frame {row['frame']}  " in line
        assert line[head.index("why") :] == row["why"] and f"{100 * max(row['coverage']):.0f} %" in line
    assert "no frame" in reference_table(retrieve(tiny.WORLD, third, "set_cover", 0))


def test_frame_numbers_are_read_or_refused():
    assert frame_numbers("", "pin") == frame_numbers("  ", "pin") == ()
    assert frame_numbers("0, 48,-1", "pin") == (0, 48, -1)
    for text in ("3, x", "3,,4", "1.5", "3 4"):
        with pytest.raises(ValueError, match="ban is .* expected frame numbers with commas"):
            frame_numbers(text, "ban")


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
    try:
        import_open3d()
    except ImportError as error:
        pytest.skip(str(error))
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2000, 3, generator=generator) * 4
    truth = pose((0.3, -0.1, 0.2), (0.3, 1.0, 0.1), 10.0)
    source = transform_points(pose(axis=(0.3, 1.0, 0.1), degrees=-10.0), target - truth[:3, 3])
    guess = pose((0.27, -0.08, 0.21), (0.3, 1.0, 0.1), 9.0)
    refined, fitness = refine_registration(source, target, guess, 0.3)
    assert fitness > 0.99 and torch.allclose(refined, truth, atol=1e-3)
    assert (guess - truth).abs().max() > 1e-2
