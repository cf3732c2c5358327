"""Time to condition one chunk: latent readout against RGB render and encode, the same frames, depth and codec.

Both memories hold the bundled photograph with its measured depth and every fourth frame of a first chunk along an arc.
One JSON object a line: each kind, then their ratio.

    python benchmarks/conditioning.py
"""

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from spatial_memory.memory.presets import out_and_back
from spatial_memory.models.geometry import GivenGeometry
from spatial_memory.models.world import WorldModel, load_random_world
from spatial_memory.rollout import chunk
from spatial_memory.rollout.state import RolloutState

INPUTS = Path(__file__).resolve().parent.parent / "workflows" / "inputs"


def photograph() -> tuple[torch.Tensor, torch.Tensor, float]:
    """The bundled start frame (1, 3, H, W) in [0, 1], its depth (1, H, W) in metres, and its vertical field of view."""
    note = json.loads((INPUTS / "spatial_memory_kitchen.json").read_text())
    image = np.asarray(Image.open(INPUTS / "spatial_memory_kitchen.png").convert("RGB"))
    grey = np.asarray(Image.open(INPUTS / note["depth"]).convert("L"))
    depth = torch.from_numpy(grey.astype(np.float32)) / 255 * note["depth_scale"]
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255, depth[None], note["vertical_fov"]


def begun(world: WorldModel, kind: str) -> tuple[RolloutState, str]:
    """A state with one chunk in its memory, and the slice of the chunk to condition."""
    image, depth, vertical_fov = photograph()
    path = out_and_back(81, vertical_fov=vertical_fov)
    cameras = path.bake(*image.shape[2:])[:1]
    state = chunk.start(world, image, cameras)
    state = chunk.init_memory(world, state, image, chunk.start_geometry(GivenGeometry(depth), image, cameras), kind)
    aimed = chunk.aim(state, path.slice(0, 33))
    grid = world.codec.grid
    fresh = torch.zeros(grid.channels, 8, *grid.cells(state.height, state.width))
    made = replace(aimed, fresh=fresh)
    images = chunk.decode_fresh(world, made)
    geometry = chunk.chunk_geometry(GivenGeometry(depth), made, images)
    return chunk.update(world, made, images, geometry), path.slice(33, 57)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    world, seconds = load_random_world(), {}
    for kind in ("latent", "rgb"):
        state, text = begun(world, kind)
        state = chunk.aim(state, text)
        chunk.warp(world, state)
        times = []
        for _ in range(args.repeats):
            begin = time.perf_counter()
            shown = chunk.warp(world, state)
            times.append(time.perf_counter() - begin)
        seconds[kind] = min(times)
        row = {
            "bench": "conditioning",
            "kind": kind,
            "size": [state.height, state.width],
            "latents": shown.control.shape[1],
            "points": state.memory.num_points,
            "seconds": round(seconds[kind], 5),
            "threads": torch.get_num_threads(),
        }
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()
    ratio = seconds["rgb"] / seconds["latent"]
    sys.stdout.write(json.dumps({"bench": "conditioning", "rgb_over_latent": round(ratio, 1)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
