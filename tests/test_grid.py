"""The latent grid: 1 + 4n frames, cells, refusals that name what fits."""

import pytest
from spatial_memory.memory.grid import LatentGrid

WAN = LatentGrid(48)
MINI = LatentGrid(16, spatial=8, patch=4)


@pytest.mark.parametrize("frames, latents", [(1, 1), (5, 2), (33, 9), (121, 31), (153, 39)])
def test_latents_carry_one_plus_four_n_frames_and_back(frames, latents):
    assert WAN.latent_frames(frames) == latents
    assert WAN.num_frames(latents) == frames


@pytest.mark.parametrize("frames, low, high", [(80, 77, 81), (0, 1, 5), (4, 1, 5), (6, 5, 9), (-3, 1, 5)])
def test_other_counts_are_refused_with_the_nearest(frames, low, high):
    with pytest.raises(ValueError, match=rf"num_frames is {frames}.* {low} and {high}$"):
        WAN.latent_frames(frames)


def test_latent_i_uses_the_camera_of_frame_4i():
    assert [WAN.frame_of(i) for i in range(3)] == [0, 4, 8]


def test_cells_of_both_strides():
    assert WAN.cells(704, 1280) == (44, 80)
    assert MINI.cells(192, 320) == (24, 40)


@pytest.mark.parametrize("size, name, low, high", [((700, 1280), "height", 672, 704), ((704, 8), "width", 32, 64)])
def test_sizes_off_the_grid_are_refused_with_the_nearest(size, name, low, high):
    with pytest.raises(ValueError, match=rf"{name} is .* multiple of 32; the nearest are {low} and {high}"):
        WAN.cells(*size)
