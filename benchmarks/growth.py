"""Time of an insert and of a readout at chunk 100 of a path that comes back again and again, against chunk 2.

Two paths. ``to_and_fro``: eight views there, the same back; chunk 2 looks at what chunk 1 saw. ``round``: laps of seven
chunks around a room, of which chunk 2 knows a seventh; chunk 100 passes where chunk 2 passed and sees the points of a
whole lap. An insert lifts, merges and carves eight views, with the defaults. The readout is that of the chunk's nine
cameras, before the insert, as a film does it.

    python benchmarks/growth.py
"""

import argparse
import sys

import torch
from filmed import ROOMS, VIEWS, Film, empty, film, loop, room, written
from measure import median, say
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.splat import read
from torch import Tensor

LAP = 7  # chunks of one round
EARLY, LATE = 2, 100
CHANNELS, STRIDE = 48, 4  # cells of 4 pixels: the latent grid of 704 x 1280, with depth at a quarter of its sides
SIZES = {"latent": (176, 320), "rgb": (44, 80)}  # pixels


def after(shown: Film, codes: Tensor, kind: str, early: int, late: int) -> list[SpatialMemory]:
    """The memories before the chunks ``early`` and ``late``, which count from 1."""
    memory, kept = empty(kind, CHANNELS, shown.geometry.scene_unit), []
    for chunk in range(late):
        if chunk + 1 in (early, late):
            kept.append(memory)
        memory = inserted(memory, shown, codes, chunk)
    return kept


def inserted(memory: SpatialMemory, shown: Film, codes: Tensor, chunk: int) -> SpatialMemory:
    """The memory after one more chunk, which counts from 0."""
    place = chunk * VIEWS % len(shown)
    return written(memory, shown.part(slice(place, place + VIEWS)), codes, 4 * VIEWS * chunk, chunk)


def compared(shown: Film, kind: str, early: int, late: int, repeats: int) -> dict[str, object]:
    """The row of ``growth`` for one kind of memory, from one lap that ends where it began."""
    height, width = shown.images.shape[2:]
    h, w = height // STRIDE, width // STRIDE
    codes = torch.randn(CHANNELS, VIEWS, h, w, generator=torch.Generator().manual_seed(0))
    cameras = shown.geometry.cameras
    row: dict[str, object] = {"kind": kind, "views": len(shown)}
    times = {}
    for chunk, memory in zip((early, late), after(shown, codes, kind, early, late)):
        place = (chunk - 1) * VIEWS % len(shown)
        target = cameras[[(place - 1) % len(shown), *range(place, place + VIEWS)]]
        target = target.resized(h, w) if kind == "latent" else target
        times[chunk] = (
            median(lambda: inserted(memory, shown, codes, chunk - 1), repeats),  # noqa: B023
            median(lambda: read(memory, target), repeats),  # noqa: B023
        )
        row |= {f"points_{chunk}": memory.num_points, f"insert_s_{chunk}": times[chunk][0]}
        row |= {f"readout_s_{chunk}": times[chunk][1]}
    (insert_1, read_1), (insert_2, read_2) = times[early], times[late]
    return {"insert_ratio": insert_2 / insert_1, "readout_ratio": read_2 / read_1, **row}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    world = room(ROOMS[0])
    for kind, (height, width) in SIZES.items():
        shown = film(world, loop(world, LAP * VIEWS, height, width))
        for path, some in (("to_and_fro", shown.part([*range(VIEWS), *reversed(range(VIEWS))])), ("round", shown)):
            say("growth", path=path, **compared(some, kind, EARLY, LATE, args.repeats))
    return 0


if __name__ == "__main__":
    sys.exit(main())
