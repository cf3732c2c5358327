"""Cameras: convention pins with exact numbers, axioms over batches, bits, refusals."""

import math

import oracle
import pytest
import torch
from scenes import pose
from spatial_memory.memory import camera
from spatial_memory.memory.camera import Cameras


def some(batch=(), height=6, width=8, seed=0, near_identity=False):
    generator = torch.Generator().manual_seed(seed)
    count = math.prod(batch)
    spin = torch.rand(count, generator=generator) * (0.01 if near_identity else 360)
    axes, places = torch.randn(2, count, 3, generator=generator)
    c2w = torch.stack([pose(p.tolist(), a.tolist(), d.item()) for p, a, d in zip(places, axes, spin)])
    K = camera.intrinsics_from_fov(50.0, height, width).expand(*batch, 3, 3)
    return Cameras(c2w.reshape(*batch, 4, 4), K, height, width)


def test_the_centre_of_pixel_0_0_is_at_half_half():
    one = Cameras(torch.eye(4), torch.tensor([[4.0, 0, 4], [0, 4, 2], [0, 0, 1]]), 4, 8)
    points = camera.unproject(torch.full((4, 8), 2.0), one)
    assert points[0, 0].tolist() == [-1.75, -0.75, 2.0]  # ((0.5 - 4) / 4 * 2, (0.5 - 2) / 4 * 2, 2)
    uv, z = camera.project(points[0, 0][None], one)
    assert uv.tolist() == [[0.5, 0.5]] and z.tolist() == [2.0]


def test_x_is_right_y_is_down_z_is_forward():
    one = Cameras(torch.eye(4), camera.intrinsics_from_fov(90.0, 4, 4), 4, 4)
    uv, z = camera.project(torch.tensor([[0.5, 0.25, 1.0], [0.0, 0.0, -1.0]]), one)
    assert uv[0].tolist() == pytest.approx([3.0, 2.5]) and z.tolist() == [1.0, -1.0]


def test_c2w_takes_the_camera_to_its_place():
    moved = Cameras(pose((1.0, 2.0, 3.0)), torch.eye(3), 2, 2)
    assert moved.position.tolist() == [1.0, 2.0, 3.0]
    assert camera.transform_points(moved.w2c, torch.tensor([[1.0, 2.0, 4.0]])).tolist() == [[0.0, 0.0, 1.0]]


def test_resizing_scales_k_by_the_plain_ratio():
    one = Cameras(torch.eye(4), torch.tensor([[8.0, 0, 5], [0, 8, 3], [0, 0, 1]]), 6, 8)
    small = one.resized(3, 2)
    assert small.K.tolist() == [[2.0, 0, 1.25], [0, 4.0, 1.5], [0, 0, 1.0]] and (small.height, small.width) == (3, 2)
    uv, _ = camera.project(torch.tensor([[0.3, 0.2, 2.0]]), one)
    small_uv, _ = camera.project(torch.tensor([[0.3, 0.2, 2.0]]), small)
    assert torch.allclose(small_uv, uv * torch.tensor([2 / 8, 3 / 6]))


@pytest.mark.parametrize("near_identity", [False, True])
@pytest.mark.parametrize("batch", [(), (1,), (3, 1, 2)])
def test_unproject_then_project_is_the_identity(batch, near_identity):
    views = some(batch, near_identity=near_identity)
    depth = 1 + torch.rand(*batch, 6, 8, generator=torch.Generator().manual_seed(1))
    points = camera.unproject(depth, views).reshape(-1, 48, 3)
    for index, one in enumerate(points):
        view = Cameras(views.c2w.reshape(-1, 4, 4)[index], views.K.reshape(-1, 3, 3)[index], 6, 8)
        uv, z = camera.project(one, view)
        centres = torch.stack(torch.meshgrid(torch.arange(8) + 0.5, torch.arange(6) + 0.5, indexing="xy"), -1)
        assert torch.allclose(uv, centres.reshape(-1, 2), atol=2e-4)
        assert torch.allclose(z, depth.reshape(-1, 48)[index], atol=1e-5)


def test_inverse_and_compose_cancel():
    c2w = some((3, 1, 2)).c2w
    identity = torch.eye(4).expand_as(c2w)
    assert torch.allclose(camera.compose(camera.invert_rigid(c2w), c2w), identity, atol=1e-6)
    assert torch.allclose(camera.compose(c2w, c2w), c2w @ c2w, atol=1e-5)


def test_moved_scales_then_moves_the_world():
    view, world = some((2,)), pose((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), 180.0)
    points = torch.randn(5, 3, generator=torch.Generator().manual_seed(2))
    uv, z = camera.project(points, view)
    moved_uv, moved_z = camera.project(camera.transform_points(world, 2.0 * points), view.moved(world, 2.0))
    assert torch.allclose(moved_uv, uv, rtol=1e-3, atol=1e-3) and torch.allclose(moved_z, 2 * z, atol=1e-5)


def test_a_view_alone_equals_the_same_view_in_a_batch_to_the_bit():
    views = some((5,), seed=3)
    points = torch.randn(1000, 3, generator=torch.Generator().manual_seed(4))
    uv, z = camera.project(points, views)
    for index in range(5):
        alone_uv, alone_z = camera.project(points, views[index])
        assert torch.equal(alone_uv, uv[index]) and torch.equal(alone_z, z[index])
        u, v, planar_z = camera.project_planar(points.T.contiguous(), views[index])
        assert torch.equal(u, uv[index, :, 0]) and torch.equal(v, uv[index, :, 1]) and torch.equal(planar_z, z[index])


def test_cameras_made_of_others_know_the_inverse_that_they_would_find():
    for told in (False, True):
        many = some((5,), seed=3)
        if told:
            assert many.w2c.shape == (5, 4, 4)
        for made in (many[2], many[[4, 1]], many[1:3], many.resized(3, 4), many[0].alone(), many.resized(9, 2)[3]):
            assert ("w2c" in made.__dict__) == told
            assert torch.equal(made.w2c, camera.invert_rigid(made.c2w))
    for view, made in enumerate(some((5,), seed=3).each()):
        assert "w2c" in made.__dict__ and torch.equal(made.c2w, many.c2w[view])
        assert torch.equal(made.w2c, camera.invert_rigid(made.c2w))


def test_projection_equals_its_loop_twin_to_the_bit():
    view = some((), seed=5)
    points = torch.randn(50, 3, generator=torch.Generator().manual_seed(6))
    uv, z = camera.project(points, view)
    twin = [oracle.project_point(p, view.w2c.numpy(), view.K.numpy()) for p in points.numpy()]
    assert torch.equal(torch.cat([uv, z[:, None]], 1), torch.tensor(twin))


def test_stacking_and_joining_keep_the_grid_and_refuse_another():
    views = some((3,))
    assert torch.equal(camera.stack([views[i] for i in range(3)]).c2w, views.c2w)
    assert torch.equal(camera.concatenate([views[:1], views[1:]]).K, views.K)
    with pytest.raises(ValueError, match="exactly one"):
        camera.stack([views[0], views.resized(3, 4)[0]])


@pytest.mark.parametrize("join", [camera.stack, camera.concatenate])
def test_cameras_of_no_grid_are_not_joined(join):
    with pytest.raises(ValueError, match=r"grids \[\], expected exactly one"):
        join([])


@pytest.mark.parametrize(
    "row, column, value, message",
    [
        (0, 3, math.nan, "NaN"),
        (0, 0, 1.1, "no rotation"),
        (2, 2, -1.0, "mirrored"),
        (3, 0, 0.5, "last row"),
    ],
)
def test_what_is_no_rigid_pinhole_is_refused(row, column, value, message):
    c2w = torch.eye(4)
    c2w[row, column] = value
    with pytest.raises(ValueError, match=message):
        camera.check_cameras(Cameras(c2w, torch.eye(3), 2, 2))


def test_a_focal_length_must_be_positive():
    with pytest.raises(ValueError, match="focal"):
        camera.check_cameras(Cameras(torch.eye(4), torch.diag(torch.tensor([1.0, 0.0, 1.0])), 2, 2))


def test_depth_is_known_where_finite_and_positive():
    depth = torch.tensor([1.0, 0.0, -1.0, math.nan, math.inf])
    assert camera.known_depth(depth).tolist() == [True, False, False, False, False]


def test_depth_of_another_grid_is_refused():
    with pytest.raises(ValueError, match="grid is 6 x 8"):
        camera.unproject(torch.ones(5, 8), some(()))
