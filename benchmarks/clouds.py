"""Memories of random points for the readout benchmarks: where they lie is what each benchmark is about.

Always 9 cameras on an arc that look ahead, and observations of 44 x 80 points with 48 channels in float16.
"""

from dataclasses import replace

import torch
from spatial_memory.memory.camera import Cameras, compose, flat_cells, intrinsics_from_fov, project_planar, unproject
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.observation import Observation
from torch import Tensor

HEIGHT, WIDTH, CHANNELS, VIEWS = 44, 80, 48, 9
CELLS = HEIGHT * WIDTH
NEAR, FAR = 2.0, 5.0  # depth of the points


def arc(count: int = VIEWS) -> Cameras:
    """Cameras along an arc of two thirds of a unit that look ahead."""
    c2w = torch.eye(4).repeat(count, 1, 1)
    c2w[:, 0, 3] = torch.linspace(-0.3, 0.3, count)
    return cameras_at(c2w)


def cameras_at(c2w: Tensor) -> Cameras:  # (V, 4, 4)
    return Cameras(c2w, intrinsics_from_fov(50.0, HEIGHT, WIDTH).expand(len(c2w), 3, 3), HEIGHT, WIDTH)


def memory_of(points: Tensor, cameras: Cameras, generator: torch.Generator) -> SpatialMemory:
    """A latent memory of one observation a camera (V,) with its points (V, CELLS, 3) and random features.

    The features of the first observation, in another order, are those of the next: randomness takes time.
    """
    features = torch.randn(CELLS, CHANNELS, generator=generator).half()
    index = torch.arange(CELLS, dtype=torch.int32)
    made = [Observation(p.clone(), features.roll(i, 0), index, cameras[i], 4 * i, i // 8) for i, p in enumerate(points)]
    return SpatialMemory("latent", "bench", CHANNELS, 1.0, True, tuple(made))


def seen_by(points: Tensor, cameras: Cameras) -> Tensor:  # points: (..., 3)
    """Which points fall into the image of at least one camera (V,): (...) bool."""
    planar = points.reshape(-1, 3).T.contiguous()
    outside = cameras.height * cameras.width
    seen = torch.zeros(planar.shape[1], dtype=torch.bool)
    for view in range(len(cameras)):
        seen |= flat_cells(*project_planar(planar, cameras[view]), cameras.height, cameras.width) < outside
    return seen.view(points.shape[:-1])


def in_frusta(cameras: Cameras, count: int, generator: torch.Generator) -> Tensor:
    """Points (count, 3), each at a random place of the image of a random camera (V,), at a random depth."""
    edge = 0.01  # pixels: rounding carries no point out of its image
    view = torch.randint(len(cameras), (count,), generator=generator)
    u, v = ((size - 2 * edge) * torch.rand(count, generator=generator) + edge for size in (WIDTH, HEIGHT))
    z, K = _depths(count, generator), cameras.K[0]
    local = torch.stack([(u - K[0, 2]) / K[0, 0] * z, (v - K[1, 2]) / K[1, 1] * z, z], 1)
    return (local[:, None, :] * cameras.c2w[view][:, :3, :3]).sum(2) + cameras.position[view]


def frames(cameras: Cameras, generator: torch.Generator) -> Tensor:
    """What cameras (V,) see: the centre of every cell in turn, each at a random depth, (V, CELLS, 3)."""
    depth = _depths(len(cameras) * CELLS, generator).view(len(cameras), HEIGHT, WIDTH)
    return unproject(depth, cameras).flatten(1, 2)


def _depths(count: int, generator: torch.Generator) -> Tensor:
    return NEAR + (FAR - NEAR) * torch.rand(count, generator=generator)


def scattered(latents: int) -> SpatialMemory:
    """All points inside the union of the frusta, shared out over the observations at random: no tile is compact."""
    generator = torch.Generator().manual_seed(0)
    points = in_frusta(arc(), latents * CELLS, generator).view(latents, CELLS, 3)
    return memory_of(points, arc(latents), generator)


def all_around(latents: int, seed: int = 0) -> SpatialMemory:
    """Points in every direction, uniform over the sphere, shared out over the observations at random."""
    generator = torch.Generator().manual_seed(seed)
    ray = torch.nn.functional.normalize(torch.randn(latents * CELLS, 3, generator=generator), dim=1)
    reach = _depths(latents * CELLS, generator)[:, None]
    return memory_of((ray * reach).view(latents, CELLS, 3), arc(latents), generator)


def parted_around(latents: int, seed: int = 0) -> SpatialMemory:
    """The points of ``all_around``, but each observation holds those of one part of the sphere, and looks there.

    The sphere is cut into bands of as many points each, and each band along its meridians.
    """
    points = all_around(latents, seed).points
    bands = next(n for n in range(round((latents / 2) ** 0.5), 0, -1) if latents % n == 0) if latents > 1 else 1
    band = (points[:, 1] / points.norm(dim=1)).argsort().view(bands, -1)
    along = torch.atan2(points[:, 0], points[:, 2])[band].argsort(1)
    parts = points[band.gather(1, along)].view(latents, CELLS, 3)
    return memory_of(parts, cameras_at(facing(parts.mean(1))), torch.Generator().manual_seed(seed))


def frames_around(latents: int, seed: int = 0) -> SpatialMemory:
    """Points in every direction as frames leave them: each observation is one view, turned at random."""
    generator = torch.Generator().manual_seed(seed)
    cameras = turned(latents, generator)
    return memory_of(frames(cameras, generator), cameras, generator)


def facing(directions: Tensor) -> Tensor:  # (V, 3), none straight up or down
    """Poses at the origin that look there, level: (V, 4, 4)."""
    ahead = torch.nn.functional.normalize(directions, dim=1)
    right = torch.nn.functional.normalize(torch.linalg.cross(ahead.new_tensor([[0.0, 1.0, 0.0]]), ahead), dim=1)
    c2w = torch.eye(4).repeat(len(ahead), 1, 1)
    c2w[:, :3, :3] = torch.stack([right, torch.linalg.cross(ahead, right), ahead], 2)
    return c2w


def turned(count: int, generator: torch.Generator) -> Cameras:
    """Cameras at the origin, turned uniformly at random over all rotations."""
    w, x, y, z = torch.nn.functional.normalize(torch.randn(count, 4, generator=generator), dim=1).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    c2w = torch.eye(4).repeat(count, 1, 1)
    c2w[:, :3, :3] = torch.stack([torch.stack(row, -1) for row in rows], -2)
    return cameras_at(c2w)


def walk(latents: int, share: float) -> tuple[SpatialMemory, SpatialMemory]:
    """A wide place of which ``share`` is in view, and the part in view alone.

    The frames in view look ahead from the arc; all others stand up to 100 units away and look anywhere, and no camera
    of the arc sees a point of theirs.
    """
    generator = torch.Generator().manual_seed(0)
    near, target = round(latents * share), arc()
    ahead = in_frusta(target, near * CELLS, generator).view(near, CELLS, 3)
    kept, poses = [ahead], [arc(near).c2w]
    while sum(map(len, kept)) < latents:
        c2w = torch.eye(4).repeat(64, 1, 1)
        c2w[:, [0, 2], 3] = 200 * torch.rand(64, 2, generator=generator) - 100
        c2w = compose(c2w, turned(64, generator).c2w)
        points = frames(cameras_at(c2w), generator)
        hidden = ~seen_by(points, target).any(1)
        kept.append(points[hidden])
        poses.append(c2w[hidden])
    points, cameras = torch.cat(kept)[:latents], cameras_at(torch.cat(poses)[:latents])
    whole = memory_of(points, cameras, generator)
    return whole, replace(whole, observations=whole.observations[:near])
