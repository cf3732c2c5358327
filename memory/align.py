"""Bringing one depth map onto another: robust scale and shift in inverse depth.

Monocular depth is right up to 1/z' = scale/z + shift. Iteratively reweighted least squares with Tukey's biweight finds
the two from pixels where both depths are known, a third of which may be wrong. It starts from that line through two
pixels which most pixels agree with. Pixels may count more or less, by how sure their depth is.
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
    inlier_share: float  # of the weight of the pixels compared, what agrees within 5 % of depth then
    residual: float  # weighted median of the relative error of depth over those that agree


@dataclass(frozen=True)
class Agreement:
    """How well two depth maps in the same units agree."""

    pixels: int  # known in both, and of any weight
    inlier_share: float  # of their weight, what agrees within 5 % of depth; 0 where there are no pixels
    residual: float  # weighted median of the relative error over all of them, 1 at most; 1 where there are none


def align_depth(depth: Tensor, target: Tensor, mask: Tensor, weights: Tensor | None = None) -> Alignment:
    """Find scale and shift that bring ``depth`` onto ``target`` where ``mask`` holds and both are known.

    Where either depth has hardly any relief, shift cannot be told from scale; then the shift is 0. (Onto a flat target
    a shift alone would bring any depth.)

    Args:
        depth, target: (..., H, W) z-depth; 0 or non-finite = unknown.
        mask: bool of the same shape, True = compare here.
        weights: how much each pixel counts, 0 = not at all; None = all alike.

    Raises:
        ValueError: shapes differ, or weights that are negative or not finite.
        AlignmentError: fewer than 64 pixels overlap, fewer than a quarter of them (by weight) agree in the end, or the
            best scale is not positive.
    """
    x, y, trust = _compared(depth, target, mask, weights)
    if (overlap := x.numel()) < LEAST_PIXELS:
        raise AlignmentError(f"only {overlap} pixels are known in both depth maps, expected at least {LEAST_PIXELS}")
    relief = all(
        _quantile(_thinned(values), _thinned(trust), 0.9) > RELIEF * _quantile(_thinned(values), _thinned(trust), 0.1)
        for values in (x, y)
    )
    scale, shift = _start(_thinned(x), _thinned(y), _thinned(trust), relief)
    for _ in range(ROUNDS):
        off = (scale * x + shift - y) / y  # relative, in inverse depth
        spread = max(1.4826 * _quantile(_thinned(off.abs()), _thinned(trust), 0.5), 1e-4)
        weight = trust * (1 - (off / (4.685 * spread)) ** 2).clamp(min=0) ** 2 / y**2
        before, (scale, shift) = (scale, shift), _fit(x, y, weight, relief)
        if abs(scale - before[0]) <= 1e-9 * abs(scale) and abs(shift - before[1]) <= 1e-9 * y.median().item():
            break
    aligned = scale * x + shift
    off = torch.where(aligned > 0, (y / aligned.clamp(min=1e-12) - 1).abs(), torch.inf)
    inliers = off <= INLIER
    share = (trust[inliers].sum() / trust.sum()).item()
    if scale <= 0 or share < LEAST_INLIERS:
        raise AlignmentError(
            f"the depth maps agree on {share:.0%} of {overlap} common pixels (scale {scale:.3g}), expected at least "
            f"{LEAST_INLIERS:.0%}; they show different surfaces or a camera is wrong"
        )
    middle = _quantile(_thinned(off[inliers]), _thinned(trust[inliers]), 0.5)
    return Alignment(float(scale), float(shift), share, middle)


def agreement(depth: Tensor, target: Tensor, mask: Tensor, weights: Tensor | None = None) -> Agreement:
    """How well ``depth`` agrees with ``target`` as it is. The arguments are those of ``align_depth``.

    Raises:
        ValueError: shapes differ, or weights that are negative or not finite.
    """
    x, y, trust = _compared(depth, target, mask, weights)
    if not x.numel():
        return Agreement(0, 0.0, 1.0)
    off = (y / x - 1).abs()
    share = (trust[off <= INLIER].sum() / trust.sum()).item()
    return Agreement(x.numel(), share, min(_quantile(_thinned(off), _thinned(trust), 0.5), 1.0))


def apply_alignment(depth: Tensor, alignment: Alignment) -> Tensor:
    """Aligned z-depth, the shape of ``depth``; 0 where it was unknown or would lie at or beyond infinity."""
    known = known_depth(depth)
    inverse = alignment.scale / torch.where(known, depth, 1.0) + alignment.shift
    return torch.where(known & (inverse > 0), 1 / inverse.clamp(min=1e-12), 0.0)


def _compared(depth: Tensor, target: Tensor, mask: Tensor, weights: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Inverse depth and inverse target of the n pixels that are compared, and what each counts: (n,) float64."""
    weights = torch.ones_like(depth) if weights is None else weights
    sizes("... H W | ... H W | ... H W | ... H W", depth=depth, target=target, mask=mask, weights=weights)
    if not (depth.shape == target.shape == mask.shape == weights.shape):
        shapes = [tuple(t.shape) for t in (depth, target, mask, weights)]
        raise ValueError(f"depth, target, mask and weights are {shapes}, expected one shape")
    if not bool((weights.isfinite() & (weights >= 0)).all()):
        raise ValueError("weights hold NaN, infinite or negative values; expected 0 = counts for nothing, or more")
    both = mask.bool() & known_depth(depth) & known_depth(target) & (weights > 0)
    return 1 / depth[both].double(), 1 / target[both].double(), weights[both].double()


def _start(x: Tensor, y: Tensor, trust: Tensor, relief: bool) -> tuple[float, float]:
    """The line through two pixels that most of the weight agrees with; without relief, the median ratio."""
    ratio = _quantile(y / x, trust, 0.5)
    if not relief:
        return ratio, 0.0
    chances = (trust / trust.sum()).cumsum(0)  # pixels are drawn by what they count
    drawn = torch.rand(2, TRIALS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pairs = torch.searchsorted(chances, drawn.to(x.device)).clamp(max=x.numel() - 1)
    (xa, xb), (ya, yb) = x[pairs], y[pairs]
    apart = (xb - xa).abs() > 0.01 * xa
    scale = torch.cat([x.new_tensor([ratio]), ((yb - ya) / (xb - xa))[apart]])
    shift = torch.cat([x.new_zeros(1), (ya - (yb - ya) / (xb - xa) * xa)[apart]])
    off = (scale[:, None] * x + shift[:, None] - y).abs() / y
    votes = torch.where(scale > 0, ((off <= INLIER) * trust).sum(1), -1.0)
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


def _quantile(values: Tensor, weights: Tensor, share: float) -> float:
    """The first of the values, from the least on, that reaches ``share`` of the weight."""
    ordered, order = values.sort(stable=True)
    reached = weights[order].cumsum(0)
    first = torch.searchsorted(reached, share * reached[-1:]).clamp(max=len(values) - 1)
    return ordered[first].item()


def _thinned(values: Tensor) -> Tensor:
    """At most some 4,000 of the values, evenly picked."""
    return values[:: max(1, values.numel() // 4096)]
