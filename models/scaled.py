"""ComfyUI's scaled fp8: a weight of one byte a number, and one scale for all of it. W = fp8 * scale.

Two spellings are in use: ``X.scale_weight`` beside a marker ``scaled_fp8`` (2025), ``X.weight_scale`` beside
``X.comfy_quant`` (2026). Scales of inputs serve fp8 products only and are left out here.
"""

from collections.abc import Container, Mapping

import torch
from torch import Tensor

EIGHT_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)
_BESIDE = (".scale_weight", ".weight_scale", ".scale_input", ".input_scale", ".comfy_quant")


def scale_name(name: str, names: Container[str]) -> str | None:
    """The name of a weight's scale, None where there is none."""
    module = name.removesuffix(".weight")
    return next((f"{module}{end}" for end in (".scale_weight", ".weight_scale") if f"{module}{end}" in names), None)


def is_beside(name: str) -> bool:
    """Whether a tensor is no weight but says how others are to be read."""
    return name.endswith(_BESIDE) or name.rpartition(".")[2] == "scaled_fp8"


def unscaled(state: Mapping[str, Tensor], dtype: torch.dtype = torch.bfloat16) -> dict[str, Tensor]:
    """The same weights as plain numbers of ``dtype``; what is not fp8 stays as it is.

    Raises:
        ValueError: an fp8 weight without its scale.
    """
    plain = {}
    for name, tensor in state.items():
        if is_beside(name):
            continue
        if tensor.dtype in EIGHT_BITS:
            scale = scale_name(name, state)
            if scale is None:
                raise ValueError(f"{name} is fp8 without a scale; use the fp8_scaled, bf16 or fp16 file")
            tensor = (tensor.float() * state[scale].float()).to(dtype)
        plain[name] = tensor
    return plain
