"""What puts right a file whose conventions were guessed wrong: invert, flip, scale."""

import math

from ..camera import Cameras
from .imported import from_opengl, inverse


def inverted(cameras: Cameras) -> Cameras:
    """Poses that were taken for camera-to-world and are world-to-camera, or the other way round."""
    return Cameras(inverse(cameras.c2w).to(cameras.c2w.dtype), cameras.K, cameras.height, cameras.width)


def flipped(cameras: Cameras) -> Cameras:
    """Cameras whose Y and Z axes were taken for OpenCV's and are OpenGL's, or the other way round."""
    return Cameras(from_opengl(cameras.c2w).to(cameras.c2w.dtype), cameras.K, cameras.height, cameras.width)


def scaled(cameras: Cameras, factor: float) -> Cameras:
    """Positions times ``factor``.

    Raises:
        ValueError: the factor is no positive number.
    """
    if not (math.isfinite(factor) and factor > 0):
        raise ValueError(f"scale is {factor}, expected a positive number")
    c2w = cameras.c2w.clone()
    c2w[..., :3, 3] *= factor
    return Cameras(c2w, cameras.K, cameras.height, cameras.width)
