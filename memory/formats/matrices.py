"""A JSON list of 4x4 matrices, or of 12 numbers each: the world-to-camera poses of Matrix-3D and MotionCtrl."""

import json

import torch

from ..camera import Cameras
from ..records import numbers
from .documents import items, matrix
from .imported import Imported, collect, evenly, inverse, no_intrinsics, rigid
from .source import Source


def read_matrices(source: Source) -> Imported:
    """Read the list.

    Raises:
        ValueError: an entry is no pose; names it by its index.
    """
    found = items(source.document, "the list")
    kept, notice = evenly(len(found))
    where = [f"pose {i}" for i in kept]
    poses = []
    for i, place in zip(kept, where):
        entry = found[i]
        if isinstance(entry, list) and len(entry) == 12:
            flat = numbers(entry, 12, place)
            entry = [list(flat[row : row + 4]) for row in (0, 4, 8)]
        rows = matrix(entry, (3, 4), 4, place)
        poses.append(rows if len(rows) == 4 else [*rows, [0.0, 0.0, 0.0, 1.0]])
    w2c, mended = rigid(torch.tensor(poses, dtype=torch.float64), where)
    K, sentence = no_intrinsics(len(w2c), source.height, source.width)
    assumed = (
        "poses are world-to-camera, OpenCV axes, one a frame, scale arbitrary, as Matrix-3D and MotionCtrl write them",
        "a list of 4x4 matrices from ReCamMaster looks the same: name the format then",
        sentence,
    )
    return collect(inverse(w2c), K, source.height, source.width, (*assumed, *notice, *mended))


def write_matrices(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """A JSON list of 4x4 world-to-camera matrices."""
    return {name: json.dumps(inverse(cameras.c2w).tolist()).encode()}
