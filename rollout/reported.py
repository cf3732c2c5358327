"""How well depth that is taken as it is agrees with the memory, asked at points of the memory themselves."""

import torch
from torch import Tensor

from ..memory.camera import Cameras
from ..memory.cloud import SpatialMemory
from ..memory.lift import at_centres
from ..memory.splat import splat_nearest
from .align import METRIC, compared, trust


def reported(
    memory: SpatialMemory,
    cameras: Cameras,
    depth: Tensor,
    keep: Tensor,
    confidence: Tensor,
    cells: tuple[int, int],
) -> list[dict]:
    """The record of each of V views whose depth stays as it is (``align.compared``).

    The view is cut into cells, and the nearest point of the memory in each is held against the depth of the very pixel
    that it falls on. Nothing is rendered, so it costs a fraction of what a fit needs.

    Args:
        cameras: (V,) on the H x W grid.
        depth: (V, H, W) z-depth of the provider, 0 = unknown.
        keep: (V, H, W) bool, True = neither dynamic nor sky.
        confidence: (V, H, W) in [0, 1].
        cells: rows and columns; a cell should hold some points of the memory, or ``overlap`` says too little.
    """
    h, w = cells
    small, (height, width) = cameras.resized(h, w), depth.shape[1:]
    seen, home = splat_nearest(memory, small), depth.device
    off_u, off_v = seen.offset.to(home).unbind(1)  # (V, h, w) from the middle of the cell, in cells
    v = ((torch.arange(h, device=home)[:, None] + 0.5 + off_v) * (height / h)).long().clamp(0, height - 1)
    u = ((torch.arange(w, device=home) + 0.5 + off_u) * (width / w)).long().clamp(0, width - 1)
    pixel = (torch.arange(len(depth), device=home)[:, None, None] * height + v) * width + u
    here, kept, sure = (t.flatten()[pixel] for t in (depth, keep, confidence))
    mask = (seen.known.to(home) > 0) & kept
    weights = trust(at_centres(depth, h, w), sure, small.to(home))
    rows = zip(here, seen.depth.to(home), mask, weights)
    return [compared(*view, METRIC) for view in rows]
