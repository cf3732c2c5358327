"""Procedural worlds filmed along a closed loop, with exact depth: what the benchmarks of a growing memory write.

The camera goes round a small circle in the middle of a room and looks outwards and ahead, so that one lap sees the
whole room and ends where it began.
"""

import math
from dataclasses import dataclass, replace

import torch
from spatial_memory.memory.camera import Cameras, compose, intrinsics_from_fov
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.geometry import Geometry, start_unit
from spatial_memory.rollout.start import write
from spatial_memory.training.render import look
from spatial_memory.training.scene import World
from spatial_memory.training.worlds import make_world, render
from torch import Tensor

ROOMS = (0, 7, 18)  # seeds of held-out worlds that fit
RADIUS = 0.3  # metres
VIEWS = 8  # new latents a chunk


@dataclass(frozen=True, eq=False)
class Film:
    """V views of a world that stands still: pictures and geometry."""

    images: Tensor  # (V, 3, H, W) in [0, 1]
    geometry: Geometry

    def __len__(self) -> int:
        return len(self.images)

    def part(self, places: slice | list[int]) -> "Film":
        """Some of its views."""
        g = self.geometry
        some = {name: getattr(g, name)[places] for name in ("depth", "confidence", "keep", "cameras")}
        return Film(self.images[places], replace(g, **some))


def room(seed: int) -> World:
    """A held-out world in which the loop runs into nothing.

    Raises:
        ValueError: it does, or the world is no room.
    """
    world = make_world(seed, "held_out")
    middle = _middle(world)
    hit = (middle >= world.obstacles[:, 0] - RADIUS) & (middle <= world.obstacles[:, 1] + RADIUS)
    if world.kind != "room" or hit.all(1).any():
        raise ValueError(f"seed {seed} is a {world.kind} or has something in its middle; expected one of {ROOMS}")
    return world


def loop(world: World, count: int, height: int, width: int) -> Cameras:
    """``count`` cameras of one lap; the one after the last would be the first again."""
    turn = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)
    place = _middle(world) + RADIUS * torch.stack([turn.sin(), torch.zeros(count), turn.cos()], 1)
    c2w = look(place, turn, torch.full_like(turn, 0.1), torch.zeros_like(turn)).float()
    return Cameras(c2w, intrinsics_from_fov(50.0, height, width).expand(count, 3, 3), height, width)


def jittered(cameras: Cameras, generator: torch.Generator) -> Cameras:
    """Every camera (V,) moved by about 2 cm along each axis and turned by about half a degree."""
    count = len(cameras)
    turn, nod, lean = (math.radians(0.5) * torch.randn(3, count, generator=generator)).double()
    moved = look(torch.zeros(count, 3).double(), turn, nod, lean).float()
    moved[:, :3, 3] = 0.02 * torch.randn(count, 3, generator=generator)
    return replace(cameras, c2w=compose(cameras.c2w, moved))


def film(world: World, cameras: Cameras) -> Film:
    """The world at time 0 from cameras (V,); what can move and the sky are kept out of memory."""
    view = render(world, cameras, torch.zeros(len(cameras)))
    keep = ~(view.dynamic | view.sky)
    unit = start_unit(torch.where(keep[0], view.depth[0], 0.0))
    return Film(view.images, Geometry(view.depth, torch.ones_like(view.depth), keep, cameras, True, unit))


def empty(kind: str, channels: int, unit: float) -> SpatialMemory:
    """A memory before its first chunk."""
    return SpatialMemory(kind, "bench" if kind == "latent" else "", channels if kind == "latent" else 3, unit, True)


def written(memory: SpatialMemory, shown: Film, codes: Tensor, first: int, chunk: int) -> SpatialMemory:
    """The memory after one more chunk, whose views are those of ``shown`` and start at pixel frame ``first``."""
    return write(memory, codes, shown.images, shown.geometry, tuple(first + 4 * i for i in range(len(shown))), chunk)


def _middle(world: World) -> Tensor:
    low, high = world.free
    return (low + high) / 2
