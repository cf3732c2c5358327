"""Bringing a provider's depth into the memory's units: aligned to what the memory itself renders."""

import logging

import torch
from torch import Tensor

from ..memory.align import AlignmentError, align_depth, apply_alignment
from ..memory.camera import known_depth

logger = logging.getLogger(__name__)

AGREES = 0.02  # median relative difference below which depth is left as it is: it is in the memory's units already


def aligned(depth: Tensor, rendered: Tensor, known: Tensor) -> tuple[Tensor, dict]:
    """One view's depth in the units of the memory, and how it was brought there.

    Depth that agrees already is left alone, so that exact depth, or depth completed from the render itself, does not
    drift by a fit in every chunk. Where too little overlaps for a fit it is left alone too, and the record says so.

    Args:
        depth: (H, W) z-depth of the provider, 0 = unknown.
        rendered: (H, W) z-depth as the memory shows it.
        known: (H, W) bool, True = rendered, and neither dynamic nor sky.

    Returns:
        depth (H, W), and the record: ``how`` (``kept``, ``aligned``, ``alone``), ``inlier_share``, scale and shift.
    """
    both = known & known_depth(depth)
    if not both.any():
        return depth, {"how": "alone", "why": "the memory shows nothing here"}
    difference = (depth[both] / rendered[both] - 1).abs()
    if difference.median() <= AGREES:
        inliers = (difference <= 2 * AGREES).float().mean().item()
        return depth, {"how": "kept", "inlier_share": inliers, "scale": 1.0, "shift": 0.0}
    try:
        fit = align_depth(depth, rendered, both)
    except AlignmentError as error:
        logger.info("depth stays as the provider gave it: %s", error)
        return depth, {"how": "alone", "why": str(error)}
    moved = torch.where(known_depth(depth), apply_alignment(depth, fit), 0.0)
    return moved, {"how": "aligned", "inlier_share": fit.inlier_share, "scale": fit.scale, "shift": fit.shift}
