"""How much memory the networks need beside their weights, told from their shapes: for the preflight and for the host.

The numbers of bytes a value are fitted to peaks that ``benchmarks/wan_full.py`` measured on a GPU (docs/results.md).
"""

from collections.abc import Mapping
from typing import Any

STREAM = 2  # bytes of a value in the residual stream and in a hint: bfloat16
WIDE = 34  # bytes a channel and token at the widest place of a block: feed-forward, norms in float32
PIXELS = 46  # bytes a channel and pixel of the decoder's widest level, for the four frames of a latent, caches counted


def transformer_activation(config: Mapping[str, Any], references: int, frames: int, h: int, w: int) -> int:
    """Bytes of one forward on ``references`` + ``frames`` latents of h x w cells, beside the weights."""
    _, patch_h, patch_w = config["patch_size"]
    width = config["num_attention_heads"] * config["attention_head_dim"]
    cells = (h // patch_h) * (w // patch_w)
    hints = STREAM * len(config["vace_layers"]) * frames * cells * width
    return WIDE * (references + frames) * cells * width + hints


def codec_activation(config: Mapping[str, Any], h: int, w: int) -> int:
    """Bytes of decoding one latent of h x w cells (four frames), beside the weights and the causal caches."""
    return _widest(config, config["decoder_base_dim"] or config["base_dim"], h, w)


def encoding_activation(config: Mapping[str, Any], h: int, w: int) -> int:
    """Bytes of encoding the four frames of a latent of h x w cells, if a channel and pixel takes what it does there.

    Not measured: the encoder is the narrower half, so decoding whole frames always needs more.
    """
    return _widest(config, config["base_dim"], h, w)


def _widest(config: Mapping[str, Any], width: int, h: int, w: int) -> int:
    side = config["scale_factor_spatial"] // (config["patch_size"] or 1)
    return PIXELS * 4 * h * side * w * side * width
