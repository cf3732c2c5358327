"""Space cut into cubes: one int64 key each."""

import torch
from torch import Tensor

from .shapes import sizes

REACH = 1 << 20  # voxels to either side of the origin along each axis; points farther out count as lying there


def voxel_keys(points: Tensor, voxel: float) -> Tensor:
    """Keys (N,) int64 of the cubes of side ``voxel`` (world units) that hold the points (N, 3).

    Raises:
        ValueError: ``voxel`` is not positive.
    """
    sizes("N 3", points=points)
    if not voxel > 0:
        raise ValueError(f"voxel is {voxel}, expected a positive side in world units")
    x, y, z = (points / voxel).floor().clamp(-REACH, REACH - 1).to(torch.int64).unbind(1)
    return ((x + REACH) << 42) | ((y + REACH) << 21) | (z + REACH)
