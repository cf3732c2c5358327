"""Time of the latent readout, 9 views at 44 x 80 x 48, against a sort per view.

``readout``: memories of three sizes as a walk leaves them. ``readout_vs_sorted``: a million points at random places of
the views, every one of them in sight; ``ratio`` for ``splat_nearest``, which does the same as the baseline, and
``ratio_centred`` for ``splat_centred``, which is what a film reads by.

    python benchmarks/readout.py
    python benchmarks/readout.py --device cuda
"""

import argparse
import contextlib
import sys
from collections.abc import Callable

import torch
from baseline import readout_sorted
from clouds import CELLS, CHANNELS, HEIGHT, VIEWS, WIDTH, arc, memory_of, scattered, seen_by
from measure import fastest, say
from spatial_memory.memory.camera import Cameras
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.splat import splat_centred, splat_nearest

LATENTS = (9, 72, 288)  # 31,680, 253,440 and 1,013,760 points


def walked(latents: int) -> SpatialMemory:
    """A memory as a walk leaves it: every latent of every view lifted whole, nothing merged."""
    generator = torch.Generator().manual_seed(0)
    cameras = arc(latents)
    rays = torch.randn(latents, CELLS, 2, generator=generator) * 0.4
    depth = 1 + 4 * torch.rand(latents, CELLS, 1, generator=generator)
    return memory_of(torch.cat([rays * depth, depth], 2) + cameras.position[:, None], cameras, generator)


def fastest_on(device: torch.device, call: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of some calls; on a GPU until it has done what it was told."""
    if device.type == "cpu":
        return fastest(call, repeats)
    return fastest(lambda: (call(), torch.cuda.synchronize(device)), repeats)


def against_sorted(memory: SpatialMemory, cameras: Cameras, repeats: int, device: str = "cpu") -> dict[str, object]:
    """Seconds of the readout and of its baseline on one device, which must agree to the bit.

    In inference mode, as ComfyUI runs nodes.

    Raises:
        ValueError: they disagree.
    """
    memory = memory.to(device)
    baseline_writes = contextlib.nullcontext() if device == "cpu" else torch.device(device)
    with torch.inference_mode(), baseline_writes:
        return _against_sorted(memory, cameras, repeats)


def _against_sorted(memory: SpatialMemory, cameras: Cameras, repeats: int) -> dict[str, object]:
    planar, features = memory.points.T.contiguous(), memory.features
    ours = splat_nearest(memory, cameras)
    said, winner = readout_sorted(memory, planar, features, cameras)
    if not (torch.equal(ours.winner, winner) and torch.equal(ours.features, said)):
        raise ValueError("the readout and its baseline disagree, expected the same points and features")
    device = memory.device
    baseline = fastest_on(device, lambda: readout_sorted(memory, planar, features, cameras), max(1, repeats // 3))
    seconds = fastest_on(device, lambda: splat_nearest(memory, cameras), repeats)
    return {
        "points": memory.num_points,
        "views": len(cameras),
        "grid": [HEIGHT, WIDTH, CHANNELS],
        "seconds": seconds,
        "baseline_seconds": baseline,
        "ratio": baseline / seconds,
        "device": str(device),
    }


def large(latents: int, repeats: int, device: str = "cpu") -> dict[str, object]:
    """The row of ``readout_vs_sorted``.

    Raises:
        ValueError: a point that no view sees, or a readout that disagrees with its baseline.
    """
    memory, cameras = scattered(latents), arc(VIEWS)
    if not (seen := seen_by(memory.points, cameras)).all():
        raise ValueError(f"{int((~seen).sum())} points lie in no view, expected all of them in the union of the frusta")
    row, there = against_sorted(memory, cameras, repeats, device), memory.to(device)
    centred = fastest_on(there.device, lambda: splat_centred(there, cameras), repeats)
    return {**row, "seconds_centred": centred, "ratio_centred": row["baseline_seconds"] / centred}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--device", default="cpu", help="where the memory lies and is read")
    args = parser.parse_args()
    for latents in LATENTS:
        say("readout", **against_sorted(walked(latents), arc(VIEWS), args.repeats, args.device))
    say("readout_vs_sorted", **large(LATENTS[-1], args.repeats, args.device))
    return 0


if __name__ == "__main__":
    sys.exit(main())
