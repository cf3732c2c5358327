"""How well depth that is taken as it is agrees with the memory, asked at points of the memory themselves."""

import torch
from torch import Tensor

from ..memory.camera import Cameras
from ..memory.lift import at_centres
from .align import METRIC, compared, trust
from .seen import Seen


def reported(
    seen: Seen,
    cameras: Cameras,
    depth: Tensor,
    keep: Tensor,
    confidence: Tensor,
    cells: tuple[int, int],
) -> list[dict]:
    """The record of each of V views whose depth stays as it is (``align.compared``).

    The view is cut into cells, and the nearest of the points seen in each is held against the depth of the very pixel
    that it falls on. Nothing is rendered, so it costs a fraction of what a fit needs.

    Args:
        seen: points of the memory in the V views, on a grid as fine as the cells or finer.
        cameras: (V,) on the H x W grid.
        depth: (V, H, W) z-depth of the provider, 0 = unknown.
        keep: (V, H, W) bool, True = neither dynamic nor sky.
        confidence: (V, H, W) in [0, 1].
        cells: rows and columns; a cell should hold some points of the memory, or ``overlap`` says too little.
    """
    h, w = cells
    target, pixel = nearest_in_cells(seen.to(depth.device), depth.shape[1:], h, w)
    here, kept, sure = (t.flatten()[pixel] for t in (depth, keep, confidence))
    weights = trust(at_centres(depth, h, w), sure, cameras.resized(h, w).to(depth.device))
    rows = zip(here, target, (target > 0) & kept, weights)
    return [compared(*view, METRIC) for view in rows]


def nearest_in_cells(seen: Seen, size: tuple[int, ...], h: int, w: int) -> tuple[Tensor, Tensor]:
    """The nearest of the points seen in each cell: its depth, 0 where there is none, and its pixel among all views'.

    Args:
        size: rows and columns of pixels.

    Returns:
        two tensors (V, h, w), the second one int64.
    """
    device, (views, rows, columns) = seen.depth.device, seen.depth.shape
    off_u, off_v = seen.offset.unbind(1)
    v = (torch.arange(rows, device=device)[:, None] + 0.5 + off_v) / rows  # (V, rows, columns) of the view's height
    u = (torch.arange(columns, device=device) + 0.5 + off_u) / columns
    view = torch.arange(views, device=device)[:, None, None]
    cell, pixel = ((view * r + _step(v, r)) * c + _step(u, c) for r, c in ((h, w), size))
    z = torch.where(seen.depth > 0, seen.depth, torch.inf).flatten()
    least = z.new_full((views * h * w,), torch.inf).scatter_reduce_(0, cell.flatten(), z, "amin")
    nearest = (z == least[cell.flatten()]) & (z < torch.inf)
    last = views * size[0] * size[1] - 1
    where = torch.where(nearest, pixel.flatten(), last)
    chosen = where.new_full((views * h * w,), last).scatter_reduce_(0, cell.flatten(), where, "amin")
    return torch.where(least < torch.inf, least, 0.0).view(views, h, w), chosen.view(views, h, w)


def _step(share: Tensor, steps: int) -> Tensor:
    """Which of the even steps from 0 to 1 a share falls into."""
    return (share * steps).long().clamp(0, steps - 1)
