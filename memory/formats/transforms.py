"""NeRF's ``transforms.json``: camera-to-world matrices in OpenGL camera axes."""

import json
import math

import torch
from torch import Tensor

from ..camera import Cameras
from ..records import number
from .documents import items, matrix, record, size
from .imported import Imported, collect, evenly, from_opengl, pinholes, rigid
from .source import Source

DISTORTION = ("k1", "k2", "k3", "k4", "p1", "p2")


def read_transforms(source: Source) -> Imported:
    """Read ``transforms.json`` of NeRF, instant-ngp or nerfstudio, frames in the order of the file.

    Raises:
        ValueError: no intrinsics, or what is no pose; names the frame and the field.
    """
    found = record(source.document, "the file")
    frames = items(found.get("frames"), "frames")
    kept, notice = evenly(len(frames), "frames")
    where = [f"frames[{i}]" for i in kept]
    listed = [record(frames[i], place) for i, place in zip(kept, where)]
    names = [f"{place}.transform_matrix" for place in where]
    rows = [matrix(frame.get("transform_matrix"), (3, 4), 4, name) for frame, name in zip(listed, names)]
    poses = torch.tensor([row if len(row) == 4 else [*row, [0, 0, 0, 1]] for row in rows], dtype=torch.float64)
    c2w, mended = rigid(poses, names)
    stated = {**found, **listed[0]}
    height, width = source.height, source.width
    told = "w" in stated and "h" in stated
    if told:
        width, height = size(stated["w"], "w"), size(stated["h"], "h")
    K = [_intrinsics({**found, **frame}, height, width, place) for frame, place in zip(listed, where)]
    bent = any({**found, **frame}.get(name) for frame in listed for name in DISTORTION)
    assumed = (
        "poses are camera-to-world, OpenGL camera axes (+Y up, looking along -Z), scale arbitrary; the world stays",
        "frames are taken in the order of the file, one a frame",
        f"K is in pixels of {height} x {width}" + (", as the file says" if told else ", which the file does not say"),
        *(("lens distortion was left out",) if bent else ()),
        *(("applied_transform and applied_scale were not undone",) if "applied_transform" in found else ()),
    )
    return collect(from_opengl(c2w), pinholes(torch.stack(K), where), height, width, (*assumed, *notice, *mended))


def write_transforms(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """One frame a camera, intrinsics in each."""
    frames = []
    for i, (pose, K) in enumerate(zip(from_opengl(cameras.c2w).tolist(), cameras.K.double().tolist())):
        lens = {"fl_x": K[0][0], "fl_y": K[1][1], "cx": K[0][2], "cy": K[1][2]}
        frames.append({"file_path": f"images/frame_{i:05d}.png", **lens, "transform_matrix": pose})
    (fx, _, cx), (_, fy, cy), _ = cameras.K[0].tolist()
    head = {
        "camera_model": "OPENCV",
        "w": cameras.width,
        "h": cameras.height,
        "fl_x": fx,
        "fl_y": fy,
        "cx": cx,
        "cy": cy,
        "camera_angle_x": 2 * math.atan(cameras.width / (2 * fx)),
        "camera_angle_y": 2 * math.atan(cameras.height / (2 * fy)),
    }
    return {name: json.dumps({**head, "frames": frames}).encode()}


def _intrinsics(stated: dict, height: int, width: int, where: str) -> Tensor:  # (4,) fx fy cx cy
    """Focal lengths, or else angles in radians; the scale of a frame's own size, where it differs, is taken out."""
    own_width = size(stated["w"], f"{where}.w") if "w" in stated else width
    own_height = size(stated["h"], f"{where}.h") if "h" in stated else height

    def focal(name: str, angle: str, side: int) -> float | None:
        if name in stated:
            return number(stated[name], f"{where}.{name}")
        if angle not in stated:
            return None
        radians = number(stated[angle], f"{where}.{angle}")
        if not 0 < radians < math.pi:
            raise ValueError(f"{where}.{angle} is {radians}, expected radians between 0 and pi")
        return 0.5 * side / math.tan(radians / 2)

    fx, fy = focal("fl_x", "camera_angle_x", own_width), focal("fl_y", "camera_angle_y", own_height)
    if fx is None and fy is None:
        raise ValueError(f"{where} has neither fl_x, fl_y nor camera_angle_x: no intrinsics")
    cx = number(stated.get("cx", own_width / 2), f"{where}.cx")
    cy = number(stated.get("cy", own_height / 2), f"{where}.cy")
    values = torch.tensor([fx if fx is not None else fy, fy if fy is not None else fx, cx, cy], dtype=torch.float64)
    return values * values.new_tensor([width / own_width, height / own_height] * 2)
