"""Smooth camera moves through a world's free space."""

import math

import torch
from torch import Generator, Tensor

from ..memory.camera import Cameras, intrinsics_from_fov
from .render import look, render
from .scene import World

ATTEMPTS = 60
SKY_DEPTH = 30.0  # metres, what sky counts as in the search
MOST_SKY = 0.35  # of the first view: sky is never remembered, so a view of sky is no place to come back to


def random_path(
    world: World, num_frames: int, generator: Generator, height: int, width: int, pace: float = 1.0
) -> Cameras:
    """A natural move: hold, dolly, truck, pan, arc about what is looked at, or out and back; mild pitch and roll.

    A typical 33-frame move travels 0.1 to 0.6 of the median depth and turns by 5 to 40 degrees, times ``pace``.
    """
    kind = int(torch.randint(6, (), generator=generator))
    if kind == 5:
        return out_and_back_path(world, num_frames, generator, height, width, pace)
    ease = _ease(torch.linspace(0, 1, num_frames, dtype=torch.float64), _uniform(generator, 0.0, 1.0))
    stretch = pace * (num_frames / 33) ** 0.5

    def move(median: float) -> tuple[Tensor, Tensor]:
        """Translation in the first camera's axes and (yaw, pitch, roll), at the end of the move."""
        travel = median * _uniform(generator, 0.1, 0.6) * stretch
        turn = math.radians(_uniform(generator, 5, 40)) * stretch * _sign(generator)
        axes = torch.randn(3, generator=generator, dtype=torch.float64) * torch.tensor([0.3, 0.1, 0.3])
        nod, lean = (math.radians(5 * float(torch.randn((), generator=generator))) for _ in range(2))
        if kind == 0:
            return axes * travel * 0.05, torch.tensor([turn * 0.05, 0.1 * nod, 0.1 * lean])
        if kind == 1:
            axes = axes + torch.tensor([0.0, 0.0, 1.0]) * (1 if _uniform(generator, 0, 1) < 0.7 else -1)
            return axes * travel, torch.tensor([0.4 * turn, nod, 0.3 * lean])
        if kind == 2:
            axes = axes + torch.tensor([1.0, 0.0, 0.0]) * _sign(generator)
            return axes * travel, torch.tensor([0.3 * turn, nod, 0.3 * lean])
        if kind == 3:
            return axes * travel * 0.3, torch.tensor([turn, nod, lean])
        return _arc(median, turn), torch.tensor([-turn, 0.5 * nod, 0.3 * lean])

    return _search(world, ease, move, generator, height, width)


def out_and_back_path(
    world: World, num_frames: int, generator: Generator, height: int, width: int, pace: float = 1.0
) -> Cameras:
    """An arc that ends exactly at its first pose: frames j and num_frames - 1 - j have equal cameras, to the bit.

    At its far end the camera has moved by 0.3 to 0.5 of the median depth and turned by 15 to 45 degrees, both times
    ``pace``, so that it has seen what the first view does not show.
    """
    index = torch.arange(num_frames)
    half = torch.minimum(index, num_frames - 1 - index).double() / max(1, (num_frames - 1) // 2)
    ease = _ease(half, _uniform(generator, 0.0, 1.0))

    def move(median: float) -> tuple[Tensor, Tensor]:
        travel, side = pace * median * _uniform(generator, 0.3, 0.5), _sign(generator)
        forward = _uniform(generator, -0.6, 0.8)
        step = torch.tensor([side, _uniform(generator, -0.15, 0.15), forward], dtype=torch.float64)
        turn = pace * math.radians(_uniform(generator, 15, 45)) * (-side if _uniform(generator, 0, 1) < 0.5 else side)
        nod, lean = (math.radians(4 * float(torch.randn((), generator=generator))) for _ in range(2))
        return step / step.norm() * travel, torch.tensor([turn, nod, 0.5 * lean])

    return _search(world, ease, move, generator, height, width)


def _uniform(generator: Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _sign(generator: Generator) -> int:
    return 1 if _uniform(generator, 0, 1) < 0.5 else -1


def _ease(part: Tensor, softness: float) -> Tensor:
    """From constant speed (0) to a soft start and stop (1); 0 stays 0 and 1 stays 1."""
    return (1 - softness) * part + softness * part * part * (3 - 2 * part)


def _arc(median: float, turn: float) -> Tensor:
    """Where a camera stands after it went round the point straight ahead at ``median`` by ``turn``."""
    return torch.tensor([median * math.sin(turn), 0.0, median * (1 - math.cos(turn))], dtype=torch.float64)


def _search(world: World, ease: Tensor, move, generator: Generator, height: int, width: int) -> Cameras:
    """Draw starts and moves until the whole way is free; the moves shrink while none is, down to standing still."""
    fov = _uniform(generator, 35, 65)
    K = intrinsics_from_fov(fov, height, width)
    low, high = world.free
    for attempt in range(ATTEMPTS):
        start = low + (high - low) * torch.rand(3, generator=generator, dtype=torch.float64)
        if not bool(_free(world, start[None]).all()):
            continue
        if world.kind == "street":
            yaw = _uniform(generator, -0.7, 0.7) + (math.pi if _uniform(generator, 0, 1) < 0.5 else 0)
        else:  # towards the middle, roughly
            yaw = math.atan2(-float(start[0]), -float(start[2])) + _uniform(generator, -1.0, 1.0)
        pitch = _uniform(generator, -0.1, 0.3) if start[1] < -1.3 else _uniform(generator, -0.15, 0.1)
        first = torch.tensor([yaw, pitch, _uniform(generator, -0.04, 0.04)], dtype=torch.float64)
        depth = _depths(world, start[None], first[None], fov)[0]
        if depth.median() < 1.2 or depth.quantile(0.1) < 0.5 or (depth >= SKY_DEPTH).float().mean() > MOST_SKY:
            continue
        shrink = 1.0 if attempt < ATTEMPTS // 2 else 0.3
        translation, rotation = (shrink * part for part in move(min(float(depth.median()), 12.0)))
        angles = first + ease[:, None] * rotation
        c, s = math.cos(yaw), math.sin(yaw)
        arc = (
            ease[:, None] * translation
            if rotation[0] * translation[0] >= 0
            else _swing(ease, translation, float(rotation[0]))
        )
        world_step = torch.stack([c * arc[:, 0] + s * arc[:, 2], arc[:, 1], -s * arc[:, 0] + c * arc[:, 2]], 1)
        position = start + world_step
        if not bool(_free(world, position).all()):
            continue
        far = int(ease.argmax())
        end = _depths(world, position[[far // 2, far]], angles[[far // 2, far]], fov)
        if (end.flatten(1).median(1).values < 1.0).any() or (end.flatten(1).quantile(0.1, 1) < 0.4).any():
            continue
        c2w = look(position, *angles.unbind(1)).float()
        return Cameras(c2w, K.expand(len(ease), 3, 3).clone(), height, width)
    middle = ((low + high) / 2).expand(len(ease), 3)
    angles = torch.stack([0.5 * ease, torch.zeros_like(ease), torch.zeros_like(ease)], 1)
    return Cameras(look(middle, *angles.unbind(1)).float(), K.expand(len(ease), 3, 3).clone(), height, width)


def _swing(ease: Tensor, translation: Tensor, turn: float) -> Tensor:
    """Bend a way that turns back to what it left into an arc: the same ends, the bulge of a circle."""
    angle = abs(turn) * ease
    whole = max(abs(turn), 1e-6)
    along = torch.sin(angle) / math.sin(min(whole, math.pi / 2)) if whole > 1e-3 else ease
    across = (1 - torch.cos(angle)) / (1 - math.cos(whole)) if whole > 1e-3 else ease
    return torch.stack([along * translation[0], ease * translation[1], across * translation[2]], 1)


def _free(world: World, position: Tensor) -> Tensor:
    """Which positions (F, 3) lie in free space and in no obstacle."""
    inside = ((position >= world.free[0]) & (position <= world.free[1])).all(-1)
    hit = (position[:, None] >= world.obstacles[:, 0]) & (position[:, None] <= world.obstacles[:, 1])
    return inside & ~hit.all(-1).any(-1)


def _depths(world: World, position: Tensor, angles: Tensor, fov: float) -> Tensor:
    """Small depth maps (F, 18, 24) of what cameras would see, at most SKY_DEPTH."""
    c2w = look(position, *angles.unbind(1)).float()
    cameras = Cameras(c2w, intrinsics_from_fov(fov, 18, 24).expand(len(c2w), 3, 3), 18, 24)
    depth = render(world, cameras, torch.zeros(len(c2w))).depth
    return torch.where(depth > 0, depth.clamp(max=SKY_DEPTH), SKY_DEPTH)
