"""Readout: loop twins, bits under shuffles and threads, geometry away from the identity, edges, real depth."""

import math
from dataclasses import replace

import oracle
import pytest
import torch
from scenes import geometry, memory_of, pose
from spatial_memory.headless.sequence import load_sequence
from spatial_memory.memory import splat
from spatial_memory.memory.camera import Cameras, compose, intrinsics_from_fov, project_planar
from spatial_memory.memory.cloud import FEATURES
from spatial_memory.memory.discs import representatives
from spatial_memory.memory.geometry import Geometry
from spatial_memory.memory.lift import lift_latents, lift_pixels
from spatial_memory.memory.observation import Observation
from spatial_memory.memory.splat import (
    FOOTPRINT,
    STEPS,
    Readout,
    adaptive,
    fixed,
    read,
    render_depth,
    splat_centred,
    splat_discs,
    splat_nearest,
)

ROLL = pose(axis=(0.0, 0.0, 1.0), degrees=180.0)


def cloud(count=2000, observations=4, seed=0, channels=4, ties=True):
    """Random points in front of the origin, a fifth of them in exact ties of depth with others of another frame."""
    generator = torch.Generator().manual_seed(seed)
    camera = Cameras(torch.eye(4), intrinsics_from_fov(60.0, 90, 100), 90, 100)
    made = []
    for number in range(observations):
        points = torch.rand(count // observations, 3, generator=generator) * torch.tensor([4.0, 3.0, 3.0])
        points += torch.tensor([-2.0, -1.5, -0.5])
        if ties and made:
            points[::5] = made[0].points[::5]
        features = torch.randn(len(points), channels, generator=generator).half()
        cells = torch.randperm(9000, generator=generator)[: len(points)].sort().values.int()
        made.append(Observation(points, features, cells, camera, 4 * number, number // 2 - 1))
    return made


def views(height=12, width=20):
    c2w = torch.stack([torch.eye(4), ROLL, pose((0.3, 0.1, -0.5), (0.3, 1.0, 0.2), 25.0), pose((0, 0, 0.9))])
    return Cameras(c2w, intrinsics_from_fov(60.0, height, width).expand(4, 3, 3), height, width)


def shuffled(observations, seed):
    """The same points in another order, within and across observations."""
    generator = torch.Generator().manual_seed(seed)
    mixed = []
    for index in torch.randperm(len(observations), generator=generator).tolist():
        o = observations[index]
        order = torch.randperm(len(o), generator=generator)
        names = ("points", "features", "cells")
        mixed.append(replace(o, **{name: getattr(o, name)[order] for name in names}))
    return mixed


def test_nearest_equals_its_loop_twin_to_the_bit():
    made = cloud()
    memory, cameras = memory_of(made), views()
    seniority = [(o.chunk, o.frame, cell) for o in made for cell in o.cells.tolist()]
    out = splat_nearest(memory, cameras)
    for view in range(len(cameras)):
        camera = cameras[view]
        twin = oracle.nearest(memory.points.numpy(), seniority, camera.w2c.numpy(), camera.K.numpy(), 12, 20)
        assert torch.equal(out.winner[view], torch.from_numpy(twin))
    known = out.winner >= 0
    assert 0.1 < known.float().mean() < 1 and torch.equal(known.float(), out.known)
    assert torch.equal(out.features.permute(0, 2, 3, 1)[known], memory.features[out.winner[known]].float())
    assert not out.features.permute(0, 2, 3, 1)[~known].any() and not out.depth[~known].any()


@pytest.mark.parametrize("readout, count", [(splat_nearest, 36000), (splat_discs, 8000)])
def test_bits_do_not_depend_on_order_or_threads(readout, count):
    made, cameras, before = cloud(count), views(), torch.get_num_threads()
    expected = readout(memory_of(made), cameras)
    try:
        for seed, threads in enumerate((1, 2, 4)):
            torch.set_num_threads(threads)
            memory = memory_of(shuffled(made, seed))
            out = readout(memory, cameras)
            for name in ("features", "depth", "known"):
                assert torch.equal(getattr(out, name), getattr(expected, name)), (name, threads)
            hit = expected.winner >= 0
            assert torch.equal(out.winner >= 0, hit)
            same = memory_of(made).points[expected.winner[hit]]
            assert torch.equal(memory.points[out.winner[hit]], same)
    finally:
        torch.set_num_threads(before)


def depth_readout(memory, cameras):
    return Readout(torch.empty(0), *render_depth(memory, cameras), torch.empty(0), torch.empty(0))


@pytest.mark.parametrize("readout", [splat_nearest, splat_discs, depth_readout])
def test_a_view_alone_equals_the_same_view_in_a_batch_to_the_bit(readout):
    memory, cameras = memory_of(cloud(20000)), views()
    batch = vars(readout(memory, cameras))
    parts = [vars(readout(memory, cameras[view : view + 1])) for view in range(len(cameras))]
    for name, together in batch.items():
        assert not together.numel() or torch.equal(torch.cat([part[name] for part in parts]), together)
    assert batch["depth"].any()


def test_of_the_front_surface_the_best_centred_wins_then_the_oldest_and_never_one_behind():
    memory, cameras, tolerance = memory_of(cloud()), views(), 0.3
    front, centred = splat_nearest(memory, cameras), splat_centred(memory, cameras, tolerance)
    rank = torch.arange(memory.num_points) if memory.rank is None else memory.rank
    by_place = by_age = 0
    for view in range(len(cameras)):
        u, v, z = project_planar(memory.points.T.contiguous(), cameras[view])
        for row, column in (front.winner[view] >= 0).nonzero()[::5].tolist():
            limit = front.depth[view, row, column] * (1 + tolerance)
            here = ((u.floor() == column) & (v.floor() == row) & (z > 0) & (z <= limit)).nonzero()[:, 0].tolist()
            step = {i: int(math.hypot(u[i] - column - 0.5, v[i] - row - 0.5) * STEPS) for i in here}
            assert centred.winner[view, row, column] == min(here, key=lambda i: (step[i], rank[i]))
            by_place += min(step.values()) < step[front.winner[view, row, column].item()]
            by_age += sum(s == min(step.values()) for s in step.values()) > 1
    assert by_place > 10 and by_age > 0, (by_place, by_age)  # both rules were needed
    again = splat_centred(memory_of(shuffled(memory.observations, 3)), cameras, tolerance)
    assert torch.equal(again.features, centred.features) and torch.equal(again.depth, centred.depth)
    assert torch.equal(again.offset, centred.offset)


def test_ties_go_to_the_smaller_chunk_then_frame_then_cell():
    camera = Cameras(torch.eye(4)[None], intrinsics_from_fov(90.0, 2, 2)[None], 2, 2)
    point = torch.tensor([[0.5, 0.5, 1.0]] * 2)

    def told(chunk, frame, cells, value):
        features = torch.tensor([[value], [value + 0.5]]).half()
        return Observation(point, features, torch.tensor(cells, dtype=torch.int32), camera[0], frame, chunk)

    made = [told(1, 8, [0, 1], 1.0), told(0, 40, [0, 1], 2.0), told(0, 36, [3, 2], 3.0)]
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        out = splat_nearest(memory_of([made[i] for i in order], 1), camera)
        assert out.features[0, 0, 1, 1] == 3.5  # chunk 0, frame 36, cell 2
        assert splat_discs(memory_of([made[i] for i in order], 1), camera).features[0, 0, 1, 1] == 3.5


@pytest.mark.parametrize("turn", [torch.eye(4), ROLL])
def test_lift_then_read_at_the_same_camera_is_the_identity(turn):
    latents = torch.randn(5, 1, 12, 20)
    depth = 1 + torch.rand(1, 96, 160, generator=torch.Generator().manual_seed(0))
    made = geometry(depth, c2w=compose(pose((0.3, -0.2, 0.1)), turn)[None])
    memory = memory_of(lift_latents(latents, made, [0], 0), 5)
    out = splat_nearest(memory, made.cameras.resized(12, 20))
    assert torch.equal(out.features[0], latents[:, 0].half().float()) and out.known.all()


def test_a_roll_of_180_degrees_turns_the_readout_and_shifts_nothing():
    latents = torch.randn(5, 1, 12, 20)
    made = geometry(torch.full((1, 96, 160), 2.0))
    memory = memory_of(lift_latents(latents, made, [0], 0), 5)
    rolled = Cameras(ROLL[None], made.cameras.K, 96, 160)
    out = splat_nearest(memory, rolled.resized(12, 20))
    assert out.known.all() and torch.equal(out.features[0], latents[:, 0].half().float().flip(1, 2))


@pytest.mark.parametrize("turn", [torch.eye(4), ROLL])
def test_a_dolly_to_half_depth_spreads_cells_about_the_centre(turn):
    latents = torch.randn(5, 1, 13, 21)  # odd: source centre i + 0.5 lands on the centre of cell 2 i - 6 (2 i - 10)
    made = geometry(torch.full((1, 104, 168), 2.0))
    memory = memory_of(lift_latents(latents, made, [0], 0), 5)
    close = Cameras(compose(pose((0.0, 0.0, 1.0)), turn)[None], made.cameras.K, 104, 168)
    out = splat_nearest(memory, close.resized(13, 21))
    expected, known = torch.zeros(5, 13, 21), torch.zeros(13, 21)
    expected[:, ::2, ::2] = latents[:, 0, 3:10, 5:16].half().float()
    known[::2, ::2] = 1.0
    if not torch.equal(turn, torch.eye(4)):
        expected, known = expected.flip(1, 2), known.flip(0, 1)
    assert torch.equal(out.known[0], known) and torch.equal(out.features[0], expected)


@pytest.mark.parametrize("turn", [torch.eye(4), ROLL])
def test_discs_keep_a_wall_closed_on_a_dolly_to_half_depth(turn):
    made = geometry(torch.full((1, 48, 80), 2.0))
    memory = memory_of(lift_pixels(torch.ones(1, 3, 48, 80), made, [0], 0, None), 3, "rgb")
    close = Cameras(compose(pose((0.0, 0.0, 1.0)), turn)[None], made.cameras.K, 48, 80)
    out = splat_discs(memory, close)
    assert out.known.min() > 0.9
    assert torch.allclose(out.depth, torch.ones_like(out.depth), atol=1e-5)
    open_wall = splat_discs(memory, close, fixed())  # the compatible radius: 0.24 pixels at this size
    assert open_wall.known.mean() < 0.5


def test_discs_of_the_source_view_give_the_image_back():
    u, v = torch.meshgrid(torch.arange(40) / 40, torch.arange(24) / 24, indexing="xy")
    images = (torch.stack([u, v, 0.5 + 0.4 * torch.sin(6 * u)])[None] * 255).round() / 255  # colours are kept as bytes
    made = geometry(torch.full((1, 24, 40), 3.0))
    memory = memory_of(lift_pixels(images, made, [0], 0, None), 3, "rgb")
    out = splat_discs(memory, made.cameras)
    assert (out.features - images).abs().max() < 0.03 and out.known.min() > 0.97
    sharp = splat_discs(memory, made.cameras, adaptive(1.0))  # a neighbour's disc ends at the pixel's centre
    assert torch.allclose(sharp.features, images, atol=1e-3) and sharp.known.min() > 0.999


@pytest.mark.parametrize("radius", [fixed(3.0, 12), adaptive()])
def test_discs_equal_their_loop_twin(radius):
    memory, cameras = memory_of(cloud(300, ties=False)), views()
    out = splat_discs(memory, cameras, radius)
    for view in range(len(cameras)):
        camera = cameras[view]
        depth = camera.w2c[2, :3] @ memory.points.T + camera.w2c[2, 3]
        radii = radius(memory.spacing / depth * camera.K[0, 0], 12).numpy()
        colours = memory.features.float().numpy()
        twin = oracle.discs(memory.points.numpy(), colours, radii, camera.w2c.numpy(), camera.K.numpy(), 12, 20)
        assert torch.allclose(out.features[view], torch.from_numpy(twin[0]).float(), atol=1e-4)
        assert torch.allclose(out.known[view], torch.from_numpy(twin[1]).float(), atol=1e-4)


def test_discs_say_where_they_see_nothing():
    memory, cameras = memory_of(cloud(60, ties=False)), views()
    out = splat_discs(memory, cameras, fixed(1.0, 12))
    for view in range(len(cameras)):
        w2c, hit = cameras[view].w2c, out.winner[view] >= 0
        depth = w2c[2, :3] @ memory.points.T + w2c[2, 3]
        assert torch.equal(hit, out.known[view] > 0) and 0 < hit.sum() < hit.numel()
        assert torch.allclose(out.depth[view, hit], depth[out.winner[view, hit]])
        assert not out.depth[view, ~hit].any() and not out.features[view, :, ~hit].any()


def test_the_fixed_radius_is_3_52_pixels_at_704():
    assert fixed()(torch.zeros(1), 704).item() == pytest.approx(3.52)
    assert fixed()(torch.zeros(1), 192).item() == pytest.approx(0.96)


def test_the_adaptive_radius_is_bounded():
    assert adaptive(1.0)(torch.tensor([0.01, 2.0, 1e9]), 192).tolist() == [0.75, 2.0, 12.0]


def test_thinned_points_cover_their_voxel():
    made = geometry(torch.full((1, 48, 80), 1.0))
    thinned = lift_pixels(torch.ones(1, 3, 48, 80), made, [0], 0, 0.08)  # about 3.3 pixels
    out = splat_discs(memory_of(thinned, 3, "rgb"), made.cameras)
    assert len(thinned[0]) < 48 * 80 / 6 and out.known[0, 2:-2, 2:-2].min() > 0.3


def test_rendered_depth_is_dense_for_latent_cells_and_follows_a_slanted_floor():
    height, width = 192, 320
    K = intrinsics_from_fov(60.0, height, width)
    rows = (torch.arange(height) + 0.5 - height / 2) / K[1, 1]
    floor = torch.where(rows > 0.08, 1.5 / rows.clamp(min=1e-3), 0.0)  # 1.5 below the camera
    made = geometry(floor[:, None].expand(1, height, width).contiguous())
    memory = memory_of(lift_latents(torch.zeros(4, 1, 24, 40), made, [0], 0))
    depth, known = render_depth(memory, made.cameras)
    inside = known & made.known
    assert inside.sum() > 0.85 * made.known.sum()
    error = (depth / made.depth - 1)[inside]
    assert error.abs().median() < 0.015 and abs(error.median()) < 0.01  # cells of 8 pixels, no staircase, no bias


def test_rendered_depth_costs_the_view_and_not_how_often_a_surface_was_written(monkeypatch):
    drawn = []
    plain = splat.discs_of
    monkeypatch.setattr(splat, "discs_of", lambda planar, *rest: drawn.append(planar.shape[1]) or plain(planar, *rest))
    focal = geometry(torch.ones(1, 96, 160)).cameras.resized(12, 20).K[0, 0, 0].item()
    shifts = torch.rand(12, 2, generator=torch.Generator().manual_seed(0)) - 0.5  # of a cell, at a distance of 2
    made = []
    for frame, shift in enumerate(shifts.tolist()):
        wall = geometry(torch.full((1, 96, 160), 2.0), c2w=pose((*(s * 2.0 / focal for s in shift), 0.0))[None])
        made += lift_latents(torch.zeros(4, 1, 12, 20), wall, [frame], frame)
    near = geometry(torch.full((1, 96, 160), 1.0))
    post = lift_latents(torch.zeros(4, 1, 12, 20), near, [60], 60)[0]
    made.append(post.where(post.cells % 20 < 6))
    cameras = replace(near.cameras, c2w=compose(pose((0.1, 0.0, -0.5)), ROLL)[None])
    counts = []
    for part in (made[:1] + made[-1:], made):
        memory = memory_of(part)
        planar = memory.points.T.contiguous()
        counts.append(len(representatives(planar, memory.spacing, cameras[0], FOOTPRINT)))
        depth, known = render_depth(memory, cameras)
        on_post, on_wall = (depth / 1.5 - 1).abs() < 1e-3, (depth / 2.5 - 1).abs() < 1e-3
        assert known.float().mean() > 0.6 and (on_post | on_wall)[known].float().mean() > 0.99
        assert on_post.float().mean() > 0.1 and on_wall.float().mean() > 0.4
    assert memory.num_points > 10 * counts[0] and counts[1] < 4 * counts[0]
    assert drawn == counts


def test_a_rendered_occluder_hides_what_lies_behind():
    behind, before = geometry(torch.full((1, 48, 80), 4.0)), geometry(torch.full((1, 48, 80), 2.0))
    far, near = (lift_latents(torch.zeros(4, 1, 6, 10), g, [0], 0)[0] for g in (behind, before))
    near = near.where(near.cells % 10 < 5)
    depth, known = render_depth(memory_of([far, near]), before.cameras)
    assert known.all() and depth[0, :, :36].max() < 2.01 and depth[0, :, 48:].min() > 3.99


@pytest.mark.parametrize("kind, channels", [("latent", 4), ("rgb", 3)])
def test_an_empty_memory_and_points_behind_are_all_holes(kind, channels):
    cameras = views()
    points = torch.rand(40, 3) - torch.tensor([0.5, 0.5, 9.0])
    behind = replace(cloud(40, 1)[0], points=points, features=torch.ones(40, channels).to(FEATURES[kind]))
    for memory in (memory_of([], channels, kind), memory_of([behind], channels, kind)):
        out = read(memory, cameras[:1])
        assert not out.known.any() and not out.features.any() and not out.depth.any() and (out.winner == -1).all()
        assert out.features.shape == (1, channels, 12, 20)
        depth, known = render_depth(memory, cameras[:1])
        assert not known.any() and not depth.any()


@pytest.mark.parametrize("kind, channels", [("latent", 4), ("rgb", 3)])
def test_one_point_one_in_the_camera_and_points_that_are_not_finite(kind, channels):
    camera = Cameras(torch.eye(4)[None], intrinsics_from_fov(90.0, 4, 4)[None], 4, 4)

    def told(points):
        features = torch.full((len(points), channels), 2.0).to(FEATURES[kind])
        return Observation(torch.tensor(points), features, torch.arange(len(points)).int(), camera[0], 12, -1)

    good = [0.25, 0.25, 1.0]
    for bad in ([math.nan, 0, 1], [0, math.inf, 1], [0, 0, math.nan], [0, 0, math.inf], [0, -math.inf, 1]):
        with pytest.raises(ValueError, match="frame 12 brings points that are NaN, infinite"):
            memory_of([told([good, bad])], channels, kind)
    out = read(memory_of([told([[0.0, 0.0, 0.0], good])], channels, kind), camera)  # the first lies in the camera
    assert out.known[0, 2, 2] > 0.4 and (out.winner[out.winner >= 0] == 1).all() and out.features.isfinite().all()
    alone = read(memory_of([told([good])], channels, kind), camera)
    assert torch.equal(alone.features, out.features)


def test_real_depth_lands_on_another_real_frame(livingroom):
    seen = load_sequence(livingroom, [0, 1])
    depth, ones = seen.depth[:1], torch.ones_like(seen.depth[:1])
    made = Geometry(depth, ones, ones > 0, seen.cameras[:1], True, 2.0)
    memory = memory_of(lift_pixels(seen.images[:1], made, [0], 0, None), 3, "rgb")
    out = splat_discs(memory, seen.cameras[1:])
    known = (out.known[0] > 0.9) & (seen.depth[1] > 0)
    error = (out.depth[0] / seen.depth[1] - 1).abs()
    same = known & (error < 0.03)  # not occluded
    assert same.float().mean() > 0.65 and error[known].median() < 2e-3  # poses and depth agree to 0.1 %
    said = out.features[0] / out.known[0].clamp(min=1e-3)
    warped = ((said - seen.images[1])[:, same] ** 2).mean()
    unmoved = ((seen.images[0] - seen.images[1])[:, same] ** 2).mean()
    assert -10 * math.log10(warped) > max(26, -10 * math.log10(unmoved) + 10)  # the exact warp of this pair: 28.0 dB


def test_offsets_say_where_in_its_cell_the_winner_lies():
    cameras = views()
    memory = memory_of(cloud(300, ties=False))
    out = splat_nearest(memory, cameras)
    assert out.offset.shape == (4, 2, 12, 20) and out.offset.abs().max() <= 0.5 + 1e-4
    assert not out.offset[out.winner[:, None].expand(-1, 2, -1, -1) < 0].any()
    for view, row, column in (out.winner >= 0).nonzero()[::7].tolist():
        camera, point = cameras[view], memory.points[out.winner[view, row, column]].double()
        x, y, z = (camera.w2c[:3, :3].double() @ point + camera.w2c[:3, 3].double()).tolist()
        u = camera.K[0, 0].item() * x / z + camera.K[0, 2].item()
        v = camera.K[1, 1].item() * y / z + camera.K[1, 2].item()
        assert out.offset[view, :, row, column].tolist() == pytest.approx([u - column - 0.5, v - row - 0.5], abs=1e-4)


def test_offsets_vanish_at_the_camera_that_wrote_and_after_a_roll_and_follow_a_step_aside():
    made = geometry(torch.full((1, 48, 80), 2.0))
    memory = memory_of(lift_latents(torch.zeros(4, 1, 6, 10), made, [0], 0))
    small = made.cameras.resized(6, 10)
    assert splat_centred(memory, small).offset.abs().max() < 1e-4
    rolled = replace(small, c2w=ROLL[None])  # cells fall on cells
    assert splat_centred(memory, rolled).offset.abs().max() < 1e-3
    aside = 0.3 * 2.0 / small.K[0, 0, 0].item()  # three tenths of a cell to the right: what is seen goes left
    offset = splat_centred(memory, replace(small, c2w=pose((aside, 0.0, 0.0))[None])).offset
    assert torch.allclose(offset[0, 0, :, :9], torch.full((6, 9), -0.3), atol=1e-3) and offset[0, 1].abs().max() < 1e-4
    assert not splat_discs(memory_of([], 3, "rgb"), small).offset.any()
