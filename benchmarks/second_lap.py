"""Points that the second lap of a closed loop adds, over those of the first: latent and RGB memory, the same worlds.

``share``: the second lap passes the poses of the first. ``share_jittered``: it passes beside them, about 2 cm and half
a degree off.

    python benchmarks/second_lap.py
"""

import argparse
import sys

import torch
from filmed import ROOMS, VIEWS, Film, empty, film, jittered, loop, room, written
from measure import say
from spatial_memory.memory.cloud import SpatialMemory

CHANNELS, STRIDE = 24, 8  # those of the mini codec


def lap(memory: SpatialMemory, shown: Film, first_chunk: int) -> SpatialMemory:
    """The memory after one lap, chunk by chunk. What latents say does not matter here: they are 0."""
    height, width = shown.images.shape[2:]
    codes = torch.zeros(CHANNELS, VIEWS, height // STRIDE, width // STRIDE)
    for place in range(0, len(shown), VIEWS):
        chunk = first_chunk + place // VIEWS
        part = shown.part(slice(place, place + VIEWS))
        memory = written(memory, part, codes[:, : len(part)], 4 * VIEWS * chunk, chunk)
    return memory


def laps(first: Film, beside: Film, kind: str) -> tuple[int, int, int]:
    """Points added by the first lap, by a second one over the same poses, and by a second one beside them."""
    once = lap(empty(kind, CHANNELS, first.geometry.scene_unit), first, 0)
    chunks = -(-len(first) // VIEWS)
    again = [lap(once, shown, chunks) for shown in (first, beside)]
    added = [sum(row["added"] for row in memory.ledger) for memory in (once, *again)]
    return added[0], added[1] - added[0], added[2] - added[0]


def shares(seeds: tuple[int, ...], count: int, height: int, width: int) -> list[dict[str, object]]:
    """The two rows of ``second_lap``, over the worlds of all seeds; a lap has ``count`` views."""
    tallies: dict[str, list[tuple[int, int, int]]] = {"latent": [], "rgb": []}
    for seed in seeds:
        world = room(seed)
        cameras = loop(world, count, height, width)
        first, beside = film(world, cameras), film(world, jittered(cameras, torch.Generator().manual_seed(seed)))
        for kind, rows in tallies.items():
            rows.append(laps(first, beside, kind))
    made = []
    for kind, rows in tallies.items():
        lap_1, lap_2, lap_beside = (sum(column) for column in zip(*rows))
        row = {"kind": kind, "share": lap_2 / lap_1, "share_jittered": lap_beside / lap_1}
        made.append({**row, "points": lap_1, "worlds": len(seeds), "views": count})
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--views", type=int, default=24, help="of one lap; each stands for four frames")
    args = parser.parse_args()
    for row in shares(ROOMS[:2], args.views, 192, 320):
        say("second_lap", **row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
