"""Small scenes for the tests: a pose, the geometry of flat or given depth, a memory of observations."""

import math

import torch
from spatial_memory.memory.camera import Cameras, intrinsics_from_fov
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.geometry import Geometry


def pose(position=(0.0, 0.0, 0.0), axis=(0.0, 1.0, 0.0), degrees=0.0):
    """c2w from an axis and an angle."""
    x, y, z = torch.nn.functional.normalize(torch.tensor(axis, dtype=torch.float64), dim=0).tolist()
    a = math.radians(degrees)
    k = torch.tensor([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=torch.float64)
    c2w = torch.eye(4)
    c2w[:3, :3] = (torch.eye(3).double() + math.sin(a) * k + (1 - math.cos(a)) * k @ k).float()
    c2w[:3, 3] = torch.tensor(position)
    return c2w


def geometry(depth, keep=None, confidence=None, c2w=None):
    """Depth (V, H, W) seen from the origin or from given poses, 60 degrees high."""
    views, height, width = depth.shape
    c2w = torch.eye(4).expand(views, 4, 4) if c2w is None else c2w
    cameras = Cameras(c2w, intrinsics_from_fov(60.0, height, width).expand(views, 3, 3), height, width)
    keep = torch.ones(depth.shape, dtype=torch.bool) if keep is None else keep
    confidence = torch.ones_like(depth) if confidence is None else confidence
    return Geometry(depth, confidence, keep, cameras, True, 1.0)


def memory_of(observations, channels=4, kind="latent"):
    """A memory that holds these observations."""
    return SpatialMemory(kind, "toy" if kind == "latent" else "", channels, 2.0, False).insert(observations)
