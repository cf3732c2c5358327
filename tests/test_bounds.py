"""The bounds that say what a view need not touch: nothing that it sees is left out, and most of the rest is."""

from dataclasses import replace

import torch
from random_views import ROLL, around, cloud, lifted, observed, random_cameras, seen_points, views
from scenes import pose
from spatial_memory.memory.bounds import Nearest, Pairs, may_see, pairs
from spatial_memory.memory.camera import Cameras, concatenate, flat_cells, intrinsics_from_fov, project_planar
from spatial_memory.memory.front import front, visible
from spatial_memory.memory.laid import laid_out, shown, sifted
from spatial_memory.memory.tiles import TILE


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
            may = torch.zeros(len(cameras), len(o.tiles), dtype=torch.bool)
            may[:, tiles.tile] = may_see(tiles.hulls, cameras, margin)
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
