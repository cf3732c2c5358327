"""Choosing points of a memory: by a drawn mask from a camera, or what hangs together with a point.

Both give a region of voxels, so that the choice holds for what is lifted there later.
"""

import torch
from torch import Tensor

from .camera import Cameras, flat_cells, project_planar
from .cloud import SpatialMemory
from .discs import SURFACE
from .regions import Region, Voxels, voxels_around
from .splat import render_depth
from .voxels import voxel_keys
from .which import which

SELECTED_VOXEL = 1 / 40  # scene units: how finely a choice of points is kept


def lasso(memory: SpatialMemory, camera: Cameras, mask: Tensor, voxel: float | None = None) -> Voxels:
    """What a camera sees of the memory inside a mask: the frontmost surface there, not what lies behind it.

    Args:
        camera: a single camera.
        mask: (H, W) bool on the camera's grid, True = selected.
        voxel: side of the region's voxels in world units; 1/40 scene unit by default.

    Raises:
        ValueError: a mask of another size, or no visible point inside it.
    """
    if tuple(mask.shape) != (camera.height, camera.width):
        raise ValueError(
            f"the mask is {tuple(mask.shape)}, the camera images {camera.height} x {camera.width}; draw the mask on "
            "that picture"
        )
    depth, _ = render_depth(memory, camera.alone())
    points = memory.points
    u, v, z = project_planar(points.T.contiguous(), camera)
    cell = flat_cells(u, v, z, camera.height, camera.width)
    inside = torch.cat([mask.flatten().bool(), mask.new_zeros(1).bool()])[cell]
    front = torch.cat([depth[0].flatten(), depth.new_zeros(1)])[cell]
    seen = inside & ((front == 0) | (z <= front * (1 + 2 * SURFACE)))
    return voxels_around(points[seen], memory.scene_unit * SELECTED_VOXEL if voxel is None else voxel)


def component(memory: SpatialMemory, seed: Tensor, within: Region, voxel: float | None = None) -> Voxels:
    """What hangs together with the point nearest to a place, inside a region.

    Two points hang together where their voxels touch, by a side, an edge or a corner.

    Args:
        seed: (3,) world.
        within: points outside it count as gaps, so that a chair ends where the floor begins.

    Raises:
        ValueError: no point of the memory lies in ``within``.
    """
    voxel = memory.scene_unit * SELECTED_VOXEL if voxel is None else voxel
    points = memory.points
    points = points[within.contains(points)]
    if not len(points):
        raise ValueError("nothing is selected: no point of the memory lies in that part of it")
    keys, group = voxel_keys(points, voxel).unique(return_inverse=True)
    labels = _labels(keys)
    start = group[(points - seed.to(points)).square().sum(1).argmin()]
    return voxels_around(points[(labels == labels[start])[group]], voxel)


def _labels(keys: Tensor) -> Tensor:
    """The least index among the voxels that each hangs together with: (K,) int64. ``keys``: sorted, unique."""
    steps = [(x << 42) + (y << 21) + z for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)]
    pairs = []
    for step in steps:
        place = torch.searchsorted(keys, keys + step).clamp(max=len(keys) - 1)
        found = which(keys[place] == keys + step)
        pairs.append(torch.stack([found, place[found]]))
    one, other = torch.cat(pairs, 1)
    labels = torch.arange(len(keys))
    while True:
        least = labels.scatter_reduce(0, one, labels[other], "amin")
        least = torch.minimum(least, least[least])  # follow the label's own label: halves what is left to walk
        if torch.equal(least, labels):
            return labels
        labels = least
