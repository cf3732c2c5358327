"""The front of a memory against plain loops."""

from dataclasses import replace

import numpy as np
import oracle
import pytest
import torch
from random_views import ROLL, around, cloud, observed, random_cameras, seen_points, views
from scenes import pose
from spatial_memory.memory import front as memory_front
from spatial_memory.memory import laid as memory_laid
from spatial_memory.memory.bounds import pairs
from spatial_memory.memory.camera import (
    Cameras,
    bordered_cells,
    concatenate,
    flat_cells,
    intrinsics_from_fov,
    lenses,
    project_planar,
    unproject,
)
from spatial_memory.memory.front import candidates, front, reaching, visible
from spatial_memory.memory.laid import laid_out, shown
from spatial_memory.memory.which import which


def front_twin(observations, camera, tolerance):
    """Depth (h, w), and the set of (cell, point, z) at the front: one point after another."""
    h, w, best, places = camera.height, camera.width, {}, []
    w2c, K = camera.w2c.numpy(), camera.K.numpy()
    points = np.concatenate([o.points.numpy() for o in observations])
    for index, point in enumerate(points):
        u, v, z = oracle.project_point(point, w2c, K)
        if z > 0 and 0 <= u < w and 0 <= v < h:
            cell = int(np.floor(v)) * w + int(np.floor(u))
            places.append((cell, index, z))
            best[cell] = min(best.get(cell, z), z)
    depth = np.zeros(h * w, dtype=np.float32)
    for cell, z in best.items():
        depth[cell] = z
    limit = np.float32(1 + tolerance)
    return depth.reshape(h, w), sorted((c, i, float(z)) for c, i, z in places if z <= best[c] * limit)


@pytest.mark.parametrize("size", [(11, 19), (8, 8), (1, 1), (45, 3)])
@pytest.mark.parametrize("count", [1, 7, 1000, 4099])
def test_bordered_cells_are_those_of_project_planar_to_the_bit(size, count):
    height, width = size
    generator = torch.Generator().manual_seed(100 * height + count)
    cameras = random_cameras(generator, 5, height, width)
    planar = around(generator, count).T.contiguous()
    work, cells = torch.empty(6, 5, count), torch.empty(5, count, dtype=torch.int32)
    image = bordered_cells(planar, lenses(cameras), work, cells)
    beside = 0
    for view in range(5):
        u, v, exact = project_planar(planar, cameras[view])
        ahead = exact > 0
        assert torch.equal(image[:, view, ahead], torch.stack([u, v, exact])[:, ahead])
        assert (image[2, view, ~ahead] == torch.inf).all() and image[:2].isfinite().all()
        column, row = u.floor().clamp(-1, width).long() + 1, v.floor().clamp(-1, height).long() + 1
        assert torch.equal(cells[view, ahead], (row * (width + 2) + column)[ahead])
        inside = flat_cells(u, v, exact, height, width) < height * width
        on_border = (row == 0) | (row == height + 1) | (column == 0) | (column == width + 1)
        assert torch.equal(inside[ahead], ~on_border[ahead])
        beside += int(ahead.sum()) * int((~ahead).sum())
    assert 0 <= cells.min() and cells.max() < (height + 2) * (width + 2)
    assert beside > 0 or count == 1  # there was something to tell apart


FEW = pytest.mark.parametrize("few", [0, memory_laid.FEW])  # with tiles sifted before they are asked, and without


@FEW
@pytest.mark.parametrize("block", [1 << 11, 16])  # tiles at a time
@pytest.mark.parametrize("tolerance", [0.0, 0.1])
def test_the_front_equals_a_loop_over_all_points(monkeypatch, tolerance, block, few):
    monkeypatch.setattr(memory_front, "BLOCK", block)
    monkeypatch.setattr(memory_laid, "FEW", few)
    observations, cameras = cloud(), views()
    found = front(laid_out(observations), cameras, tolerance)
    points = torch.cat([o.points for o in observations]).T.contiguous()
    owner = torch.cat([torch.full((len(o),), i) for i, o in enumerate(o for o in observations if len(o))])
    crowded = 0
    for view in range(len(cameras)):
        depth, hits = front_twin(observations, cameras[view], tolerance)
        here = found.seen[0] == view
        mine = sorted(zip(found.seen[1][here].tolist(), found.point[here].tolist(), found.z[here].tolist()))
        exact = project_planar(points[:, found.point[here]], cameras[view])
        assert torch.equal(torch.stack(found.image)[:, here], torch.stack(exact))
        assert torch.equal(found.owner(which(here)), owner[found.point[here]])
        assert mine == hits and torch.equal(found.depth[view], torch.from_numpy(depth))
        assert 20 < (depth > 0).sum() < depth.size
        crowded += len(hits) - int((depth > 0).sum())
    assert crowded > 10  # ties, and what the tolerance lets in


@pytest.mark.parametrize("tolerance", [0.0, 0.05])
def test_tiles_behind_the_front_are_dropped_and_change_nothing(monkeypatch, tolerance):
    generator = torch.Generator().manual_seed(2)
    source = random_cameras(generator, 1, 40, 60, spread=0.2)
    observations = []
    for _ in range(30):  # a volume that is full of points, seen from where it was written, nearer and rolled
        depth = 1 + 3 * torch.rand(40, 60, generator=generator)
        observations.append(observed(unproject(depth, source[0]).reshape(-1, 3), source[0]))
    c2w = torch.stack([source.c2w[0], source.c2w[0] @ pose((0.0, 0.0, 0.5)) @ ROLL, source.c2w[0] @ pose((0.3, 0, 0))])
    cameras = replace(source.resized(6, 9), c2w=c2w, K=source.resized(6, 9).K.expand(3, 3, 3))
    touched = []
    ordered = memory_front._near_to_far
    monkeypatch.setattr(
        memory_front, "_near_to_far", lambda *a: (touched.append(part.shape[1]) or part for part in ordered(*a))
    )
    laid = laid_out(observations)
    found = front(laid, cameras, tolerance)
    every = len(pairs(shown(laid, cameras).hulls, cameras))
    assert sum(touched) < 0.6 * every
    points = torch.cat([o.points for o in observations]).T.contiguous()
    for view in range(3):
        u, v, z = project_planar(points, cameras[view])
        cell = flat_cells(u, v, z, 6, 9)
        depth = torch.full((55,), torch.inf).scatter_reduce_(0, cell, z, "amin")[:54]
        hits = (cell < 54).nonzero()[:, 0]
        hits = hits[z[hits] <= depth[cell[hits]] * (1 + tolerance)]
        mine = found.seen[0] == view
        assert torch.equal(found.depth[view].flatten(), torch.where(depth < torch.inf, depth, 0.0))
        assert torch.equal(found.point[mine].sort()[0].long(), hits)


@pytest.mark.parametrize("tolerance", [0.0, 0.05])
def test_candidates_are_the_front_and_what_was_nearest_for_a_while(tolerance):
    observations, cameras = cloud(), views()
    laid = laid_out(observations)
    found, only = candidates(laid, cameras, tolerance), front(laid, cameras, tolerance)
    assert only.hit.all() and torch.equal(found.depth, only.depth)
    for name in ("where", "point", "slot"):
        assert torch.equal(getattr(found, name)[found.hit], getattr(only, name))
    assert torch.equal(torch.stack(found.image)[:, found.hit], torch.stack(only.image))
    beside, (view, cell) = ~found.hit, found.seen
    deep = found.z > only.depth.flatten(1)[view, cell] * (1 + tolerance)
    assert torch.equal(deep | (found.point < 0), beside) and deep.any()


def test_tiles_are_asked_from_near_to_far(monkeypatch):
    asked, ordered = [], memory_front._near_to_far

    def watched(left, best, tolerance):
        near = dict(zip(zip(left.view.tolist(), left.block.tolist()), left.near.tolist()))
        for part in ordered(left, best, tolerance):
            asked.extend(near[pair] for pair in zip(*part.tolist()))
            yield part

    monkeypatch.setattr(memory_front, "_near_to_far", watched)
    front(laid_out(cloud()), views())
    assert asked == sorted(asked) and len(set(asked)) > 100


@pytest.mark.parametrize("parts", [[], [torch.empty(0, 3)], [torch.tensor([[0.0, 0.0, -1.0]])]])
def test_nothing_and_what_lies_behind_are_no_front(parts):
    cameras = Cameras(torch.eye(4)[None], intrinsics_from_fov(60.0, 4, 6)[None], 4, 6)
    found = front(laid_out([observed(points, cameras[0]) for points in parts]), cameras)
    assert not found.depth.any() and found.depth.shape == (1, 4, 6)
    assert [len(x) for x in (*found.seen, found.point, found.z)] == [0, 0, 0, 0]


def test_of_a_tile_that_the_camera_stands_in_only_what_lies_ahead_is_front():
    cameras = Cameras(torch.eye(4)[None], intrinsics_from_fov(60.0, 4, 6)[None], 4, 6)
    points = torch.tensor([[0.0, 0.0, -1.0], [0.3, 0.3, 1.0], [0.0, 0.1, -2.0]])
    found = front(laid_out([observed(points, cameras[0])]), cameras)
    u, v, z = project_planar(points[1:2].T, cameras[0])
    assert found.point.tolist() == [1] and found.seen[1].tolist() == [int(v) * 6 + int(u)]
    assert (found.depth > 0).sum() == 1 and found.depth.max() == z


def told(found, observations):
    """A front without the order of its points: depth, and rows of (view, cell, u, v, z; the point), sorted."""
    points = torch.cat([o.points for o in observations])[found.point]
    rows = torch.cat([torch.stack([*found.seen, *found.image], 1).double(), points], 1)
    return found.depth, sorted(map(tuple, rows.tolist()))


@pytest.mark.parametrize("tolerance", [0.0, 0.05])
def test_bits_do_not_depend_on_order_threads_or_company(tolerance):
    generator, before = torch.Generator().manual_seed(3), torch.get_num_threads()
    source = random_cameras(generator, 3, 9, 13)
    observations = [observed(around(generator, n), source[i], i) for i, n in enumerate((30_000, 3, 9_000))]
    cameras = views()
    depth, hits = told(front(laid_out(observations), cameras, tolerance), observations)
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            order = torch.randperm(3, generator=generator).tolist()
            mixed = [observed(o.points[torch.randperm(len(o), generator=generator)], o.camera) for o in observations]
            mixed = [mixed[i] for i in order]
            other_depth, other_hits = told(front(laid_out(mixed), cameras, tolerance), mixed)
            assert torch.equal(other_depth, depth) and other_hits == hits, threads
            again = front(laid_out(observations), cameras, tolerance)
            for view in range(len(cameras)):
                alone = front(laid_out(observations), cameras[view : view + 1], tolerance)
                assert torch.equal(alone.depth[0], depth[view])
                rows = [
                    sorted(zip(*(t[f.seen[0] == number].tolist() for t in (f.seen[1], f.point, *f.image))))
                    for f, number in ((alone, 0), (again, view))
                ]
                assert rows[0] == rows[1], (view, threads)
    finally:
        torch.set_num_threads(before)


def test_what_reaches_its_limit_is_found_in_order_ties_included():
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 8), (1, 7), (4, 1000), (2, 12), (0, 8)):
        z, limit = (torch.randint(4, shape, generator=generator).float() for _ in range(2))
        z[..., 0], limit[..., 1:2] = torch.inf, -torch.inf
        z, limit = z.flatten(), limit.flatten()
        found = reaching(z, limit, torch.empty(len(z), dtype=torch.bool))
        assert torch.equal(found, (z <= limit).nonzero()[:, 0])


@FEW
def test_visible_points_are_all_that_a_view_sees_once_and_in_order(monkeypatch, few):
    monkeypatch.setattr(memory_laid, "FEW", few)
    observations, cameras = cloud(), concatenate([views(), views(8)])
    points = torch.cat([o.points for o in observations])
    for margin in (0.0, 4.0):
        for view, (planar, index) in enumerate(visible(laid_out(observations), cameras, margin)):
            assert (index[1:] > index[:-1]).all() and torch.equal(points[index].T, planar)
            falls = torch.cat([seen_points(o, cameras[view], margin) for o in observations]).nonzero()[:, 0]
            assert len(falls) and torch.isin(falls, index).all()
