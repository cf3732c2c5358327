"""ComfyUI's WAN_CAMERA_EMBEDDING: the rays of every pixel as Pluecker coordinates, laid out for Wan's camera models.

A ray through o in direction d (unit) has the coordinates (o x d, d). Frames are seen from the first one. The first
frame counts four times and every four frames share one latent frame, so 1 + 4n frames give n + 1 of 24 channels: the
six coordinates, each of the four frames in turn.
"""

import torch
from torch import Tensor

from ..camera import Cameras, compose, invert_rigid

STRIDE = 4  # frames a latent frame


def plucker_rays(cameras: Cameras) -> Tensor:
    """Pluecker coordinates (T, 6, H, W) float32 of cameras (T,), in their own world: moment o x d, then direction d."""
    v, u = (torch.arange(side, dtype=torch.float32) + 0.5 for side in (cameras.height, cameras.width))
    K, c2w = cameras.K[:, :, :, None, None], cameras.c2w[:, :, :, None, None]
    x = ((u - K[:, 0, 2]) / K[:, 0, 0]).expand(len(cameras), cameras.height, cameras.width)
    y = ((v[:, None] - K[:, 1, 2]) / K[:, 1, 1]).expand_as(x)
    d = torch.stack([c2w[:, i, 0] * x + c2w[:, i, 1] * y + c2w[:, i, 2] for i in range(3)], dim=1)
    d = d / d.norm(dim=1, keepdim=True)
    o = c2w[:, :3, 3].expand_as(d)
    return torch.cat([torch.linalg.cross(o, d, dim=1), d], dim=1)


def wan_camera_embedding(cameras: Cameras) -> Tensor:
    """(1, 24, (T + 3) / 4, H, W) float32 of 1 + 4n cameras, seen from the first.

    Raises:
        ValueError: another number of frames.
    """
    count = len(cameras)
    if count % STRIDE != 1:
        below = max(count - (count - 1) % STRIDE, 1)
        raise ValueError(f"the path has {count} frames, expected 1 + 4n: {below} or {below + STRIDE}")
    c2w = compose(invert_rigid(cameras.c2w[0]), cameras.c2w)
    c2w[0] = torch.eye(4)
    rays = plucker_rays(Cameras(c2w, cameras.K, cameras.height, cameras.width))
    rays = torch.cat([rays[:1].expand(STRIDE - 1, -1, -1, -1), rays])  # (4 t, 6, H, W)
    latent = rays.unflatten(0, (-1, STRIDE)).transpose(1, 2)  # (t, 6, 4, H, W)
    return latent.flatten(1, 2).transpose(0, 1)[None].contiguous()
