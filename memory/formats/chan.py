"""Nuke's ``.chan``: frame, position, three angles in degrees and the vertical field of view, one line a frame.

Nuke's camera looks along -Z in a world whose Y points up, and turns about Z, then X, then Y (its default order ZXY):
R = Ry Rx Rz.
"""

import math

import torch
from torch import Tensor

from ..camera import Cameras
from .imported import Imported, collect, from_y_up, no_intrinsics, pinholes_from_fov, rigid, vertical_fov
from .rows import printed, table
from .source import Source


def read_chan(source: Source) -> Imported:
    """Read frame tx ty tz rx ry rz, with or without the field of view.

    Raises:
        ValueError: another number of columns, or frames that do not follow one another; names the line.
    """
    text = source.text
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    columns = 7 if len(first.split()) == 7 else 8
    rows, where, notice = table(text, columns, "frame tx ty tz rx ry rz" + " vertical_fov" * (columns == 8))
    frames = rows[:, 0].tolist()
    for i, (before, frame) in enumerate(zip(frames, frames[1:]), 1):
        if frame <= before or frame != int(frame) or (not notice and frame != before + 1):
            raise ValueError(
                f"{where[i]} is frame {frame:g}, expected {before + 1:g}: frames are missing or out of order"
            )
    c2w, mended = rigid(torch.cat([rotations(rows[:, 4:7]), rows[:, 1:4, None]], dim=2), where)
    if columns == 8:
        K = pinholes_from_fov(rows[:, 7], source.height, source.width, where)
        sentence = f"the field of view is vertical, in degrees, put on {source.height} x {source.width} square pixels"
    else:
        K, sentence = no_intrinsics(len(c2w), source.height, source.width)
    assumed = (
        "poses are camera-to-world, the camera looks along -Z, angles in degrees in Nuke's order ZXY, units unknown",
        "Y points up in Nuke's world: (x, y, z) became (x, -y, -z)",
        sentence,
    )
    more = (*assumed, *notice, *mended)
    return collect(from_y_up(c2w), K, source.height, source.width, more, frames, "frames")


def write_chan(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """One line a frame, from frame 1."""
    c2w = from_y_up(cameras.c2w)
    rows = torch.cat([c2w[:, :3, 3], angles(c2w[:, :3, :3]), vertical_fov(cameras)[:, None]], dim=1).tolist()
    return {name: "".join(f"{i} {printed(row)}\n" for i, row in enumerate(rows, 1)).encode()}


def rotations(degrees: Tensor) -> Tensor:
    """R = Ry Rx Rz (T, 3, 3) of angles rx ry rz (T, 3) in degrees."""
    (sx, sy, sz), (cx, cy, cz) = degrees.deg2rad().sin().unbind(1), degrees.deg2rad().cos().unbind(1)
    rows = [
        [cy * cz + sy * sx * sz, -cy * sz + sy * sx * cz, sy * cx],
        [cx * sz, cx * cz, -sx],
        [-sy * cz + cy * sx * sz, sy * sz + cy * sx * cz, cy * cx],
    ]
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def angles(R: Tensor) -> Tensor:
    """The inverse of ``rotations``, without jumps of 360 degrees from frame to frame."""
    rx = torch.asin((-R[:, 1, 2]).clamp(-1, 1))
    steep = rx.cos() < 1e-9  # looking straight up or down: the turn about Z is given to Y
    ry = torch.where(steep, torch.atan2(-R[:, 2, 0], R[:, 0, 0]), torch.atan2(R[:, 0, 2], R[:, 2, 2]))
    rz = torch.where(steep, torch.zeros_like(rx), torch.atan2(R[:, 1, 0], R[:, 1, 1]))
    found = torch.stack([rx, ry, rz], dim=1)
    steps = torch.diff(found, dim=0, prepend=found[:1])
    return (found - 2 * math.pi * torch.round(steps / (2 * math.pi)).cumsum(0)).rad2deg()
