"""Between the host's sockets and the tensors inside: layouts, mask senses and latent spaces change here alone."""

import torch
from torch import Tensor

from ..models.codec import Codec


def images_from_socket(images: Tensor, name: str = "images") -> Tensor:
    """IMAGE (T, H, W, 3 or 4) in [0, 1] to (T, 3, H, W) float32; an alpha channel is left out.

    Raises:
        ValueError: no four axes, or no colour channels.
    """
    if images.ndim != 4 or images.shape[-1] not in (3, 4):
        raise ValueError(f"{name} has shape {tuple(images.shape)}, expected an IMAGE (T, H, W, 3)")
    return images[..., :3].permute(0, 3, 1, 2).contiguous().float().cpu()


def images_to_socket(images: Tensor) -> Tensor:
    """(T, 3, H, W) in [0, 1] to IMAGE (T, H, W, 3)."""
    return images.clamp(0, 1).permute(0, 2, 3, 1).contiguous().float().cpu()


def grey_to_socket(values: Tensor) -> Tensor:
    """(T, H, W) in [0, 1] to a grey IMAGE (T, H, W, 3)."""
    return values.clamp(0, 1)[..., None].expand(*values.shape, 3).contiguous().float().cpu()


def selection_from_socket(mask: Tensor | None, name: str) -> Tensor | None:
    """MASK (T, H, W) or (H, W), 1 = selected, to (T, H, W). Whether it fits the images, whoever uses it says.

    Raises:
        ValueError: another number of axes, or values that are not finite.
    """
    if mask is None:
        return None
    masks = mask[None] if mask.ndim == 2 else mask
    if masks.ndim != 3 or not masks.isfinite().all():
        raise ValueError(f"{name} has shape {tuple(mask.shape)} or holds NaN; expected a MASK (T, H, W), 1 = {name}")
    return masks.float().cpu()


def depth_from_socket(depth: Tensor, scale: float) -> Tensor:
    """A grey IMAGE (T, H, W, 3) of linear z-depth to (T, H, W) in world units: value times ``scale``, 0 = unknown.

    Raises:
        ValueError: another number of axes.
    """
    if depth.ndim not in (3, 4):
        raise ValueError(f"depth has shape {tuple(depth.shape)}, expected a grey IMAGE (T, H, W, 3) of z-depth")
    return (depth[..., 0] if depth.ndim == 4 else depth).float().cpu() * scale


def latents_to_socket(codec: Codec, latents: Tensor, **extra: object) -> dict:
    """(C, t, h, w) in model space to a LATENT, which holds raw VAE output (1, C, t, h, w)."""
    return {"samples": codec.to_raw(latents)[None].float().cpu(), **extra}


def latents_from_socket(codec: Codec, latent: dict, name: str) -> Tensor:
    """A LATENT to (C, t, h, w) in model space.

    Raises:
        ValueError: another number of axes or channels than the codec's.
    """
    samples = latent["samples"]
    channels = codec.grid.channels
    if samples.ndim != 5 or samples.shape[0] != 1 or samples.shape[1] != channels:
        raise ValueError(
            f"{name} has shape {tuple(samples.shape)}, expected (1, {channels}, t, h, w): latents of the codec "
            f"{codec.name!r}"
        )
    return codec.from_raw(samples[0])


def hole_to_socket(known: Tensor) -> Tensor:
    """(t, h, w), 1 = known, to a MASK in which 1 selects the holes."""
    return (1.0 - known).float().cpu()


def known_from_socket(hole: Tensor) -> Tensor:
    """A MASK in which 1 selects the holes to (t, h, w), 1 = known."""
    return 1.0 - hole.float()


def tinted(images: Tensor, known: Tensor, colour: tuple[float, float, float] = (1.0, 0.0, 0.6)) -> Tensor:
    """Images (T, 3, H, W) with the holes of ``known`` (t, h, w) tinted, for a preview that shows what memory lacks."""
    frames, _, height, width = images.shape
    shown = torch.nn.functional.interpolate(known[:, None].float(), size=(height, width), mode="nearest")
    if shown.shape[0] != frames:
        index = (torch.arange(frames) * shown.shape[0]) // frames
        shown = shown[index]
    tint = torch.tensor(colour)[None, :, None, None]
    return shown * images + (1 - shown) * (0.5 * images + 0.5 * tint)
