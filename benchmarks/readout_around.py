"""Readout of a million points all around the camera, most of them out of view, against a sort per view.

``ratio``: the points of each observation lie in every direction, so its bounds say nothing. ``ratio_bounds``: each
observation is what one frame saw, and views pass over those that they cannot see.

    python benchmarks/readout_around.py
    python benchmarks/readout_around.py --seed 3
    python benchmarks/readout_around.py --device cuda
"""

import argparse
import sys

from clouds import VIEWS, all_around, arc, frames_around, seen_by
from measure import say
from readout import against_sorted


def compared(latents: int, repeats: int, device: str = "cpu", seed: int = 0) -> dict[str, object]:
    """The row of ``readout_around``."""
    cameras = arc(VIEWS)
    loose, framed = all_around(latents, seed), frames_around(latents, seed)
    row, bounded = (against_sorted(memory, cameras, repeats, device) for memory in (loose, framed))
    return {
        **row,
        "in_view": seen_by(loose.points, cameras).float().mean().item(),
        "seconds_bounds": bounded["seconds"],
        "baseline_seconds_bounds": bounded["baseline_seconds"],
        "ratio_bounds": bounded["ratio"],
        "in_view_bounds": seen_by(framed.points, cameras).float().mean().item(),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--device", default="cpu", help="where the memory lies and is read")
    parser.add_argument("--seed", type=int, default=0, help="of what is drawn at random")
    args = parser.parse_args()
    say("readout_around", **compared(288, args.repeats, args.device, args.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
