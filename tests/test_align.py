"""Alignment: exact on clean depth, robust to a third of outliers, refused where too little overlaps."""

import math

import pytest
import torch
from spatial_memory.memory.align import Alignment, AlignmentError, align_depth, apply_alignment


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
