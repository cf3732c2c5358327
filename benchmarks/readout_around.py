"""Readout of a million points all around the camera, most of them out of view, against a sort per view.

``ratio``: each observation holds points of every direction, so its bounds say nothing. ``ratio_bounds``: the same
points, but each observation holds those of one part of the sphere, and views pass over what they cannot see.
``ratio_frames``: other points, as frames leave them that were turned at random and overlap; how many of them lie in
view differs from draw to draw, so it is the middle of several (``ratios_frames``).

    python benchmarks/readout_around.py
    python benchmarks/readout_around.py --seed 3 --draws 1
    python benchmarks/readout_around.py --device cuda
"""

import argparse
import statistics
import sys

from clouds import VIEWS, all_around, arc, frames_around, parted_around, seen_by
from measure import say
from readout import against_sorted


def compared(latents: int, repeats: int, device: str = "cpu", seed: int = 0, draws: int = 5) -> dict[str, object]:
    """The row of ``readout_around``."""
    cameras = arc(VIEWS)
    loose, parted = all_around(latents, seed), parted_around(latents, seed)
    row, bounded = (against_sorted(memory, cameras, repeats, device) for memory in (loose, parted))
    frames, in_view = [], []
    for draw in range(seed, seed + draws):
        framed = frames_around(latents, draw)
        frames.append(against_sorted(framed, cameras, repeats, device))
        in_view.append(seen_by(framed.points, cameras).float().mean().item())
    return {
        **row,
        "in_view": seen_by(loose.points, cameras).float().mean().item(),
        "seconds_bounds": bounded["seconds"],
        "baseline_seconds_bounds": bounded["baseline_seconds"],
        "ratio_bounds": bounded["ratio"],
        "ratio_frames": statistics.median(f["ratio"] for f in frames),
        "ratios_frames": [round(f["ratio"], 2) for f in frames],
        "seconds_frames": [round(f["seconds"], 4) for f in frames],
        "in_view_frames": [round(share, 3) for share in in_view],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", default="cpu", help="where the memory lies and is read")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn at random")
    parser.add_argument("--draws", type=int, default=5, help="seeds from there on that frames are turned by")
    args = parser.parse_args()
    say("readout_around", **compared(288, args.repeats, args.device, args.seed, args.draws))
    return 0


if __name__ == "__main__":
    sys.exit(main())
