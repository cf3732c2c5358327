"""Tiny random weights as ComfyUI's own loaders want them: heads of 128, 4096 channels of text, frequencies of 256."""

from dataclasses import dataclass
from pathlib import Path

import tiny_wan as tiny
import torch
from safetensors.torch import save_file
from spatial_memory.models.transformer import SpatialTransformer

TEXT = 4096  # channels of the text: ComfyUI does not read them off the file


@dataclass(frozen=True)
class NativeFiles:
    """Where the parts lie, in float32."""

    base: Path
    branch: Path
    vae: Path
    lora: Path


def random_network(heads: int, layers: int, blocks: int, channels: int, seed: int = 0) -> SpatialTransformer:
    """A network of width 128 heads with lively random weights; the branch sits at every (layers / blocks)-th layer."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = SpatialTransformer(
            num_attention_heads=heads,
            text_dim=TEXT,
            ffn_dim=192,
            num_layers=layers,
            vace_layers=list(range(0, layers, -(-layers // blocks))),
            vace_in_channels=channels,
        )
        for parameter in network.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return network.eval()


def write(
    folder: Path, heads: int = 1, layers: int = 4, blocks: int = 2, channels: int = 96, seed: int = 0
) -> NativeFiles:
    """All files of a world under the names of the released ones."""
    folder.mkdir(parents=True, exist_ok=True)
    files = NativeFiles(*(folder / f"{name}.safetensors" for name in ("base", "branch", "vae", "lora")))
    state = {
        tiny.released_name(name): tensor.contiguous()
        for name, tensor in random_network(heads, layers, blocks, channels, seed).state_dict().items()
    }
    branch = {name: tensor for name, tensor in state.items() if name.startswith("vace_")}
    base = {name: tensor for name, tensor in state.items() if name not in branch}
    save_file(base, files.base)
    save_file(branch, files.branch)
    save_file(tiny.vae_state(tiny.random_vae(seed).state_dict()), files.vae)
    save_file(lora_state(base), files.lora)
    return files


def lora_state(base: dict[str, torch.Tensor], rank: int = 2) -> dict[str, torch.Tensor]:
    """A LoRA on the main blocks' linear layers, in the spelling that ComfyUI's loader reads."""
    return {
        name.replace("pipe.dit.", "diffusion_model.").replace(".default", ""): tensor
        for name, tensor in tiny.lora_state(base, rank).items()
    }


def eight_bits(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The blocks' linear weights as scaled fp8, the rest in bfloat16, as the fp8_scaled files are."""
    found = {"scaled_fp8": torch.empty(2, dtype=torch.float8_e4m3fn)}  # two numbers: products in full precision
    for name, tensor in state.items():
        if name.startswith("blocks.") and name.endswith(".weight") and tensor.ndim == 2:
            scale = tensor.abs().amax() / 448
            found[name] = (tensor / scale).to(torch.float8_e4m3fn)
            found[name.removesuffix("weight") + "scale_weight"] = scale
        else:
            found[name] = tensor.to(torch.bfloat16)
    return found
