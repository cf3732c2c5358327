"""Released weights, read strictly: safetensors in the names they were published with, mapped to diffusers' names.

A file loads whole or not at all: what is missing, what is left over and what has the wrong shape is listed. The names
are in ``names.py``, LoRAs in ``lora.py``.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn

from .names import transformer_name, vae_name
from .scaled import unscaled

if TYPE_CHECKING:
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

    from .transformer import SpatialTransformer

State = dict[str, Tensor]
Network = TypeVar("Network", bound=nn.Module)


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


def weight_files(path: Path) -> list[Path]:
    """The safetensors files that a path means: itself, or all in a folder (diffusers' shards).

    Raises:
        FileNotFoundError: no such file, or a folder without any.
        CheckpointError: a file of another kind; pickles are never opened.
    """
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files or not files[0].is_file():
        raise FileNotFoundError(f"{path} holds no safetensors file; give the weights file or a diffusers folder")
    for file in files:
        if file.suffix != ".safetensors":
            raise CheckpointError(f"{file.name} is not a .safetensors file; convert it first, pickles are not read")
    return files


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
        for file in weight_files(Path(path)):
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


def renamed(state: Mapping[str, Tensor], rule: Callable[[str], str]) -> State:
    """The same tensors under the names that ``rule`` gives (``names.transformer_name`` or ``names.vae_name``).

    Scaled fp8 becomes bfloat16 on the way.

    Raises:
        CheckpointError: two names that mean one tensor, or fp8 weights without their scales.
    """
    try:
        state = unscaled(state)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    mapped: State = {}
    for name, tensor in state.items():
        known = rule(name)
        if known in mapped:
            raise CheckpointError(f"{name} is a second tensor for {known}: these files hold more than one network")
        mapped[known] = tensor
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
        "condition_embedder.text_embedder.linear_1.weight",
        "condition_embedder.time_embedder.linear_1.weight",
    )
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
    state = renamed(read_state(paths), transformer_name)
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


def _assign(network: Network, state: Mapping[str, Tensor], dtype: torch.dtype | None, source: str) -> Network:
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


def vae_from_state(
    state: Mapping[str, Tensor],
    dtype: torch.dtype | None = None,
    source: str = "the state dict",
    settings: Mapping | None = None,
) -> "AutoencoderKLWan":
    """Build a VAE of the Wan2.2 kind around tensors under diffusers' names, strictly; widths are read off the shapes.

    ``settings`` replaces entries of ``WAN22_VAE`` that leave no trace in the shapes, such as another VAE's statistics.

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
        decoder_base_dim=state["decoder.conv_in.weight"].shape[0] // 4,  # its widest level, dim_mult 4
    )
    with init_empty_weights():
        vae = AutoencoderKLWan(**{**WAN22_VAE, **widths, **(settings or {})})
    return _assign(vae, state, dtype, source)


def load_wan_vae(path: Path, dtype: torch.dtype | None = None) -> "AutoencoderKLWan":
    """Load ``wan2.2_vae.safetensors`` or a diffusers VAE folder.

    Raises:
        CheckpointError: with the report, unless every tensor fits.
    """
    return vae_from_state(renamed(read_state(path), vae_name), dtype, _named(path))
