"""Points between two depths of their cells, and the pairs of new cells and older points, against plain loops."""

from dataclasses import fields, replace

import pytest
import torch
from scenes import geometry, memory_of, pose
from spatial_memory.memory import between as memory_between
from spatial_memory.memory import meeting
from spatial_memory.memory.between import ANYWHERE, between
from spatial_memory.memory.camera import Cameras, flat_cells, from_middle, intrinsics_from_fov, project_planar
from spatial_memory.memory.edits import Insert
from spatial_memory.memory.laid import laid_out
from spatial_memory.memory.lift import lift_latents
from spatial_memory.memory.meeting import Pairs, meetings, together
from spatial_memory.memory.merge import POLICIES, keep_finest, keep_first, keep_newest, merge
from spatial_memory.memory.normals import decode_normals
from spatial_memory.memory.observation import NEVER, Observation

H, W = 9, 14
ROLL = pose(axis=(0.0, 0.0, 1.0), degrees=180.0)


def cameras(*c2w, height=H, width=W):
    K = intrinsics_from_fov(60.0, height, width)
    return Cameras(torch.stack(c2w), K.expand(len(c2w), 3, 3), height, width)


VIEWS = cameras(
    torch.eye(4), ROLL, pose((0.4, -0.2, 1.2), (0.2, 1.0, 0.1), 35.0), pose((0.0, 0.0, -4.0), (0.0, 1.0, 0.0), 180.0)
)


def scattered(seed, *counts):
    """Observations of points all around, before and behind every camera."""
    generator, made = torch.Generator().manual_seed(seed), []
    for number, count in enumerate(counts):
        points = torch.randn(count, 3, generator=generator) * torch.tensor([2.0, 1.5, 2.5])
        made.append(
            Observation(points, torch.zeros(count, 1).half(), torch.arange(count).int(), VIEWS[0], number, number)
        )
    return made


def looped(observations, views, low, high, near):
    """(view, cell, point, z) of all that lies between, one point after another."""
    points, rows = torch.cat([o.points for o in observations]).T.contiguous(), []
    for view in range(len(views)):
        u, v, z = project_planar(points, views[view])
        cells, off = flat_cells(u, v, z, views.height, views.width).tolist(), from_middle(u, v).tolist()
        for point, (cell, depth) in enumerate(zip(cells, z.tolist())):
            if cell < views.height * views.width and off[point] <= near:
                if low[view].flatten()[cell] <= depth <= high[view].flatten()[cell]:
                    rows.append((view, cell, point, depth))
    return rows


@pytest.mark.parametrize("near", [ANYWHERE, 0.35])
@pytest.mark.parametrize("block", [1 << 11, 3])  # tiles at a time
def test_what_lies_between_is_what_a_loop_finds_view_by_view(monkeypatch, block, near):
    monkeypatch.setattr(memory_between, "BLOCK", block)
    generator = torch.Generator().manual_seed(2)
    observations = scattered(1, 1500, 0, 65, 1)
    low = 3 * torch.rand(4, H, W, generator=generator)
    high = low + 2 * torch.rand(4, H, W, generator=generator) - 0.2  # some cells ask for nothing
    found = between(laid_out(observations), VIEWS, low, high, near)
    expected = sorted(looped(observations, VIEWS, low, high, near))
    rows = list(zip(found.view.tolist(), found.cell.tolist(), found.point.tolist(), found.z.tolist()))
    assert sorted(rows) == expected and len(expected) > (80 if near == ANYWHERE else 30)
    assert {row[0] for row in expected} == {0, 1, 2, 3}
    assert found.view.tolist() == sorted(found.view.tolist())
    every = torch.cat([o.points for o in observations])
    assert torch.equal(found.place.T, every[found.point])
    for view in range(4):
        mine = found.view == view
        exact = project_planar(found.place[:, mine], VIEWS[view])
        assert torch.equal(torch.stack(found.image)[:, mine], torch.stack(exact))


def test_ends_belong_to_it_and_nothing_is_between_nothing():
    o = replace(scattered(0, 1)[0], points=torch.tensor([[0.0, 0.0, 2.0]]))
    at = torch.full((1, H, W), 2.0)
    one = VIEWS[[0]]
    assert len(between(laid_out([o]), one, at, at, ANYWHERE).view) == 1
    assert len(between(laid_out([o]), one, at + 1e-6, at + 1, ANYWHERE).view) == 0
    assert len(between(laid_out([]), one, at, at, ANYWHERE).view) == 0
    behind = replace(o, points=torch.tensor([[0.0, 0.0, -2.0]]))
    assert len(between(laid_out([behind]), one, -9 * at, 9 * at, ANYWHERE).view) == 0


def seen_twice(seed=3):
    """A memory of two frames of a rough wall, and three more that see it from elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    c2w = [torch.eye(4), pose((0.1, 0.0, 0.0)), ROLL, pose((0.0, 0.05, 0.6)), pose((0.05, 0.0, 0.1), degrees=4.0)]
    depth = 2 + 0.04 * torch.rand(5, H, W, generator=generator)
    latents = torch.randn(4, 5, H, W, generator=generator)
    lifted = lift_latents(latents, geometry(depth, c2w=torch.stack(c2w)), range(5), 0)
    return memory_of(lifted[:2]), lifted[2:]


def met_in_a_loop(older, fresh, tolerance, near):
    """(cell, point) of every pair, by the words of the docstring."""
    points, pairs = torch.cat([o.points for o in older]), []
    normals, mine = decode_normals(torch.cat([o.normals for o in older])), decode_normals(fresh.normals)
    u, v, z = project_planar(points.T.contiguous(), fresh.camera)
    cells, off = flat_cells(u, v, z, H, W).tolist(), from_middle(u, v).tolist()
    where = {cell: index for index, cell in enumerate(fresh.cells.tolist())}
    for point, cell in enumerate(cells):
        index = where.get(cell)
        if index is None or off[point] > near or (z[point] - fresh.depth[index]).abs() > tolerance * fresh.depth[index]:
            continue
        one, other = mine[index], normals[point]
        if not one.any() or not other.any() or (one * other).sum() >= meeting.AGREES:
            pairs.append((index, point))
    return pairs


@pytest.mark.parametrize("near", [0.1, 0.4, 1.0])
def test_new_cells_meet_whom_a_loop_says_whether_asked_together_or_alone(near, monkeypatch):
    memory, fresh = seen_twice()
    assert together(fresh)
    all_at_once = meetings(memory.laid, fresh, 0.05, near)
    monkeypatch.setattr(meeting, "TOGETHER", 0)
    assert not together(fresh)
    alone = meetings(memory.laid, fresh, 0.05, near)
    spacing = torch.cat([o.spacing for o in memory.drawn])
    for o, met, other in zip(fresh, all_at_once, alone):
        rows = sorted(zip(met.pairs.cell.tolist(), met.point.tolist()))
        assert rows == sorted(met_in_a_loop(memory.drawn, o, 0.05, near))
        assert rows == sorted(zip(other.pairs.cell.tolist(), other.point.tolist()))
        for field in fields(Pairs):
            mine, theirs = getattr(met.pairs, field.name), getattr(other.pairs, field.name)
            assert torch.equal(mine, theirs)
        assert torch.equal(met.pairs.old_footprint, spacing[met.point])
        assert torch.equal(met.pairs.footprint, o.spacing[met.pairs.cell])
    assert sum(len(met.point) for met in all_at_once) > (20 if near > 0.1 else 0)


def test_observations_of_several_grids_are_asked_alone():
    memory, fresh = seen_twice()
    generator = torch.Generator().manual_seed(4)
    small = lift_latents(torch.randn(4, 1, 3, 5, generator=generator), geometry(torch.full((1, 3, 5), 2.0)), [9], 1)
    mixed = [*fresh, *small]
    assert not together(mixed) and not together([])
    assert [len(met.point) for met in meetings(memory.laid, mixed, 0.05, 1.0)] == [
        *(len(met.point) for met in meetings(memory.laid, fresh, 0.05, 1.0)),
        *(len(met.point) for met in meetings(memory.laid, small, 0.05, 1.0)),
    ]
    assert [len(met.point) for met in meetings(laid_out(()), mixed, 0.05, 1.0)] == [0] * 4


@pytest.mark.parametrize("policy", ["keep_first", "keep_newest", "keep_finest"])
def test_a_merge_of_many_is_the_merge_of_each_after_the_other(policy):
    memory, fresh = seen_twice()
    whole, tally = merge(memory, fresh, POLICIES[policy])
    one, counted = memory, dict.fromkeys(tally, 0)
    for o in fresh:
        one, row = merge(one, [o], POLICIES[policy])
        counted = {name: counted[name] + row[name] for name in counted}
    assert tally == counted and tally["merged"] + tally["replaced"] > 0 and tally["added"] > 0
    for mine, theirs in zip(whole.observations, one.observations, strict=True):
        for name in ("points", "cells", "retired", "confidence"):
            assert torch.equal(getattr(mine, name), getattr(theirs, name))


def step_by_step(memory, fresh, policy=keep_first):
    """A merge of each after the other, and what happened in all."""
    counted = {}
    for o in fresh:
        memory, row = merge(memory, [o], policy)
        counted = {name: counted.get(name, 0) + count for name, count in row.items()}
    return memory, counted


def test_frames_meet_one_another_behind_what_an_edit_brought_in():
    memory, fresh = seen_twice()
    brought = replace(memory.observations[0], points=memory.observations[0].points + 40.0, frame=50)
    edited = replace(memory, edits=(Insert(0, (brought,)),))
    twice = [fresh[2], replace(fresh[2], frame=99)]
    whole, tally = merge(edited, twice, keep_first)
    one, counted = step_by_step(edited, twice)
    assert tally == counted and tally["added"] == H * W  # the second adds nothing
    assert whole.num_points == one.num_points == memory.num_points + H * W


def test_of_given_pictures_each_looks_through_what_comes_after_it():
    c2w = torch.stack([torch.eye(4), pose((0.05, 0.0, 0.0))])
    depth = torch.stack([torch.full((H, W), 4.0), torch.full((H, W), 2.0)])  # the second stands before the first's wall
    given = lift_latents(torch.zeros(4, 2, H, W), geometry(depth, c2w=c2w), [0, -1], -1)
    whole, tally = merge(memory_of([]), given, keep_first)
    one, counted = step_by_step(memory_of([]), given)
    assert tally == counted and tally["overlooked"] > 0.9 * H * W
    assert whole.num_points == one.num_points


@pytest.mark.parametrize("policy", [keep_newest, keep_finest])
def test_of_frames_that_meet_one_another_the_very_points_give_way(policy):
    _, fresh = seen_twice()
    place = fresh[2]
    away = replace(place, points=place.points + 40.0, camera=replace(place.camera, c2w=pose((40.0, 40.0, 40.0))))
    surer = torch.where(torch.arange(len(place)) % 4 == 0, 255, 100).to(torch.uint8)
    dim = replace(place, confidence=torch.full_like(surer, 100))
    frames = [away, dim, replace(place, frame=99, confidence=surer)]
    whole, tally = merge(memory_of([]), frames, policy)
    one, counted = step_by_step(memory_of([]), frames, policy)
    assert tally == counted and tally["replaced"] == (len(place) if policy is keep_newest else -(-len(place) // 4))
    for mine, theirs in zip(whole.observations, one.observations, strict=True):
        assert torch.equal(mine.retired, theirs.retired) and torch.equal(mine.points, theirs.points)
    assert not (whole.observations[0].retired != NEVER).any()


def test_frames_meet_one_another_where_a_given_picture_looked_through_some_of_their_cells():
    generator = torch.Generator().manual_seed(5)
    given = lift_latents(torch.zeros(4, 1, H, W), geometry(torch.full((1, H, W), 2.02)), [0], -1)
    memory = memory_of(given)
    memory = replace(memory, observations=tuple(o.where(o.cells % 3 == 0) for o in memory.observations))
    c2w = torch.stack([torch.eye(4), pose((0.3, 0.0, 0.0)), torch.eye(4), pose((0.3, 0.0, 0.0))])
    depth = 1.8 + 0.3 * torch.rand(4, H, W, generator=generator)
    fresh = lift_latents(torch.zeros(4, 4, H, W), geometry(depth, c2w=c2w), range(4, 8), 0)
    whole, tally = merge(memory, fresh, keep_first)
    one, counted = step_by_step(memory, fresh)
    assert tally == counted and all(tally[name] > 20 for name in ("overlooked", "merged", "added"))
    assert [len(o) for o in whole.observations] == [len(o) for o in one.observations]
    assert torch.equal(whole.points, one.points)


def test_what_a_merge_adds_meets_the_frames_after_it():
    memory, fresh = seen_twice()
    twice, tally = merge(memory, [fresh[2], replace(fresh[2], frame=99)], keep_first)
    assert tally["added"] == len(fresh[2]) == H * W and tally["merged"] == H * W
    assert twice.num_points == memory.num_points + H * W
