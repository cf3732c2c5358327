"""Alignment: exact on clean depth, robust to a third of outliers, refused where too little overlaps."""

import math

import pytest
import torch
from spatial_memory.memory.align import Alignment, AlignmentError, agreement, align_depth, apply_alignment


def relief(seed=0, height=40, width=60):
    return 1 + 4 * torch.rand(height, width, generator=torch.Generator().manual_seed(seed))


def everywhere(depth):
    return torch.ones_like(depth, dtype=torch.bool)


@pytest.mark.parametrize("scale, shift", [(1.0, 0.0), (0.4, 0.0), (2.5, 0.05), (1.3, -0.04)])
def test_clean_depth_is_brought_back_exactly(scale, shift):
    target = relief()
    depth = scale / (1 / target - shift)  # 1/target = scale/depth + shift
    found = align_depth(depth, target, everywhere(target))
    assert (found.scale, found.shift) == pytest.approx((scale, shift), abs=1e-4)
    assert found.inlier_share == 1.0 and found.residual < 1e-4
    assert torch.allclose(apply_alignment(depth, found), target, rtol=1e-4)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("wrong", [0.1, 0.33, 0.45])
def test_outliers_are_outvoted(wrong, seed):
    generator = torch.Generator().manual_seed(seed)
    target = relief(seed)
    depth = 0.7 / (1 / target - 0.03)
    noisy = target * (1 + 0.01 * torch.randn(target.shape, generator=generator))
    outliers = torch.rand(target.shape, generator=generator) < wrong
    noisy[outliers] = noisy[outliers] * 0.4 + 0.3  # another surface in front
    found = align_depth(depth, noisy, everywhere(target))
    assert (apply_alignment(depth, found) / target - 1).abs().median() < 0.005
    assert found.inlier_share == pytest.approx(1 - wrong, abs=0.08)


def test_unknown_depth_and_the_mask_count_for_nothing():
    target = relief()
    depth, mask = 2 * target, everywhere(target)
    depth[:5], depth[5:10] = 0.0, math.nan
    target = target.clone()
    target[10:15] = math.inf
    mask[15:25] = False
    depth[15:25] = 77.0
    found = align_depth(depth, target, mask)
    assert (found.scale, found.shift) == pytest.approx((2.0, 0.0), abs=1e-4)


def test_a_flat_wall_gets_a_scale_and_no_shift():
    generator = torch.Generator().manual_seed(0)
    target = 2 + 0.01 * torch.randn(40, 60, generator=generator)
    found = align_depth(target * 3, target, everywhere(target))
    assert found.shift == 0.0 and found.scale == pytest.approx(3.0, rel=1e-3)


def test_relief_is_not_flattened_onto_a_flat_wall():
    wall = 3 + 0.004 * torch.arange(60).expand(40, 60)
    wrong = torch.rand(40, 60, generator=torch.Generator().manual_seed(0)) < 0.3
    found = align_depth(torch.where(wrong, wall, wall / 2), wall, everywhere(wall))
    assert found.shift == 0.0 and found.scale == pytest.approx(0.5, rel=0.01)  # 1/z' = 0.5/z is twice as far
    assert found.inlier_share == pytest.approx(0.7, abs=0.03)


def test_too_little_overlap_is_refused():
    target = relief(width=64)
    mask = torch.zeros_like(target, dtype=torch.bool)
    mask[3] = True
    assert align_depth(2 * target, target, mask).scale == pytest.approx(2.0)
    mask[3, 0] = False
    with pytest.raises(AlignmentError, match="only 63 pixels"):
        align_depth(2 * target, target, mask)
    with pytest.raises(AlignmentError, match="only 0 pixels"):
        align_depth(target, target, ~everywhere(target))


def test_depth_that_shows_something_else_is_refused():
    with pytest.raises(AlignmentError, match="agree on"):
        align_depth(relief(1) ** 3, relief(2) ** 3, everywhere(relief()))


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="target has shape"):
        align_depth(relief(), relief(width=50), everywhere(relief()))
    with pytest.raises(ValueError, match="weights has shape"):
        agreement(relief(), relief(), everywhere(relief()), relief(width=50))
    with pytest.raises(ValueError, match="expected one shape"):
        align_depth(relief(), relief(), everywhere(relief()), relief()[None])


@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_weights_that_are_none_are_refused(value):
    weights = torch.ones(40, 60)
    weights[3, 4] = value
    with pytest.raises(ValueError, match="weights hold"):
        align_depth(relief(), relief(), everywhere(relief()), weights)


def test_what_weighs_nothing_is_not_compared():
    target, weights = relief(), torch.ones(40, 60)
    depth = 2 * target
    depth[:30], weights[:30] = 77.0, 0.0  # three quarters are wrong
    found = align_depth(depth, target, everywhere(target), weights)
    assert (found.scale, found.shift) == pytest.approx((2.0, 0.0), abs=1e-6) and found.inlier_share == 1.0
    weights[30:39] = 0.0
    with pytest.raises(AlignmentError, match="only 60 pixels"):
        align_depth(depth, target, everywhere(target), weights)


@pytest.mark.parametrize("seed", range(4))
def test_three_quarters_of_the_pixels_are_outvoted_by_a_quarter_that_weighs_more(seed):
    generator = torch.Generator().manual_seed(seed)
    target = relief(seed)
    depth = 0.7 / (1 / target - 0.03)  # the surface: scale 0.7, shift 0.03
    unsure = torch.rand(target.shape, generator=generator) < 0.75
    other = 1.9 / (1 / target + 0.02)  # what the unsure pixels agree on
    depth = torch.where(unsure, other, depth) * (1 + 0.005 * torch.randn(target.shape, generator=generator))
    weights = torch.where(unsure, 0.1, 1.0)
    plain, weighed = (
        align_depth(depth, target, everywhere(target)),
        align_depth(depth, target, everywhere(target), weights),
    )
    assert plain.scale == pytest.approx(1.9, rel=0.03)
    assert weighed.scale == pytest.approx(0.7, rel=0.03) and weighed.shift == pytest.approx(0.03, abs=0.01)
    assert weighed.inlier_share == pytest.approx(0.25 / (0.25 + 0.075), abs=0.05)


def test_a_small_bias_of_unsure_pixels_hardly_pulls_the_fit():
    generator = torch.Generator().manual_seed(2)
    target = 2 + 0.01 * torch.randn(40, 60, generator=generator)
    unsure = torch.rand(40, 60, generator=generator) < 0.75
    depth = target * torch.where(unsure, 1.04, 1.0) * (1 + 0.02 * torch.randn(40, 60, generator=generator))
    weights = torch.where(unsure, 0.01, 1.0)
    assert align_depth(depth, target, everywhere(target), weights).scale == pytest.approx(1.0, abs=0.004)
    assert align_depth(depth, target, everywhere(target)).scale == pytest.approx(1.03, abs=0.01)


def test_equal_weights_of_any_size_change_nothing():
    target = relief()
    depth = 1.7 * target + 0.1 * torch.rand(target.shape, generator=torch.Generator().manual_seed(3))
    plain, half = (align_depth(depth, target, everywhere(target), w) for w in (None, torch.full((40, 60), 0.5)))
    assert (half.scale, half.shift) == pytest.approx((plain.scale, plain.shift), rel=1e-6)
    assert half.inlier_share == pytest.approx(plain.inlier_share) and half.residual == pytest.approx(plain.residual)


def agreement_twin(depth, target, mask, weights):
    """Pixels, inlier share and median error, one pixel after another."""
    pairs = []
    for d, t, m, w in zip(*(x.flatten().tolist() for x in (depth, target, mask, weights))):
        if m and w > 0 and all(math.isfinite(x) and x > 0 for x in (d, t)):
            pairs.append((abs(d / t - 1), w))
    total, so_far = sum(w for _, w in pairs), 0.0
    share = sum(w for off, w in pairs if off <= 0.05) / total
    for off, w in sorted(pairs):
        so_far += w
        if so_far >= total / 2:
            return len(pairs), share, min(off, 1.0)


@pytest.mark.parametrize("scale", [1.0, 1.04, 1.5, 9.0])
def test_agreement_equals_its_loop_twin(scale):
    generator = torch.Generator().manual_seed(5)
    target, weights = relief(), torch.rand(40, 60, generator=generator)
    depth = scale * target * (1 + 0.05 * torch.randn(40, 60, generator=generator))
    depth[:4], depth[4:6], weights[9:12] = 0.0, math.nan, 0.0
    mask = torch.rand(40, 60, generator=generator) < 0.8
    found = agreement(depth, target, mask, weights)
    pixels, share, residual = agreement_twin(depth, target, mask, weights)
    assert found.pixels == pixels and found.inlier_share == pytest.approx(share, abs=1e-6)
    assert found.residual == pytest.approx(residual, abs=1e-5)


def test_where_nothing_overlaps_nothing_agrees():
    found = agreement(relief(), relief(), ~everywhere(relief()))
    assert (found.pixels, found.inlier_share, found.residual) == (0, 0.0, 1.0)


def test_the_same_pixels_give_the_same_bits():
    target = relief()
    depth = 1.7 * target + 0.1 * torch.rand(target.shape, generator=torch.Generator().manual_seed(3))
    torch.manual_seed(1)
    first = align_depth(depth, target, everywhere(target))
    torch.manual_seed(2)
    assert align_depth(depth, target, everywhere(target)) == first


def test_aligned_depth_beyond_infinity_is_unknown():
    moved = apply_alignment(torch.tensor([1.0, 20.0, 0.0, math.nan]), Alignment(1.0, -0.1, 1.0, 0.0))
    assert moved.tolist() == pytest.approx([1 / 0.9, 0.0, 0.0, 0.0])
