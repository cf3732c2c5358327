"""Merging on insert, by exact numbers: who stays where a surface is seen again."""

from dataclasses import replace

import pytest
import torch
from scenes import geometry, memory_of, pose
from spatial_memory.memory.camera import Cameras
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.edits import Delete, Hide, Lock, Move
from spatial_memory.memory.lift import lift_latents, lift_pixels
from spatial_memory.memory.merge import keep_finest, keep_first, keep_newest, merge
from spatial_memory.memory.normals import encode_normals
from spatial_memory.memory.observation import NEVER, Observation
from spatial_memory.memory.regions import Everywhere, Selection, Sphere

ALL = Selection(Everywhere())


def cell(focal=8.0, depth=2.0, frame=4, chunk=1, confidence=100, normal=(0.0, 0.0, -1.0), offset=0.5):
    """One cell that sees one point straight ahead; its footprint is depth / focal."""
    K = torch.tensor([[focal, 0.0, 0.5], [0.0, focal, 0.5], [0.0, 0.0, 1.0]])
    return Observation(
        points=torch.tensor([[(offset - 0.5) * depth / focal, 0.0, depth]]),
        features=torch.full((1, 4), float(frame)).half(),
        cells=torch.zeros(1, dtype=torch.int32),
        camera=Cameras(torch.eye(4), K, 1, 1),
        frame=frame,
        chunk=chunk,
        confidence=torch.tensor([confidence], dtype=torch.uint8),
        normals=encode_normals(torch.tensor([normal])),
    )


def outcome(old, new, policy, edits=()):
    memory = replace(memory_of([old]), edits=edits)
    after, tally = merge(memory, [new], policy)
    assert tally["lifted"] == 1 == tally["refused"] + tally["overlooked"] + tally["merged"] + tally["added"]
    assert memory.observations[0].retired.tolist() == [NEVER]  # the old memory is what it was
    if tally["replaced"]:
        assert tally["added"] == 1 and after.observations[0].retired.tolist() == [new.chunk]
        assert [o.frame for o in after.drawn] == [new.frame]
        return "replaced"
    return "added" if tally["added"] else "merged"


OLD = cell(frame=0, chunk=0)


@pytest.mark.parametrize(
    "policy, expected", [(keep_first, "merged"), (keep_newest, "replaced"), (keep_finest, "merged")]
)
def test_each_policy_on_one_cell_seen_twice(policy, expected):
    assert outcome(OLD, cell(), policy) == expected


@pytest.mark.parametrize(
    "focal, confidence, expected",
    [
        (10.0, 100, "merged"),  # 0.8 of the older footprint: not yet finer
        (10.01, 100, "replaced"),
        (8.0, 163, "merged"),  # surer by 63 steps: not yet
        (8.0, 164, "replaced"),
        (6.4, 164, "replaced"),  # 1.25 of the older footprint: still as close
        (6.39, 164, "merged"),
        (6.39, 255, "merged"),
    ],
)
def test_keep_finest_at_its_thresholds(focal, confidence, expected):
    assert outcome(OLD, cell(focal, confidence=confidence), keep_finest) == expected


@pytest.mark.parametrize("depth, expected", [(2.1, "merged"), (2.11, "added"), (1.91, "merged"), (1.9, "added")])
def test_a_surface_is_one_within_a_twentieth_of_its_depth(depth, expected):
    assert outcome(OLD, cell(depth=depth), keep_first) == expected


@pytest.mark.parametrize("offset, expected", [(0.59, "merged"), (0.61, "added"), (0.41, "merged"), (0.39, "added")])
def test_a_latent_serves_a_cell_only_near_its_middle(offset, expected):
    assert outcome(cell(frame=0, chunk=0, offset=offset), cell(), keep_first) == expected


def test_what_was_given_gives_way_to_nothing_that_was_made():
    given = cell(frame=0, chunk=-1)
    for policy in (keep_newest, keep_finest):
        assert outcome(given, cell(100.0, confidence=255), policy) == "merged"
    assert outcome(given, cell(frame=-1, chunk=-1), keep_newest) == "replaced"


def test_what_an_edit_locked_hid_or_moved_is_never_replaced():
    assert outcome(OLD, cell(), keep_newest, (Lock(Selection(Sphere((5.0, 0.0, 0.0), 1.0)), 0),)) == "replaced"
    assert outcome(OLD, cell(), keep_newest, (Lock(ALL, 0),)) == "merged"
    assert outcome(cell(chunk=2), cell(chunk=3), keep_newest, (Lock(ALL, 1),)) == "replaced"  # written after the lock
    aside = torch.eye(4)
    aside[2, 3] = 0.01
    assert outcome(OLD, cell(), keep_newest, (Move(ALL, 0, aside),)) == "merged"


@pytest.mark.parametrize("kind", [Delete, Hide])
def test_nothing_is_written_where_something_was_deleted(kind):
    edits = (kind(Selection(Sphere((0.0, 0.0, 2.0), 0.1)), 0),)
    memory = replace(memory_of([OLD]), edits=edits)
    for policy in (keep_first, keep_newest, keep_finest):
        after, tally = merge(memory, [cell(20.0)], policy)
        assert tally["refused"] == 1 and tally["added"] == 0 and after.drawn == ()
        assert after.observations[0].retired.tolist() == [NEVER]
    assert merge(memory, [cell(depth=2.2)], keep_first)[1]["added"] == 1
    by_frame = replace(memory, edits=(kind(Selection(Everywhere(), (0,)), 0),))
    assert merge(by_frame, [cell()], keep_first)[1] == {
        "lifted": 1, "refused": 0, "overlooked": 0, "merged": 0, "added": 1, "replaced": 0
    }  # fmt: skip


def test_normals_that_disagree_are_two_surfaces():
    for degrees, expected in ((59.0, "merged"), (62.0, "added"), (180.0, "added")):
        angle = torch.tensor(degrees).deg2rad()
        normal = (angle.sin().item(), 0.0, -angle.cos().item())
        assert outcome(OLD, cell(normal=normal), keep_first) == expected
    assert outcome(OLD, cell(normal=(0.0, 0.0, 0.0)), keep_first) == "merged"  # nothing known, nothing disagrees


@pytest.mark.parametrize("roll", [0.0, 180.0])
def test_the_front_and_the_back_of_a_thin_wall_are_kept_both(roll):
    behind = pose((0.0, 0.0, 4.0), (0.0, 1.0, 0.0), 180.0) @ pose(axis=(0.0, 0.0, 1.0), degrees=roll)
    wall = geometry(torch.full((2, 24, 40), 2.0), c2w=torch.stack([torch.eye(4), behind]))
    front, back = lift_latents(torch.zeros(4, 2, 6, 10), wall, [0, 4], 0)
    memory, tally = merge(memory_of([front]), [back])
    assert tally["added"] == 60 and tally["merged"] == 0
    blind = replace(back, normals=torch.zeros(2, dtype=torch.uint8))
    assert merge(memory_of([front]), [blind])[1]["merged"] == 60


def test_a_dolly_to_half_depth_replaces_what_its_cells_hold_and_keeps_the_rest():
    views = torch.stack([torch.eye(4), pose((0.0, 0.0, 1.0), (0.0, 0.0, 1.0), 180.0)])
    depth = torch.full((2, 24, 40), 2.0)
    depth[1] = 1.0
    far, near = lift_latents(torch.zeros(4, 2, 6, 10), geometry(depth, c2w=views), [0, 4], 0)
    K = near.camera.K.clone()
    K[:2, 2] += 0.5  # so that the middles of far cells fall on the middles of near ones
    near = lift_latents(
        torch.zeros(4, 1, 6, 10),
        replace(geometry(depth[1:], c2w=views[1:]), cameras=Cameras(views[1:], scaled_up(K)[None], 24, 40)),
        [4],
        0,
    )[0]
    for policy, replaced in ((keep_finest, True), (keep_first, False), (keep_newest, True)):
        after, tally = merge(memory_of([far]), [near], policy)
        paired = tally["replaced"] if replaced else tally["merged"]
        assert 12 <= paired <= 20  # a quarter of 60 and its rim
        assert tally["added"] == (60 if replaced else 60 - paired)
        assert len(after.drawn[0]) == (60 - paired if replaced else 60)
    coarse, tally = merge(memory_of([near]), [far], keep_finest)
    assert tally["replaced"] == 0 and tally["merged"] > 0  # coarser cells replace nothing


def scaled_up(K):
    return torch.tensor([4.0, 4.0, 1.0])[:, None] * K


def test_views_of_one_call_are_held_against_each_other_and_pixels_too():
    wall = geometry(torch.full((2, 24, 40), 2.0))
    empty = SpatialMemory("rgb", "", 3, 2.0, False)
    once = lift_pixels(torch.zeros(2, 3, 24, 40), wall, [0, 4], 0, None)
    for policy, expected in ((keep_first, (960, 960, 0)), (keep_newest, (0, 1920, 960))):
        after, tally = merge(empty, once, policy)
        assert (tally["merged"], tally["added"], tally["replaced"]) == expected
        assert sum(len(o) for o in after.drawn) == 960


def test_points_that_are_not_finite_are_refused_and_the_memory_stays():
    memory = memory_of([OLD])
    for value in (float("nan"), float("inf"), 1e20):
        broken = replace(cell(), points=torch.tensor([[0.0, 0.0, value]]))
        with pytest.raises(ValueError, match="frame 4 brings points that are NaN, infinite or beyond"):
            merge(memory, [broken])
    assert memory.num_points == 1
