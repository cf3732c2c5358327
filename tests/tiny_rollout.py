"""A rollout at a tiny size on random weights, before a tilted wall whose depth is known exactly at any camera."""

from dataclasses import dataclass

import torch
from spatial_memory.memory.observation import PER_POINT
from spatial_memory.memory.presets import out_and_back
from spatial_memory.models.geometry import Estimate
from spatial_memory.models.world import load_random_world
from spatial_memory.rollout import chunk

HEIGHT, WIDTH = 64, 96
PATH = out_and_back(81)  # 3 chunks
WORLD = load_random_world(0)
CHANNELS = WORLD.codec.grid.channels


def wall_depth(cameras):
    """Exact z-depth (V, H, W) of the plane z + 0.2 x = 2."""
    v, u = torch.meshgrid(torch.arange(HEIGHT) + 0.5, torch.arange(WIDTH) + 0.5, indexing="ij")
    K = cameras.K[:, None, None]
    ray = torch.stack(
        [(u - K[..., 0, 2]) / K[..., 0, 0], (v - K[..., 1, 2]) / K[..., 1, 1], torch.ones(len(cameras), HEIGHT, WIDTH)],
        -1,
    )
    ray = torch.einsum("vij,vhwj->vhwi", cameras.c2w[:, :3, :3], ray)
    normal = torch.tensor([0.2, 0.0, 1.0])
    offset = (cameras.c2w[:, :3, 3] * normal).sum(-1)[:, None, None]
    return (2 - offset) / (ray * normal).sum(-1)


@dataclass(frozen=True)
class WallGeometry:
    """The exact depth of the wall times ``scale``."""

    scale: float = 1.0
    name: str = "wall"

    def estimate(self, images, cameras, rendered, scene_unit):
        depth = self.scale * wall_depth(cameras)
        return Estimate(depth, torch.ones_like(depth), torch.zeros_like(depth, dtype=torch.bool), False)


def photograph(seed=0):
    """A smooth random picture (1, 3, H, W)."""
    coarse = torch.rand(1, 3, 5, 7, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (HEIGHT, WIDTH), mode="bicubic").clamp(0, 1)


def begin(kind="latent", world=WORLD, path=PATH, seed=0):
    """The state after InitMemory."""
    image, cameras = photograph(), path.bake(HEIGHT, WIDTH)[:1]
    state = chunk.start(world, image, cameras, ("",), seed)
    return chunk.init_memory(world, state, image, chunk.start_geometry(WallGeometry(), image, cameras), kind)


def aimed(state, path=PATH):
    """The state aimed at its next chunk of 33 or 24 frames."""
    start = len(state.cameras) if state.chunk else 0
    return chunk.aim(state, path.slice(start, start + (24 if start else 33)))


def one_chunk(state, path=PATH, world=WORLD, k=2, provider=None, **masks):
    """Aim, retrieve, warp, denoise, decode, geometry, update."""
    state = aimed(state, path)
    found = chunk.retrieve(world, state, "algorithm1", k)
    state, images = chunk.denoise_chunk(world, state, chunk.warp(world, state), found, world.defaults)
    geometry = chunk.chunk_geometry(provider or WallGeometry(), state, images, **masks)
    return chunk.update(world, state, images, geometry)


def tensors(state):
    """Every tensor of a state, for comparison to the bit."""
    found = [state.image, state.latents, state.codes, state.cameras.c2w, state.cameras.K]
    found += [state.code_cameras.c2w, state.code_cameras.K, *([] if state.fresh is None else [state.fresh])]
    for o in state.memory.observations if state.memory else ():
        found += [*(getattr(o, name) for name in PER_POINT), o.camera.c2w, o.camera.K]
    return found


def same_bits(a, b):
    """Whether two states hold the same bits."""
    first, second = tensors(a), tensors(b)
    return len(first) == len(second) and all(torch.equal(x, y) for x, y in zip(first, second))


def denoised(state, world=WORLD, references=None):
    """The state with a chunk's latents, and its frames."""
    return chunk.denoise_chunk(world, state, chunk.warp(world, state), references, world.defaults)
