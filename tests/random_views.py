"""Cameras and points drawn at random: turned any way, rolled, all around, before and behind."""

from dataclasses import replace

import torch
from scenes import pose
from spatial_memory.memory.camera import Cameras, intrinsics_from_fov, project_planar, unproject
from spatial_memory.memory.observation import Observation
from spatial_memory.memory.tiles import GROUP

ROLL = pose(axis=(0.0, 0.0, 1.0), degrees=180.0)


def random_cameras(generator, count, height, width, spread=1.0):
    """Poses turned any way, some of them rolled by 180 degrees, with principal points off the middle."""

    def some(low, high):
        return low + (high - low) * torch.rand(1, generator=generator).item()

    c2w = torch.stack(
        [
            pose([some(-spread, spread) for _ in range(3)], [some(-1, 1) for _ in range(3)], some(-180, 180))
            for _ in range(count)
        ]
    )
    K = torch.stack([intrinsics_from_fov(some(20, 110), height, width) for _ in range(count)])
    K[:, 0, 2] += torch.tensor([some(-0.2, 0.2) * width for _ in range(count)])
    K[:, 1, 1] *= some(0.8, 1.2)
    return Cameras(c2w, K, height, width)


def observed(points, camera, frame=0, chunk=0):
    n = len(points)
    return Observation(points, torch.zeros(n, 1).half(), torch.arange(n).int(), camera, frame, chunk)


def around(generator, count):
    """Points all around, before and behind every camera near the origin."""
    return torch.randn(count, 3, generator=generator) * torch.tensor([2.0, 1.5, 2.5])


def lifted(generator, camera, count=None):
    """Cells of a view at random depths, in the order of the cells: an observation as lifting leaves it."""
    depth = 0.5 + 4 * torch.rand(camera.height, camera.width, generator=generator)
    points = unproject(depth, camera).reshape(-1, 3)
    return observed(points if count is None else points[:count], camera)


def cloud(seed=0):
    """Observations of none, one, some and more points than a tile holds, in exact ties among them."""
    generator = torch.Generator().manual_seed(seed)
    source = random_cameras(generator, 5, 9, 13)
    many = around(generator, GROUP + 1500)
    many[::7] = many[1::7][: len(many[::7])]
    few = torch.cat([around(generator, 700), many[:50]])
    parts = [torch.empty(0, 3), many, torch.tensor([[0.1, -0.2, 1.5]]), few, torch.empty(0, 3)]
    return [observed(points, source[i], i, i) for i, points in enumerate(parts)]


def views(seed=7, count=4, height=11, width=19):
    cameras = random_cameras(torch.Generator().manual_seed(seed), count, height, width, 0.5)
    c2w = cameras.c2w.clone()
    c2w[0], c2w[1] = ROLL, pose((0.0, 0.0, 0.75))
    return replace(cameras, c2w=c2w)


def seen_points(o, camera, margin=0.0):
    """Which points (N,) fall into the image, or within ``margin`` pixels of it."""
    u, v, z = project_planar(o.planar, camera)
    beside = (u >= -margin) & (u < camera.width + margin) & (v >= -margin) & (v < camera.height + margin)
    return beside & (z > 0) & (z < torch.inf)
