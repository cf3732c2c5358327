"""Rows of Wan's camera nodes: seven numbers and a pose. They look alike and mean the opposite of each other.

WanVideoWrapper and CameraCtrl (19 numbers): the pose is 3x4 world-to-camera. ComfyUI's own nodes (23 numbers): it is
4x4 camera-to-world. Only the count tells them apart.
"""

import json

import torch
from torch import Tensor

from ..camera import Cameras
from ..records import numbers
from . import fractions
from .documents import items
from .imported import Imported, collect, evenly, inverse, rigid
from .rows import table
from .source import Source

SIZE = f"focal lengths are fractions of a {fractions.WAN_WIDTH} x {fractions.WAN_HEIGHT} image that covers the frame"


def read_wanvideo(source: Source) -> Imported:
    """Read 7 + 12 numbers a row.

    Raises:
        ValueError: another count, or what is no pose; names the row.
    """
    rows, where, notice = _rows(source, 19, "7 numbers and a 3x4 world-to-camera pose; 7 + 16 are ComfyUI's own rows")
    w2c, mended = rigid(rows[:, 7:].reshape(-1, 3, 4), where)
    return _imported(source, inverse(w2c), rows, where, "poses are 3x4 world-to-camera", (*notice, *mended))


def read_wan(source: Source) -> Imported:
    """Read 7 + 16 numbers a row.

    Raises:
        ValueError: another count, or what is no pose; names the row.
    """
    rows, where, notice = _rows(
        source, 23, "7 numbers and a 4x4 camera-to-world pose; 7 + 12 are WanVideoWrapper's rows"
    )
    c2w, mended = rigid(rows[:, 7:].reshape(-1, 4, 4), where)
    return _imported(source, c2w, rows, where, "poses are 4x4 camera-to-world", (*notice, *mended))


def write_wanvideo(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """A JSON list of 7 + 12 numbers a row."""
    return {name: _written(cameras, inverse(cameras.c2w)[:, :3].flatten(1))}


def write_wan(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """A JSON list of 7 + 16 numbers a row."""
    return {name: _written(cameras, cameras.c2w.double().flatten(1))}


def _rows(source: Source, columns: int, meaning: str) -> tuple[Tensor, list[str], tuple[str, ...]]:
    text = source.text
    if not text.startswith("["):
        return table(text, columns, meaning)
    found = items(source.document, "the list")
    kept, notice = evenly(len(found), "rows")
    where = [f"row {i}" for i in kept]
    for i in kept:
        if isinstance(found[i], list) and len(found[i]) != columns:
            raise ValueError(f"row {i} has {len(found[i])} numbers, expected {columns}: {meaning}")
    rows = [numbers(found[i], columns, f"row {i}") for i in kept]
    return torch.tensor(rows, dtype=torch.float64), where, notice


def _imported(
    source: Source, c2w: Tensor, rows: Tensor, where: list[str], poses: str, more: tuple[str, ...]
) -> Imported:
    height, width = source.height, source.width
    K = fractions.pixels(rows[:, 1:5] * fractions.cover(height, width), height, width, where)
    assumed = (
        f"{poses}, OpenCV axes, scale arbitrary",
        "one row is one frame",
        f"{SIZE} of {height} x {width} pixels, as the nodes have it",
    )
    return collect(c2w, K, height, width, (*assumed, *more))


def _written(cameras: Cameras, poses: Tensor) -> bytes:  # poses: (T, 12 or 16)
    K = fractions.of(cameras) / fractions.cover(cameras.height, cameras.width)
    table = torch.cat([torch.zeros(len(K), 1), K, torch.zeros(len(K), 2), poses], dim=1)
    return ("[" + ",\n".join(json.dumps(row) for row in (table + 0.0).tolist()) + "]\n").encode()
