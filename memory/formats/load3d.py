"""ComfyUI's LOAD3D_CAMERA: one camera of a Three.js scene as a dictionary.

Three.js: Y up, the camera looks along -Z, ``fov`` is vertical in degrees. ``quaternion`` (x y z w) says how the camera
is turned; where an older host sends none, it looks from ``position`` to ``target`` with Y up. Units stay.
"""

import math

import torch
from torch import Tensor

from ..camera import Cameras
from ..quaternion import matrices_from_quaternions, quaternions_from_matrices
from ..records import number
from .documents import record
from .imported import collect, from_y_up, pinholes_from_fov, rigid, vertical_fov

THREE_FOV = 75.0  # of the host's 3D viewer, which older versions of it do not say
FAR = 1.0  # how far ahead a target is put


def camera_from_load3d(info: object, height: int, width: int) -> Cameras:
    """The camera (1,) of a LOAD3D_CAMERA.

    Raises:
        ValueError: a field is missing or no number, or position and target leave no direction; names the field.
    """
    found = record(info, "camera_info")
    if found.get("cameraType", "perspective") != "perspective":
        raise ValueError(f"camera_info.cameraType is {str(found['cameraType'])[:30]!r}, expected 'perspective'")
    position = _vector(found, "position", "xyz")
    if found.get("quaternion") is not None:
        x, y, z, w = _vector(found, "quaternion", "xyzw").tolist()
        length = math.hypot(x, y, z, w)
        if abs(length - 1) > 1e-2:
            raise ValueError(f"camera_info.quaternion has length {length:.3g}, expected 1: no rotation")
        R = matrices_from_quaternions(torch.tensor([w, x, y, z], dtype=torch.float64))
    else:
        R = _looking(position, _vector(found, "target", "xyz"))
    zoom = number(found.get("zoom", 1.0), "camera_info.zoom")
    fov = number(found.get("fov", THREE_FOV), "camera_info.fov")
    if not zoom > 0 or not 0 < fov < 180:
        raise ValueError(f"camera_info has zoom {zoom:g} and fov {fov:g}; expected a positive one and 0 to 180 degrees")
    seen = 2 * math.degrees(math.atan(math.tan(math.radians(fov) / 2) / zoom))
    c2w, _ = rigid(torch.cat([R, position[:, None]], dim=1)[None], ["camera_info"])
    K = pinholes_from_fov(torch.tensor([seen], dtype=torch.float64), height, width, ["camera_info"])
    return collect(from_y_up(c2w), K, height, width, ()).cameras


def load3d_from_camera(camera: Cameras) -> dict:
    """The LOAD3D_CAMERA of a single camera, its target one unit ahead."""
    c2w = from_y_up(camera.c2w)
    position, ahead = c2w[:3, 3], -c2w[:3, 2]
    w, x, y, z = quaternions_from_matrices(c2w[:3, :3]).tolist()
    return {
        "position": dict(zip("xyz", position.tolist())),
        "target": dict(zip("xyz", (position + FAR * ahead).tolist())),
        "quaternion": {"x": x, "y": y, "z": z, "w": w},
        "fov": vertical_fov(camera.alone())[0].item(),
        "zoom": 1,
        "cameraType": "perspective",
    }


def _vector(found: dict, name: str, axes: str) -> Tensor:
    given = record(found.get(name), f"camera_info.{name}")
    values = [number(given.get(axis), f"camera_info.{name}.{axis}") for axis in axes]
    return torch.tensor(values, dtype=torch.float64)


def _looking(position: Tensor, target: Tensor) -> Tensor:
    """The rotation (3, 3) of a camera at ``position`` that looks at ``target``, Y up."""
    back = position - target
    if back.norm() < 1e-9:
        raise ValueError("camera_info.target is camera_info.position; expected a direction to look in")
    back = back / back.norm()
    up = back.new_tensor([0.0, 1.0, 0.0])
    if torch.linalg.cross(up, back).norm() < 1e-6:  # straight up or down, as Three.js has it
        up = back.new_tensor([0.0, 0.0, -1.0 if back[1] > 0 else 1.0])
    right = torch.linalg.cross(up, back)
    right = right / right.norm()
    return torch.stack([right, torch.linalg.cross(back, right), back], dim=1)
