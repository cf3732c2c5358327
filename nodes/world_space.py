"""Widgets that say where something is and how it is turned, and what they mean.

Axes are those of the start camera: x to the right, y down, z ahead; lengths in scene units (the start frame's median
depth). A turn is roll about z first, then pitch about x, then yaw about y, all in degrees.
"""

import torch
from torch import Tensor

from ..memory.quaternion import Quaternion, from_axis, matrices_from_quaternions, multiply
from .host import io, socket

FAR = 1000.0  # scene units


def length(name: str, tooltip: str, default: float = 0.0, **options):
    """A place along one axis, or a size, in scene units."""
    given = {"min": -FAR, "max": FAR, "step": 0.01, "round": 0.000001, **options}
    return socket(io.Float, name, tooltip, default=default, optional=True, **given)


def angle(name: str, tooltip: str, **options):
    """An angle in degrees."""
    given = {"min": -360.0, "max": 360.0, "step": 1.0, "round": 0.000001, **options}
    return socket(io.Float, name, tooltip, default=0.0, optional=True, **given)


def turned(yaw: float, pitch: float, roll: float) -> Quaternion:
    """The rotation (wxyz): yaw to the right, pitch up, roll clockwise, in degrees."""
    inner = multiply(from_axis((1.0, 0.0, 0.0), pitch), from_axis((0.0, 0.0, 1.0), roll))
    return multiply(from_axis((0.0, 1.0, 0.0), yaw), inner)


def motion(place: tuple[float, float, float], rotation: Quaternion, about: Tensor | None = None) -> Tensor:
    """The rigid transform (4, 4) that turns about a point (3,), by default the origin, and then moves by ``place``."""
    transform = torch.eye(4, dtype=torch.float64)
    transform[:3, :3] = matrices_from_quaternions(torch.tensor(rotation, dtype=torch.float64))
    transform[:3, 3] = torch.tensor(place, dtype=torch.float64)
    if about is not None:
        fixed = about.double()
        transform[:3, 3] += fixed - transform[:3, :3] @ fixed
    return transform.float()
