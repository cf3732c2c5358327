"""Our own JSON: cameras one by one, or a path."""

import json

import torch

from ..camera import Cameras
from ..path import CameraPath
from ..records import numbers
from .as_path import path_from_cameras
from .documents import items, record
from .imported import Imported, collect, evenly
from .source import Source

VERSION = 1
FORMAT = "spatial-memory-cameras"


def read_json(source: Source) -> Imported:
    """Read our JSON, of either kind; a path is baked on the source's grid.

    Raises:
        ValueError: a newer version, or a field that does not fit; names it.
    """
    height, width = source.height, source.width
    text = source.text
    assumed: tuple[str, ...]
    if f'"{FORMAT}"' not in text[:4096]:
        path = CameraPath.from_json(text)
        assumed = (f"a path in our JSON, baked at {height} x {width} pixels with a scene unit of 1",)
        return Imported(path.bake(height, width), assumed, tuple(map(float, range(path.num_frames))), "frames")
    found = record(source.document, "the camera file")
    if found.get("version") != VERSION:
        raise ValueError(f"the camera file has version {found.get('version')!r}, this pack reads {VERSION}")
    grid = tuple(found.get(side, 0) for side in ("height", "width"))
    frames = found.get("frames")
    if not isinstance(frames, list) or not all(type(x) is int and 0 < x <= 65536 for x in grid):
        raise ValueError(f"height and width are {grid}, frames {type(frames).__name__}; expected two counts and a list")
    kept, notice = evenly(len(items(frames, "frames")))
    c2w, K = [], []
    for i in kept:
        frame = record(frames[i], f"frame {i}")
        c2w.append(numbers(frame.get("c2w"), 16, f"frame {i} c2w"))
        K.append(numbers(frame.get("K"), 9, f"frame {i} K"))
    poses = torch.tensor(c2w, dtype=torch.float64).reshape(-1, 4, 4)
    intrinsics = torch.tensor(K, dtype=torch.float64).reshape(-1, 3, 3)
    assumed = ("our JSON: camera-to-world, OpenCV axes, K in pixels", *notice)
    return collect(poses, intrinsics, grid[0], grid[1], assumed)


def write_json(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """Every camera, to the bit."""
    frames = [{"c2w": c2w, "K": K} for c2w, K in zip(cameras.c2w.flatten(-2).tolist(), cameras.K.flatten(-2).tolist())]
    head = {"format": FORMAT, "version": VERSION, "height": cameras.height, "width": cameras.width}
    return {name: json.dumps({**head, "frames": frames}).encode()}


def write_path(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """The few keys of a path that follows the cameras."""
    return {name: path_from_cameras(cameras, fps, name=name.rpartition(".")[0] or name).to_json().encode()}
