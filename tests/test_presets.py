import math
from dataclasses import replace

import pytest
import torch
from spatial_memory.memory.path import CameraPath
from spatial_memory.memory.presets import PRESETS, close_loop, out_and_back
from spatial_memory.memory.spline import Keyframe

LENGTHS = (153, 57, 33, 12, 5, 2)


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("num_frames", LENGTHS)
def test_every_preset_starts_at_rest_at_the_origin_with_few_keys(name, num_frames):
    path = PRESETS[name](num_frames, fps=24.0, vertical_fov=40.0)
    assert path.name == name and path.num_frames == num_frames and path.fps == 24.0 and len(path.keyframes) <= 20
    table = path.poses()
    assert table.positions[0].tolist() == [0, 0, 0] and table.quaternions[0].tolist() == [1, 0, 0, 0]
    assert table.vertical_fov[0] == 40 and (
        name in ("zoom", "dolly_zoom") or set(table.vertical_fov.tolist()) == {40.0}
    )
    if num_frames >= 57:
        speed = table.positions.diff(dim=0).norm(dim=-1) + table.quaternions.diff(dim=0).norm(dim=-1)
        assert speed[0] <= 0.2 * speed.max() and speed[-1] <= 0.2 * speed.max()
        assert all(key.frame == int(key.frame) for key in path.keyframes)
    assert CameraPath.from_json(path.to_json()) == path


def last(name, amount):
    cameras = PRESETS[name](33, amount).bake(48, 64)
    return cameras.position[-1].tolist(), cameras.c2w[-1, :3, :3]


def test_positive_amounts_mean_right_up_forward_and_clockwise():
    assert last("dolly", 0.5)[0] == pytest.approx([0, 0, 0.5])
    assert last("push_in", 0.5)[0] == pytest.approx([0, 0, 0.5])
    assert last("truck", 0.5)[0] == pytest.approx([0.5, 0, 0])
    assert last("pedestal", 0.5)[0] == pytest.approx([0, -0.5, 0])  # +Y is down
    torch.testing.assert_close(last("pan", 90)[1][:, 2], torch.tensor([1.0, 0, 0]), rtol=0, atol=2e-6)
    torch.testing.assert_close(last("tilt", 90)[1][:, 2], torch.tensor([0.0, -1, 0]), rtol=0, atol=2e-6)
    torch.testing.assert_close(last("roll", 90)[1][:, 0], torch.tensor([0.0, 1, 0]), rtol=0, atol=2e-6)
    assert last("arc", 90)[0] == pytest.approx([1, 0, 1], abs=2e-6)
    assert last("orbit", 90)[0] == pytest.approx([1, 0, 1], abs=2e-6)


@pytest.mark.parametrize("name", ["arc", "orbit", "spiral", "figure_eight"])
def test_presets_about_a_point_keep_facing_it(name):
    cameras = PRESETS[name](81).bake(48, 64)
    ahead = torch.tensor([0.0, 0.0, 1.0]) - cameras.position
    facing = torch.nn.functional.cosine_similarity(cameras.c2w[:, :3, 2], ahead, dim=-1)
    assert facing.min() > 0.9998  # 1.1 degrees


def test_orbits_and_arcs_are_round():
    for name in ("arc", "orbit"):
        position = PRESETS[name](153).bake(48, 64).position
        radius = (position - torch.tensor([0.0, 0.0, 1.0])).norm(dim=-1)
        assert (radius - 1).abs().max() < 0.01


def test_dolly_zoom_keeps_the_size_of_what_is_one_unit_ahead_and_zoom_magnifies():
    table = PRESETS["dolly_zoom"](153, 0.4).poses()
    size = 1 / ((1 - table.positions[:, 2]) * (table.vertical_fov.deg2rad() / 2).tan())
    assert (size / size[0] - 1).abs().max() < 0.005
    for amount in (0.5, 2.0):
        fov = PRESETS["zoom"](57, amount).poses().vertical_fov.deg2rad() / 2
        assert (fov[0].tan() / fov[-1].tan()).item() == pytest.approx(amount, rel=1e-6)
    for name, amount in (("dolly_zoom", 1.0), ("zoom", 0.0), ("zoom", -1.0)):
        with pytest.raises(ValueError, match=f"amount is {amount}"):
            PRESETS[name](57, amount)


@pytest.mark.parametrize("num_frames", (*LENGTHS, 3, 40, 4096))
@pytest.mark.parametrize("amount", (0.35, -0.7))
def test_out_and_back_returns_to_the_bit_and_mirrors_every_frame(num_frames, amount):
    path = out_and_back(num_frames, amount)
    cameras = path.bake(192, 320, 1.7)
    assert path.loop and torch.equal(cameras.c2w, cameras.c2w.flip(0))
    if num_frames > 2:
        furthest = cameras.position[:, 0].abs().max().item()
        assert furthest == pytest.approx(1.7 * abs(amount), rel=1e-3 if num_frames % 2 else 0.5)


def test_out_and_back_refuses_more_than_its_radius():
    for amount in (1.5, math.nan):
        with pytest.raises(ValueError, match=f"amount is {amount}"):
            out_and_back(33, amount)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_refuse_what_is_no_amount_and_no_length(name):
    for num_frames in (1, 0, 10**9):
        with pytest.raises(ValueError, match="num_frames"):
            PRESETS[name](num_frames)
    for amount in (math.nan, math.inf):
        if name != "hold":
            with pytest.raises(ValueError, match="amount|holds NaN"):
                PRESETS[name](33, amount)


@pytest.mark.parametrize("name", ["orbit", "figure_eight", "out_and_back", "look_around"])
def test_closed_presets_end_at_their_first_bits(name):
    for num_frames in LENGTHS:
        cameras = PRESETS[name](num_frames).bake(48, 64)
        assert torch.equal(cameras.c2w[0], cameras.c2w[-1])


@pytest.mark.parametrize("name", PRESETS)
def test_close_loop_returns_exactly_to_the_first_pose_and_keeps_the_keys(name):
    path = PRESETS[name](57)
    closed = close_loop(path)
    cameras = closed.bake(48, 64)
    assert closed.loop and closed.num_frames == 57
    assert torch.equal(cameras.c2w[0], cameras.c2w[-1]) and torch.equal(cameras.K[0], cameras.K[-1])
    kept = [key.position for key in closed.keyframes[: len(path.keyframes)]]
    assert kept == [key.position for key in path.keyframes]
    assert close_loop(closed) == closed


def test_close_loop_gives_the_way_back_the_time_that_its_length_asks_for():
    keys = (Keyframe(0, (0.1, 0.0, 0.0), (2, 0, 0.3, 0)), Keyframe(40, (1.1, 0.0, 0.0), (2, 0, 0.3, 0), 30.0))
    path = CameraPath(keys, 41)
    closed = close_loop(path)
    assert [key.frame for key in closed.keyframes] == [0.0, 20.0, 40.0]
    short = close_loop(replace(path, keyframes=(*keys, Keyframe(50, (0.1, 0.0, 0.0)))))  # a key beyond the end goes
    assert short == closed
