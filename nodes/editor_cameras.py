"""Camera files that are dropped onto the editor, and those that it hands out: plain functions, run in a thread."""

import io
import json
import tempfile
import zipfile
from pathlib import Path

import torch

from ..memory.camera import Cameras
from ..memory.formats import (
    FORMATS,
    READERS,
    dropped_by,
    dropped_by_path,
    flipped,
    inverted,
    path_from_cameras,
    read_camera_bytes,
    scaled,
    write_cameras,
)
from ..memory.path import MAX_FRAMES
from ..memory.quaternion import quaternions_from_matrices
from .editor_request import MAX_JSON, path_of, text, whole, within
from .recipe import path_of as path_of_widgets

MAX_POSES = 1024
MAX_SIDE = 16384
GRID = (704, 1248)  # of files whose intrinsics are fractions
SCALES = (1e-6, 1e6)


def path_text(asked: dict) -> dict:
    """The path that the node's widgets mean, as compact text.

    Raises:
        ValueError: a field that is not what it claims to be, or fields that make no path.
    """
    loop = asked.get("loop", False)
    if not isinstance(loop, bool):
        raise ValueError(f"loop is {loop!r:.80}, expected true or false")
    path = path_of_widgets(
        text(asked, "preset", ""),
        whole(asked, "num_frames", 2, MAX_FRAMES, 5),
        within(asked, "amount", -3600, 3600, 0),
        within(asked, "vertical_fov", 1, 170, 50),
        within(asked, "fps", 1e-3, 1000, 16),
        loop,
        text(asked, "keyframes", "", MAX_JSON),
    )
    return {"path": path.to_compact()}


def read_camera_file(content: bytes, query: dict[str, str]) -> dict:
    """The cameras of a file, as it stands or corrected, and the path of few keys that follows them.

    Raises:
        ValueError: no camera file, or a query that asks for what is not.
    """
    from .path import from_the_first

    kind = query.get("format", "auto")
    if kind != "auto" and kind not in READERS:
        raise ValueError(f"format is {kind[:80]!r}, expected 'auto' or one of {', '.join(READERS)}")
    height, width = (int(_asked(query, *side, 1, MAX_SIDE)) for side in (("height", GRID[0]), ("width", GRID[1])))
    fps, scale = _asked(query, "fps", 16.0, 1e-3, 1000.0), _asked(query, "scale", 1.0, *SCALES)
    name = query.get("name", "cameras")[-200:]
    found = read_camera_bytes(content, name, height, width, None if kind == "auto" else kind, fps)
    cameras = inverted(found.cameras) if _switched(query, "invert") else found.cameras
    cameras = scaled(flipped(cameras) if _switched(query, "flip") else cameras, scale)
    count = len(cameras)
    picked = [i * (count - 1) // (MAX_POSES - 1) for i in range(MAX_POSES)] if count > MAX_POSES else range(count)
    path = path_from_cameras(from_the_first(cameras), fps) if count > 1 else None
    return {
        "format": found.format,
        "count": count,
        "height": cameras.height,
        "width": cameras.width,
        "assumed": [*found.assumed, *dropped_by_path(cameras)],
        "poses": pose_rows(cameras[list(picked)]),
        "frames": list(picked),
        "path": None if path is None else recipe_of(path.to_json()),
    }


def exported(asked: dict) -> tuple[str, bytes, list[str]]:
    """The name and the bytes of a path's cameras in another tool's format, and what is lost in it.

    Raises:
        ValueError: no path, no such format, or sizes out of bounds.
    """
    path, kind = path_of(asked), text(asked, "format")
    if kind not in FORMATS:
        raise ValueError(f"format is {kind[:80]!r}, expected one of {', '.join(FORMATS)}")
    height, width = whole(asked, "height", 1, MAX_SIDE, GRID[0]), whole(asked, "width", 1, MAX_SIDE, GRID[1])
    unit = within(asked, "scene_unit", 1e-9, 1e9, 1.0)
    cameras = path.bake(height, width, unit)
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / ("camera_path" + FORMATS[kind].ending)
        files = write_cameras(target, cameras, kind, within(asked, "fps", 1e-3, 1000.0, path.fps))
        contents = {file.relative_to(folder).as_posix(): file.read_bytes() for file in files}
    lost = list(dropped_by(kind, cameras))
    if len(contents) == 1:
        name, content = next(iter(contents.items()))
        return Path(name).name, content, lost
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return "camera_path.zip", packed.getvalue(), lost


def recipe_of(written: str) -> dict:
    """A path's JSON without its bake: what the widget holds."""
    return {key: value for key, value in json.loads(written).items() if key != "bake"}


def pose_rows(cameras: Cameras) -> list[list[float]]:
    """x y z qw qx qy qz and the vertical field of view of cameras (T,), to 1e-6."""
    quaternions = quaternions_from_matrices(cameras.c2w[:, :3, :3].double())
    fov = (2 * (cameras.height / (2 * cameras.K[:, 1, 1].double())).atan()).rad2deg()
    rows = torch.cat([cameras.position.double(), quaternions, fov[:, None]], 1)
    return [[round(value, 6) for value in row] for row in rows.tolist()]


def _asked(query: dict[str, str], name: str, usual: float, low: float, high: float) -> float:
    """A number of a query's text."""
    given = query.get(name, str(usual))
    try:
        value = float(given[:40])
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise ValueError(f"{name} is {given[:80]!r}, expected {low:g} to {high:g}")
    return value


def _switched(query: dict[str, str], name: str) -> bool:
    if query.get(name, "0") not in ("0", "1"):
        raise ValueError(f"{name} is {query[name][:80]!r}, expected 0 or 1")
    return query.get(name) == "1"
