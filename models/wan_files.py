"""Which file is what: the headers of a user's files are looked at before a single weight is read.

A safetensors header names every tensor with its shape, and the library refuses a file that is shorter than it says. So
a model of another family or size, a truncated download and a LoRA of something else are told within milliseconds.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from .checkpoints import CheckpointError, weight_files
from .names import transformer_name, vae_name

WANTED_BASE = "wan2.2_ti2v_5B_fp16.safetensors (Wan2.2-TI2V-5B: 48 channels in and out)"
WANTED_VAE = "wan2.2_vae.safetensors (48 channels)"
FLOATS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1}


@dataclass(frozen=True)
class Header:
    """The tensors of a file or a folder of shards, unread."""

    source: str
    shapes: Mapping[str, tuple[int, ...]]  # under diffusers' names
    dtypes: Mapping[str, str]  # as safetensors writes them: BF16, F8_E4M3, ...

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        return sum(FLOATS.get(self.dtypes[name], 4) * _count(shape) for name, shape in self.shapes.items())

    def blocks(self, family: str) -> int:
        """How many blocks of a family (``blocks``, ``vace_blocks``) there are."""
        return len({name.split(".")[1] for name in self.shapes if name.startswith(f"{family}.")})


def _count(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())


def header_of(path: Path, rule: Callable[[str], str] = transformer_name) -> Header:
    """Read the header of a safetensors file, or of all in a diffusers folder.

    Args:
        rule: maps a file's names to diffusers' (``names.transformer_name`` or ``names.vae_name``).

    Raises:
        FileNotFoundError: no such file, or a folder without any.
        CheckpointError: no safetensors, or a file that ends before its tensors do.
    """
    from safetensors import SafetensorError, safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    dtypes: dict[str, str] = {}
    for file in weight_files(path):
        try:
            with safe_open(file, framework="pt") as content:
                for name in content.keys():
                    part = content.get_slice(name)
                    shapes[rule(name)], dtypes[rule(name)] = tuple(part.get_shape()), part.get_dtype()
        except SafetensorError as error:
            raise CheckpointError(f"{file} is no whole safetensors file ({error}); download it again") from error
    return Header(Path(path).name, shapes, dtypes)


def check_base(header: Header) -> None:
    """Refuse what is not a Wan transformer of 48 channels.

    Raises:
        CheckpointError: says what it is instead, and what is wanted.
    """
    patch, out = header.shapes.get("patch_embedding.weight"), header.shapes.get("proj_out.weight")
    if patch is None or out is None or not header.blocks("blocks"):
        if "vace_patch_embedding.weight" in header.shapes:
            raise CheckpointError(f"{header.source} is a control branch without its base; wanted here: {WANTED_BASE}")
        raise CheckpointError(f"{header.source} is no Wan transformer; wanted: {WANTED_BASE}")
    width, channels = patch[0], patch[1]
    if channels != 48:
        kind = f"Wan transformer of width {width} with {channels} channels"
        if "vace_patch_embedding.weight" in header.shapes:
            kind = f"Wan2.1 VACE ({kind})"
        elif width == 5120:
            kind = f"14B model ({kind})"
        raise CheckpointError(f"{header.source} is a {kind}; wanted: {WANTED_BASE}")
    check_scales(header)


def check_scales(header: Header) -> None:
    """Refuse fp8 weights whose scales are not in the file.

    Raises:
        CheckpointError: names the first weight without one.
    """
    from .scaled import scale_name

    eight = [name for name, dtype in header.dtypes.items() if dtype.startswith("F8_") and len(header.shapes[name])]
    bare = [name for name in eight if name.endswith(".weight") and scale_name(name, header.shapes) is None]
    if bare:
        raise CheckpointError(
            f"{header.source} holds fp8 weights without their scales ({bare[0]} and {len(bare) - 1} more); use the "
            "fp8_scaled, bf16 or fp16 file"
        )


def check_branch(header: Header, base: Header) -> None:
    """Refuse what is not a control branch for this base.

    Raises:
        CheckpointError: says what it is instead, or how the two differ.
    """
    patch = header.shapes.get("vace_patch_embedding.weight")
    if patch is None or not header.blocks("vace_blocks"):
        raise CheckpointError(
            f"{header.source} is no control branch: it has no vace_blocks; wanted, for instance, Spatia's "
            "step-8500.safetensors"
        )
    width = base.shapes["patch_embedding.weight"][0]
    if patch[0] != width:
        raise CheckpointError(
            f"the branch {header.source} has width {patch[0]}, the base {base.source} has {width}: they do not belong "
            "together"
        )


def check_vae(header: Header) -> None:
    """Refuse what is not a Wan2.2 VAE.

    Raises:
        CheckpointError: says what it is instead.
    """
    shape = header.shapes.get("post_quant_conv.weight")
    if shape is None:
        raise CheckpointError(f"{header.source} is no Wan VAE; wanted: {WANTED_VAE}")
    if shape[0] != 48:
        raise CheckpointError(
            f"{header.source} is a VAE of {shape[0]} channels (Wan2.1's has 16); wanted: {WANTED_VAE}"
        )


def headers(base: Path, vae: Path, branch: Path | None) -> tuple[Header, Header, Header]:
    """The headers of base, VAE and branch, looked at; a base that carries its branch may come alone.

    Raises:
        CheckpointError: one of them is not what it should be.
    """
    of_base = header_of(base)
    check_base(of_base)
    if branch is None and not of_base.blocks("vace_blocks"):
        raise CheckpointError(
            f"{of_base.source} has no control branch; choose a branch file too, for instance Spatia's "
            "step-8500.safetensors in models/model_patches (Hugging Face: Jinjing713/Spatia)"
        )
    of_branch = of_base if branch is None else header_of(branch)
    check_branch(of_branch, of_base)
    of_vae = header_of(vae, vae_name)
    check_vae(of_vae)
    return of_base, of_vae, of_branch
