"""Lifting: depth to another grid against loop twins, unknown depth, edges, masks, and pixels thinned by voxels."""

import math
from dataclasses import replace

import oracle
import pytest
import torch
from scenes import geometry, pose
from spatial_memory.memory.camera import Cameras, project, unproject
from spatial_memory.memory.geometry import check_geometry, start_unit
from spatial_memory.memory.lift import RESAMPLE, lift_latents, lift_pixels, resample_depth
from spatial_memory.memory.normals import decode_normals


def rough(seed, height=11, width=14):
    """Two surfaces with relief, holes of 0, NaN and infinity among them."""
    generator = torch.Generator().manual_seed(seed)
    depth = 1 + 0.04 * torch.rand(2, height, width, generator=generator)
    depth[torch.rand(depth.shape, generator=generator) < 0.4] += 2
    holes = torch.rand(depth.shape, generator=generator)
    for low, value in ((0.1, 0.0), (0.2, math.nan), (0.3, math.inf)):
        depth[(holes > low - 0.1) & (holes < low)] = value
    return depth


@pytest.mark.parametrize("size", [(4, 5), (11, 14), (3, 7), (22, 20)])
@pytest.mark.parametrize("method", sorted(RESAMPLE))
def test_resampling_equals_its_loop_twin(method, size):
    depth = rough(seed=size[0])
    known = torch.rand(depth.shape, generator=torch.Generator().manual_seed(9)) < 0.9
    out, out_known = resample_depth(depth, known, *size, method)
    usable = known & depth.isfinite() & (depth > 0)
    for view in range(2):
        clean = torch.where(usable, depth, 0.0)[view].double().numpy()
        twin = torch.from_numpy(oracle.resample(clean, usable[view].double().numpy(), *size, method)).float()
        assert torch.equal(out_known[view], twin > 0)
        assert torch.allclose(out[view], twin, atol=1e-5)


def test_bilinear_on_one_known_surface_is_plain_bilinear():
    depth = 2 + 0.02 * torch.rand(1, 16, 24, generator=torch.Generator().manual_seed(0))
    out, _ = resample_depth(depth, depth > 0, 4, 6, "bilinear")
    plain = torch.nn.functional.interpolate(depth[None], (4, 6), mode="bilinear", align_corners=False)[0]
    assert torch.allclose(out, plain, atol=1e-6)


@pytest.mark.parametrize("method", sorted(RESAMPLE))
def test_a_step_leaves_no_depth_between_the_two_surfaces(method):
    for edge in range(33):
        depth = torch.full((1, 16, 32), 2.0)
        depth[:, :, edge:] = 6.0
        depth[:, :, edge : edge + 2] = 0.0  # an edge band that the provider left out
        out, known = resample_depth(depth, torch.ones_like(depth, dtype=torch.bool), 2, 4, method)
        assert set(out[known].tolist()) <= {2.0, 6.0}


@pytest.mark.parametrize("method", sorted(RESAMPLE))
def test_nothing_known_stays_unknown(method):
    out, known = resample_depth(torch.full((1, 8, 8), math.nan), torch.ones(1, 8, 8, dtype=torch.bool), 2, 2, method)
    assert not known.any() and not out.any()


def test_another_method_is_refused_by_name():
    with pytest.raises(ValueError, match="'cubic'.*area.*bilinear.*median.*nearest"):
        resample_depth(torch.ones(1, 4, 4), torch.ones(1, 4, 4) > 0, 2, 2, "cubic")


@pytest.mark.parametrize("degrees", [0.0, 180.0, 37.0])
def test_lifted_cells_project_back_to_their_own_cell(degrees):
    c2w = pose((0.4, -0.2, 0.3), (0.2, 0.1, 1.0), degrees)[None]
    made = geometry(rough(3, 32, 48)[:1], c2w=c2w)
    (observation,) = lift_latents(torch.randn(5, 1, 4, 6), made, [12], 2)
    uv, z = project(observation.points, observation.camera)
    cells = observation.cells.long()
    assert len(cells) and torch.allclose(uv[:, 0], cells % 6 + 0.5, atol=1e-4)
    assert torch.allclose(uv[:, 1], cells // 6 + 0.5, atol=1e-4)
    assert torch.allclose(z, observation.depth, atol=1e-5)
    assert (observation.frame, observation.chunk) == (12, 2)
    assert (observation.camera.height, observation.camera.width) == (4, 6)


def test_features_are_the_latents_of_their_cells_in_half_precision():
    latents = torch.randn(5, 2, 4, 6)
    for view, o in enumerate(lift_latents(latents, geometry(torch.ones(2, 8, 12)), [0, 4], 0)):
        assert torch.equal(o.features, latents[:, view].flatten(1).T[o.cells.long()].half())
        assert (o.points.dtype, o.features.dtype, o.cells.dtype) == (torch.float32, torch.float16, torch.int32)


@pytest.mark.parametrize("offset", range(8))
def test_a_thin_moving_thing_takes_out_every_cell_it_touches(offset):
    keep = torch.ones(1, 32, 32, dtype=torch.bool)
    keep[:, 5, 8 + offset] = False  # one pixel
    (o,) = lift_latents(torch.zeros(1, 1, 4, 4), geometry(torch.ones(1, 32, 32), keep), [0], 0)
    assert sorted(set(range(16)) - set(o.cells.tolist())) == [1]


def test_masks_all_out_all_in_and_half():
    depth, half = torch.ones(1, 16, 16), torch.ones(1, 16, 16, dtype=torch.bool)
    half[:, :, :8] = False
    for keep, count in ((torch.zeros_like(half), 0), (torch.ones_like(half), 4), (half, 2)):
        assert len(lift_latents(torch.zeros(3, 1, 2, 2), geometry(depth, keep), [0], 0)[0]) == count
        assert len(lift_pixels(torch.zeros(1, 3, 16, 16), geometry(depth, keep), [0], 0, None)[0]) == count * 64


@pytest.mark.parametrize("degrees", [0.0, 180.0, 37.0])
def test_a_lifted_cell_knows_the_normal_of_its_surface_and_is_less_sure_at_a_slant(degrees):
    plane = torch.nn.functional.normalize(torch.tensor([0.4, -0.3, 0.9]), dim=0)
    c2w = pose((0.3, -0.2, 0.5), (0.0, 0.0, 1.0), degrees)
    flat = geometry(torch.ones(1, 192, 320), c2w=c2w[None])
    rays = unproject(flat.depth, flat.cameras) - flat.cameras.position[0]
    depth = (3.0 - (flat.cameras.position[0] * plane).sum()) / (rays * plane).sum(-1)
    assert depth.min() > 1
    confidence = 0.25 + 0.5 * torch.rand(1, 192, 320, generator=torch.Generator().manual_seed(1))
    made = geometry(depth, None, confidence, c2w[None])
    (o,) = lift_latents(torch.zeros(3, 1, 24, 40), made, [0], 0)
    assert len(o) == 960
    normals = decode_normals(o.normals)
    cosine_to_plane = (normals * -plane).sum(1)  # turned to the camera
    assert torch.rad2deg(cosine_to_plane.clamp(max=1).acos()).max() < 2
    ray = torch.nn.functional.normalize(o.points - o.camera.position, dim=1)
    mean = confidence[0].unfold(0, 8, 8).unfold(1, 8, 8).mean((2, 3)).flatten()
    expected = mean * (ray * plane).sum(1)
    assert (o.confidence.float() / 255 - expected).abs().max() < 0.005
    assert expected.max() - expected.min() > 0.1  # the slant tells
    (pixels,) = lift_pixels(torch.zeros(1, 3, 192, 320), made, [0], 0, None)
    ray = torch.nn.functional.normalize(pixels.points - pixels.camera.position, dim=1)
    expected = confidence.flatten() * (ray * plane).sum(1)
    assert (pixels.confidence.float() / 255 - expected).abs().max() < 0.005
    assert not pixels.normals.any()  # a pixel keeps none


def test_confidence_is_the_mean_over_the_pixels_that_count():
    confidence = torch.full((1, 16, 16), 0.8)
    confidence[:, :8, :4] = 0.05  # too unsure to count
    confidence[:, :8, 4:8] = 0.4
    (o,) = lift_latents(torch.zeros(3, 1, 2, 2), geometry(torch.ones(1, 16, 16), None, confidence), [0], 0)
    assert o.cells.tolist() == [0, 1, 2, 3]
    points = torch.nn.functional.normalize(o.points, dim=1)
    expected = torch.tensor([0.4, 0.8, 0.8, 0.8]) * points[:, 2]  # the wall stands across the view's axis
    assert torch.allclose(o.confidence.float() / 255, expected, atol=0.003)


def test_depth_that_nobody_is_sure_of_is_not_remembered():
    confidence = torch.ones(1, 16, 16)
    confidence[:, :8] = 0.0
    (o,) = lift_latents(torch.zeros(3, 1, 2, 2), geometry(torch.ones(1, 16, 16), None, confidence), [0], 0)
    assert o.cells.tolist() == [2, 3]


def test_pixels_are_lifted_as_they_are_without_a_voxel():
    images = torch.rand(1, 3, 6, 8)
    (o,) = lift_pixels(images, geometry(rough(1, 6, 8)[:1]), [0], -1, None)
    colours = images[0].flatten(1).T[o.cells.long()]
    assert torch.equal(o.features, (colours * 255).round().to(torch.uint8)) and o.voxel == 0.0


def test_thinning_keeps_the_pixel_nearest_to_the_mean_and_averages_colours():
    images, made = torch.rand(1, 3, 12, 16), geometry(rough(2, 12, 16)[:1])
    (every,) = lift_pixels(images, made, [0], 0, None)
    (o,) = lift_pixels(images, made, [0], 0, 0.3)
    colours = images[0].flatten(1).T[every.cells.long()].numpy()
    twin = oracle.thin(every.points.numpy(), colours, 0.3)
    assert 1 < len(o) < len(every) and o.voxel == pytest.approx(0.3)
    assert o.cells.tolist() == every.cells[torch.tensor(sorted(twin))].tolist()
    assert torch.equal(o.points, every.points[torch.tensor(sorted(twin))])
    expected = torch.stack([torch.from_numpy(twin[i]) for i in sorted(twin)])
    assert torch.allclose(o.features.float() / 255, expected.float(), atol=0.5 / 255 + 1e-6)  # to the nearest byte


def test_a_voxel_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="voxel is -1"):
        lift_pixels(torch.zeros(1, 3, 4, 4), geometry(torch.ones(1, 4, 4)), [0], 0, -1)


def test_counts_that_differ_are_refused():
    with pytest.raises(ValueError, match="2 views, geometry of 1 and 2 frame numbers"):
        lift_latents(torch.zeros(1, 2, 2, 2), geometry(torch.ones(1, 4, 4)), [0, 4], 0)


def test_the_scene_unit_is_the_median_of_known_depth():
    assert start_unit(torch.tensor([[1.0, 2.0, 0.0], [math.nan, 9.0, 0.0]])) == 2.0
    with pytest.raises(ValueError, match="unknown everywhere"):
        start_unit(torch.zeros(2, 2))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"depth": torch.zeros(1, 4, 4)}, "unknown everywhere"),
        ({"confidence": torch.full((1, 4, 4), 1.5)}, "confidence"),
        ({"confidence": torch.full((1, 4, 4), math.nan)}, "confidence"),
        ({"keep": torch.ones(1, 4, 4)}, "expected bool"),
        ({"keep": torch.ones(1, 4, 5, dtype=torch.bool)}, "keep has shape"),
        ({"scene_unit": 0.0}, "scene_unit"),
        ({"cameras": Cameras(torch.eye(4)[None], torch.eye(3)[None], 4, 5)}, "grid 4 x 4"),
    ],
)
def test_geometry_that_cannot_be_lifted_is_refused(change, message):
    good = geometry(torch.ones(1, 4, 4))
    assert check_geometry(good) is good
    with pytest.raises(ValueError, match=message):
        check_geometry(replace(good, **change))


def test_lifting_writes_into_no_argument():
    latents, made = torch.randn(3, 1, 2, 2), geometry(rough(5, 8, 8)[:1])
    before = latents.clone(), made.depth.clone()
    (o,) = lift_latents(latents, made, [0], 0)
    o.features.zero_()
    lift_pixels(torch.rand(1, 3, 8, 8), made, [0], 0, 0.1)[0].features.zero_()
    assert torch.equal(latents, before[0]) and torch.equal(made.depth.nan_to_num(), before[1].nan_to_num())
