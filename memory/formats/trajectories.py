"""TUM and KITTI: trajectories of SLAM systems, camera-to-world, without intrinsics."""

import torch

from ..camera import Cameras
from ..quaternion import matrices_from_quaternions, quaternions_from_matrices
from .imported import Imported, collect, no_intrinsics, rigid
from .rows import increasing, printed, table
from .source import Source


def read_tum(source: Source) -> Imported:
    """Read time tx ty tz qx qy qz qw.

    Raises:
        ValueError: another number of columns, times that do not increase, or what is no rotation; names the line.
    """
    rows, where, notice = table(source.text, 8, "time tx ty tz qx qy qz qw")
    length = rows[:, 4:].norm(dim=1)
    for i in ((length - 1).abs() > 1e-2).nonzero()[:1, 0].tolist():
        raise ValueError(f"{where[i]} has a quaternion of length {length[i].item():.3g}, expected 1: no rotation")
    increasing(rows[:, 0], where, "time")
    R = matrices_from_quaternions(rows[:, [7, 4, 5, 6]])
    c2w, mended = rigid(torch.cat([R, rows[:, 1:4, None]], dim=2), where)
    K, sentence = no_intrinsics(len(c2w), source.height, source.width)
    assumed = (
        "TUM: poses are camera-to-world, OpenCV camera axes, quaternions qx qy qz qw, units metres",
        "one row is one frame; the times, in seconds, are not used to space them",
        sentence,
    )
    more = (*assumed, *notice, *mended)
    return collect(c2w, K, source.height, source.width, more, rows[:, 0].tolist(), "seconds")


def read_kitti(source: Source) -> Imported:
    """Read rows of 12 numbers, a 3x4 matrix each.

    Raises:
        ValueError: another number of columns, or what is no pose; names the line.
    """
    rows, where, notice = table(source.text, 12, "a 3x4 camera-to-world pose, row by row")
    c2w, mended = rigid(rows.reshape(-1, 3, 4), where)
    K, sentence = no_intrinsics(len(c2w), source.height, source.width)
    assumed = (
        "KITTI: poses are 3x4 camera-to-world, OpenCV axes, units metres; where rows of 12 are world-to-camera, invert",
        "one row is one frame",
        sentence,
    )
    return collect(c2w, K, source.height, source.width, (*assumed, *notice, *mended))


def write_tum(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """One row a frame, its time in seconds."""
    c2w = cameras.c2w.double()
    q = quaternions_from_matrices(c2w[:, :3, :3])[:, [1, 2, 3, 0]]
    rows = torch.cat([torch.arange(len(c2w)).double()[:, None] / fps, c2w[:, :3, 3], q], dim=1)
    text = "# timestamp tx ty tz qx qy qz qw\n" + "".join(printed(row) + "\n" for row in rows.tolist())
    return {name: text.encode()}


def write_kitti(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """One row a frame."""
    return {name: "".join(printed(row) + "\n" for row in cameras.c2w.double()[:, :3].flatten(1).tolist()).encode()}
