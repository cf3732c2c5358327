"""``spatial-memory camera convert IN OUT``: camera files from one format to another."""

import argparse
import json
import sys

from ..memory.camera import Cameras
from ..memory.formats import (
    READERS,
    WRITERS,
    dropped_by,
    every_frame,
    flipped,
    format_by_name,
    inverted,
    read_cameras,
    scaled,
    write_cameras,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows ``spatial-memory camera``."""
    parser.description = (
        "Convert a camera file. The input's format is found by its content, and --format names it where two look "
        "alike. What had to be assumed is said on stderr, and with everything else in one JSON object on stdout."
    )
    parser.add_argument("action", choices=["convert"])
    parser.add_argument("source", metavar="IN", help="camera file, COLMAP folder, or a zip of either")
    parser.add_argument(
        "target",
        metavar="OUT",
        help="file to write: .json, w2c.txt (Spatia), another .txt (RealEstate10K), transforms.json, camera_path.json, "
        "base_cam.json, .npz (Lyra), .gltf, .glb, .chan, .tum, .kitti; with --to any name",
    )
    parser.add_argument("--format", choices=sorted(READERS), help="format of IN, where its content cannot tell")
    parser.add_argument("--to", choices=sorted(WRITERS), help="format to write, where the name of OUT does not say it")
    parser.add_argument(
        "--size", default="704x1248", metavar="HxW", help="image size in pixels, for files that do not say it"
    )
    parser.add_argument("--fps", type=float, default=16.0, help="frames a second, for formats that keep time")
    parser.add_argument("--invert", action="store_true", help="IN holds the inverse poses: c2w where w2c was assumed")
    parser.add_argument("--flip", action="store_true", help="IN has the other camera axes: OpenGL for OpenCV")
    parser.add_argument("--scale", type=float, default=1.0, metavar="S", help="multiply all positions")


def run(args: argparse.Namespace) -> int:
    """Convert and print one JSON object: format, frames, files written, what was assumed, corrected and dropped.

    Raises:
        ValueError: a file or an option does not fit; the message names it.
        OSError: a file cannot be read or written.
    """
    height, width = _size(args.size)
    if not 0 < args.fps < 1e6:
        raise ValueError(f"--fps is {args.fps}, expected a positive number")
    imported = every_frame(read_cameras(args.source, height, width, args.format, args.fps))
    cameras, corrected = _corrected(imported.cameras, args)
    written = write_cameras(args.target, cameras, args.to, args.fps)
    dropped = dropped_by(args.to or format_by_name(args.target) or "json", cameras)
    for name, sentences in (("assumed", imported.assumed), ("corrected", corrected), ("dropped", dropped)):
        for sentence in sentences:
            sys.stderr.write(f"{name}: {sentence}\n")
    record = {
        "format": imported.format,
        "frames": len(cameras),
        "size": [cameras.height, cameras.width],
        "written": [str(file) for file in written],
        "assumed": list(imported.assumed),
        "corrected": list(corrected),
        "dropped": list(dropped),
    }
    sys.stdout.write(json.dumps(record) + "\n")
    return 0


def _corrected(cameras: Cameras, args: argparse.Namespace) -> tuple[Cameras, tuple[str, ...]]:
    """The cameras after the corrections that were asked for, in this order: invert, flip, scale."""
    said = []
    if args.invert:
        cameras, said = inverted(cameras), [*said, "poses were inverted"]
    if args.flip:
        cameras, said = flipped(cameras), [*said, "Y and Z of the camera were flipped"]
    if args.scale != 1.0:
        cameras, said = scaled(cameras, args.scale), [*said, f"positions were multiplied by {args.scale:g}"]
    return cameras, tuple(said)


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and 0 < int(side) <= 65536 for side in sides):
        raise ValueError(f"--size is {text!r}, expected HEIGHTxWIDTH, for instance 704x1248")
    return int(sides[0]), int(sides[1])
