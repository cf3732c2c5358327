"""Holds and slopes of their own at the keys of a path."""

import math
from dataclasses import replace

import pytest
import torch
from spatial_memory.memory.path import CameraPath
from spatial_memory.memory.quaternion import conjugate, multiply, normalised, rotation_vector
from spatial_memory.memory.spline import Keyframe, evaluate

from .test_path import random_keys


def table(keys, num_frames, loop=False, tension=0.0):
    return torch.tensor(evaluate(keys, num_frames, loop, tension), dtype=torch.float64)


def slope_at(keys, frame, loop=False, tension=0.0, e=1 / 32):
    """Velocity, spin and zoom just behind a frame, by differences on times so stretched that frames are fine."""
    grid = int(1 / e)
    fine = [
        replace(
            key,
            frame=key.frame * grid,
            hold=key.hold * grid,
            velocity=key.velocity and tuple(x / grid for x in key.velocity),
            spin=key.spin and tuple(x / grid for x in key.spin),
            zoom=None if key.zoom is None else key.zoom / grid,
        )
        for key in keys
    ]
    poses = evaluate(fine, int(fine[-1].frame) + 1, loop, tension)[int(frame * grid) :][:4]
    turns = [rotation_vector(multiply(conjugate(normalised(poses[0][3:7])), normalised(q[3:7]))) for q in poses]

    def slope(values):  # one-sided over four places: exact for a cubic
        return tuple((-11 * a + 18 * b - 9 * c + 2 * d) / (6 * e) for a, b, c, d in zip(*values))

    return slope([q[:3] for q in poses]), slope(turns), slope([q[7:] for q in poses])[0]


def inserted(keys, frame, tension=0.0):
    """A key on the curve; it and its neighbours pinned to the slopes that the curve has there."""
    i = next(j for j, key in enumerate(keys) if key.frame > frame)
    assert 1 < i < len(keys) - 1 and frame == int(frame)
    pins = [(j, slope_at(keys, keys[j].frame, tension=tension)) for j in (i - 1, i)]
    keys = list(keys)
    pose = evaluate(keys, int(keys[-1].frame) + 1, False, tension)[frame]
    velocity, spin, zoom = slope_at(keys, frame, tension=tension)
    for j, (v, s, z) in pins:
        keys[j] = replace(keys[j], velocity=v, spin=s, zoom=z)
    keys.insert(i, Keyframe(float(frame), pose[:3], pose[3:7], pose[7], velocity=velocity, spin=spin, zoom=zoom))
    return keys


@pytest.mark.parametrize("tension", (0.0, 0.4))
def test_a_key_with_slopes_is_passed_at_those_slopes_whatever_the_tension(tension):
    keys = list(random_keys(1, (0, 16, 32, 48)))
    keys[1] = replace(keys[1], velocity=(0.1, -0.2, 0.3), spin=(0.01, 0.02, -0.03), zoom=0.0)
    velocity, spin, zoom = slope_at(keys, 16, tension=tension)
    assert velocity == pytest.approx((0.1, -0.2, 0.3), abs=1e-9)
    assert spin == pytest.approx((0.01, 0.02, -0.03), abs=1e-6)


def test_slopes_that_a_line_has_anyway_change_nothing():
    keys = [Keyframe(f, (f / 8, 0.0, -f / 4)) for f in (0.0, 4.0, 16.0)]
    named = [replace(key, velocity=(1 / 8, 0.0, -1 / 4), spin=(0.0, 0.0, 0.0), zoom=0.0) for key in keys]
    torch.testing.assert_close(table(keys, 17), table(named, 17), rtol=0, atol=1e-15)


@pytest.mark.parametrize("tension", (0.0, 0.5))
def test_a_key_put_on_the_curve_leaves_it_where_it_is(tension):
    for seed in range(3):
        keys = [replace(key, rotation=(9.0, *key.rotation[1:])) for key in random_keys(seed, (0, 10, 24, 40, 56, 64))]
        a, b = table(keys, 65, tension=tension), table(inserted(keys, 31, tension), 65, tension=tension)
        torch.testing.assert_close(a[:, :3], b[:, :3], rtol=0, atol=1e-9)
        assert ((a[:, 3:7] * b[:, 3:7]).sum(-1).abs().clamp(max=1).acos() * 2).rad2deg().max() < 0.1


def test_a_hold_is_a_rest_and_parts_the_spline():
    keys = list(random_keys(3, (0, 10, 30, 40)))
    keys[1] = replace(keys[1], hold=8.0)
    path = CameraPath(tuple(keys), 41)
    poses = path.poses()
    assert torch.equal(poses.positions[10:19], poses.positions[10:11].expand(9, 3))
    assert torch.equal(poses.quaternions[10:19], poses.quaternions[10:11].expand(9, 4))
    assert not torch.equal(poses.positions[18], poses.positions[19])
    velocity = slope_at(keys, 10)[0]
    assert math.hypot(*velocity) < 1e-12
    longer = CameraPath((*keys[:3], replace(keys[3], position=(9.0, 9.0, 9.0))), 41)
    assert torch.equal(path.bake(8, 8).c2w[:19], longer.bake(8, 8).c2w[:19])


def test_a_hold_equals_two_equal_keys():
    keys = list(random_keys(4, (0, 10, 30, 40)))
    twice = [keys[0], keys[1], replace(keys[1], frame=18.0), *keys[2:]]
    keys[1] = replace(keys[1], hold=8.0)
    torch.testing.assert_close(table(keys, 41), table(twice, 41), rtol=0, atol=1e-12)


def test_a_path_may_end_in_a_hold_and_a_loop_too():
    keys = list(random_keys(5, (0, 10, 30)))
    keys[-1] = replace(keys[-1], hold=10.0)
    poses = CameraPath(tuple(keys), 41).poses().positions
    assert torch.equal(poses[30:], poses[40:].expand(11, 3))
    keys[-1] = replace(keys[0], frame=30.0, hold=10.0)
    cameras = CameraPath(tuple(keys), 41, loop=True).bake(8, 8)
    assert torch.equal(cameras.c2w[0], cameras.c2w[-1]) and torch.equal(cameras.c2w[30], cameras.c2w[-1])
    positions = table(keys, 41, loop=True)[:, :3]
    assert (positions[30] - positions[29]).norm() < 0.1 * (positions[20] - positions[19]).norm()


def test_in_a_loop_the_slopes_of_key_0_count_at_both_ends():
    keys = list(random_keys(6, (0, 16, 32, 48)))
    keys[0] = replace(keys[0], velocity=(0.25, 0.0, -0.5))
    keys[-1] = replace(keys[0], frame=48.0, velocity=None)
    fine = [replace(k, frame=64 * k.frame, velocity=k.velocity and tuple(x / 64 for x in k.velocity)) for k in keys]
    poses = table(fine, 48 * 64 + 1, loop=True)[:, :3]
    for velocity in (poses[1] - poses[0], poses[-1] - poses[-2]):
        torch.testing.assert_close(64 * velocity, torch.tensor([0.25, 0.0, -0.5]).double(), rtol=0, atol=0.02)


def test_what_is_no_hold_and_no_slope_is_refused():
    a, b = random_keys(7, (0, 8))
    for key, words in (
        (replace(a, hold=8.0), "key 1 is at frame 8.0, key 0 at 8.0"),
        (replace(a, hold=-1.0), "key 0 has hold -1.0"),
        (replace(a, velocity=(math.nan, 0.0, 0.0)), "key 0 holds NaN"),
        (replace(a, spin=(0.0, 0.0, 1e7)), "key 0 .*million"),
        (replace(a, zoom=math.inf), "key 0 holds NaN"),
        (replace(a, velocity=(0.0, 0.0)), "key 0 has a velocity"),
    ):
        with pytest.raises(ValueError, match=words):
            CameraPath((key, b), 9)
