"""Time of an insert and of a readout at chunk 100 of a path that comes back again and again, against an early chunk.

Two paths. ``to_and_fro``: eight views there, the same back; chunk 2 looks at what chunk 1 saw, and chunk 100 is held
against it. ``round``: laps of seven chunks around a room; chunks 2, 9 and 100 pass the same way, and chunk 9 is the
first that finds it known. ``insert_ratio`` and ``readout_ratio`` hold chunk 100 against that; ``insert_over_new`` and
``readout_over_new`` against chunk 2, which knows a seventh of the room. An insert lifts, merges and carves eight
views, with the defaults. The readout is that of the chunk's nine cameras, before the insert, as a film does it.

    python benchmarks/growth.py
"""

import argparse
import sys
from collections.abc import Sequence

import torch
from filmed import ROOMS, VIEWS, Film, empty, film, loop, room, written
from measure import median, say
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.splat import read
from torch import Tensor

LAP = 7  # chunks of one round
PATHS = {"to_and_fro": (2, 100), "round": (2, 2 + LAP, 100)}  # chunks that are timed, counted from 1
CHANNELS, STRIDE = 48, 4  # cells of 4 pixels: the latent grid of 704 x 1280, with depth at a quarter of its sides
SIZES = {"latent": (176, 320), "rgb": (44, 80)}  # pixels


def after(shown: Film, codes: Tensor, kind: str, chunks: Sequence[int]) -> list[SpatialMemory]:
    """The memories before some chunks, which count from 1."""
    memory, kept = empty(kind, CHANNELS, shown.geometry.scene_unit), []
    for chunk in range(max(chunks)):
        if chunk + 1 in chunks:
            kept.append(memory)
        memory = inserted(memory, shown, codes, chunk)
    return kept


def inserted(memory: SpatialMemory, shown: Film, codes: Tensor, chunk: int) -> SpatialMemory:
    """The memory after one more chunk, which counts from 0."""
    place = chunk * VIEWS % len(shown)
    return written(memory, shown.part(slice(place, place + VIEWS)), codes, 4 * VIEWS * chunk, chunk)


def compared(shown: Film, kind: str, chunks: Sequence[int], repeats: int) -> dict[str, object]:
    """The row of ``growth`` for one kind of memory: the last of some chunks against the one before it, and the first.

    Args:
        shown: one lap, which ends where it began.
    """
    height, width = shown.images.shape[2:]
    h, w = height // STRIDE, width // STRIDE
    codes = torch.randn(CHANNELS, VIEWS, h, w, generator=torch.Generator().manual_seed(0))
    cameras = shown.geometry.cameras
    row: dict[str, object] = {"kind": kind, "views": len(shown)}
    times = []
    for chunk, memory in zip(chunks, after(shown, codes, kind, chunks)):
        place = (chunk - 1) * VIEWS % len(shown)
        target = cameras[[(place - 1) % len(shown), *range(place, place + VIEWS)]]
        target = target.resized(h, w) if kind == "latent" else target
        insert_s = median(lambda: inserted(memory, shown, codes, chunk - 1), repeats)  # noqa: B023
        readout_s = median(lambda: read(memory, target), repeats)  # noqa: B023
        times.append((insert_s, readout_s))
        row |= {f"points_{chunk}": memory.num_points, f"insert_s_{chunk}": insert_s, f"readout_s_{chunk}": readout_s}
    (insert_new, readout_new), (insert_known, readout_known), (insert_s, readout_s) = times[0], times[-2], times[-1]
    ratios = {"insert_ratio": insert_s / insert_known, "readout_ratio": readout_s / readout_known}
    if len(chunks) > 2:
        ratios |= {"insert_over_new": insert_s / insert_new, "readout_over_new": readout_s / readout_new}
    return {"chunks": list(chunks), **ratios, **row}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    world = room(ROOMS[0])
    for kind, (height, width) in SIZES.items():
        shown = film(world, loop(world, LAP * VIEWS, height, width))
        for path, some in (("to_and_fro", shown.part([*range(VIEWS), *reversed(range(VIEWS))])), ("round", shown)):
            say("growth", path=path, **compared(some, kind, PATHS[path], args.repeats))
    return 0


if __name__ == "__main__":
    sys.exit(main())
