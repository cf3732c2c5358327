"""Readout of 10 million points of which 5 % are in view, against those half a million alone.

Both sides have 48 channels in float16 and say the same, to the bit.

    python benchmarks/readout_visible.py
"""

import argparse
import sys

import torch
from clouds import CHANNELS, VIEWS, arc, seen_by, walk
from measure import fastest, say
from spatial_memory.memory.splat import splat_nearest

LATENTS, SHARE = 2841, 0.05  # 10,000,320 points


def compared(latents: int, share: float, repeats: int) -> dict[str, object]:
    """The row of ``readout_visible``.

    Raises:
        ValueError: another share is in view, or the two memories say different things.
    """
    (whole, part), cameras = walk(latents, share), arc(VIEWS)
    inside = sum(int(seen_by(o.points, cameras).sum()) for o in whole.observations)
    if inside != part.num_points:
        raise ValueError(f"{inside} points are in view, expected the {part.num_points} that look ahead")
    if not torch.equal(splat_nearest(whole, cameras).features, splat_nearest(part, cameras).features):
        raise ValueError("points out of view change what is read, expected the same features")
    seconds, alone = (fastest(lambda: splat_nearest(memory, cameras), repeats) for memory in (whole, part))  # noqa: B023
    return {
        "points": whole.num_points,
        "points_in_view": inside,
        "channels": CHANNELS,
        "seconds": seconds,
        "seconds_alone": alone,
        "ratio": seconds / alone,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    say("readout_visible", **compared(LATENTS, SHARE, args.repeats))
    return 0


if __name__ == "__main__":
    sys.exit(main())
