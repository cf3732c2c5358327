"""Fit the linear RGB factors of the mini codec: ``python -m spatial_memory.training.latent_rgb``, a few seconds.

Least squares from the latents of the bundled photographs to their colours, averaged over each cell. Only the channels
that code the last frame take part: a fit to all of them is 2 dB better on stills and falls to 8 dB on latents that
move, where the other channels say how.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ..memory.exchange import Factors
from ..models.codec import MiniCodec, signed
from ..models.latent_rgb import MINI_FACTORS, show_latents
from ..models.mini_codec import APPEARANCE, STRIDE, load_mini_codec
from .groups import psnr

INPUTS = Path(__file__).resolve().parent.parent / "workflows" / "inputs"
PHOTOGRAPHS = ("spatial_memory_coffee", "spatial_memory_kitchen")


def latents_and_colours(codec: MiniCodec, file: Path) -> tuple[Tensor, Tensor]:
    """A photograph as latents (C, h, w) and as RGB (3, h, w) in [0, 1], averaged over each cell."""
    from PIL import Image

    with Image.open(file) as picture:
        image = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1) / 255  # (3, H, W)
    return codec.encode_frames(signed(image[None]))[:, 0], avg_pool2d(image, STRIDE)


def fit(pairs: list[tuple[Tensor, Tensor]]) -> Factors:
    """Weight (C, 3) and bias (3,) of least squared error; no weight on what codes motion."""
    latents = torch.cat([z[:APPEARANCE].flatten(1) for z, _ in pairs], 1).T.double()  # (N, 18)
    colours = torch.cat([rgb.flatten(1) for _, rgb in pairs], 1).T.double()  # (N, 3)
    known = torch.cat([latents, torch.ones(len(latents), 1)], 1)
    solution = torch.linalg.lstsq(known, colours).solution.float()
    weight = torch.zeros(pairs[0][0].shape[0], 3)
    weight[:APPEARANCE] = solution[:-1]
    return weight, solution[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit the linear RGB factors of the mini codec.")
    parser.add_argument("--out", type=Path, default=MINI_FACTORS)
    options = parser.parse_args()
    codec = MiniCodec(load_mini_codec())
    pairs = {name: latents_and_colours(codec, INPUTS / f"{name}.png") for name in PHOTOGRAPHS}
    scores = {}
    for name, (latents, colours) in pairs.items():
        factors = fit([pair for other, pair in pairs.items() if other != name])
        shown = show_latents(latents, factors)
        scores[name] = round(float(psnr(signed(shown), signed(colours))), 2)
    weight, bias = fit(list(pairs.values()))
    record = {
        "command": "python -m spatial_memory.training.latent_rgb",
        "fitted_on": list(PHOTOGRAPHS),
        "held_out_psnr_db": scores,  # of each photograph by the factors of the other
        "bias": [round(value, 5) for value in bias.tolist()],
        "weight": [[round(value, 5) for value in row] for row in weight.tolist()],
    }
    options.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
