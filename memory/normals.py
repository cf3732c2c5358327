"""Surface normals: from the depth of a view, and as two bytes a point.

Octahedral code (Meyer et al. 2010, "On floating-point normal vectors"): the unit sphere folded onto a square, each
side in 254 steps. The bytes (0, 0) say that nothing is known.
"""

import torch
from torch import Tensor

from .camera import Cameras, known_depth, unproject
from .shapes import sizes

STEEP = 0.1  # relative: neighbours farther apart in depth than this lie on two surfaces ...
BENT = 0.05  # ... unless their inverse depths lie on a line as those of a plane do, by this share of the middle one


def normals_of(depth: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Normals of the surface that a view sees, turned to the camera.

    Args:
        depth: (V, H, W) z-depth on the cameras' grid, 0 = unknown.

    Returns:
        normals (V, H, W, 3) in world axes, zero where no neighbour on the surface is known, and the cosine of
        incidence (V, H, W) in [0, 1], 1 where nothing is known.
    """
    sizes("V H W", depth=depth)
    known = known_depth(depth)
    points = unproject(torch.where(known, depth, 1.0), cameras)  # (V, H, W, 3)
    right, down = _difference(points, depth, known, 2), _difference(points, depth, known, 1)
    normal = torch.linalg.cross(right, down, dim=-1)
    length = normal.square().sum(-1, keepdim=True).sqrt()
    normal = torch.where(length > 0, normal / length.clamp(min=1e-30), 0.0)
    ray = points - cameras.position[:, None, None]
    ray = ray / ray.square().sum(-1, keepdim=True).sqrt().clamp(min=1e-30)
    cosine = (normal * ray).sum(-1)
    facing = torch.where(cosine[..., None] > 0, -normal, normal)
    return facing, torch.where(length[..., 0] > 0, cosine.abs().clamp(max=1), 1.0)


def _difference(points: Tensor, depth: Tensor, known: Tensor, axis: int) -> Tensor:
    """From the neighbour before to the one behind along an axis, over those that lie on the same surface.

    Along a row of pixels the inverse depth of a plane is linear, however steeply it is seen.
    """
    size = depth.shape[axis]
    index = torch.arange(size, device=depth.device)
    inverse = torch.where(known, 1 / torch.where(known, depth, 1.0), torch.nan)
    before, behind = (inverse.index_select(axis, (index + step).clamp(0, size - 1)) for step in (-1, 1))
    inside = ((index > 0) & (index < size - 1)).view(-1, *[1] * (depth.ndim - 1 - axis))
    plane = inside & ((before + behind - 2 * inverse).abs() <= BENT * inverse)
    total = torch.zeros_like(points)
    for step in (-1, 1):
        other = (index + step).clamp(0, size - 1)
        there = depth.index_select(axis, other)
        near = (there - depth).abs() <= STEEP * torch.minimum(there, depth)
        same = known & known.index_select(axis, other) & (near | plane)
        total = total + step * torch.where(same[..., None], points.index_select(axis, other) - points, 0.0)
    return total


def encode_normals(normals: Tensor) -> Tensor:
    """Unit vectors (..., 3) as bytes (..., 2); zero vectors as (0, 0)."""
    x, y, z = normals.unbind(-1)
    size = (x.abs() + y.abs() + z.abs()).clamp(min=1e-30)
    u, v = x / size, y / size
    folded_u, folded_v = (1 - v.abs()) * _sign(u), (1 - u.abs()) * _sign(v)
    u, v = torch.where(z < 0, folded_u, u), torch.where(z < 0, folded_v, v)
    code = torch.stack([u, v], -1).mul(127).round().add(128).clamp(1, 255).to(torch.uint8)
    return torch.where((normals == 0).all(-1, keepdim=True), 0, code).to(torch.uint8)


def decode_normals(codes: Tensor) -> Tensor:
    """Bytes (..., 2) as unit vectors (..., 3); (0, 0) as zero vectors."""
    u, v = ((codes.float() - 128) / 127).unbind(-1)
    z = 1 - u.abs() - v.abs()
    unfolded_u, unfolded_v = (1 - v.abs()) * _sign(u), (1 - u.abs()) * _sign(v)
    x, y = torch.where(z < 0, unfolded_u, u), torch.where(z < 0, unfolded_v, v)
    normal = torch.stack([x, y, z], -1)
    normal = normal / normal.square().sum(-1, keepdim=True).sqrt().clamp(min=1e-30)
    return torch.where((codes == 0).all(-1, keepdim=True), 0.0, normal)


def _sign(values: Tensor) -> Tensor:
    return torch.where(values < 0, -1.0, 1.0)
