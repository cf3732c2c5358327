"""Render clips of procedural worlds to disk, for the recipes to train on.

One safetensors file a clip: ``images`` (T, 3, H, W) uint8, ``depth`` (T, H, W) float16 in metres, ``masks`` (T, H, W)
uint8 (bit 0 dynamic, bit 1 sky), ``c2w`` (T, 4, 4), ``K`` (T, 3, 3). Files that exist are kept, so that the command can
be stopped and started again; ``--processes`` share the work.
"""

import argparse
import json
import logging
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..memory.camera import Cameras
from .crew import run_crew
from .worlds import FRAMES_PER_SECOND, SPLITS, make_world, out_and_back_path, random_path, render

logger = logging.getLogger(__name__)

SLOWEST = 0.3  # share of a full move that a clip makes at least: a long film moves that slowly


@dataclass(frozen=True)
class Clip:
    """A rendered clip."""

    images: Tensor  # (T, 3, H, W) uint8
    depth: Tensor  # (T, H, W) float32 z-depth in metres, 0 at sky
    dynamic: Tensor  # (T, H, W) bool
    sky: Tensor  # (T, H, W) bool
    cameras: Cameras  # (T,)


def render_clip(seed: int, split: str, num_frames: int, height: int, width: int) -> Clip:
    """The clip of a seed: even seeds move at random, odd ones go out and back, at a third of the full pace or more."""
    world = make_world(seed, split)
    generator = torch.Generator().manual_seed(seed * len(SPLITS) + SPLITS.index(split))
    path = out_and_back_path if seed % 2 else random_path
    pace = SLOWEST + (1 - SLOWEST) * float(torch.rand((), generator=generator))
    cameras = path(world, num_frames, generator, height, width, pace)
    start = float(torch.rand((), generator=generator)) * 20.0
    times = start + torch.arange(num_frames, dtype=torch.float64) / FRAMES_PER_SECOND
    view = render(world, cameras, times)
    images = (view.images * 255.0).round().to(torch.uint8)
    return Clip(images, view.depth, view.dynamic, view.sky, cameras)


def save_clip(clip: Clip, path: Path) -> None:
    """Write a clip under a temporary name and rename it."""
    tensors = {
        "images": clip.images,
        "depth": clip.depth.clamp(max=6e4).half(),
        "masks": clip.dynamic.to(torch.uint8) | (clip.sky.to(torch.uint8) << 1),
        "c2w": clip.cameras.c2w.contiguous(),
        "K": clip.cameras.K.contiguous(),
    }
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    save_file(tensors, temporary)
    os.replace(temporary, path)


def load_clip(path: Path) -> Clip:
    """Read a clip that ``save_clip`` wrote."""
    tensors = load_file(path)
    height, width = tensors["images"].shape[-2:]
    masks = tensors["masks"]
    cameras = Cameras(tensors["c2w"], tensors["K"], height, width)
    return Clip(tensors["images"], tensors["depth"].float(), (masks & 1).bool(), (masks & 2).bool(), cameras)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m spatial_memory.training.clips", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder to write NNNNN.safetensors to")
    parser.add_argument("--size", default="192x320", help="HEIGHTxWIDTH in pixels")
    parser.add_argument("--count", type=int, default=700, help="how many clips the folder shall hold")
    parser.add_argument("--frames", type=int, default=57)
    parser.add_argument("--seed", type=int, default=0, help="the first world's seed")
    parser.add_argument("--split", choices=SPLITS, default="train")
    parser.add_argument("--processes", type=int, default=1, help="processes that render, each on one thread")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    height, width = (int(part) for part in options.size.split("x"))
    options.out.mkdir(parents=True, exist_ok=True)

    def work(rank: int) -> None:
        for number in range(rank, options.count, options.processes):
            path = options.out / f"{number:05d}.safetensors"
            if path.exists():
                continue
            begin = time.monotonic()
            save_clip(render_clip(options.seed + number, options.split, options.frames, height, width), path)
            logger.info("%s", json.dumps({"clip": path.name, "seconds": round(time.monotonic() - begin, 2)}))

    run_crew(work, options.processes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
