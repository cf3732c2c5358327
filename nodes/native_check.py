"""What is refused before anything heavy is read: a MODEL or a VAE of another family."""

from typing import Any

from ..models.wan_files import WANTED_BASE, WANTED_VAE, Header
from .native_host import compute_dtype, part

CHANNELS = 48


def check_model(model: Any, name: str = "model") -> None:
    """Refuse a MODEL that is not Wan2.2-TI2V-5B or a smaller one of its kind.

    Raises:
        ValueError: says what it is instead, and what is wanted.
    """
    network = model.get_model_object("diffusion_model")
    kind = type(network).__name__
    if not isinstance(network, part("ldm.wan.model").WanModel):
        raise ValueError(f"{name} is a {kind} ({type(model.model).__name__}), no Wan model; wanted: {WANTED_BASE}")
    found = f"{kind} of width {network.dim} with {network.in_dim} channels in and {network.out_dim} out"
    if hasattr(network, "vace_blocks"):
        raise ValueError(
            f"{name} is a {found} that brings a VACE branch of its own; load the plain base and give the branch to "
            f"this node; wanted: {WANTED_BASE}"
        )
    if (network.in_dim, network.out_dim) != (CHANNELS, CHANNELS):
        size = "14B model, " if network.dim == 5120 else ""
        raise ValueError(f"{name} is a {size}{found}; wanted: {WANTED_BASE}")


def check_later(later: Any, model: Any) -> None:
    """Refuse a model for the later chunks that is not of the first one's size.

    Raises:
        ValueError: names both.
    """
    check_model(later, "later_model")
    sizes = []
    for patcher in (model, later):
        network = patcher.get_model_object("diffusion_model")
        sizes.append((network.dim, network.num_heads, network.num_layers, compute_dtype(patcher)))
    if sizes[0] != sizes[1]:
        raise ValueError(
            "later_model has (width, heads, layers, dtype) {}, model has {}; connect the same model with the LoRA "
            "on".format(*reversed(sizes))
        )


def check_vae(vae: Any) -> None:
    """Refuse a VAE that is not Wan2.2's.

    Raises:
        ValueError: says what it is instead.
    """
    network = vae.first_stage_model
    if not isinstance(network, part("ldm.wan.vae2_2").WanVAE) or vae.latent_channels != CHANNELS:
        raise ValueError(
            f"vae is a {type(network).__module__.rpartition('.')[2]}.{type(network).__name__} of {vae.latent_channels} "
            f"channels (Wan2.1's has 16); wanted: {WANTED_VAE}"
        )


def header_of_model(model: Any) -> Header:
    """As much of a MODEL's shapes as ``wan_files.check_branch`` asks for."""
    network = model.get_model_object("diffusion_model")
    return Header("MODEL", {"patch_embedding.weight": (network.dim, network.in_dim, *network.patch_size)}, {})
