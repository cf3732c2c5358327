"""Seconds per chunk and stage over 6 chunks of the demo, and bytes of the memory, latent against RGB, same frames.

The demo's photograph and arc at 192 x 320, 153 frames, the mini models. Beside the latent memory of the film an RGB
memory is kept that is given the same frames and geometry; its time is not counted. One JSON object a chunk, then the
spread of the times of chunks 2 to 6 and the ratio of the bytes.

    python benchmarks/rollout.py
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.presets import out_and_back
from spatial_memory.models.geometry import GivenGeometry
from spatial_memory.models.mini_geometry import MiniGeometry
from spatial_memory.models.sampler import Sampling
from spatial_memory.models.world import load_mini_world
from spatial_memory.rollout import chunk
from spatial_memory.rollout.observe import fresh_frames, pick_fresh
from spatial_memory.rollout.plan import plan
from spatial_memory.rollout.start import write

sys.path.insert(0, str(Path(__file__).resolve().parent))
from conditioning import photograph  # noqa: E402


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=153, help="153 are six chunks")
    parser.add_argument("--steps", type=int, default=0, help="0 = the world's own")
    args = parser.parse_args()
    world, provider = load_mini_world(), MiniGeometry()
    own = world.defaults
    sampling = Sampling(own.sampler, args.steps or own.steps, own.guidance_scale, own.shift)
    image, depth, vertical_fov = photograph()
    path = out_and_back(args.frames, vertical_fov=vertical_fov)
    cameras = path.bake(*image.shape[2:])[:1]
    state = chunk.start(world, image, cameras)
    geometry = chunk.start_geometry(GivenGeometry(depth), image, cameras)
    state = chunk.init_memory(world, state, image, geometry, "latent")
    colours = SpatialMemory("rgb", "", 3, geometry.scene_unit, geometry.metric)
    colours = write(colours, state.codes, image, geometry, (0,), -1)
    totals = []
    for part in plan(world.layout, args.frames):
        state = chunk.aim(state, path.slice(part.start, part.stop))
        found = chunk.retrieve(world, state, "algorithm1", world.layout.max_references)
        state, images = chunk.denoise_chunk(world, state, chunk.warp(world, state), found, sampling)
        geometry = chunk.chunk_geometry(provider, state, images)
        frames, pictures, index = fresh_frames(state), pick_fresh(state, images), state.chunk
        state = chunk.update(world, state, images, geometry)
        colours = write(colours, state.codes[:, -len(frames) :], pictures, geometry, frames, index)
        record = state.records[-1]
        totals.append(sum(record["seconds"].values()))
        row = {
            "bench": "rollout",
            "chunk": index + 1,
            "seconds": round(totals[-1], 3),
            "stages": {stage: round(seconds, 3) for stage, seconds in record["seconds"].items()},
            "references": len(found),
            "points": record["points"],
            "latent_bytes": record["memory_bytes"],
            "rgb_bytes": colours.get_ram_usage(),
            "steps": sampling.steps,
            "threads": torch.get_num_threads(),
        }
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()
    later = totals[1:]
    middle = sum(later) / max(1, len(later))
    summary = {
        "bench": "rollout",
        "chunks": len(totals),
        "seconds_mean_from_2": round(middle, 3),
        "spread_from_2": round(max(abs(x / middle - 1) for x in later), 3) if later else None,
        "rgb_over_latent_bytes": round(colours.get_ram_usage() / state.memory.get_ram_usage(), 1),
    }
    sys.stdout.write(json.dumps(summary) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
