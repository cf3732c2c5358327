"""Linear RGB factors: what they show of photographs, still and moving, and what has none."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from spatial_memory.models.codec import MiniCodec
from spatial_memory.models.latent_rgb import MINI_FACTORS, rgb_factors, show_latents
from spatial_memory.models.mini_codec import load_mini_codec
from spatial_memory.training.latent_rgb import PHOTOGRAPHS, fit, latents_and_colours

INPUTS = Path(__file__).resolve().parent.parent / "workflows" / "inputs"


@pytest.fixture(scope="module")
def codec():
    return MiniCodec(load_mini_codec())


def psnr(shown, truth):
    return -10 * float((shown - truth).square().mean().log10())


def cell_means(image):
    """Averages of 8 x 8 pixels, cell by cell."""
    _, height, width = image.shape
    rows = [[image[:, i : i + 8, j : j + 8].mean((1, 2)) for j in range(0, width, 8)] for i in range(0, height, 8)]
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


@pytest.mark.parametrize("held_out", PHOTOGRAPHS)
def test_a_photograph_that_was_not_fitted_is_recognised(codec, held_out):
    other = next(name for name in PHOTOGRAPHS if name != held_out)
    factors = fit([latents_and_colours(codec, INPUTS / f"{other}.png")])
    latents, colours = latents_and_colours(codec, INPUTS / f"{held_out}.png")
    image = torch.from_numpy(np.array(Image.open(INPUTS / f"{held_out}.png").convert("RGB"))).permute(2, 0, 1) / 255
    assert torch.allclose(colours, cell_means(image), atol=1e-5)
    found = psnr(show_latents(latents, factors), colours)
    flat = psnr(colours.mean((1, 2), keepdim=True).expand_as(colours), colours)
    recorded = json.loads(MINI_FACTORS.read_text())["held_out_psnr_db"][held_out]
    assert abs(found - recorded) < 0.1  # other machines round the convolutions otherwise
    assert found > flat + 4


def test_the_factors_that_ship_are_those_of_the_recipe(codec):
    weight, bias = fit([latents_and_colours(codec, INPUTS / f"{name}.png") for name in PHOTOGRAPHS])
    shipped = rgb_factors(codec.name, codec.grid.channels)
    assert torch.allclose(shipped[0], weight, atol=1e-3) and torch.allclose(shipped[1], bias, atol=1e-3)


def test_latents_that_move_are_shown_like_still_ones(codec):
    image = torch.from_numpy(np.array(Image.open(INPUTS / "spatial_memory_coffee.png").convert("RGB")))
    clip = torch.stack([image[16:176, 8 + 6 * i : 8 + 6 * i + 256] for i in range(5)]).permute(0, 3, 1, 2) / 255
    latents = codec.encode(clip * 2 - 1)  # (C, 2, h, w)
    shown = show_latents(latents, rgb_factors(codec.name, codec.grid.channels))
    assert shown.shape == (3, 2, 20, 32) and shown.min() >= 0 and shown.max() <= 1
    still = show_latents(codec.encode_frames(clip[-1:] * 2 - 1), rgb_factors(codec.name, codec.grid.channels))
    assert torch.allclose(shown[:, 1:], still, atol=1e-4)
    assert psnr(shown[:, 1], cell_means(clip[-1])) > 18


def test_wan_latents_of_zero_are_the_grey_of_comfyui():
    factors = rgb_factors("wan2.2", 48)
    assert factors[0].shape == (48, 3)
    latents = torch.zeros(48, 2, 1, 1)
    latents[39, 1] = 1.0
    shown = show_latents(latents, factors)[:, :, 0, 0]
    bias, row = torch.tensor([0.0317, -0.0878, -0.1388]), torch.tensor([-0.3441, -0.3543, -0.2008])
    assert torch.allclose(shown[:, 0], (bias + 1) / 2) and torch.allclose(shown[:, 1], (bias + row + 1) / 2)


def test_a_codec_without_factors_is_named():
    with pytest.raises(ValueError, match="'mystery' of 16 channels"):
        rgb_factors("mystery", 16)
    with pytest.raises(ValueError, match="'wan2.2' of 16 channels"):
        rgb_factors("wan2.2", 16)
    with pytest.raises(ValueError, match="'mini' has 16 channels"):
        rgb_factors("mini", 16)
