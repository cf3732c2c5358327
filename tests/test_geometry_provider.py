"""Depth and masks that the user brings, and the detector of things that move."""

from dataclasses import replace

import pytest
import tiny_rollout as tiny
import torch
from spatial_memory.memory.camera import Cameras, intrinsics_from_fov
from spatial_memory.models.geometry import Estimate, GivenGeometry, may_be_remembered
from spatial_memory.models.masks import given, moving
from spatial_memory.rollout import chunk

HEIGHT, WIDTH = 96, 160
CAMERAS = Cameras(torch.eye(4).repeat(9, 1, 1), intrinsics_from_fov(50.0, HEIGHT, WIDTH).repeat(9, 1, 1), HEIGHT, WIDTH)


def estimate(provider, views=2):
    return provider.estimate(torch.rand(views, 3, HEIGHT, WIDTH), CAMERAS[:views], None, None)


def test_given_depth_is_handed_on_and_unknown_is_unsure():
    depth = torch.rand(2, HEIGHT, WIDTH) + 1
    depth[0, 3, 4], depth[1, 5, 6] = 0, float("nan")
    found = estimate(GivenGeometry(depth, metric=True))
    assert found.metric and not found.sky.any() and found.dynamic is None
    assert found.depth[0, 3, 4] == 0 and found.depth[1, 5, 6] == 0
    assert (found.confidence == 0).sum() == 2 and (found.confidence == 1).sum() == 2 * HEIGHT * WIDTH - 2
    assert torch.equal(found.depth[found.confidence > 0], depth[found.confidence > 0])
    one = estimate(GivenGeometry(depth[:1]))
    assert torch.equal(one.depth[1], one.depth[0])


@pytest.mark.parametrize(
    "depth, match",
    [
        (torch.ones(3, HEIGHT, WIDTH), r"3 map\(s\) of 96 x 160, expected 1 or 2"),
        (torch.ones(2, 48, WIDTH), "48 x 160, expected 1 or 2 of 96 x 160"),
        (torch.stack([torch.ones(HEIGHT, WIDTH), torch.zeros(HEIGHT, WIDTH)]), r"view \[1\] is nowhere"),
        (torch.full((1, HEIGHT, WIDTH), float("inf")), r"view \[0\] is nowhere"),
        (torch.ones(HEIGHT, WIDTH), "depth has shape"),
    ],
)
def test_given_depth_that_does_not_fit_is_refused(depth, match):
    with pytest.raises(ValueError, match=match):
        estimate(GivenGeometry(depth))


def test_given_masks_select_where_they_are_one():
    assert not given(None, "sky", 2, 4, 5).any()
    mask = torch.zeros(1, 4, 5)
    mask[0, 1, 2] = 1
    assert given(mask, "sky", 3, 4, 5).sum() == 3 and given(mask, "sky", 3, 4, 5)[:, 1, 2].all()
    with pytest.raises(ValueError, match=r"dynamic is 2 mask\(s\) of 4 x 5, expected 1 or 3 of 4 x 5"):
        given(torch.zeros(2, 4, 5), "dynamic", 3, 4, 5)
    with pytest.raises(ValueError, match=r"dynamic is 1 mask\(s\) of 4 x 4"):
        given(torch.zeros(1, 4, 4), "dynamic", 3, 4, 5)


def test_masks_of_the_user_come_before_those_of_the_provider():
    yes, no = torch.ones(1, 2, 2, dtype=torch.bool), torch.zeros(1, 2, 2, dtype=torch.bool)
    depth = torch.ones(1, 2, 2)
    assert may_be_remembered(Estimate(depth, depth, no, True), None, None).all()
    for found in (Estimate(depth, depth, yes, True), Estimate(depth, depth, no, True, yes)):
        assert not may_be_remembered(found, None, None).any()
        assert may_be_remembered(found, no, no).all()
    assert not may_be_remembered(Estimate(depth, depth, no, True), yes, None).any()
    assert not may_be_remembered(Estimate(depth, depth, no, True), None, yes).any()


def scene(speed, actor_speed, frames=9):
    """A textured wall at depth 2 before a camera that moves sideways, and a textured square that moves by itself.

    Speeds in pixels a frame. Returns images (T, 3, H, W), cameras (T,), and where the square is (T, H, W).
    """
    g = torch.Generator().manual_seed(0)

    def texture(height, width):
        coarse = torch.rand(1, 3, height // 4, width // 4, generator=g)
        return torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0].clamp(0, 1)

    wall, square = texture(HEIGHT, 2 * WIDTH), texture(24, 24)
    focal = CAMERAS.K[0, 0, 0].item()
    c2w = torch.eye(4).repeat(frames, 1, 1)
    images, places = [], torch.zeros(frames, HEIGHT, WIDTH, dtype=torch.bool)
    for t in range(frames):
        c2w[t, 0, 3] = 2 * speed * t / focal
        image = wall[:, :, 40 + speed * t : 40 + speed * t + WIDTH].clone()
        left = 70 + actor_speed * t
        if actor_speed is not None and square is not None:
            image[:, 30:54, left : left + 24] = square
            places[t, 30:54, left : left + 24] = True
        images.append(image)
    return torch.stack(images), Cameras(c2w, CAMERAS.K[:frames], HEIGHT, WIDTH), places


def test_a_thing_that_moves_by_itself_is_marked_and_the_rest_is_not():
    images, cameras, places = scene(1, 3)
    found = moving(images, cameras, torch.full((2, HEIGHT, WIDTH), 2.0), [2, 6])
    for view, frame in enumerate((2, 6)):
        inside = found[view][places[frame]].float().mean()
        near = torch.nn.functional.max_pool2d(places[frame].float()[None, None], 21, 1, 10)[0, 0] > 0
        assert inside > 0.8, f"only {inside:.0%} of the square is marked"
        assert found[view][~near].float().mean() < 0.01


def test_a_static_scene_is_left_alone_even_when_its_depth_is_a_little_wrong():
    images, cameras, _ = scene(2, -2)  # the square sticks to the wall
    assert not moving(images, cameras, torch.full((1, HEIGHT, WIDTH), 2.0), [4]).any()
    assert not moving(images, cameras, torch.full((1, HEIGHT, WIDTH), 2.2), [4]).any()
    wrong = moving(images, cameras, torch.full((1, HEIGHT, WIDTH), 0.8), [4])
    assert wrong.float().mean() > 0.5  # and the detector does look at depth


def test_unknown_depth_marks_nothing_and_bad_frames_are_refused():
    images, cameras, _ = scene(1, 3)
    assert not moving(images, cameras, torch.zeros(1, HEIGHT, WIDTH), [4]).any()
    with pytest.raises(ValueError, match=r"frames is \[9\]"):
        moving(images, cameras, torch.ones(1, HEIGHT, WIDTH), [9])
    with pytest.raises(ValueError, match="expected 2 indices"):
        moving(images, cameras, torch.ones(2, HEIGHT, WIDTH), [1])


def test_a_chunks_movers_are_found_against_the_depth_of_the_memory():
    state = tiny.aimed(tiny.begin())
    state = replace(state, fresh=torch.zeros(tiny.CHANNELS, 8, 8, 12))
    cameras = state.target.cameras
    u = (torch.arange(96) + 0.5)[None, :].expand(64, -1)
    v = (torch.arange(64) + 0.5)[:, None].expand(-1, 96)
    square, images = tiny.photograph(1)[0, :, :60:3, :60:3], []
    for t in range(33):  # paint the wall by its own world position, so that the picture moves as the wall does
        camera, depth = cameras[t], tiny.wall_depth(cameras[t : t + 1])[0]
        x = (u - camera.K[0, 2]) / camera.K[0, 0] * depth
        y = (v - camera.K[1, 2]) / camera.K[1, 1] * depth
        place = camera.c2w[:3, 0, None, None] * x + camera.c2w[:3, 1, None, None] * y
        place = place + camera.c2w[:3, 2, None, None] * depth + camera.c2w[:3, 3, None, None]
        image = 0.5 + 0.2 * torch.sin(20 * place[[0, 1, 0]] * torch.tensor([1.0, 1.3, 0.7])[:, None, None])
        image = image + 0.2 * torch.sin(31 * place[[1, 0, 1]])
        left = 16 + 2 * t
        image[:, 20:40, left : left + 20] = square[:, :, : 96 - left]
        images.append(image.clamp(0, 1))
    found = chunk.detect_moving(state, torch.stack(images))
    assert found.shape == (33, 64, 96)
    assert found[16, 22:38, 48:64].float().mean() > 0.5
    assert found[16, :, :20].float().mean() < 0.05 and found[16, :, 86:].float().mean() < 0.05
    assert torch.equal(found[13], found[16])  # frames of a group share the mask of the frame it ends with
