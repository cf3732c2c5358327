"""nerfstudio's ``camera_path.json``: camera-to-world in OpenGL camera axes, vertical fields of view in degrees."""

import json

import torch

from ..camera import Cameras
from ..records import number, numbers
from .documents import items, record, size
from .imported import Imported, collect, evenly, from_opengl, pinholes_from_fov, rigid, vertical_fov
from .source import Source


def read_nerfstudio(source: Source) -> Imported:
    """Read the dense path; its keyframes are not looked at.

    Raises:
        ValueError: no perspective camera, or what is no pose; names the entry and the field.
    """
    found = record(source.document, "the file")
    kind = found.get("camera_type", "perspective")
    if kind != "perspective":
        raise ValueError(f"camera_type is {str(kind)[:40]!r}, expected 'perspective'")
    entries = items(found.get("camera_path"), "camera_path")
    kept, notice = evenly(len(entries))
    where = [f"camera_path[{i}]" for i in kept]
    listed = [record(entries[i], place) for i, place in zip(kept, where)]
    rows = [numbers(one.get("camera_to_world"), 16, f"{place}.camera_to_world") for one, place in zip(listed, where)]
    fov = [number(one.get("fov"), f"{place}.fov") for one, place in zip(listed, where)]
    c2w, mended = rigid(torch.tensor(rows, dtype=torch.float64).reshape(-1, 4, 4), where)
    height, width = source.height, source.width
    if "render_height" in found and "render_width" in found:
        height, width = size(found["render_height"], "render_height"), size(found["render_width"], "render_width")
    K = pinholes_from_fov(torch.tensor(fov, dtype=torch.float64), height, width, where)
    rate = number(found.get("fps", source.fps), "fps")
    if rate <= 0:
        raise ValueError(f"fps is {rate:g}, expected a positive number")
    assumed = (
        "poses are camera-to-world, OpenGL camera axes, in nerfstudio's own scaled world, which stays",
        f"fields of view are vertical, in degrees, on {height} x {width} square pixels",
        f"one entry is one frame, {rate:g} a second" + ("" if "fps" in found else ", which the file does not say"),
    )
    times = [i / rate for i in kept]
    return collect(from_opengl(c2w), K, height, width, (*assumed, *notice, *mended), times, "seconds")


def write_nerfstudio(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """The dense path, which ``ns-render camera-path`` renders; no keyframes for the viewer's own editor."""
    aspect = cameras.width / cameras.height
    path = [
        {"camera_to_world": pose, "fov": fov, "aspect": aspect}
        for pose, fov in zip(from_opengl(cameras.c2w).flatten(1).tolist(), vertical_fov(cameras).tolist())
    ]
    head = {
        "camera_type": "perspective",
        "render_height": cameras.height,
        "render_width": cameras.width,
        "fps": fps,
        "seconds": len(path) / fps,
        "is_cycle": False,
        "smoothness_value": 0.0,
        "keyframes": [],
    }
    return {name: json.dumps({**head, "camera_path": path}).encode()}
