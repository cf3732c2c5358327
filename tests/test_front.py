"""The front of a memory against plain loops, and the bounds that say what a view need not touch."""

from dataclasses import replace

import numpy as np
import oracle
import pytest
import torch
from scenes import pose
from spatial_memory.memory import front as memory_front
from spatial_memory.memory.bounds import TILE, may_see
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
from spatial_memory.memory.front import blocks, front, set_places
from spatial_memory.memory.observation import Observation

ROLL = pose(axis=(0.0, 0.0, 1.0), degrees=180.0)


def random_cameras(generator, count, height, width, spread=1.0):
    """Poses turned any way, some of them rolled by 180 degrees, with principal points off the middle."""

    def some(low, high):
        return low + (high - low) * torch.rand(1, generator=generator).item()

    c2w = torch.stack(
        [
            pose([some(-spread, spread) for _ in range(3)], [some(-1, 1) for _ in range(3)], some(-180, 180))
            for _ in range(count)
        ]
    )
    K = torch.stack([intrinsics_from_fov(some(20, 110), height, width) for _ in range(count)])
    K[:, 0, 2] += torch.tensor([some(-0.2, 0.2) * width for _ in range(count)])
    K[:, 1, 1] *= some(0.8, 1.2)
    return Cameras(c2w, K, height, width)


def observed(points, camera, frame=0, chunk=0):
    n = len(points)
    return Observation(points, torch.zeros(n, 1).half(), torch.arange(n).int(), camera, frame, chunk)


def around(generator, count):
    """Points all around, before and behind every camera near the origin."""
    return torch.randn(count, 3, generator=generator) * torch.tensor([2.0, 1.5, 2.5])


def lifted(generator, camera, count=None):
    """Cells of a view at random depths, in the order of the cells: an observation as lifting leaves it."""
    depth = 0.5 + 4 * torch.rand(camera.height, camera.width, generator=generator)
    points = unproject(depth, camera).reshape(-1, 3)
    return observed(points if count is None else points[:count], camera)


def cloud(seed=0):
    """Observations of none, one, some and more points than a tile holds, in exact ties among them."""
    generator = torch.Generator().manual_seed(seed)
    source = random_cameras(generator, 5, 9, 13)
    many = around(generator, TILE + 1500)
    many[::7] = many[1::7][: len(many[::7])]
    few = torch.cat([around(generator, 700), many[:50]])
    parts = [torch.empty(0, 3), many, torch.tensor([[0.1, -0.2, 1.5]]), few, torch.empty(0, 3)]
    return [observed(points, source[i], i, i) for i, points in enumerate(parts)]


def views(seed=7, count=4, height=11, width=19):
    cameras = random_cameras(torch.Generator().manual_seed(seed), count, height, width, 0.5)
    c2w = cameras.c2w.clone()
    c2w[0], c2w[1] = ROLL, pose((0.0, 0.0, 0.75))
    return replace(cameras, c2w=c2w)


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
    work, cells = torch.empty(6, 5, count), torch.empty(5, count, dtype=torch.int64)
    z = bordered_cells(planar, lenses(cameras), work, cells)
    beside = 0
    for view in range(5):
        u, v, exact = project_planar(planar, cameras[view])
        ahead = exact > 0
        assert torch.equal(z[view, ahead], exact[ahead]) and (z[view, ~ahead] == torch.inf).all()
        column, row = u.floor().clamp(-1, width).long() + 1, v.floor().clamp(-1, height).long() + 1
        assert torch.equal(cells[view, ahead], (row * (width + 2) + column)[ahead])
        inside = flat_cells(u, v, exact, height, width) < height * width
        on_border = (row == 0) | (row == height + 1) | (column == 0) | (column == width + 1)
        assert torch.equal(inside[ahead], ~on_border[ahead])
        beside += int(ahead.sum()) * int((~ahead).sum())
    assert 0 <= cells.min() and cells.max() < (height + 2) * (width + 2)
    assert beside > 0 or count == 1  # there was something to tell apart


@pytest.mark.parametrize("block", [1 << 17, 1 << 10])  # all at once, and 1024 points at a time
@pytest.mark.parametrize("tolerance", [0.0, 0.1])
def test_the_front_equals_a_loop_over_all_points(monkeypatch, tolerance, block):
    monkeypatch.setattr(memory_front, "BLOCK", block)
    observations, cameras = cloud(), views()
    found = front(observations, cameras, tolerance)
    crowded = 0
    for view in range(len(cameras)):
        depth, hits = front_twin(observations, cameras[view], tolerance)
        here = found.view == view
        mine = sorted(zip(found.cell[here].tolist(), found.point[here].tolist(), found.z[here].tolist()))
        assert mine == hits and torch.equal(found.depth[view], torch.from_numpy(depth))
        assert 20 < (depth > 0).sum() < depth.size
        crowded += len(hits) - int((depth > 0).sum())
    assert crowded > 10  # ties, and what the tolerance lets in


@pytest.mark.parametrize("parts", [[], [torch.empty(0, 3)], [torch.tensor([[0.0, 0.0, -1.0]])]])
def test_nothing_and_what_lies_behind_are_no_front(parts):
    cameras = Cameras(torch.eye(4)[None], intrinsics_from_fov(60.0, 4, 6)[None], 4, 6)
    found = front([observed(points, cameras[0]) for points in parts], cameras)
    assert not found.depth.any() and found.depth.shape == (1, 4, 6)
    assert [len(x) for x in (found.view, found.cell, found.point, found.z)] == [0, 0, 0, 0]


def told(found, observations):
    """A front without the order of its points: depth, and rows of (view, cell, z, x, y, z of the point), sorted."""
    points = torch.cat([o.points for o in observations])[found.point]
    rows = torch.cat([found.view[:, None].double(), found.cell[:, None].double(), found.z[:, None].double(), points], 1)
    return found.depth, sorted(map(tuple, rows.tolist()))


@pytest.mark.parametrize("tolerance", [0.0, 0.05])
def test_bits_do_not_depend_on_order_threads_or_company(tolerance):
    generator, before = torch.Generator().manual_seed(3), torch.get_num_threads()
    source = random_cameras(generator, 3, 9, 13)
    observations = [observed(around(generator, n), source[i], i) for i, n in enumerate((30_000, 3, 9_000))]
    cameras = views()
    depth, hits = told(front(observations, cameras, tolerance), observations)
    try:
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            order = torch.randperm(3, generator=generator).tolist()
            mixed = [observed(o.points[torch.randperm(len(o), generator=generator)], o.camera) for o in observations]
            mixed = [mixed[i] for i in order]
            other_depth, other_hits = told(front(mixed, cameras, tolerance), mixed)
            assert torch.equal(other_depth, depth) and other_hits == hits, threads
            again = front(observations, cameras, tolerance)
            for view in range(len(cameras)):
                alone = front(observations, cameras[view : view + 1], tolerance)
                assert torch.equal(alone.depth[0], depth[view])
                here = again.view == view
                rows = [
                    sorted(zip(f.cell[m].tolist(), f.point[m].tolist(), f.z[m].tolist()))
                    for f, m in ((alone, alone.view == 0), (again, here))
                ]
                assert rows[0] == rows[1], (view, threads)
    finally:
        torch.set_num_threads(before)


def test_set_places_are_those_of_nonzero():
    generator = torch.Generator().manual_seed(0)
    for shape, share in (((3, 8), 0.5), ((1, 7), 0.5), ((4, 1000), 0.01), ((2, 16), 0.0), ((2, 12), 1.0), ((0, 8), 0)):
        mask = torch.rand(shape, generator=generator) < share
        assert torch.equal(torch.stack(set_places(mask), 1), mask.nonzero())


def seen_points(o, camera, margin=0.0):
    """Which points (N,) fall into the image, or within ``margin`` pixels of it."""
    u, v, z = project_planar(o.planar, camera)
    beside = (u >= -margin) & (u < camera.width + margin) & (v >= -margin) & (v < camera.height + margin)
    return beside & (z > 0) & (z < torch.inf)


def just_inside(cameras, o, generator):
    """The views from 2 on moved in their images so that one point falls a hair's breadth beside a border."""
    K = cameras.K.clone()
    for view in range(2, len(cameras)):
        index = -1 if view == 2 else int(torch.randint(len(o), (1,), generator=generator))
        hair = 10 ** -(3 + 3 * torch.rand(1, generator=generator).item())
        u, v, z = (x[index].item() for x in project_planar(o.planar, cameras[view]))
        if 0.1 < abs(u) < 1e4 and abs(v) < 1e4 and z > 0:
            K[view, 0, 2] += (cameras.width - hair if view % 2 else hair) - u
            K[view, 1, 2] += cameras.height / 2 - v
    return replace(cameras, K=K)


def test_a_tile_that_a_view_sees_anything_of_is_never_left_out():
    generator = torch.Generator().manual_seed(11)
    seen = skipped = inside_out = 0
    for trial in range(400):
        grid = (8, 12) if trial % 5 else (70, 80)  # of one tile and of two
        source = random_cameras(generator, 1, *grid, spread=(0.1, 1.0, 30.0)[trial % 3])
        if trial % 4:
            count = (1, 2, 17, 5600)[int(torch.randint(4, (1,), generator=generator))]
            o = lifted(generator, source[0], count)
        else:
            o = observed(around(generator, (2, 4, 300)[trial % 3]) + source.position[0], source[0])
            inside_out += bool((o.depth <= 0).any())
        cameras = random_cameras(generator, 6, 11, 19, spread=2.0)
        near = cameras.c2w.clone()
        near[:, :3, 3] += source.position[0]
        near[0] = source.c2w[0]  # the very view that wrote it, on another grid
        near[1, :3, 3] = o.points[0] + 1e-3 * near[1, :3, 2]  # a thousandth past a point
        near[2, :3, 3] = o.points[-1] - 1e-2 * near[2, :3, 2]  # a hundredth before one
        cameras = just_inside(replace(cameras, c2w=near), o, generator)
        margin = (0.0, 0.0, 5.0)[trial % 3]
        may = may_see(o.tiles.corners, cameras, margin)
        for view in range(len(cameras)):
            falls = seen_points(o, cameras[view], margin)
            for tile, (start, stop) in enumerate(zip(o.tiles.start.tolist(), o.tiles.stop.tolist())):
                within = bool(falls[start:stop].any())
                assert may[view, tile] or not within, (trial, view, tile)
                seen += within
                skipped += not may[view, tile]
    assert seen > 500 and skipped > 500 and inside_out > 50


def test_most_tiles_out_of_view_are_left_out():
    generator = torch.Generator().manual_seed(5)
    turns = [pose((0.0, 0.0, 0.0), (0.0, 1.0, 0.0), 30.0 * i) for i in range(12)]
    sources = Cameras(torch.stack(turns), intrinsics_from_fov(30.0, 70, 80).expand(12, 3, 3), 70, 80)
    observations = [lifted(generator, sources[i]) for i in range(12)]  # all around, 2 tiles each
    c2w = torch.stack([turns[0] @ ROLL, turns[4], pose((0.1, 0.0, -0.2), (0.0, 1.0, 0.0), 100.0)])
    cameras = Cameras(c2w, intrinsics_from_fov(30.0, 11, 19).expand(3, 3, 3), 11, 19)
    out_of_view = left_out = 0
    for o in observations:
        may = may_see(o.tiles.corners, cameras)
        for view in range(3):
            falls = seen_points(o, cameras[view])
            for tile, (start, stop) in enumerate(zip(o.tiles.start.tolist(), o.tiles.stop.tolist())):
                if not falls[start:stop].any():
                    out_of_view += 1
                    left_out += not may[view, tile]
    assert out_of_view > 40 and left_out > 0.9 * out_of_view
    touched = sum(stop - start for parts, _ in blocks(observations, cameras[1:2]) for _, _, start, stop in parts)
    assert touched < 0.35 * sum(len(o) for o in observations)


def test_blocks_hold_every_point_of_the_tiles_that_are_seen_once():
    observations, cameras = cloud(), concatenate([views(), views(8)])
    firsts = np.cumsum([0, *(len(o) for o in observations)])
    visited = np.zeros((len(cameras), firsts[-1]), dtype=int)
    for parts, seen in blocks(observations, cameras):
        for index, first, start, stop in parts:
            assert first == firsts[index] and 0 <= start < stop <= len(observations[index])
            visited[seen.numpy(), first + start : first + stop] += 1
    assert visited.max() == 1
    for view in range(len(cameras)):
        falls = torch.cat([seen_points(o, cameras[view]) for o in observations]).numpy()
        assert falls.any() and visited[view][falls].all()
