"""COLMAP's lists of cameras and images, as the text and the binary files hold them both."""

from dataclasses import dataclass
from pathlib import PurePosixPath

import torch

from ..camera import Cameras
from ..quaternion import quaternions_from_matrices
from .imported import inverse


@dataclass(frozen=True)
class Lens:
    """One entry of COLMAP's list of cameras."""

    model: str
    width: int
    height: int
    params: tuple[float, ...]  # in pixels, then distortion


@dataclass(frozen=True)
class View:
    """One entry of COLMAP's list of images."""

    name: str
    camera: int
    pose: tuple[float, ...]  # qw qx qy qz tx ty tz, world to camera
    where: str  # what to call it in an error


def model_of(cameras: Cameras) -> tuple[dict[int, Lens], list[View]]:
    """The same cameras as COLMAP lists them: one PINHOLE for each K that differs."""
    K = cameras.K.double()
    values = torch.stack([K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]], dim=1).tolist()
    numbers = {params: i for i, params in enumerate(dict.fromkeys(map(tuple, values)), 1)}
    lenses = {i: Lens("PINHOLE", cameras.width, cameras.height, params) for params, i in numbers.items()}
    w2c = inverse(cameras.c2w)
    poses = torch.cat([quaternions_from_matrices(w2c[:, :3, :3]), w2c[:, :3, 3]], dim=1).tolist()
    views = [
        View(f"frame_{i:05d}.png", numbers[tuple(params)], tuple(pose), "")
        for i, (params, pose) in enumerate(zip(values, poses))
    ]
    return lenses, views


def folder_of(name: str, ending: str, cameras: bytes, images: bytes, points: bytes) -> dict[str, bytes]:
    """The three files of a model, in a folder called ``name``."""
    parts = {"cameras": cameras, "images": images, "points3D": points}
    return {str(PurePosixPath(name) / f"{part}{ending}"): data for part, data in parts.items()}
