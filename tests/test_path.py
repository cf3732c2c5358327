import json
import math
from dataclasses import replace

import pytest
import torch
from spatial_memory.memory.path import MAX_FRAMES, MAX_KEYS, CameraPath, cameras_from_slice
from spatial_memory.memory.quaternion import (
    from_axis,
    matrices_from_quaternions,
    multiply,
    normalised,
    quaternions_from_matrices,
    slerp,
)
from spatial_memory.memory.spline import EASINGS, Keyframe, evaluate


def random_keys(seed, frames, easing="linear"):
    g = torch.Generator().manual_seed(seed)
    keys = []
    for frame in frames:
        position = tuple(torch.randn(3, generator=g, dtype=torch.float64).tolist())
        rotation = tuple(torch.randn(4, generator=g, dtype=torch.float64).tolist())
        fov = 40 + 30 * torch.rand((), generator=g).item()
        keys.append(Keyframe(float(frame), position, rotation, fov, easing))
    return tuple(keys)


def equal(a, b):
    return torch.equal(a.c2w, b.c2w) and torch.equal(a.K, b.K)


# --- quaternions


def test_matrix_and_quaternion_are_inverse_over_batches_and_half_turns():
    g = torch.Generator().manual_seed(0)
    for batch in ((), (1,), (3, 1, 2)):
        q = torch.randn(*batch, 4, generator=g, dtype=torch.float64)
        R = matrices_from_quaternions(q)
        torch.testing.assert_close(R.mT @ R, torch.eye(3, dtype=R.dtype).expand_as(R), rtol=0, atol=1e-12)
        torch.testing.assert_close(matrices_from_quaternions(quaternions_from_matrices(R)), R, rtol=0, atol=1e-12)
    for axis in ((1.0, 0, 0), (0, 1.0, 0), (0, 0, 1.0)):
        R = matrices_from_quaternions(torch.tensor([0.0, *axis], dtype=torch.float64))
        assert torch.equal(R.diagonal(), torch.tensor([2 * a - 1 for a in axis], dtype=R.dtype))
        assert quaternions_from_matrices(R).tolist() == [0.0, *axis]


def test_yaw_to_the_right_turns_forward_to_plus_x_and_product_applies_the_second_first():
    R = matrices_from_quaternions(torch.tensor(from_axis((0.0, 1.0, 0.0), 90), dtype=torch.float64))
    torch.testing.assert_close(R[:, 2], torch.tensor([1.0, 0, 0], dtype=R.dtype), rtol=0, atol=1e-12)
    a, b = from_axis((0.0, 1.0, 0.0), 30), from_axis((1.0, 0.0, 0.0), 50)
    both = matrices_from_quaternions(torch.tensor([a, b, multiply(a, b)], dtype=torch.float64))
    torch.testing.assert_close(both[0] @ both[1], both[2], rtol=0, atol=1e-12)


def test_slerp_turns_evenly_the_short_way():
    a = (1.0, 0.0, 0.0, 0.0)
    b = tuple(-x for x in from_axis((0.0, 0.0, 1.0), 80))  # the same rotation, on the other half sphere
    quarter = slerp(a, b, 0.25, 0.75)
    assert quarter == pytest.approx(from_axis((0.0, 0.0, 1.0), 20), abs=1e-12)


# --- the spline


def test_bake_passes_through_its_keys():
    keys = random_keys(1, (0, 7, 8, 30, 40))
    table = CameraPath(keys, 41).poses()
    for key in keys:
        i = int(key.frame)
        assert table.positions[i].tolist() == pytest.approx(key.position, abs=1e-6)
        assert table.vertical_fov[i].item() == pytest.approx(key.vertical_fov, abs=1e-6)
        q = torch.tensor(normalised(key.rotation), dtype=torch.float64)
        assert abs((table.quaternions[i] * q).sum()) == pytest.approx(1, abs=1e-10)


def test_a_line_at_even_speed_and_an_even_turn_stay_even_over_uneven_keys():
    frames = (0, 3, 10, 11, 24)
    keys = [Keyframe(f, (f / 8, -f / 4, 0.0), from_axis((0.0, 1.0, 0.0), 5.0 * f), 50.0) for f in frames]
    table = CameraPath(tuple(keys), 25).poses()
    t = torch.arange(25, dtype=torch.float64)
    torch.testing.assert_close(table.positions, torch.stack([t / 8, -t / 4, 0 * t], -1), rtol=0, atol=1e-6)
    want = torch.tensor([from_axis((0.0, 1.0, 0.0), 5.0 * f) for f in range(25)], dtype=torch.float64)
    torch.testing.assert_close(table.quaternions, want, rtol=0, atol=2e-6)


def test_position_and_rotation_have_no_jolt_at_keys():
    keys = random_keys(2, (0, 400, 1000, 1300, 2000))
    poses = torch.tensor(evaluate(keys, 2001, False, 0.0), dtype=torch.float64)
    R = matrices_from_quaternions(poses[:, 3:7])
    for table in (poses[:, :3], R.flatten(1)):
        velocity = table.diff(dim=0)
        jump = velocity.diff(dim=0).norm(dim=-1)
        assert jump.max() < 0.02 * velocity.norm(dim=-1).max()  # a corner would jump by the order of the velocity


def test_tension_one_goes_straight_from_key_to_key():
    keys = random_keys(3, (0, 10, 20))
    table = CameraPath(keys, 21, tension=1.0).poses().positions
    a, b = table[0], table[10]
    along = (table[:11] - a) @ (b - a) / (b - a).square().sum()
    torch.testing.assert_close(table[:11], a + along[:, None] * (b - a), rtol=0, atol=2e-6)
    assert (CameraPath(keys, 21).poses().positions[5] - table[5]).norm() > 1e-3


def test_two_equal_keys_are_a_pause():
    a, b, c, d = random_keys(4, (0, 8, 20, 30))
    table = CameraPath((a, b, replace(b, frame=20.0), d), 31).poses()
    assert torch.equal(table.positions[8:21], table.positions[8:9].expand(13, 3))
    assert torch.equal(table.vertical_fov[8:21], table.vertical_fov[8:9].expand(13))
    torch.testing.assert_close(table.quaternions[8:21], table.quaternions[8:9].expand(13, 4), rtol=0, atol=2e-6)


@pytest.mark.parametrize("easing", EASINGS)
def test_easing_starts_and_stops_at_rest(easing):
    keys = random_keys(5, (0, 100, 200, 300))
    keys = tuple(replace(key, easing=easing if i == 1 else "linear") for i, key in enumerate(keys))
    speed = torch.tensor(evaluate(keys, 301, False, 0.0), dtype=torch.float64)[:, :3].diff(dim=0).norm(dim=-1)
    starts, stops = EASINGS[easing]
    assert bool(speed[100] < 0.1 * speed[100:200].max()) == starts
    assert bool(speed[199] < 0.1 * speed[100:200].max()) == stops


def test_zoom_never_leaves_the_range_of_its_segment():
    values = ((0, 1.0), (100, 170.0), (120, 169.0), (200, 165.0), (300, 1.0))
    keys = tuple(Keyframe(frame, (0.0, 0.0, 0.0), vertical_fov=fov) for frame, fov in values)
    fov = CameraPath(keys, 301).poses().vertical_fov
    assert fov.min() >= 1 and fov.max() <= 170 and fov[100:121].min() >= 169


def test_uniform_acceleration_stays_uniform_over_uneven_keys():
    keys = tuple(Keyframe(f, ((f / 4) ** 2, 0.0, 0.0)) for f in (0, 4, 6, 16, 20))
    x = CameraPath(keys, 21).poses().positions[:, 0]
    t = torch.arange(21, dtype=torch.float64)
    torch.testing.assert_close(x, (t / 4) ** 2, rtol=0, atol=1e-6)


# --- edits move little


def test_editing_the_last_key_leaves_all_frames_before_its_two_segments_bit_identical():
    keys = random_keys(6, (0, 8, 16, 24, 32))
    edited = (*keys[:-1], replace(keys[-1], position=(9.0, 9.0, 9.0), vertical_fov=30.0))
    a, b = CameraPath(keys, 33).bake(48, 64), CameraPath(edited, 33).bake(48, 64)
    assert equal(a[:17], b[:17])
    assert not equal(a[17:24], b[17:24])  # the segment before the last one does bend


def test_appending_behind_a_key_eased_into_changes_nothing_before_it():
    keys = random_keys(7, (0, 8, 16))
    keys = (keys[0], replace(keys[1], easing="ease_out"), keys[2])
    longer = (*keys, *random_keys(8, (24, 32)))
    a, b = CameraPath(keys, 17).bake(48, 64), CameraPath(longer, 33).bake(48, 64)
    assert equal(a, b[:17])


def test_a_mirrored_path_gives_mirrored_bits():
    mirror = {"ease_in": "ease_out", "ease_out": "ease_in"}
    for seed in range(20):
        easings = ["linear", "ease_in", "linear", "ease_out", "ease_in_out"]
        keys = [replace(k, easing=e) for k, e in zip(random_keys(seed, (0, 3, 10, 11, 24, 32)), [*easings, "linear"])]
        back = [
            replace(key, frame=32 - key.frame, easing=mirror.get(before.easing, before.easing))
            for before, key in zip([keys[-1], *keys], keys)
        ]
        a, b = CameraPath(tuple(keys), 33).bake(48, 64), CameraPath(tuple(back[::-1]), 33).bake(48, 64)
        assert torch.equal(a.c2w, b.c2w.flip(0)) and torch.equal(a.K, b.K.flip(0))
        exact = [torch.tensor(evaluate(k, 33, False, 0.0), dtype=torch.float64) for k in (keys, back[::-1])]
        assert torch.equal(
            exact[0].abs(), exact[1].flip(0).abs()
        )  # before rounding hides it; q and -q are one rotation


def test_a_loop_passes_its_start_without_a_jolt():
    keys = list(random_keys(9, (0, 300, 700, 1000)))
    keys[-1] = replace(keys[0], frame=1000.0)
    open_path = torch.tensor(evaluate(keys, 1001, False, 0.0), dtype=torch.float64)
    closed = torch.tensor(evaluate(keys, 1001, True, 0.0), dtype=torch.float64)

    def jump(poses):
        velocity = poses[:, :3].diff(dim=0)
        return (velocity[0] - velocity[-1]).norm() / velocity.norm(dim=-1).max()

    assert jump(closed) < 0.02 < jump(open_path)
    cameras = CameraPath(tuple(keys), 1001, loop=True).bake(48, 64)
    assert torch.equal(cameras.c2w[0], cameras.c2w[-1])


# --- cameras, slices, JSON


def test_a_slice_gives_the_bits_of_the_bake_after_a_json_round_trip():
    path = CameraPath(random_keys(10, (0, 9, 31.5, 60)), 57)
    for scene_unit in (1.0, 2.718281828):
        cameras = path.bake(192, 320, scene_unit)
        for start, stop in ((0, 57), (0, 33), (33, 57), (56, 57)):
            text = json.dumps(json.loads(path.slice(start, stop)))
            first, sliced = cameras_from_slice(text, 192, 320, scene_unit)
            assert first == start and equal(sliced, cameras[start:stop])
            assert (sliced.height, sliced.width) == (192, 320)


def test_scene_units_scale_positions_and_world_units_do_not():
    path = CameraPath(random_keys(11, (0, 8)), 9)
    one, four = path.bake(48, 64), path.bake(48, 64, 4.0)
    assert torch.equal(four.position, 4 * one.position)
    assert torch.equal(four.c2w[:, :3, :3], one.c2w[:, :3, :3])
    world = replace(path, units="world")
    assert equal(world.bake(48, 64, 4.0), one)
    assert equal(cameras_from_slice(world.slice(0, 9), 48, 64, 4.0)[1], one)


def test_baked_numbers_lie_on_the_grid_and_cameras_are_rigid():
    table = CameraPath(random_keys(12, (0, 20)), 21).poses()
    torch.testing.assert_close(table.positions * 1e6, (table.positions * 1e6).round(), rtol=0, atol=1e-8)
    assert (table.quaternions.norm(dim=-1) - 1).abs().max() < 1e-15 * 2
    K = (
        CameraPath((Keyframe(0, (0, 0, 0), vertical_fov=90.0), Keyframe(1, (0, 0, 0), vertical_fov=90.0)), 2)
        .bake(8, 16)
        .K
    )
    torch.testing.assert_close(K[0], torch.tensor([[4.0, 0, 8], [0, 4, 4], [0, 0, 1]]))


def test_json_round_trip_and_a_recipe_written_by_hand():
    keys = list(random_keys(13, (0, 9, 24), easing="ease_in_out"))
    keys[-1] = replace(keys[0], frame=24.0)
    path = CameraPath(tuple(keys), 25, fps=24.0, loop=True, tension=0.25, units="world", name="walk")
    again = CameraPath.from_json(path.to_json())
    assert again == path and again.name == "walk"
    assert json.loads(path.to_json())["bake"]["poses"] == json.loads(path.slice(0, 25))["poses"]
    keys = '[{"frame": 0, "position": [0, 0, 0]}, {"frame": 4, "position": [1, 0, 0]}]'
    hand = f'{{"version": 1, "num_frames": 5, "keyframes": {keys}}}'
    torch.testing.assert_close(CameraPath.from_json(hand).bake(48, 64).position[:, 0], torch.arange(5) / 4)


# --- what is refused

GOOD = CameraPath(random_keys(14, (0, 8, 16)), 17)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"keyframes": GOOD.keyframes[:1]}, "1 keyframe"),
        (
            {"keyframes": (*GOOD.keyframes[:2], replace(GOOD.keyframes[1], frame=16.0, easing="bouncy"))},
            "key 2 .*bouncy",
        ),
        (
            {"keyframes": (GOOD.keyframes[0], replace(GOOD.keyframes[1], frame=0.0), GOOD.keyframes[2])},
            "key 1 is at frame",
        ),
        ({"keyframes": (GOOD.keyframes[0], GOOD.keyframes[2], GOOD.keyframes[1])}, "key 2 is at frame 8"),
        ({"keyframes": GOOD.keyframes[1:]}, "key 0 is at frame 8"),
        ({"keyframes": GOOD.keyframes[:2]}, "key 1 is at frame 8.0, the path ends at frame 16"),
        (
            {"keyframes": (*GOOD.keyframes[:2], replace(GOOD.keyframes[2], position=(math.nan, 0, 0)))},
            "key 2 holds NaN",
        ),
        ({"keyframes": (*GOOD.keyframes[:2], replace(GOOD.keyframes[2], position=(1e7, 0, 0)))}, "key 2 .*million"),
        ({"keyframes": (replace(GOOD.keyframes[0], rotation=(0.0,) * 4), *GOOD.keyframes[1:])}, "key 0 has rotation"),
        (
            {"keyframes": (replace(GOOD.keyframes[0], vertical_fov=180.0), *GOOD.keyframes[1:])},
            "key 0 has vertical_fov",
        ),
        ({"num_frames": MAX_FRAMES + 1}, "num_frames"),
        ({"num_frames": 1}, "num_frames"),
        ({"fps": 0.0}, "fps"),
        ({"tension": math.nan}, "tension"),
        ({"units": "feet"}, "units"),
        ({"loop": True}, "close_loop"),
    ],
)
def test_what_is_no_path_is_refused_by_name(change, message):
    with pytest.raises(ValueError, match=message):
        replace(GOOD, **change)


def recipe(**change):
    return json.dumps({**json.loads(GOOD.to_json()), **change})


@pytest.mark.parametrize(
    "text, message",
    [
        ("no json", "no JSON"),
        ("[" * 100_000, "no JSON|nested"),
        ("[1]", "expected an object"),
        ("x" * 8_000_001, "8000001 characters"),
        (recipe(version=3), "update the pack"),
        (recipe(version=None), "version None"),
        (recipe(format="other"), "format 'other'"),
        (recipe(num_frames=10**12), "num_frames"),
        (recipe(num_frames=17.5), "whole number"),
        (recipe(num_frames="17"), "num_frames is '17'"),
        (recipe(keyframes=[{}] * (MAX_KEYS + 1)), f"{MAX_KEYS + 1} keyframes"),
        (recipe(keyframes=[3, 4]), "key 0 is 3"),
        (recipe(keyframes=[{"frame": 0, "position": [0, 0]}]), "key 0 position"),
        (recipe(keyframes=[{"frame": 0, "position": [0, 0, True]}]), "key 0 position"),
        (recipe(tension=float("nan")), "NaN"),
        (recipe(fps=10**400), "fps"),
        (recipe(loop="yes"), "loop='yes'"),
    ],
)
def test_hostile_json_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        CameraPath.from_json(text)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"poses": []}, "list of 1 to"),
        ({"poses": [[0] * 8]}, "pose 0"),
        ({"poses": [[0, 0, 0, 1, 0, 0, 0]]}, "8 numbers"),
        ({"poses": [[0, 0, 0, 1, 0, 0, 0, 180]]}, "pose 0"),
        ({"start": -1}, "start=-1"),
        ({"units": "feet"}, "feet"),
        ({"version": 9}, "update the pack"),
    ],
)
def test_a_bad_slice_is_refused(change, message):
    text = json.dumps({**json.loads(GOOD.slice(0, 3)), **change})
    with pytest.raises(ValueError, match=message):
        cameras_from_slice(text, 48, 64)


def test_a_slice_outside_the_path_and_a_bad_scene_unit_are_refused():
    for start, stop in ((-1, 3), (3, 3), (0, 18)):
        with pytest.raises(ValueError, match="17 frames"):
            GOOD.slice(start, stop)
    for unit in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="scene_unit"):
            GOOD.bake(48, 64, unit)
