"""``spatial-memory camera convert IN OUT``: camera files from one format to another."""

import argparse
import json
import sys

from ..memory.formats import WRITERS, dropped_by_path, read_cameras, write_cameras


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows ``spatial-memory camera``."""
    parser.description = (
        "Convert a camera file. The input's format is found by its content: Spatia's w2c.txt (+ intrinsics.txt), "
        "RealEstate10K text, or this pack's JSON (cameras or a path). What had to be assumed is said on stderr."
    )
    parser.add_argument("action", choices=["convert"])
    parser.add_argument("source", metavar="IN", help="camera file to read")
    parser.add_argument(
        "target", metavar="OUT", help="file to write: .json, w2c.txt (Spatia) or another .txt (RealEstate10K)"
    )
    parser.add_argument("--to", choices=sorted(WRITERS), help="format to write, where the name of OUT does not say it")
    parser.add_argument(
        "--size", default="704x1248", metavar="HxW", help="image size in pixels, for intrinsics in fractions"
    )
    parser.add_argument("--fps", type=float, default=16.0, help="frames a second, for formats that keep time")


def run(args: argparse.Namespace) -> int:
    """Convert and print one JSON object: frames, files written, what was assumed and what the new format drops.

    Raises:
        ValueError: a file or an option does not fit; the message names it.
        OSError: a file cannot be read or written.
    """
    height, width = _size(args.size)
    if not 0 < args.fps < 1e6:
        raise ValueError(f"--fps is {args.fps}, expected a positive number")
    imported = read_cameras(args.source, height, width)
    written = write_cameras(args.target, imported.cameras, args.to, args.fps)
    dropped = dropped_by_path(imported.cameras) if args.to == "path" else ()
    for sentence in imported.assumed:
        sys.stderr.write(f"assumed: {sentence}\n")
    for sentence in dropped:
        sys.stderr.write(f"dropped: {sentence}\n")
    record = {
        "frames": len(imported.cameras),
        "written": [str(file) for file in written],
        "assumed": list(imported.assumed),
        "dropped": list(dropped),
    }
    sys.stdout.write(json.dumps(record) + "\n")
    return 0


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and 0 < int(side) <= 65536 for side in sides):
        raise ValueError(f"--size is {text!r}, expected HEIGHTxWIDTH, for instance 704x1248")
    return int(sides[0]), int(sides[1])
