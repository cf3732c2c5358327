"""Tiny random weights in the formats of the real files: base, branch, LoRA and VAE under their released names."""

import dataclasses
from pathlib import Path

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from safetensors.torch import load_file, save_file
from spatial_memory.models.transformer import SpatialTransformer
from spatial_memory.models.wan_codec import WAN22_VAE
from spatial_memory.models.wan_load import WanFiles

TEXT = 32  # channels of the text
LAYERS = 4
FORWARD = (  # Wan's names from diffusers', the first rule that fits a part of the name
    ("condition_embedder.time_embedder.linear_1.", "time_embedding.0."),
    ("condition_embedder.time_embedder.linear_2.", "time_embedding.2."),
    ("condition_embedder.text_embedder.linear_1.", "text_embedding.0."),
    ("condition_embedder.text_embedder.linear_2.", "text_embedding.2."),
    ("condition_embedder.time_proj.", "time_projection.1."),
    (".attn1.", ".self_attn."),
    (".attn2.", ".cross_attn."),
    (".norm2.", ".norm3."),
    (".to_out.0.", ".o."),
    (".to_q.", ".q."),
    (".to_k.", ".k."),
    (".to_v.", ".v."),
    (".ffn.net.0.proj.", ".ffn.0."),
    (".ffn.net.2.", ".ffn.2."),
    (".scale_shift_table", ".modulation"),
    (".proj_in.", ".before_proj."),
)


def released_name(name: str) -> str:
    """A transformer's tensor under the name that Wan's own files give it."""
    if name == "scale_shift_table":
        return "head.modulation"
    if name.startswith("proj_out."):
        return "head.head." + name.removeprefix("proj_out.")
    for ours, theirs in FORWARD:
        name = name.replace(ours, theirs)
    return name.replace(".proj_out.", ".after_proj.") if name.startswith("vace_blocks.") else name


def random_transformer(
    branch_blocks: int, branch_channels: int, heads: int = 1, feed: int = 192, seed: int = 0
) -> SpatialTransformer:
    """Four layers of width 128 heads, lively random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = SpatialTransformer(
            num_attention_heads=heads,
            text_dim=TEXT,
            freq_dim=32,
            ffn_dim=feed,
            num_layers=LAYERS,
            vace_layers=list(range(0, LAYERS, LAYERS // branch_blocks)),
            vace_in_channels=branch_channels,
        )
        for parameter in network.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return network.eval()


def random_vae(seed: int = 0) -> AutoencoderKLWan:
    """A VAE of the Wan2.2 kind with an eighth of its width."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoencoderKLWan(**{**WAN22_VAE, "base_dim": 16, "decoder_base_dim": 16}).eval()


def write(
    folder: Path,
    branch_blocks: int = 2,
    branch_channels: int = 96,
    lora: bool = False,
    heads: int = 1,
    feed: int = 192,
    dtype: torch.dtype = torch.float32,
) -> WanFiles:
    """All files of a world."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        released_name(name): tensor.to(dtype).contiguous()
        for name, tensor in random_transformer(branch_blocks, branch_channels, heads, feed).state_dict().items()
    }
    branch = {name: tensor for name, tensor in state.items() if name.startswith("vace_")}
    save_file({name: t for name, t in state.items() if name not in branch}, folder / "base.safetensors")
    save_file(branch, folder / "branch.safetensors")
    random_vae().save_pretrained(folder / "vae_diffusers")
    save_file(vae_state(load_file(next((folder / "vae_diffusers").glob("*.safetensors")))), folder / "vae.safetensors")
    if lora:
        save_file(lora_state(state), folder / "lora.safetensors")
    return WanFiles(
        folder / "base.safetensors",
        folder / "vae.safetensors",
        folder / "branch.safetensors",
        folder / "lora.safetensors" if lora else None,
    )


def lora_state(base: dict[str, torch.Tensor], rank: int = 2) -> dict[str, torch.Tensor]:
    """A LoRA in Spatia's spelling on every linear layer of the main blocks."""
    generator = torch.Generator().manual_seed(5)
    found = {}
    for name, weight in base.items():
        if name.startswith("blocks.") and name.endswith(".weight") and weight.ndim == 2:
            module = f"pipe.dit.{name.removesuffix('.weight')}"
            found[f"{module}.lora_A.default.weight"] = torch.randn(rank, weight.shape[1], generator=generator) * 0.1
            found[f"{module}.lora_B.default.weight"] = torch.randn(weight.shape[0], rank, generator=generator) * 0.1
    return found


def vae_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A VAE's tensors under the names of wan2.2_vae.safetensors."""
    import re

    rules = (
        (r"^quant_conv\.", "conv1."),
        (r"^post_quant_conv\.", "conv2."),
        (r"^(encoder|decoder)\.conv_in\.", r"\1.conv1."),
        (r"^(encoder|decoder)\.norm_out\.", r"\1.head.0."),
        (r"^(encoder|decoder)\.conv_out\.", r"\1.head.2."),
        (r"\.mid_block\.resnets\.0\.", ".middle.0."),
        (r"\.mid_block\.attentions\.0\.", ".middle.1."),
        (r"\.mid_block\.resnets\.1\.", ".middle.2."),
        (r"\.down_blocks\.(\d+)\.downsampler\.", r".downsamples.\1.downsamples.2."),
        (r"\.up_blocks\.(\d+)\.upsampler\.", r".upsamples.\1.upsamples.3."),
        (r"\.down_blocks\.(\d+)\.resnets\.(\d+)\.", r".downsamples.\1.downsamples.\2."),
        (r"\.up_blocks\.(\d+)\.resnets\.(\d+)\.", r".upsamples.\1.upsamples.\2."),
        (r"(samples\.\d+|middle\.[02])\.norm1\.", r"\1.residual.0."),
        (r"(samples\.\d+|middle\.[02])\.conv1\.", r"\1.residual.2."),
        (r"(samples\.\d+|middle\.[02])\.norm2\.", r"\1.residual.3."),
        (r"(samples\.\d+|middle\.[02])\.conv2\.", r"\1.residual.6."),
        (r"\.conv_shortcut\.", ".shortcut."),
    )
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor.contiguous()
    return renamed


def read(path: Path) -> dict[str, torch.Tensor]:
    return load_file(path)


def replaced(files: WanFiles, **changes) -> WanFiles:
    return dataclasses.replace(files, **changes)
