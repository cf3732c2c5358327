"""Released weights, read strictly: safetensors in the names they were published with, mapped to diffusers' names.

A file loads whole or not at all: what is missing, what is left over and what has the wrong shape is listed. Known:
Wan's own names (the DiT, VACE branches with and without prefixes, Mirage's nested ones), ComfyUI's prefix, diffusers'
folders and shards, the Wan2.2 VAE. LoRAs are in ``lora.py``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

    from .transformer import SpatialTransformer

State = dict[str, Tensor]


class CheckpointError(ValueError):
    """A file that is not the weights it should be; the message is the report."""


@dataclass(frozen=True)
class Report:
    """What stands between a file's tensors and a network's: empty lists when they fit."""

    source: str
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()  # "name: has (1, 2), expected (3, 4)"

    @property
    def fits(self) -> bool:
        """Whether every tensor has its place and every place its tensor."""
        return not (self.missing or self.unexpected or self.mismatched)

    def text(self) -> str:
        """The report for a person, names of one family on one line."""
        lines = [self.source]
        for title, names in (
            ("missing", self.missing),
            ("unexpected", self.unexpected),
            ("wrong shape", self.mismatched),
        ):
            if names:
                lines.append(f"  {title}: {len(names)}")
                lines.extend(f"    {line}" for line in _families(names))
        return "\n".join(lines)

    def check(self) -> None:
        """Raise the report as a ``CheckpointError`` unless all fits."""
        if not self.fits:
            raise CheckpointError(self.text())


def _families(names: Iterable[str], most: int = 12) -> list[str]:
    """Names that differ only in numbers on one line: ``blocks.*.attn1.to_q.weight (30)``."""
    families: dict[str, list[str]] = {}
    for name in names:
        families.setdefault(re.sub(r"\.\d+(?=\.)", ".*", name), []).append(name)
    lines = [members[0] if len(members) == 1 else f"{key} ({len(members)})" for key, members in families.items()]
    return lines if len(lines) <= most else [*lines[:most], f"and {len(lines) - most} more kinds"]


def compare(source: str, state: Mapping[str, Tensor], network: nn.Module) -> Report:
    """Hold a state dict against a network (which may be on the meta device)."""
    wanted = network.state_dict()
    return Report(
        source,
        missing=tuple(name for name in wanted if name not in state),
        unexpected=tuple(name for name in state if name not in wanted),
        mismatched=tuple(
            f"{name}: has {tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
            for name, tensor in wanted.items()
            if name in state and state[name].shape != tensor.shape
        ),
    )


def read_state(paths: Path | Sequence[Path]) -> State:
    """All tensors of safetensors files, or of the ``*.safetensors`` in a folder (diffusers' shards), as one dict.

    Raises:
        FileNotFoundError: no such file, or a folder without any.
        CheckpointError: not safetensors (pickles are never opened), or one name in two files.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    state: State = {}
    for path in [paths] if isinstance(paths, (str, Path)) else paths:
        path = Path(path)
        files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
        if not files or not files[0].is_file():
            raise FileNotFoundError(f"{path} holds no safetensors file; give the weights file or a diffusers folder")
        for file in files:
            if file.suffix != ".safetensors":
                raise CheckpointError(f"{file.name} is not a .safetensors file; convert it first, pickles are not read")
            try:
                tensors = load_file(file)
            except SafetensorError as error:
                raise CheckpointError(f"{file} is no readable safetensors file ({error}); download it again") from error
            twice = state.keys() & tensors.keys()
            if twice:
                raise CheckpointError(
                    f"{file.name} repeats {len(twice)} tensors of another file: {_families(twice)[0]}"
                )
            state.update(tensors)
    return state


# ---- the transformer and its branch

_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "module.", "model.", "generator.", "pipe.", "transformer.")
_PREFIXES += ("dit.", "vace.", "state_dict.")
_ROOTS = (
    "blocks.", "vace_blocks.", "patch_embedding.", "vace_patch_embedding.", "text_embedding.", "time_embedding.",
    "time_projection.", "head.", "condition_embedder.", "proj_out.", "scale_shift_table",
)  # fmt: skip
_WAN_NAMES = (  # in this order; norm2 and norm3 change places
    (r"^head\.modulation$", "scale_shift_table"),
    (r"^head\.head\.", "proj_out."),
    (r"\.modulation$", ".scale_shift_table"),
    (r"^time_embedding\.0\.", "condition_embedder.time_embedder.linear_1."),
    (r"^time_embedding\.2\.", "condition_embedder.time_embedder.linear_2."),
    (r"^text_embedding\.0\.", "condition_embedder.text_embedder.linear_1."),
    (r"^text_embedding\.2\.", "condition_embedder.text_embedder.linear_2."),
    (r"^time_projection\.1\.", "condition_embedder.time_proj."),
    (r"\.norm3\.", ".norm2."),
    (r"\.self_attn\.", ".attn1."),
    (r"\.cross_attn\.", ".attn2."),
    (r"\.(attn[12])\.([qkv])\.", r".\1.to_\2."),
    (r"\.(attn[12])\.o\.", r".\1.to_out.0."),
    (r"\.ffn\.0\.", ".ffn.net.0.proj."),
    (r"\.ffn\.2\.", ".ffn.net.2."),
    (r"\.before_proj\.", ".proj_in."),
    (r"\.after_proj\.", ".proj_out."),
)


def strip_prefixes(name: str) -> str:
    """The name as the network itself says it: nested prefixes gone, ``generator.vace.vace_blocks.0`` -> ``vace_blocks.0``.

    A name that is no transformer's under any prefix comes back as it is, and a strict load reports it.
    """
    bare = name
    while not bare.startswith(_ROOTS):
        prefix = next((prefix for prefix in _PREFIXES if bare.startswith(prefix)), None)
        if prefix is None:
            return name
        bare = bare[len(prefix) :]
    return bare


def wan_to_diffusers(name: str) -> str:
    """Map one of Wan's own transformer names to diffusers'."""
    for pattern, replacement in _WAN_NAMES:
        name = re.sub(pattern, replacement, name)
    return name


def transformer_state(state: Mapping[str, Tensor]) -> State:
    """A transformer's tensors, a branch's, or both, in any known spelling, under diffusers' names.

    Raises:
        CheckpointError: two names that mean one tensor, or weights in ComfyUI's scaled fp8, which are refused by name.
    """
    scaled = [name for name in state if name.endswith(("scaled_fp8", ".scale_weight", ".scale_input"))]
    if scaled:
        raise CheckpointError(f"scaled fp8 weights are not read ({scaled[0]}); use the fp16 or bf16 file")
    bare = [(strip_prefixes(name), tensor) for name, tensor in state.items()]
    # norm3 is diffusers' norm2 in Wan's names, so the two spellings must never be mixed up
    wan = any(".self_attn." in name or name.startswith("time_embedding.") for name, _ in bare)
    mapped: State = {}
    for name, tensor in bare:
        name = wan_to_diffusers(name) if wan else name
        if name in mapped:
            raise CheckpointError(f"two tensors of the file mean {name}; it holds more than one network")
        mapped[name] = tensor
    return mapped


def transformer_config(state: Mapping[str, Tensor], attention_head_dim: int = 128) -> dict:
    """Read the configuration off the shapes of a transformer with its branch, under diffusers' names.

    ``attention_head_dim`` alone leaves no trace in the shapes; all of Wan uses 128. The branch's blocks sit at every
    n-th layer from 0: 8 on 30 layers at 0, 4, ..., 28 (Spatia), 15 at 0, 2, ..., 28 (Mirage).

    Raises:
        CheckpointError: the tensors that tell are missing, or the branch fits no such spacing.
    """
    tell = (
        "patch_embedding.weight",
        "vace_patch_embedding.weight",
        "proj_out.weight",
        "blocks.0.ffn.net.0.proj.weight",
    )
    tell += ("condition_embedder.text_embedder.linear_1.weight", "condition_embedder.time_embedder.linear_1.weight")
    missing = tuple(name for name in tell if name not in state)
    if missing:
        hint = "not a Wan transformer with a control branch; give the base model and the branch together"
        Report(hint, missing=missing).check()
    layers, branch = _count(state, "blocks"), _count(state, "vace_blocks")
    spacing = -(-layers // max(branch, 1))
    vace_layers = list(range(0, layers, spacing))
    if len(vace_layers) != branch:
        raise CheckpointError(
            f"a branch of {branch} blocks on {layers} layers sits at no even spacing; say vace_layers"
        )
    dim, in_channels, *patch = state["patch_embedding.weight"].shape
    if dim % attention_head_dim:
        raise CheckpointError(f"width {dim} is no multiple of attention_head_dim {attention_head_dim}")
    return dict(
        patch_size=tuple(patch),
        num_attention_heads=dim // attention_head_dim,
        attention_head_dim=attention_head_dim,
        in_channels=in_channels,
        out_channels=state["proj_out.weight"].shape[0] // (patch[0] * patch[1] * patch[2]),
        text_dim=state["condition_embedder.text_embedder.linear_1.weight"].shape[1],
        freq_dim=state["condition_embedder.time_embedder.linear_1.weight"].shape[1],
        ffn_dim=state["blocks.0.ffn.net.0.proj.weight"].shape[0],
        num_layers=layers,
        cross_attn_norm="blocks.0.norm2.weight" in state,
        vace_layers=vace_layers,
        vace_in_channels=state["vace_patch_embedding.weight"].shape[1],
    )


def _count(state: Iterable[str], family: str) -> int:
    return len({name.split(".")[1] for name in state if name.startswith(f"{family}.")})


def load_transformer(
    paths: Path | Sequence[Path], dtype: torch.dtype | None = None, attention_head_dim: int = 128
) -> "SpatialTransformer":
    """Load a base transformer and its control branch, from one file or several (shards, or base and branch).

    ``dtype`` None keeps the file's. What diffusers keeps in float32 (norms, time embedding, modulation) is float32 then
    too. No memory is spent on random weights first.

    Raises:
        CheckpointError: with the report, unless every tensor fits.
    """
    state = transformer_state(read_state(paths))
    return transformer_from_state(state, transformer_config(state, attention_head_dim), dtype, _named(paths))


def transformer_from_state(
    state: Mapping[str, Tensor], config: Mapping, dtype: torch.dtype | None = None, source: str = "the state dict"
) -> "SpatialTransformer":
    """Build the network of ``config`` around tensors under diffusers' names, strictly. It shares them where it can."""
    from accelerate import init_empty_weights

    from .transformer import SpatialTransformer

    with init_empty_weights():
        network = SpatialTransformer(**config)
    return _assign(network, state, dtype, source)


def _assign(network: nn.Module, state: Mapping[str, Tensor], dtype: torch.dtype | None, source: str) -> nn.Module:
    compare(source, state, network).check()
    exact = getattr(network, "_keep_in_fp32_modules", None) or ()

    def cast(name: str, tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return tensor
        if any(part in exact for part in name.split(".")):
            return tensor.float()
        return tensor if dtype is None else tensor.to(dtype)

    network.load_state_dict({name: cast(name, tensor) for name, tensor in state.items()}, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def _named(paths: Path | Sequence[Path]) -> str:
    return ", ".join(Path(path).name for path in ([paths] if isinstance(paths, (str, Path)) else paths))


# ---- the Wan2.2 VAE

_VAE_NAMES = (
    (r"^conv1\.", "quant_conv."),
    (r"^conv2\.", "post_quant_conv."),
    (r"^(encoder|decoder)\.conv1\.", r"\1.conv_in."),
    (r"^(encoder|decoder)\.head\.0\.", r"\1.norm_out."),
    (r"^(encoder|decoder)\.head\.2\.", r"\1.conv_out."),
    (r"\.middle\.0\.", ".mid_block.resnets.0."),
    (r"\.middle\.1\.", ".mid_block.attentions.0."),
    (r"\.middle\.2\.", ".mid_block.resnets.1."),
    (r"\.downsamples\.(\d+)\.downsamples\.\d+\.(resample|time_conv)\.", r".down_blocks.\1.downsampler.\2."),
    (r"\.downsamples\.(\d+)\.downsamples\.(\d+)\.", r".down_blocks.\1.resnets.\2."),
    (r"\.upsamples\.(\d+)\.upsamples\.\d+\.(resample|time_conv)\.", r".up_blocks.\1.upsampler.\2."),
    (r"\.upsamples\.(\d+)\.upsamples\.(\d+)\.", r".up_blocks.\1.resnets.\2."),
    (r"\.residual\.0\.", ".norm1."),
    (r"\.residual\.2\.", ".conv1."),
    (r"\.residual\.3\.", ".norm2."),
    (r"\.residual\.6\.", ".conv2."),
    (r"\.shortcut\.", ".conv_shortcut."),
)


def vae_state(state: Mapping[str, Tensor]) -> State:
    """A Wan2.2 VAE's tensors under diffusers' names, from its own names or diffusers'."""
    bare = {name.removeprefix("vae."): tensor for name, tensor in state.items()}
    if "quant_conv.weight" in bare:
        return bare
    mapped: State = {}
    for name, tensor in bare.items():
        for pattern, replacement in _VAE_NAMES:
            name = re.sub(pattern, replacement, name)
        mapped[name] = tensor
    return mapped


def vae_from_state(
    state: Mapping[str, Tensor], dtype: torch.dtype | None = None, source: str = "the state dict"
) -> "AutoencoderKLWan":
    """Build a VAE of the Wan2.2 kind around tensors under diffusers' names, strictly; widths are read off the shapes.

    Raises:
        CheckpointError: with the report; a Wan2.1 VAE (16 channels) is refused, its latents mean something else.
    """
    from accelerate import init_empty_weights
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

    from .wan_codec import WAN22_VAE

    tell = ("encoder.conv_in.weight", "decoder.conv_in.weight", "post_quant_conv.weight")
    Report(f"{source}: not a Wan2.2 VAE", missing=tuple(name for name in tell if name not in state)).check()
    channels = state["post_quant_conv.weight"].shape[0]
    if channels != WAN22_VAE["z_dim"]:
        raise CheckpointError(f"{source} is a VAE of {channels} channels, expected 48: give wan2.2_vae.safetensors")
    widths = dict(
        base_dim=state["encoder.conv_in.weight"].shape[0],
        decoder_base_dim=state["decoder.conv_in.weight"].shape[0] // WAN22_VAE["dim_mult"][-1],
    )
    with init_empty_weights():
        vae = AutoencoderKLWan(**{**WAN22_VAE, **widths})
    return _assign(vae, state, dtype, source)


def load_wan_vae(path: Path, dtype: torch.dtype | None = None) -> "AutoencoderKLWan":
    """Load ``wan2.2_vae.safetensors`` or a diffusers VAE folder.

    Raises:
        CheckpointError: with the report, unless every tensor fits.
    """
    return vae_from_state(vae_state(read_state(path)), dtype, _named(path))
