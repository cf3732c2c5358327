"""The front of a memory against plain loops, and the bounds that say what a view need not touch."""

from dataclasses import replace

import numpy as np
import oracle
import pytest
import torch
from scenes import pose
from spatial_memory.memory import front as memory_front
from spatial_memory.memory import laid as memory_laid
from spatial_memory.memory.bounds import Nearest, Pairs, may_see, pairs
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
from spatial_memory.memory.front import front, reaching, visible
from spatial_memory.memory.laid import laid_out, shown, sifted
from spatial_memory.memory.observation import Observation, tiled
from spatial_memory.memory.steps import BUSY, at_once
from spatial_memory.memory.tiles import GROUP, TILE, compact, compact_each, tiles_of, tiles_of_each

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
    many = around(generator, GROUP + 1500)
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
        assert torch.equal(found.owner[here], owner[found.point[here]])
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
        assert torch.equal(found.point[mine].sort()[0], hits)


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
        laid = laid_out([o])
        whole, tiles = may_see(laid.hulls, cameras, margin)[:, 0], sifted(laid, cameras, margin)
        for view in range(len(cameras)):
            falls = seen_points(o, cameras[view], margin)
            assert whole[view] or not falls.any()
            if not len(tiles.owner):  # no view sees any of it
                assert not falls.any()
                continue
            may = may_see(tiles.hulls, cameras, margin)
            for tile, points in enumerate(o.tiles.order.long().split(TILE)):
                within = bool(falls[points].any())
                assert may[view, tile] or not within, (trial, view, tile)
                seen += within
                skipped += not may[view, tile]
    assert seen > 500 and skipped > 500 and inside_out > 50


def test_most_tiles_out_of_view_are_left_out():
    generator = torch.Generator().manual_seed(5)
    turns = [pose((0.0, 0.0, 0.0), (0.0, 1.0, 0.0), 30.0 * i) for i in range(12)]
    sources = Cameras(torch.stack(turns), intrinsics_from_fov(30.0, 70, 80).expand(12, 3, 3), 70, 80)
    observations = [lifted(generator, sources[i]) for i in range(12)]  # all around, 88 tiles each
    c2w = torch.stack([turns[0] @ ROLL, turns[4], pose((0.1, 0.0, -0.2), (0.0, 1.0, 0.0), 100.0)])
    cameras = Cameras(c2w, intrinsics_from_fov(30.0, 11, 19).expand(3, 3, 3), 11, 19)
    every = replace(cameras, c2w=sources.c2w, K=sources.K, height=70, width=80)
    tiles = sifted(laid_out(observations), concatenate([replace(cameras, height=70, width=80), every]))
    may = may_see(tiles.hulls, cameras)
    out_of_view = left_out = row = 0
    for o in observations:
        falls = torch.stack([seen_points(o, cameras[view]) for view in range(3)])
        for points in o.tiles.order.long().split(TILE):
            hidden = ~falls[:, points].any(1)
            out_of_view += int(hidden.sum())
            left_out += int((hidden & ~may[:, row]).sum())
            row += 1
    assert row == len(tiles.owner) and out_of_view > 2000 and left_out > 0.95 * out_of_view
    ((planar, _),) = visible(laid_out(observations), cameras[1:2])
    inside = sum(int(seen_points(o, cameras[1]).sum()) for o in observations)
    assert inside <= planar.shape[1] < 1.6 * inside


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


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 1000, GROUP, GROUP + 1, 3 * GROUP + 700])
def test_tiles_hold_each_point_once_and_close_together(count):
    generator = torch.Generator().manual_seed(count)
    places = torch.rand(3, count, generator=generator)
    order = compact(places)
    assert torch.equal(order.sort()[0], torch.arange(count))
    if count > 500:
        wide = [places[:, part].amax(1) - places[:, part].amin(1) for part in order.split(TILE)]
        even = (TILE / count) ** (1 / 3)  # the side of a cube that holds a tile's share
        assert torch.stack(wide).prod(1).median() < 2.5 * even**3
    o = observed(around(generator, count), random_cameras(generator, 1, 9, 13)[0])
    tiles = tiles_of(o.planar, o.camera)
    assert len(tiles) == -(-count // TILE) and torch.equal(tiles.order.long().sort()[0], torch.arange(count))


def test_tiles_that_are_made_together_are_those_that_are_made_alone():
    generator = torch.Generator().manual_seed(9)
    cameras = random_cameras(generator, 12, 13, 17)
    counts = [0, 1, 64, 65, 700, 700, 1000, GROUP, GROUP + 1, 3 * GROUP + 700, 0, 221]
    many = [
        around(generator, n) if n != 221 else lifted(generator, c).points for n, c in zip(counts, cameras, strict=True)
    ]
    alone = [tiles_of(points.T, camera) for points, camera in zip(many, cameras)]
    together = tiles_of_each([points.T for points in many], list(cameras))
    assert [t.ahead for t in together] == [*[False] * 11, True] and len(alone) == 12
    for mine, theirs in zip(together, alone, strict=True):
        for name in ("order", "low", "high", "hull"):
            a, b = getattr(mine, name), getattr(theirs, name)
            assert torch.equal(a, b) and a.dtype == b.dtype
            assert a.untyped_storage().nbytes() == a.numel() * a.element_size(), "no part of what others share"
    orders = compact_each([points.T.double() for points in many])
    for order, points in zip(orders, many, strict=True):
        assert torch.equal(order, compact(points.T.double()))
        for part in order.split(TILE):
            assert (part[1:] > part[:-1]).all()
    observations = [observed(points, camera) for points, camera in zip(many, cameras)]
    kept = observations[4].tiles  # made before
    found = tiled(observations)
    assert found[4] is kept and all(torch.equal(a.order, b.order) for a, b in zip(found, alone))
    assert all(o.tiles is t for o, t in zip(observations, found, strict=True)) and tiled([]) == []


def test_groups_are_parted_at_the_middle_of_their_widest_side():
    generator = torch.Generator().manual_seed(10)
    places = torch.rand(3, 8 * TILE, generator=generator) * torch.tensor([[9.0], [4.0], [0.5]])

    def parted(index):  # the obvious way
        if len(index) <= TILE:
            return [index.sort()[0]]
        own = places[:, index]
        wide = int((own.amax(1) - own.amin(1)).argmax())
        turn = own[wide].argsort()
        return [t for half in index[turn].split(len(index) // 2) for t in parted(half)]

    assert torch.equal(compact(places), torch.cat(parted(torch.arange(8 * TILE))))


def test_what_the_front_hides_is_told_by_the_farthest_of_all_cells_of_a_block():
    generator = torch.Generator().manual_seed(4)
    for h, w in ((1, 1), (1, 7), (5, 1), (11, 19), (44, 80), (64, 64)):
        depth = torch.rand(3, h, w, generator=generator)
        depth[torch.rand(3, h, w, generator=generator) < 0.01] = torch.inf
        ends = [torch.randint(size, (200, 2), generator=generator).sort(1)[0] for size in (w, h)]
        view = torch.randint(3, (200,), generator=generator)
        some = Pairs(view, view, depth.new_zeros(200), torch.cat(ends, 1).T.int())
        told_far, exact = Nearest(depth).over(some), []
        for v, (left, right, top, bottom) in zip(view.tolist(), some.span.T.tolist()):
            exact.append(depth[v, top : bottom + 1, left : right + 1].max())
        assert (told_far >= torch.stack(exact)).all()
        alone = (some.span[0] == some.span[1]) & (some.span[2] == some.span[3])
        assert torch.equal(told_far[alone], torch.stack(exact)[alone])


def test_no_point_of_a_block_lies_nearer_or_elsewhere_than_its_pair_says():
    generator = torch.Generator().manual_seed(12)
    whole = narrow = 0
    for trial in range(60):
        source = random_cameras(generator, 1, 40, 60, spread=(0.1, 1.0, 30.0)[trial % 3])
        o = (
            lifted(generator, source[0])
            if trial % 2
            else observed(around(generator, 900) + source.position[0], source[0])
        )
        cameras = random_cameras(generator, 4, 11, 19, spread=2.0)
        c2w = cameras.c2w.clone()
        c2w[:, :3, 3] += source.position[0]
        c2w[0], c2w[1] = source.c2w[0], source.c2w[0] @ pose((0.0, 0.0, 0.25)) @ ROLL
        cameras = replace(cameras, c2w=c2w)
        scene = shown(laid_out([o]), cameras)
        order, some = o.tiles.order.long().split(TILE), pairs(scene.hulls, cameras)
        some = replace(some, block=scene.tile[some.block])
        for view, block, near, span in zip(some.view.tolist(), some.block.tolist(), some.near, some.span.T.tolist()):
            u, v, z = project_planar(o.planar[:, order[block]], cameras[view])
            cells = flat_cells(u, v, z, 11, 19)
            inside = cells < 11 * 19
            assert (z >= near).all()
            column, row = cells[inside] % 19, cells[inside] // 19
            assert ((column >= span[0]) & (column <= span[1]) & (row >= span[2]) & (row <= span[3])).all()
            whole += span == [0, 18, 0, 10]
            narrow += (span[1] - span[0]) * (span[3] - span[2]) < 30
    assert whole > 20 and narrow > 1000


def test_a_look_leaves_nothing_behind():
    laid, cameras = laid_out(cloud()), views()
    before = laid.get_ram_usage()
    names = set(laid.__dict__)
    front(laid, cameras)
    assert laid.get_ram_usage() == before and set(laid.__dict__) == names


@pytest.mark.parametrize(("threads", "steps"), [(1, 1), (2, 1), (5, 2), (64, 4)])
def test_more_threads_share_a_larger_step(monkeypatch, threads, steps):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert at_once(torch.device("cpu"), 1000) == 1000 * steps
    assert at_once(torch.device("cuda"), 1000) == BUSY
