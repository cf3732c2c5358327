"""Choosing points: a drawn mask takes the front surface only, a component ends at a gap."""

import pytest
import torch
from scenes import geometry, memory_of, pose
from spatial_memory.memory.camera import Cameras, intrinsics_from_fov, project_planar
from spatial_memory.memory.lift import lift_latents, lift_pixels
from spatial_memory.memory.observation import Observation
from spatial_memory.memory.regions import Box, Everywhere
from spatial_memory.memory.select import component, lasso


def two_walls(kind):
    """A wall at z = 2 and, seen by another frame, one at z = 3."""
    walls = geometry(torch.stack([torch.full((24, 40), 2.0), torch.full((24, 40), 3.0)]))
    if kind == "latent":
        return memory_of(lift_latents(torch.zeros(4, 2, 12, 20), walls, [0, 4], 0))
    return memory_of(lift_pixels(torch.zeros(2, 3, 24, 40), walls, [0, 4], 0, None), 3, kind)


@pytest.mark.parametrize("kind", ["latent", "rgb"])
@pytest.mark.parametrize("roll", [0.0, 90.0, 180.0])
@pytest.mark.parametrize("dolly", [0.0, 1.0])
def test_a_lasso_takes_the_front_surface_inside_its_mask(kind, roll, dolly):
    memory = two_walls(kind)
    c2w = pose((0.1, 0.05, dolly), (0.0, 0.0, 1.0), roll)
    camera = Cameras(c2w, intrinsics_from_fov(60.0, 48, 80), 48, 80)
    mask = torch.zeros(48, 80, dtype=torch.bool)
    mask[8:20, 12:36] = True  # up and to the left, as the camera sees it
    voxel = 0.05
    region = lasso(memory, camera, mask, voxel)
    u, v, z = project_planar(memory.points.T.contiguous(), camera)
    front = memory.points[:, 2] < 2.5
    drawn = (u >= 12) & (u < 36) & (v >= 8) & (v < 20)
    chosen = region.contains(memory.points)
    assert (drawn & front).sum() >= 3 and (drawn & ~front).any()
    assert chosen[drawn & front].all() and not chosen[~front].any()
    reach = 2 * voxel / z * camera.K[0, 0]  # the voxels beside those of what was drawn
    near = (u > 12 - reach) & (u < 36 + reach) & (v > 8 - reach) & (v < 20 + reach)
    assert not chosen[~near].any() and not chosen.all()


def test_a_lasso_over_nothing_or_of_another_size_is_refused():
    memory = two_walls("latent")
    camera = Cameras(torch.eye(4), intrinsics_from_fov(60.0, 24, 40), 24, 40)
    with pytest.raises(ValueError, match=r"the mask is \(40, 24\), the camera images 24 x 40"):
        lasso(memory, camera, torch.ones(40, 24, dtype=torch.bool))
    with pytest.raises(ValueError, match="nothing is selected"):
        lasso(memory, camera, torch.zeros(24, 40, dtype=torch.bool))
    behind = Cameras(pose(axis=(0.0, 1.0, 0.0), degrees=180.0), camera.K, 24, 40)
    with pytest.raises(ValueError, match="nothing is selected"):
        lasso(memory, behind, torch.ones(24, 40, dtype=torch.bool))


def scattered(points):
    camera = geometry(torch.ones(1, 24, 40)).cameras[0]
    count = len(points)
    return memory_of(
        [Observation(torch.tensor(points), torch.zeros(count, 4).half(), torch.arange(count).int(), camera, 0, 0)]
    )


def line(begin, step, count):
    return [[begin[i] + k * step[i] for i in range(3)] for k in range(count)]


def test_a_component_ends_at_a_gap():
    one = line((-0.55, 0.05, 2.05), (0.1, 0.0, 0.0), 6)  # one point a voxel, on both sides of zero
    corner = line((0.05, 0.15, 2.15), (0.1, 0.1, 0.1), 4)  # goes on over corners
    apart = line((0.65, 0.45, 2.45), (0.1, 0.0, 0.0), 5)  # begins a voxel and a half behind its end
    memory = scattered([*apart, *one, *corner])
    chosen = component(memory, torch.tensor([-0.6, 0.0, 2.0]), Everywhere(), 0.1).contains(memory.points)
    assert chosen.tolist() == [False] * 5 + [True] * 10
    other = component(memory, torch.tensor([1.0, 0.4, 2.4]), Everywhere(), 0.1).contains(memory.points)
    assert other.tolist() == [True] * 5 + [False] * 10
    assert component(memory, torch.tensor([-9.0, 0.0, 2.0]), Everywhere(), 0.3).contains(memory.points).all()


def test_what_lies_outside_the_region_is_a_gap():
    memory = scattered(
        [
            *line((-0.55, 0.05, 2.05), (0.1, 0.0, 0.0), 5),
            *line((0.15, 0.05, 2.05), (0.1, 0.0, 0.0), 5),
            [0.05, 0.05, 2.05],
            [-0.05, 0.05, 2.05],
        ]
    )
    whole = component(memory, torch.tensor([-0.55, 0.0, 2.0]), Everywhere(), 0.1).contains(memory.points)
    assert whole.all()
    left = Box((-0.5, 0.0, 2.0), (0.85, 1.0, 1.0))  # to x = -0.075
    part = component(memory, torch.tensor([9.0, 0.0, 2.0]), left, 0.1).contains(memory.points)
    assert part.tolist() == [True] * 5 + [False] * 6 + [True]  # with the voxel beside its last
    with pytest.raises(ValueError, match="nothing is selected"):
        component(memory, torch.zeros(3), Box((9.0, 9.0, 9.0), (1.0, 1.0, 1.0)))


def test_a_component_equals_its_loop_twin():
    points = (torch.rand(150, 3, generator=torch.Generator().manual_seed(2)) - 0.5) * 2
    points = points[(points[:, 0] + 0.2).abs() > 0.3]  # two parts
    memory = scattered(points.tolist())
    cubes = [tuple((p / 0.25).floor().int().tolist()) for p in points]
    start = int((points - torch.tensor([0.1, 0.1, 0.1])).square().sum(1).argmin())
    found, ahead = {cubes[start]}, [cubes[start]]
    while ahead:
        cube = ahead.pop()
        for other in set(cubes) - found:
            if max(abs(a - b) for a, b in zip(cube, other)) <= 1:
                found.add(other)
                ahead.append(other)
    beside = [any(max(abs(a - b) for a, b in zip(c, f)) <= 1 for f in found) for c in cubes]
    region = component(memory, torch.tensor([0.1, 0.1, 0.1]), Everywhere(), 0.25)
    assert region.contains(points).tolist() == beside and 5 < sum(beside) < len(points) - 5
