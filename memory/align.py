"""Bringing one depth map onto another: robust scale and shift in inverse depth.

Monocular depth is right up to 1/z' = scale/z + shift. Iteratively reweighted least squares with Tukey's biweight finds
the two from pixels where both depths are known, a third of which may be wrong. It starts from that line through two
pixels which most pixels agree with.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .camera import known_depth
from .shapes import sizes

LEAST_PIXELS = 64
LEAST_INLIERS = 0.25
INLIER = 0.05  # relative error of depth below which a pixel agrees
RELIEF = 1.1  # ratio of the depths nine tenths lie within, below which a surface is taken for flat
ROUNDS = 30
TRIALS = 200


class AlignmentError(ValueError):
    """Two depth maps share too little, or agree too little, to be aligned."""


@dataclass(frozen=True)
class Alignment:
    """1/z' = scale/z + shift, and how well it held."""

    scale: float
    shift: float  # 1 / world units
    inlier_share: float  # of the pixels compared, those whose depth then agrees within 5 %
    residual: float  # median relative error of depth over the inliers


def align_depth(depth: Tensor, target: Tensor, mask: Tensor) -> Alignment:
    """Find scale and shift that bring ``depth`` onto ``target`` where ``mask`` holds and both are known.

    Depth with hardly any relief cannot tell shift from scale; then the shift is 0.

    Args:
        depth, target: (..., H, W) z-depth; 0 or non-finite = unknown.
        mask: bool of the same shape, True = compare here.

    Raises:
        ValueError: shapes differ.
        AlignmentError: fewer than 64 pixels overlap, fewer than a quarter of them agree in the end, or the best scale
            is not positive.
    """
    sizes("... H W | ... H W | ... H W", depth=depth, target=target, mask=mask)
    if not (depth.shape == target.shape == mask.shape):
        raise ValueError(
            f"depth, target and mask are {[tuple(t.shape) for t in (depth, target, mask)]}, expected one shape"
        )
    both = mask.bool() & known_depth(depth) & known_depth(target)
    if (overlap := int(both.sum())) < LEAST_PIXELS:
        raise AlignmentError(f"only {overlap} pixels are known in both depth maps, expected at least {LEAST_PIXELS}")
    x, y = 1 / depth[both].double(), 1 / target[both].double()
    relief = _thinned(x).quantile(0.9) > RELIEF * _thinned(x).quantile(0.1)
    scale, shift = _start(_thinned(x), _thinned(y), bool(relief))
    for _ in range(ROUNDS):
        off = (scale * x + shift - y) / y  # relative, in inverse depth
        spread = max(1.4826 * off.abs().median().item(), 1e-4)
        weight = (1 - (off / (4.685 * spread)) ** 2).clamp(min=0) ** 2 / y**2
        before, (scale, shift) = (scale, shift), _fit(x, y, weight, bool(relief))
        if abs(scale - before[0]) <= 1e-9 * abs(scale) and abs(shift - before[1]) <= 1e-9 * y.median().item():
            break
    aligned = scale * x + shift
    off = torch.where(aligned > 0, (y / aligned.clamp(min=1e-12) - 1).abs(), torch.inf)
    inliers = off <= INLIER
    share = inliers.double().mean().item()
    if scale <= 0 or share < LEAST_INLIERS:
        raise AlignmentError(
            f"the depth maps agree on {share:.0%} of {overlap} common pixels (scale {scale:.3g}), expected at least "
            f"{LEAST_INLIERS:.0%}; they show different surfaces or a camera is wrong"
        )
    return Alignment(float(scale), float(shift), share, off[inliers].median().item())


def apply_alignment(depth: Tensor, alignment: Alignment) -> Tensor:
    """Aligned z-depth, the shape of ``depth``; 0 where it was unknown or would lie at or beyond infinity."""
    known = known_depth(depth)
    inverse = alignment.scale / torch.where(known, depth, 1.0) + alignment.shift
    return torch.where(known & (inverse > 0), 1 / inverse.clamp(min=1e-12), 0.0)


def _start(x: Tensor, y: Tensor, relief: bool) -> tuple[float, float]:
    """The line through two pixels that most pixels agree with; without relief, the median ratio."""
    ratio = (y / x).median().item()
    if not relief:
        return ratio, 0.0
    pairs = torch.randint(0, x.numel(), (2, TRIALS), generator=torch.Generator().manual_seed(0))
    (xa, xb), (ya, yb) = x[pairs], y[pairs]
    apart = (xb - xa).abs() > 0.01 * xa
    scale = torch.cat([torch.tensor([ratio]).double(), ((yb - ya) / (xb - xa))[apart]])
    shift = torch.cat([torch.zeros(1).double(), (ya - (yb - ya) / (xb - xa) * xa)[apart]])
    off = (scale[:, None] * x + shift[:, None] - y).abs() / y
    votes = torch.where(scale > 0, (off <= INLIER).double().mean(1), -1.0)
    best = int(votes.argmax())
    return scale[best].item(), shift[best].item()


def _fit(x: Tensor, y: Tensor, weight: Tensor, relief: bool) -> tuple[float, float]:
    """Weighted least squares of y = scale x + shift; without relief the shift is 0."""
    if not relief:
        return ((weight * x * y).sum() / (weight * x * x).sum()).item(), 0.0
    total = weight.sum()
    mean_x, mean_y = (weight * x).sum() / total, (weight * y).sum() / total
    scale = (weight * (x - mean_x) * (y - mean_y)).sum() / (weight * (x - mean_x) ** 2).sum()
    return scale.item(), (mean_y - scale * mean_x).item()


def _thinned(values: Tensor) -> Tensor:
    """At most some 4,000 of the values, evenly picked."""
    return values[:: max(1, values.numel() // 4096)]
