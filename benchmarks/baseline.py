"""``readout_sorted``, the fair baseline of the readout: what a careful implementation does that sorts.

Same projection, threads and dtypes as ours; every write has one source, so it is as deterministic.
"""

import torch
from spatial_memory.memory.camera import Cameras, project_planar
from spatial_memory.memory.cloud import SpatialMemory
from torch import Tensor


def readout_sorted(memory: SpatialMemory, planar: Tensor, features: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Per view: transform, stable argsort by depth, then a stable sort by cell, and the first of each cell is written.

    Args:
        planar: (3, N) all points, joined before.
        features: (N, C) float16, joined before.

    Returns:
        features (V, C, h, w) float32 and winner (V, h, w), as ``splat_nearest`` gives them.
    """
    h, w, count = cameras.height, cameras.width, len(cameras)
    said = torch.zeros(count, h * w, memory.channels)
    winner = torch.full((count, h * w), -1)
    for view in range(count):
        u, v, z = project_planar(planar, cameras[view])
        inside = (z > 0) & (z < torch.inf) & (u >= 0) & (u < w) & (v >= 0) & (v < h)
        index = inside.nonzero()[:, 0]
        cell = (v[index].floor() * w + u[index].floor()).long()
        order = torch.argsort(z[index], stable=True)
        order = order[torch.argsort(cell[order], stable=True)]
        cell, index = cell[order], index[order]
        first = torch.ones_like(cell, dtype=torch.bool)
        first[1:] = cell[1:] != cell[:-1]
        cell, index = cell[first], index[first]
        winner[view, cell] = index
        said[view, cell] = features[index].float()
    return said.view(count, h, w, -1).permute(0, 3, 1, 2).contiguous(), winner.view(count, h, w)
