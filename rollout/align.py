"""Bringing a provider's depth into the memory's units: aligned to what the memory itself renders.

What is taken, in this order: depth that agrees already; a fit of scale and shift; the scale that was given with the
depth; metres over a memory in metres; the last scale and shift that held in this film; and else the depth as it is,
alone. Metres over metres come first of all, since a fit in every chunk drifts (``docs/log.md``). The record of a view
says which it was, how well the depth then agrees with the memory, and why it was no fit.

Large views are compared on a coarser grid: scale, shift and shares are sums over the whole view.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from ..memory.align import (
    LEAST_INLIERS,
    LEAST_PIXELS,
    Agreement,
    Alignment,
    AlignmentError,
    agreement,
    align_depth,
    apply_alignment,
)
from ..memory.camera import Cameras
from ..memory.normals import normals_of

logger = logging.getLogger(__name__)

AGREES = 0.02  # median relative difference below which depth is left as it is: it is in the memory's units already
COMPARED = 1 << 16  # cells of a view that are compared at most where a scale may be fitted
PLENTY = 0.05  # share of a view from which the memory's word against a depth is worth a warning


@dataclass(frozen=True)
class Way:
    """One way to bring depth into the memory's units: 1/z' = scale/z + shift."""

    how: str  # what it rests on
    scale: float = 1.0
    shift: float = 0.0  # 1 / world units


KEPT, METRIC, GIVEN, ALONE = Way("kept"), Way("metric"), Way("given"), Way("alone")


def last_good(rows: Sequence[dict]) -> Way:
    """The latest scale and shift among the records of views, oldest first, that held against the memory; else ALONE."""
    for row in reversed(rows):
        if row.get("how") in ("aligned", "kept"):
            return Way("last", row["scale"], row["shift"])
    return ALONE


def compared_size(height: int, width: int, most: int) -> tuple[int, int]:
    """The grid on which views of H x W pixels are compared: their own, up to ``most`` cells."""
    share = min(1.0, math.sqrt(most / (height * width)))
    return max(1, int(height * share)), max(1, int(width * share))


def fitted(
    depth: Tensor,
    rendered: Tensor,
    known: Tensor,
    weights: Tensor,
    otherwise: Way = ALONE,
) -> tuple[Way, dict]:
    """How one view's depth is brought into the units of the memory (``brought``), and the record of it.

    Depth that agrees already is left alone, so that exact depth, or depth completed from the render itself, does not
    drift by a fit in every chunk.

    Args:
        depth: (H, W) z-depth of the provider, 0 = unknown.
        rendered: (H, W) z-depth as the memory shows it.
        known: (H, W) bool, True = rendered, and neither dynamic nor sky.
        weights: (H, W) what each pixel counts (``trust``).
        otherwise: what to do where too little overlaps, or agrees, for a fit.

    Returns:
        the way, and the record: ``how`` (``kept``, ``aligned``, or that of ``otherwise``), ``scale``, ``shift``,
        ``overlap`` (the share of the view that was compared), where that is not 0 ``inlier_share`` and ``residual``
        of the depth then against the memory, and ``why`` where nothing could be fitted.
    """
    found = agreement(depth, rendered, known, weights)
    if found.pixels >= LEAST_PIXELS and found.residual <= AGREES:
        return KEPT, _row(KEPT, found, depth)
    why = {}
    try:
        fit = align_depth(depth, rendered, known, weights)
        taken = Way("aligned", fit.scale, fit.shift)
    except AlignmentError as error:
        taken, why = otherwise, {"why": str(error) if found.pixels else "the memory shows nothing here"}
        logger.info("depth is not fitted, but %s: %s", taken.how, why["why"])
    row = _row(taken, agreement(brought(depth, taken), rendered, known, weights), depth)
    return taken, {**row, **why}


def compared(depth: Tensor, rendered: Tensor, known: Tensor, weights: Tensor, taken: Way) -> dict:
    """The record of a view whose depth is taken as it is, whatever the memory says. Arguments as for ``fitted``.

    Where plenty overlaps and hardly any of it agrees, ``warning`` says so.
    """
    found = agreement(depth, rendered, known, weights)
    row = _row(taken, found, depth)
    if row["overlap"] >= PLENTY and found.inlier_share < LEAST_INLIERS:
        row["warning"] = (
            f"only {found.inlier_share:.0%} of {found.pixels} common pixels agree with what the memory shows (median "
            f"off by {found.residual:.0%}); the depth's scale or a camera is wrong"
        )
        logger.warning("depth is taken as it is, but %s", row["warning"])
    return row


def trust(depth: Tensor, confidence: Tensor, cameras: Cameras) -> Tensor:
    """What each pixel of V views counts (V, H, W): its confidence times the cosine at which its surface is seen.

    Args:
        depth: (V, H, W) z-depth of the provider, 0 = unknown.
        confidence: (V, H, W) in [0, 1].
        cameras: (V,) on the H x W grid.
    """
    return confidence * normals_of(depth, cameras)[1]


def brought(depth: Tensor, by: Way) -> Tensor:
    """Depth (..., H, W) brought on a way: its very tensor where that changes nothing."""
    if (by.scale, by.shift) == (1.0, 0.0):
        return depth
    return apply_alignment(depth, Alignment(by.scale, by.shift, 0.0, 0.0))


def _row(by: Way, found: Agreement, depth: Tensor) -> dict:
    row = {"how": by.how, "scale": by.scale, "shift": by.shift, "overlap": found.pixels / depth.numel()}
    if found.pixels:
        row |= {"inlier_share": found.inlier_share, "residual": found.residual}
    return row
