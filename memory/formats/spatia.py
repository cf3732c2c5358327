"""Spatia's ``w2c.txt``, one JSON matrix a line, and ``intrinsics.txt`` beside it."""

import json
import re

import torch

from ..camera import Cameras
from . import fractions
from .documents import matrix, parsed
from .imported import Imported, collect, evenly, inverse, rigid
from .source import Source, text_of

NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def read_spatia(source: Source) -> Imported:
    """Read ``w2c.txt`` and its companion.

    Raises:
        ValueError: no ``intrinsics.txt``, or a line that is no pose; names the line.
    """
    height, width = source.height, source.width
    text = source.text if source.data else text_of(source.beside("w2c.txt") or b"", "w2c.txt")  # without data: a folder
    lines = [(i, line) for i, line in enumerate(text.splitlines(), 1) if line.strip()]
    kept, notice = evenly(len(lines))
    where = [f"line {lines[i][0]}" for i in kept]
    rows = [matrix(parsed(lines[i][1], place), (3, 4), 4, place) for i, place in zip(kept, where)]
    poses = [row if len(row) == 4 else [*row, [0.0, 0.0, 0.0, 1.0]] for row in rows]
    w2c, mended = rigid(torch.tensor(poses, dtype=torch.float64), where)
    beside = source.companion("intrinsics.txt")
    if beside is None:
        raise ValueError(
            "it has no intrinsics.txt beside it; expected one line [fx fy cx cy], fractions of width and height"
        )
    found = NUMBER.findall(text_of(beside[1][:4096], beside[0]))
    if len(found) != 4:
        raise ValueError(f"{beside[0]} holds {len(found)} numbers, expected 4: [fx fy cx cy]")
    K = fractions.pixels(
        torch.tensor([[float(x) for x in found]], dtype=torch.float64), height, width, ["intrinsics.txt"]
    )
    assumed = (
        "poses are world-to-camera, OpenCV axes, one a frame, scale arbitrary",
        f"intrinsics.txt holds for every frame, as fractions of width and height, put on {height} x {width} pixels",
    )
    return collect(inverse(w2c), K.expand(len(w2c), 3, 3), height, width, (*assumed, *notice, *mended))


def write_spatia(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """``w2c.txt`` under the given name, and ``intrinsics.txt``.

    Raises:
        ValueError: the cameras zoom, or K has skew.
    """
    values = fractions.of(cameras)
    if not torch.equal(values, values[:1].expand_as(values)):
        raise ValueError(
            "the cameras zoom, and Spatia's format has one intrinsics.txt for all frames; write realestate10k"
        )
    rows = "".join(json.dumps(pose) + "\n" for pose in inverse(cameras.c2w).tolist())
    intrinsics = " ".join(repr(x) for x in values[0].tolist())
    return {name: rows.encode(), "intrinsics.txt": f"[{intrinsics}]\n".encode()}
