"""Regions against points worked out by hand."""

import math

import pytest
import torch
from scenes import geometry
from spatial_memory.memory.lift import lift_latents
from spatial_memory.memory.regions import Box, Everywhere, HalfSpace, Selection, Sphere, Voxels, voxels_around
from spatial_memory.memory.voxels import voxel_keys


def inside(region, *points):
    return region.contains(torch.tensor(points)).tolist()


def test_a_box_is_turned_about_its_centre():
    eighth = math.radians(45) / 2
    turned = Box((1.0, 0.0, 3.0), (2.0, 0.2, 1.0), (math.cos(eighth), 0.0, 0.0, math.sin(eighth)))  # 45 degrees, x to y
    assert inside(turned, [1.7, 0.7, 3.0], [1.7, -0.7, 3.0], [0.3, -0.7, 3.4], [1.7, 0.7, 3.6]) == [
        True,
        False,
        True,
        False,
    ]
    assert inside(turned, [1.72, 0.72, 3.0], [1.55, 0.7, 3.0]) == [False, False]  # past its end, past its side
    longer = Box((1.0, 0.0, 3.0), (2.0, 0.2, 1.0), tuple(3 * x for x in turned.rotation))  # any length of quaternion
    points = torch.rand(500, 3) * 2 + torch.tensor([0.0, -1.0, 2.0])
    assert torch.equal(longer.contains(points), turned.contains(points)) and turned.contains(points).any()
    assert inside(Box((0.0, 0.0, 0.0), (1.0, 2.0, 4.0)), [0.5, 1.0, -2.0], [0.5001, 0.0, 0.0]) == [True, False]


def test_a_sphere_and_a_half_space_hold_their_border():
    ball = Sphere((1.0, 0.0, 0.0), 0.5)
    assert inside(ball, [1.5, 0.0, 0.0], [1.0, -0.5, 0.0], [1.51, 0.0, 0.0], [1.3, 0.3, 0.3]) == [
        True, True, False, False
    ]  # fmt: skip
    half = HalfSpace((0.0, 1.0, 0.0), (0.0, 2.0, -1.0))
    assert inside(half, [9.0, 1.0, 0.0], [0.0, 2.0, 1.9], [0.0, 2.0, 2.1], [0.0, 0.0, -1.9]) == [
        True,
        True,
        False,
        False,
    ]
    assert inside(Everywhere(), [1e9, 0.0, 0.0]) == [True]
    assert inside(Sphere((0.0, 0.0, 0.0), 1e200), [1e9, 0.0, 0.0]) == [True]


def test_voxels_around_reach_one_voxel_farther_on_both_sides_of_zero():
    around = voxels_around(torch.tensor([[-0.01, 0.01, 0.25]]), 0.1)  # in the voxel (-1, 0, 2)
    assert len(around.keys) == 27 and (around.keys[1:] > around.keys[:-1]).all()
    for axis, low, high in ((0, -0.2, 0.1), (1, -0.1, 0.2), (2, 0.1, 0.4)):
        for value, expected in ((low + 0.005, True), (low - 0.005, False), (high - 0.005, True), (high + 0.005, False)):
            point = [-0.01, 0.01, 0.25]
            point[axis] = value
            assert inside(around, point) == [expected], (axis, value)
    two = voxels_around(torch.tensor([[-3.05, 0.0, 0.0], [-3.15, 0.0, 0.0]]), 0.1)
    assert len(two.keys) == 4 * 9
    far = torch.tensor([[-777.77, 1234.5, -0.001]])
    assert len(voxels_around(far, 0.01).keys) == 27 and voxels_around(far, 0.01).contains(far).all()


def test_voxels_equal_their_loop_twin():
    points = (torch.rand(400, 3, generator=torch.Generator().manual_seed(0)) - 0.5) * 2
    some = points[:20]
    cubes = {tuple(math.floor(x) for x in p) for p in (some / 0.13).tolist()}
    twin = [
        any(max(abs(math.floor(x) - c) for x, c in zip(p, cube)) <= 1 for cube in cubes)
        for p in (points / 0.13).tolist()
    ]
    assert voxels_around(some, 0.13).contains(points).tolist() == twin and 0.05 < sum(twin) / 400 < 0.9
    assert not Voxels(torch.empty(0, dtype=torch.int64), 0.1).contains(points).any()
    assert Voxels(voxel_keys(points, 0.1).unique(), 0.1).contains(points).all()


def test_a_selection_by_frames_looks_at_the_frame_alone():

    o = lift_latents(torch.zeros(4, 1, 6, 10), geometry(torch.full((1, 24, 40), 2.0)), [4], 0)[0]
    assert Selection(Everywhere(), (4, 8)).mask(o).all() and not Selection(Everywhere(), (8,)).mask(o).any()
    assert not Selection(Everywhere(), ()).mask(o).any()
    left = Selection(HalfSpace((0.0, 0.0, 0.0), (-1.0, 0.0, 0.0)), (4,)).mask(o)
    assert left.tolist() == [cell % 10 < 5 for cell in o.cells.tolist()]


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: Box((0, 0, math.nan), (1, 1, 1)), "a box holds NaN"),
        (lambda: Box((0, 0, 0), (1, 0, 1)), "positive sides"),
        (lambda: Box((0, 0, 0), (1, 1, 1), (0, 0, 0, 0)), "positive sides"),
        (lambda: Sphere((0, 0, 0), math.inf), "a sphere holds NaN or infinite"),
        (lambda: Sphere((0, 0, 0), 0.0), "positive radius"),
        (lambda: HalfSpace((0, 0, 0), (0, 0, 0)), "normal of a half-space is zero"),
        (lambda: HalfSpace((0, math.inf, 0), (0, 1, 0)), "infinite"),
        (lambda: voxels_around(torch.empty(0, 3), 0.1), "nothing is selected"),
        (lambda: voxels_around(torch.zeros(1, 3), 0.0), "voxel is 0.0"),
    ],
)
def test_what_is_no_region_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
