"""Procedural RGB-D worlds: furnished rooms, streets, open ground; seeded, metric, with moving actors.

``make_world`` builds one, ``render`` gives images with exact z-depth and dynamic and sky masks, ``random_path`` and
``out_and_back_path`` send a camera through its free space. Splits share neither seeds nor photographs.
"""

import numpy as np
import torch

from . import textures
from .moves import out_and_back_path, random_path
from .outdoors import open_ground, street
from .render import Rendering, render
from .rooms import room
from .scene import Builder, World

__all__ = ["FRAMES_PER_SECOND", "Rendering", "World", "make_world", "out_and_back_path", "random_path", "render"]

FRAMES_PER_SECOND = 16.0
SPLITS = ("train", "validation", "held_out")


def make_world(seed: int, split: str) -> World:
    """Build the world of a seed.

    Args:
        seed: not negative; the same seed in two splits gives unrelated worlds.
        split: ``train``, ``validation`` or ``held_out``.

    Raises:
        ValueError: an unknown split or a negative seed.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, expected one of {', '.join(SPLITS)}")
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected 0 or more")
    rng = np.random.default_rng([SPLITS.index(split), seed])
    kind = str(rng.choice(["room", "street", "open"], p=[0.6, 0.22, 0.18]))
    builder = Builder(rng)
    sky_texture, sky_colours = _sky(builder)
    light, free = {"room": room, "street": street, "open": open_ground}[kind](builder, split)
    rectangles, balls, actors, atlas = builder.tensors()
    obstacles = torch.from_numpy(np.asarray(builder.obstacles, np.float64).reshape(-1, 2, 3))
    return World(
        seed,
        split,
        kind,
        rectangles,
        balls,
        actors,
        atlas,
        sky_texture,
        sky_colours,
        light,
        torch.tensor(free),
        obstacles,
    )


def _sky(b: Builder) -> tuple[int, torch.Tensor]:
    cloud = textures.spectral_noise(b.rng, 1.6, (2.0, 1.0)) + b.rng.uniform(-1.5, 0.8)
    cover = np.repeat(np.clip(0.6 * cloud, 0, 1)[..., None], 3, 2) * b.rng.uniform(0.3, 0.9)
    zenith = np.array([0.25, 0.45, 0.8]) * b.rng.uniform(0.6, 1.2) + b.rng.uniform(-0.05, 0.1, 3)
    horizon = np.array([0.8, 0.85, 0.92]) * b.rng.uniform(0.7, 1.05) + b.rng.uniform(-0.08, 0.05, 3)
    return b.texture(cover), torch.from_numpy(np.stack([horizon, zenith])).clamp(0, 1).float()
