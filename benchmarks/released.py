"""The readout rules of the two released systems, written anew from measured facts about them.

Mirage, latent cells: depth brought to the latent grid by plain bilinear interpolation, zeros averaged in; rays through
integer cell indices with the intrinsics scaled by the plain ratio and not shifted; the nearest cell by rounding; the
nearest point wins; no discs, no mask. Its z-buffer is taken to work, which on several threads it does not.

Spatia, pixels: points and colours averaged in voxels of 1 cm, discs of a fixed 0.01 NDC (3.52 pixels at 704), the five
nearest composited with weight 1 - d²/r² over black. Its other faults (the sign of the principal point, invalid pixels
that pile up in the first camera, colours stored at a sixth of the pixels, video compression) are left out.
"""

import torch
from spatial_memory.memory.camera import Cameras, transform_points, unproject
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.lift import as_bytes
from spatial_memory.memory.observation import Observation
from spatial_memory.memory.splat import fixed, splat_discs
from spatial_memory.memory.voxels import voxel_keys
from torch import Tensor
from torch.nn.functional import interpolate

VOXEL = 0.01  # metres
HALF = 0.5  # pixels: these systems are given intrinsics whose pixel centres lie at integers


def plain_depth(depth: Tensor, height: int, width: int) -> Tensor:
    """Depth (H, W) on another grid as the released code brings it there: zeros count."""
    return interpolate(depth[None, None], (height, width), mode="bilinear", align_corners=False)[0, 0]


def read_latents(codes: Tensor, depth: Tensor, source: Cameras, target: Cameras) -> tuple[Tensor, Tensor]:
    """Latent cells of one view, read at another camera by Mirage's rules.

    Args:
        codes: (C, h, w).
        depth: (H, W) on the grid of ``source``; 0 = no measurement.
        source, target: (), on the pixel grid.

    Returns:
        codes (C, h, w), 0 at holes, and known (h, w) bool.
    """
    channels, h, w = codes.shape
    small = plain_depth(depth, h, w)
    fx, fy, cx, cy = _scaled(source, h, w)
    row, column = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    local = torch.stack([(column - cx) / fx * small, (row - cy) / fy * small, small], -1)[small > 0]
    x, y, z = transform_points(target.w2c, transform_points(source.c2w, local)).T
    fx, fy, cx, cy = _scaled(target, h, w)
    u, v = (x / z * fx + cx).round(), (y / z * fy + cy).round()
    inside = (z > 0) & (u >= 0) & (u < w) & (v >= 0) & (v < h)
    cell, z, value = (v * w + u)[inside].long(), z[inside], codes[:, small > 0][:, inside]
    front = torch.full((h * w,), torch.inf).scatter_reduce_(0, cell, z, "amin")
    wins = z == front[cell]
    said = torch.zeros(channels, h * w)
    said[:, cell[wins]] = value[:, wins]
    return said.view(channels, h, w), (front < torch.inf).view(h, w)


def read_pixels(image: Tensor, depth: Tensor, source: Cameras, target: Cameras) -> tuple[Tensor, Tensor]:
    """Pixels of one view, read at another camera by Spatia's rules.

    Args:
        image: (3, H, W) in [0, 1].
        depth: (H, W); 0 = no measurement.
        source, target: (), on the H x W grid.

    Returns:
        colours (3, H, W) over black, and coverage (H, W) in [0, 1].
    """
    known = depth > 0
    places, colours = averaged(unproject(depth, source)[known], image[:, known].T, VOXEL)
    cells = torch.arange(len(places), dtype=torch.int32)
    memory = SpatialMemory("rgb", "", 3, 1.0, True).insert(
        [Observation(places, as_bytes(colours), cells, source, 0, 0, VOXEL)]
    )
    view = target.alone()
    read = splat_discs(memory, view, fixed())
    return read.features[0], read.known[0]


def averaged(points: Tensor, colours: Tensor, voxel: float) -> tuple[Tensor, Tensor]:
    """The mean place and the mean colour of the points (N, 3) in each voxel: (G, 3) both."""
    keys, group = voxel_keys(points, voxel).unique(return_inverse=True)
    count = torch.bincount(group, minlength=len(keys))[:, None]
    values = torch.cat([points, colours], 1).double()
    means = torch.zeros(len(keys), 6, dtype=torch.float64).index_add_(0, group, values) / count
    return means[:, :3].float(), means[:, 3:].float()


def _scaled(camera: Cameras, h: int, w: int) -> tuple[float, float, float, float]:
    """fx, fy, cx, cy on a grid of h x w cells, by the plain ratio and without the half."""
    (fx, _, cx), (_, fy, cy), _ = camera.K.tolist()
    across, down = w / camera.width, h / camera.height
    return fx * across, fy * down, (cx - HALF) * across, (cy - HALF) * down
