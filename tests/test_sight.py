"""Sights: what is hidden stays hidden from nearer by, against a loop twin; growth tells the same as a fresh look."""

import gc
import math
import threading

import numpy as np
import oracle
import pytest
import torch
from scenes import geometry, memory_of, pose
from spatial_memory.memory.camera import Cameras, flat_cells, intrinsics_from_fov, project, project_planar
from spatial_memory.memory.lift import lift_latents
from spatial_memory.memory.observation import NEVER
from spatial_memory.memory.sight import (
    AROUND,
    BEHIND,
    WIDEST,
    Sights,
    fence,
    look,
    outlined,
    seen,
    sight_bytes,
    visible_voxels,
)
from spatial_memory.memory.voxels import voxel_keys

F = np.float32
POSES = {
    "ahead": pose(),
    "half depth": pose((0.1, 0.0, 1.0)),
    "rolled": pose((0.0, 0.1, 0.0), (0.0, 0.0, 1.0), 180.0),
    "half depth, rolled": pose((0.0, 0.0, 1.0), (0.0, 0.0, 1.0), 180.0),
    "turned": pose((0.3, 0.0, 0.4), (0.2, 1.0, 0.1), 25.0),
    "behind": pose(axis=(0.0, 1.0, 0.0), degrees=180.0),
}


def views(h, w, poses=None, high=48, wide=80):
    c2w = torch.stack(list(poses or POSES.values()))
    K = intrinsics_from_fov(60.0, high, wide).expand(len(c2w), 3, 3)
    return Cameras(c2w, K, high, wide).resized(h, w)


def wall(z, h=12, w=20, frame=0, chunk=0, c2w=None, seed=None):
    """A wall across the view, flat or rough, lifted on a grid of h x w cells."""
    depth = torch.full((1, 4 * h, 4 * w), z)
    if seed is not None:
        generator = torch.Generator().manual_seed(seed)
        rough = 1 + 0.3 * torch.rand(1, h, w, generator=generator)
        depth = depth * rough.repeat_interleave(4, 1).repeat_interleave(4, 2)
    given = geometry(depth, c2w=None if c2w is None else c2w[None])
    return lift_latents(torch.zeros(4, 1, h, w), given, [frame], chunk)[0]


def seen_twin(memory, camera, voxel):
    """The keys that one camera sees, point by point and cell by cell."""
    w2c, K, h, w = camera.w2c.numpy(), camera.K.numpy(), camera.height, camera.width
    oldest = {}
    for o in memory.drawn:
        for point, key, spacing in zip(o.points.numpy(), voxel_keys(o.points, voxel).tolist(), o.spacing.tolist()):
            oldest.setdefault(key, (point, max(spacing, voxel)))
    inside, front = [], {}
    for key, (point, spacing) in oldest.items():
        u, v, z = oracle.project_point(point, w2c, K)
        if z > 0 and 0 <= u < w and 0 <= v < h:
            cell = int(v), int(u)
            inside.append((key, cell, z))
            nearer = cell not in front or z < front[cell][0]
            if nearer or (z == front[cell][0] and spacing > front[cell][1]):
                front[cell] = (z, spacing)
    shown = set()
    for key, cell, z in inside:
        quarters = [False] * 4
        for (row, column), (near, spacing) in front.items():
            down, right = row - cell[0], column - cell[1]
            reach = min(AROUND * min(K[0, 0], K[1, 1]) * spacing / near, WIDEST * min(h, w))
            if 0 < math.hypot(down, right) < reach and z > near * F(1 + BEHIND):
                quarters[
                    [right > 0 and down >= 0, down > 0 and right <= 0, right < 0 and down <= 0, True].index(True)
                ] = 1
        if z <= front[cell][0] * F(1 + BEHIND) and not all(quarters):
            shown.add(key)
    return shown


def same(a, b):
    return len(a) == len(b) and all(torch.equal(x, y) for x, y in zip(a, b))


def fresh(memory, cameras, voxel):
    outline = outlined(memory, voxel)
    return seen(outline, look(outline, cameras, [None] * len(cameras)))


@pytest.mark.parametrize("name", POSES)
@pytest.mark.parametrize("voxel", [0.01, 0.15])
def test_a_sight_equals_its_loop_twin(name, voxel):
    panel = wall(2.0, seed=1)
    memory = memory_of([wall(4.0, seed=0), panel.where(panel.cells % 20 < 10), wall(3.0, c2w=POSES["turned"], seed=2)])
    cameras = views(12, 20, [POSES[name]])
    (keys,) = fresh(memory, cameras, voxel)
    assert set(keys.tolist()) == seen_twin(memory, cameras[0], voxel)
    assert torch.equal(keys, keys.unique()) and (len(keys) > 50) == (name != "behind")


@pytest.mark.parametrize("name", ["ahead", "half depth", "rolled", "half depth, rolled"])
@pytest.mark.parametrize("voxel", [0.01, 2 / 30])
def test_a_panel_hides_the_wall_behind_it_from_nearer_by_too(name, voxel):
    far, near = wall(4.0, 44, 80), wall(2.0, 44, 80)
    memory = memory_of([far, near.where(near.cells % 80 < 40)])
    cameras = views(44, 80, [POSES[name]], 176, 320)
    (keys,) = fresh(memory, cameras, voxel)
    uv, z = project(far.points, cameras[0])
    margin = 6 * (uv - torch.tensor([40.0, 22.0])).sign()  # the panel's own rim and the image's tell nothing
    inside = (z > 0) & ((uv + margin >= 0) & (uv + margin < torch.tensor([80.0, 44.0]))).all(1)
    place = cameras.position[0]
    crossing = place + (2 - place[2]) / (far.points[:, 2:] - place[2]) * (far.points - place)
    left = crossing[:, 0] - (near.points[near.cells % 80 == 39, 0].mean())
    behind, beside = far.where(inside & (left < -0.25)), far.where(inside & (left > 0.25))
    shown = lambda o: torch.isin(voxel_keys(o.points, voxel), keys).float().mean().item()  # noqa: E731
    assert len(behind) > 300 and len(beside) > 300
    assert shown(behind) == 0 and shown(beside) > (0.99 if voxel == 0.01 else 0.9)


def test_single_cells_alone_would_let_the_wall_through():
    """From half the depth a near surface leaves three of four cells empty: what the fence is for."""
    memory = memory_of([wall(4.0, 44, 80), wall(2.0, 44, 80)])
    cameras = views(44, 80, [POSES["half depth"]], 176, 320)
    outline = outlined(memory, 0.01)
    (sight,) = look(outline, cameras, [None])
    through = outline.parts[0].points[sight.point.long(), 2] > 3
    assert through.float().mean() > 0.4
    (keys,) = seen(outline, [sight])
    assert torch.isin(voxel_keys(memory.observations[0].points, 0.01), keys).sum() < 0.15 * through.sum()


def test_an_edge_hides_nothing_beside_it_and_a_ring_what_it_encloses():
    depth, reach = torch.full((1, 9, 9), torch.inf), torch.full((1, 9, 9), 1.5)
    depth[0, :, :4] = 1.0  # a straight edge
    assert (fence(depth, reach)[0, :, 4:] == torch.inf).all()
    depth[:] = torch.inf
    for row, column in ((3, 3), (3, 5), (5, 3), (5, 5)):
        depth[0, row, column] = 2.0
    around = fence(depth, reach * 4)
    assert around[0, 4, 4] == 2 and (around < torch.inf).sum() == 1
    assert (fence(depth, torch.ones_like(reach)) == torch.inf).all()  # they do not reach each other


@pytest.mark.parametrize("crowded", [0.02, 0.3, 1.0])  # fronts in few cells, in some, in all
def test_the_fence_is_that_of_a_loop_over_all_pairs_of_cells(crowded):
    generator = torch.Generator().manual_seed(int(100 * crowded))
    depth = 1 + torch.rand(2, 14, 19, generator=generator)
    depth[torch.rand(2, 14, 19, generator=generator) > crowded] = torch.inf
    reach = 6 * torch.rand(2, 14, 19, generator=generator)
    reach[depth == torch.inf] = 0
    expected = torch.full((2, 14, 19), torch.inf)
    for view, row, column in torch.ones(2, 14, 19).nonzero().tolist():
        nearest = [torch.inf] * 4
        for r, c in (depth[view] < torch.inf).nonzero().tolist():
            down, right = r - row, c - column
            if not 0 < math.hypot(down, right) < min(reach[view, r, c].item(), WIDEST * 14):
                continue
            quarter = int(math.degrees(math.atan2(down, right)) % 360 // 90)
            nearest[quarter] = min(nearest[quarter], depth[view, r, c].item())
        expected[view, row, column] = max(nearest)
    assert torch.equal(fence(depth, reach), expected)
    assert crowded < 0.1 or (expected < torch.inf).any()


@pytest.mark.parametrize("seed", range(8))
def test_growth_in_any_steps_tells_the_same_as_a_fresh_look(seed):
    generator = torch.Generator().manual_seed(seed)
    kept, memory, cameras = Sights(), memory_of([]), views(12, 20)
    for chunk in range(6):
        position = (torch.rand(3, generator=generator) - 0.5).tolist()
        turned = pose(position, (0.1, 1.0, 0.2), 40 * torch.rand(1, generator=generator).item() - 20)
        new = [
            wall(2.0 + (seed + i + chunk) % 3, frame=8 * chunk + i, chunk=chunk, c2w=turned, seed=seed + i)
            for i in (0, 1)
        ]
        memory = memory.insert(new[: 1 + chunk % 2])
        asked = cameras[torch.randperm(len(cameras), generator=generator)[: 2 + chunk % 4]]
        found = kept.visible(memory, asked, 0.1)
        assert same(found, fresh(memory, asked, 0.1)) and any(len(keys) for keys in found)
    assert same(kept.visible(memory, cameras, 0.1), fresh(memory, cameras, 0.1))


def test_what_only_grew_projects_new_points_alone(monkeypatch):
    from spatial_memory.memory import sight

    asked = []
    plain = sight.front
    monkeypatch.setattr(sight, "front", lambda o, c, t: asked.append(sum(map(len, o.observations))) or plain(o, c, t))
    kept, cameras, memory = Sights(), views(12, 20), memory_of([wall(4.0), wall(3.0)])
    kept.visible(memory, cameras, 0.01)
    kept.visible(memory, cameras, 0.01)
    kept.visible(memory.insert([wall(2.0, frame=4)]), cameras, 0.01)
    assert asked == [480, 240]


def test_only_views_that_something_new_reaches_are_fenced_again(monkeypatch):
    from spatial_memory.memory import sight

    fenced = []
    monkeypatch.setattr(sight, "fence", lambda depth, reach: fenced.append(len(depth)) or fence(depth, reach))
    cameras = views(12, 20, [POSES["ahead"], POSES["half depth"], POSES["behind"]])
    kept, memory = Sights(), memory_of([wall(2.0)])
    hidden = memory.insert([wall(6.0, frame=4)])
    nearer = hidden.insert([wall(1.6, frame=8)])
    back = nearer.insert([wall(3.0, frame=12, c2w=POSES["behind"])])
    for grown in (memory, memory, hidden, nearer, back):
        assert same(kept.visible(grown, cameras, 0.01), fresh(grown, cameras, 0.01))
        fenced.append("then")
    ours = [count for count in fenced if count != 3]  # a look from nothing asks all three
    # from half the depth the wall behind shows between the points of the nearer one
    assert ours == ["then", "then", 1, "then", 2, "then", 1, "then"]


@pytest.mark.parametrize("wide", [16_000, 17_000])  # two rows: up to and beyond what int16 counts
def test_cells_of_a_large_grid_are_counted_in_full(wide):
    o = wall(2.0)
    cameras = views(2, wide, [POSES["ahead"]])
    outline = outlined(memory_of([o]), 0.001)
    (sight,) = look(outline, cameras, [None])
    cells = flat_cells(*project_planar(outline.parts[0].planar, cameras[0]), 2, wide)
    assert len(sight.cell) > 200 and torch.equal(sight.cell.long(), cells[sight.point.long()])
    assert (cells[sight.point.long()] > 32_767).any() == (wide == 17_000)


def test_what_changed_otherwise_is_looked_at_afresh():
    first, second = wall(2.0), wall(4.0, chunk=1)
    kept, cameras, memory = Sights(), views(12, 20), memory_of([first, second])
    before = kept.visible(memory, cameras, 0.1)
    gone = first.marked("retired", torch.ones(len(first), dtype=torch.bool), 1)
    for changed in (
        memory_of([second]),
        memory_of([gone, second]),
        memory.select(lambda o: o.cells % 3 == 0),
        memory.revert(0),
        memory_of([]),
    ):
        found = kept.visible(changed, cameras, 0.1)
        assert same(found, fresh(changed, cameras, 0.1)) and not same(found, before)
    assert same(kept.visible(memory, cameras, 0.1), before)


def test_points_retired_before_do_not_stop_growth_from_being_recognised(monkeypatch):
    from spatial_memory.memory import sight

    first = wall(4.0)
    half = first.marked("retired", first.cells % 2 == 0, 0)
    assert (half.retired != NEVER).any()
    kept, cameras, memory = Sights(), views(12, 20), memory_of([half])
    kept.visible(memory, cameras, 0.01)
    monkeypatch.setattr(sight, "outlined", None)  # a look from nothing would call it
    grown = memory.insert([wall(2.0, frame=4)])
    found = kept.visible(grown, cameras, 0.01)
    monkeypatch.undo()
    assert same(found, fresh(grown, cameras, 0.01))


def test_grids_focal_lengths_and_voxels_are_told_apart():
    kept, memory = Sights(), memory_of([wall(2.0), wall(4.0)])
    wide, fine = views(12, 20), views(24, 40)
    longer = Cameras(wide.c2w, wide.K * torch.tensor([2.0, 2.0, 1.0])[:, None], 12, 20)
    for cameras, voxel in ((wide, 0.1), (fine, 0.1), (longer, 0.1), (wide, 0.2), (wide, 0.1)):
        assert same(kept.visible(memory, cameras, voxel), fresh(memory, cameras, voxel))


def test_what_is_kept_is_bounded_forgotten_and_counted():
    cameras, memory = views(12, 20), memory_of([wall(2.0), wall(4.0)])
    whole = Sights()
    whole.visible(memory, cameras, 0.3)
    most = int(0.7 * whole.get_ram_usage())
    small = Sights(most)
    for _ in range(2):
        assert same(small.visible(memory, cameras, 0.3), fresh(memory, cameras, 0.3))
        assert 0 < small.get_ram_usage() <= most
    nothing = Sights(most=0)
    assert same(nothing.visible(memory, cameras, 0.1), fresh(memory, cameras, 0.1)) and nothing.get_ram_usage() == 0
    small.forget()
    assert small.get_ram_usage() == 0
    visible_voxels(memory, cameras, 0.1)
    assert sight_bytes() > 0


def test_a_memory_that_is_gone_is_not_kept_alive():
    import weakref

    kept, memory = Sights(), memory_of([wall(2.0)])
    kept.visible(memory, views(12, 20), 0.1)
    held = weakref.ref(memory.observations[0])
    del memory
    gc.collect()
    assert held() is None
    other = memory_of([wall(3.0)])
    kept.visible(other, views(12, 20)[:1], 0.1)
    assert len(kept._kept) == 1


def test_threads_may_share_it():
    kept, memory, found = Sights(), memory_of([wall(4.0, seed=0)]), {}
    grown = [memory.insert([wall(2.0, frame=i, seed=i)]) for i in range(4)]

    def ask(i):
        found[i] = [kept.visible(m, views(12, 20), 0.1) for m in (memory, grown[i], memory)]

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for i in range(4):
        assert same(found[i][0], fresh(memory, views(12, 20), 0.1)) and same(found[i][0], found[i][2])
        assert same(found[i][1], fresh(grown[i], views(12, 20), 0.1))


def test_points_behind_every_camera_and_no_cameras():
    memory = memory_of([wall(2.0)])
    away = views(12, 20, [POSES["behind"]])
    assert [len(k) for k in visible_voxels(memory, away, 0.1)] == [0]
    assert visible_voxels(memory, away[:0], 0.1) == []
    with pytest.raises(ValueError, match="voxel is 0"):
        visible_voxels(memory, away, 0)
