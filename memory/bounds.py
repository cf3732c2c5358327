"""Where points lie at most, and which views can see them: asked before a single point is touched.

An observation is cut into tiles, runs of points beside one another. All points of a tile lie in the hull of eight
corners: the block of the source frustum between its nearest and farthest depth. A view cannot see a tile whose corners
all lie beyond one side of its own frustum. The test errs on the safe side: by ``SLACK``, far above float32 rounding.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .camera import Cameras

TILE = 4096  # points
SLACK = 1e-4  # relative growth of a hull, and share of a pixel
CANCELLED = 1e-6  # of the largest coordinate: what float32 loses on its way from the world to a camera


@dataclass(frozen=True, eq=False)
class Tiles:
    """M runs [start, stop) of points that tell where they lie at most."""

    start: Tensor  # (M,) int64
    stop: Tensor  # (M,) int64
    corners: Tensor  # (M, 8, 3) float64 world; all points of a tile lie in their hull

    def get_ram_usage(self) -> int:
        return sum(t.numel() * t.element_size() for t in (self.start, self.stop, self.corners))


def tiles_of(planar: Tensor, camera: Cameras) -> Tiles:
    """Cut points (3, N) into tiles, in their order; ``camera`` is where they were seen from."""
    n = planar.shape[1]
    start = torch.arange(0, n, TILE)
    if not n:
        return Tiles(start, start, torch.empty(0, 8, 3, dtype=torch.float64))
    w2c, K = camera.w2c.double(), camera.K.double()
    x, y, z = w2c[:3, :3] @ planar.double() + w2c[:3, 3:]
    ahead = bool((z > 0).all())
    # a block of the source frustum, or, where some lie behind the camera, a box along the axes
    rows = torch.stack([x / z * K[0, 0] + K[0, 2], y / z * K[1, 1] + K[1, 2], z]) if ahead else planar.double()
    low, high = (_runs(rows, n, torch.amin), _runs(rows, n, torch.amax))  # (3, M)
    grow = SLACK * torch.maximum(low.abs(), high.abs()) + SLACK * (high - low)
    low, high = low - grow, high + grow
    picks = torch.tensor([[i >> axis & 1 for axis in range(3)] for i in range(8)], dtype=torch.bool)  # (8, 3)
    corners = torch.where(picks[None], high.T[:, None].cpu(), low.T[:, None].cpu())  # (M, 8, 3)
    if ahead:
        K, c2w = K.cpu(), camera.c2w.double().cpu()
        depth = corners[..., 2:].clamp(min=1e-12)
        x = (corners[..., 0:1] - K[0, 2]) / K[0, 0] * depth
        y = (corners[..., 1:2] - K[1, 2]) / K[1, 1] * depth
        corners = torch.cat([x, y, depth], -1) @ c2w[:3, :3].T + c2w[:3, 3]
    return Tiles(start, (start + TILE).clamp(max=n), corners)


def _runs(rows: Tensor, n: int, reduce) -> Tensor:
    """The least or the largest of each run: (3, M)."""
    whole = n // TILE * TILE
    parts = [reduce(rows[:, :whole].reshape(3, -1, TILE), 2)] if whole else []
    return torch.cat([*parts, *([reduce(rows[:, whole:], 1, keepdim=True)] if whole < n else [])], 1)


def may_see(corners: Tensor, cameras: Cameras, margin: float = 0.0) -> Tensor:
    """Which views can see something in which hull: (V, M) bool. False is certain, True is not.

    Args:
        corners: (M, 8, 3) float64 world.
        margin: pixels around the image that count as seen (discs reach that far).
    """
    w2c, K = cameras.w2c.double().cpu(), cameras.K.double().cpu()
    flat = corners.reshape(-1, 3).T.contiguous()
    lost = CANCELLED * ((flat.abs().max() if flat.numel() else 0.0) + w2c[:, :3, 3].abs().amax(1)[:, None])  # (V, 1)
    x, y, z = (
        w2c[:, i, 0, None] * flat[0] + w2c[:, i, 1, None] * flat[1] + w2c[:, i, 2, None] * flat[2] + w2c[:, i, 3, None]
        for i in range(3)
    )  # (V, 8 M)

    def out(side: Tensor) -> Tensor:  # positive where a corner lies beyond it
        return (side > 0).view(len(cameras), -1, 8).all(2)

    beyond, edge = out(-z - lost), SLACK + margin
    for along, axis, size in ((x, 0, cameras.width), (y, 1, cameras.height)):
        f, c = K[:, axis, axis, None], K[:, axis, 2, None]
        spare = lost * (f + c.abs() + size)
        beyond |= out(-(f * along + (c + edge) * z) - spare) | out(f * along + (c - edge - size) * z - spare)
    return ~beyond
