"""Latents as colours by one matrix: a quick look at what a codec's latents show, without the codec's network."""

import json
from pathlib import Path

import torch
from torch import Tensor

from ..memory.exchange import Factors, rgb_from_latents

MINI_FACTORS = Path(__file__).parent / "mini" / "latent_rgb.json"

# For Wan2.2's 48 channels: ``latent_formats.Wan22.latent_rgb_factors`` and ``latent_rgb_factors_bias`` of ComfyUI
# (comfy/latent_formats.py, v0.3.64). They give RGB in [-1, 1] (latent_preview.preview_to_image) from the latents that
# the sampler works on, which ComfyUI has normalised by the VAE's mean and deviation: our model space.
WAN22_WEIGHT = (
    (0.0119, 0.0103, 0.0046), (-0.1062, -0.0504, 0.0165), (0.0140, 0.0409, 0.0491), (-0.0813, -0.0677, 0.0607),
    (0.0656, 0.0851, 0.0808), (0.0264, 0.0463, 0.0912), (0.0295, 0.0326, 0.0590), (-0.0244, -0.0270, 0.0025),
    (0.0443, -0.0102, 0.0288), (-0.0465, -0.0090, -0.0205), (0.0359, 0.0236, 0.0082), (-0.0776, 0.0854, 0.1048),
    (0.0564, 0.0264, 0.0561), (0.0006, 0.0594, 0.0418), (-0.0319, -0.0542, -0.0637), (-0.0268, 0.0024, 0.0260),
    (0.0539, 0.0265, 0.0358), (-0.0359, -0.0312, -0.0287), (-0.0285, -0.1032, -0.1237), (0.1041, 0.0537, 0.0622),
    (-0.0086, -0.0374, -0.0051), (0.0390, 0.0670, 0.2863), (0.0069, 0.0144, 0.0082), (0.0006, -0.0167, 0.0079),
    (0.0313, -0.0574, -0.0232), (-0.1454, -0.0902, -0.0481), (0.0714, 0.0827, 0.0447), (-0.0304, -0.0574, -0.0196),
    (0.0401, 0.0384, 0.0204), (-0.0758, -0.0297, -0.0014), (0.0568, 0.1307, 0.1372), (-0.0055, -0.0310, -0.0380),
    (0.0239, -0.0305, 0.0325), (-0.0663, -0.0673, -0.0140), (-0.0416, -0.0047, -0.0023), (0.0166, 0.0112, -0.0093),
    (-0.0211, 0.0011, 0.0331), (0.1833, 0.1466, 0.2250), (-0.0368, 0.0370, 0.0295), (-0.3441, -0.3543, -0.2008),
    (-0.0479, -0.0489, -0.0420), (-0.0660, -0.0153, 0.0800), (-0.0101, 0.0068, 0.0156), (-0.0690, -0.0452, -0.0927),
    (-0.0145, 0.0041, 0.0015), (0.0421, 0.0451, 0.0373), (0.0504, -0.0483, -0.0356), (-0.0837, 0.0168, 0.0055),
)  # fmt: skip
WAN22_BIAS = (0.0317, -0.0878, -0.1388)


def rgb_factors(name: str, channels: int) -> Factors:
    """The linear factors of the codec of that name, from latents in model space to RGB in [0, 1].

    Returns:
        weight (C, 3) and bias (3,).

    Raises:
        ValueError: the codec has none, or its own are not here.
    """
    match name, channels:
        case "mini", _:
            record = json.loads(MINI_FACTORS.read_text(encoding="utf-8"))
            weight, bias = torch.tensor(record["weight"]), torch.tensor(record["bias"])
        case "wan2.2", 48:
            weight, bias = torch.tensor(WAN22_WEIGHT) / 2, (torch.tensor(WAN22_BIAS) + 1) / 2
        case _:
            raise ValueError(
                f"the codec {name!r} of {channels} channels has no linear RGB factors, only 'mini' and 'wan2.2' "
                "(48 channels) have: decode its latents instead"
            )
    if weight.shape != (channels, 3):
        raise ValueError(
            f"the codec {name!r} has {channels} channels, its factors in {MINI_FACTORS.name} {len(weight)}; fit "
            "them anew: `python -m spatial_memory.training.latent_rgb`"
        )
    return weight, bias


def show_latents(latents: Tensor, factors: Factors) -> Tensor:
    """Latents (C, ...) in model space as RGB (3, ...) in [0, 1], one colour a cell."""
    return rgb_from_latents(latents.movedim(0, -1), factors).movedim(-1, 0)
