"""Intrinsics as fractions of the image: what RealEstate10K, Spatia and the Wan rows share."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..camera import Cameras
from .imported import pinholes

WAN_WIDTH, WAN_HEIGHT = 1280, 720  # the image that the rows of Wan's camera nodes are taken to be for


def pixels(fractions: Tensor, height: int, width: int, where: Sequence[str]) -> Tensor:
    """K (T, 3, 3) of fx fy cx cy (T, 4) as fractions of width and height.

    Raises:
        ValueError: these are no fractions; names the line.
    """
    bad = ~fractions.isfinite().all(1) | (fractions[:, :2] <= 0).any(1) | (fractions.abs() > 20).any(1)
    if bad.any():
        i = int(bad.int().argmax())
        given = " ".join(f"{x:g}" for x in fractions[i].tolist())
        raise ValueError(f"{where[i]} gives fx fy cx cy as {given}, expected fractions of width and height, not pixels")
    return pinholes(fractions * fractions.new_tensor([width, height, width, height]), where)


def of(cameras: Cameras) -> Tensor:
    """fx fy cx cy (T, 4) float64 as fractions of width and height.

    Raises:
        ValueError: K has skew.
    """
    K = cameras.K.double()
    if K[:, 0, 1].any():
        raise ValueError("K has skew, which this format cannot hold; write json")
    scale = K.new_tensor([cameras.width, cameras.height, cameras.width, cameras.height])
    return torch.stack([K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]], dim=-1) / scale


def cover(height: int, width: int) -> Tensor:
    """(4,) what a fraction fx fy cx cy of Wan's 1280 x 720 image is worth in fractions of this grid.

    The nodes take the focal lengths for those of a 1280 x 720 image that is scaled until it covers the frame; they
    leave the principal point as it is.
    """
    covered_width = max(width, height * WAN_WIDTH / WAN_HEIGHT)
    covered_height = max(height, width * WAN_HEIGHT / WAN_WIDTH)
    return torch.tensor([covered_width / width, covered_height / height, 1.0, 1.0], dtype=torch.float64)
