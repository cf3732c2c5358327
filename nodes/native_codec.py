"""ComfyUI's own VAE as a codec: loaded, offloaded and tiled by ComfyUI as in any other workflow."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..memory.grid import LatentGrid
from ..models.codec import OnLatent, check_images, check_latents, signed
from .host import check_interrupted
from .native_host import part

WINDOW = 33  # latents that are decoded at once: the longest window of any layout has 31
LEAD = 8  # latents before a later window that warm the causal decoder up


class HostCodec:
    """A Wan2.2 VAE in ComfyUI's hands. Gives CPU float32.

    ComfyUI's VAE codes whole clips only. A clip is encoded in one call, so ``encode_stream`` is exact but holds all its
    frames. Up to ``WINDOW`` latents are decoded in one call; a longer film latent by latent, with the network's causal
    caches kept in between: exact too. Where memory runs out, ComfyUI codes in tiles by itself, which deviates at their
    seams; a long film then goes window by window, each behind ``LEAD`` latents whose frames are dropped, and deviates
    a little more after each cut.
    """

    independent = False

    def __init__(self, vae: Any, latent_format: Any, name: str = "wan2.2") -> None:
        self.vae, self.latent_format, self.name = vae, latent_format, name
        self.grid = LatentGrid(48, 4, 16, 2)

    @torch.no_grad()
    def encode(self, images: Tensor) -> Tensor:
        """(T, 3, H, W) in [-1, 1], T = 1 + 4n -> (C, t, h, w): the mode of the posterior, normalised.

        Raises:
            ValueError: T is not 1 + 4n, or the size does not fit the grid.
        """
        check_interrupted()
        self.grid.latent_frames(len(images))
        check_images(images, self.grid)
        pixels = ((images.float() + 1) / 2).movedim(1, -1)  # (T, H, W, 3) in [0, 1]
        return self.from_raw(self.vae.encode(pixels)[0].float().cpu())

    def decode(self, latents: Tensor) -> Tensor:
        """(C, t, h, w) -> (T, 3, H, W) clamped to [-1, 1]."""
        return torch.cat(list(self.decode_stream(latents)))

    def encode_frames(self, images: Tensor) -> Tensor:
        """(V, 3, H, W) -> (C, V, h, w), each image as a clip of one frame."""
        return torch.cat([self.encode(image[None]) for image in images], dim=1)

    def encode_stream(self, clips: Iterable[Tensor]) -> Iterator[Tensor]:
        """Clips of any lengths, together 1 + 4n frames -> one piece (C, t, h, w)."""
        yield self.encode(torch.cat(list(clips)))

    @torch.no_grad()
    def decode_stream(self, latents: Tensor, on_latent: OnLatent | None = None) -> Iterator[Tensor]:
        """(C, t, h, w) -> pieces (n, 3, H, W): one for a short clip, one a latent of a long film."""
        check_latents(latents, self.grid)
        if latents.shape[1] <= WINDOW:
            yield from self._in_windows(latents, on_latent)
            return
        stream = self._one_by_one(latents, on_latent)
        try:
            pieces = [next(stream), next(stream)]  # the second has four frames: from then on memory stays the same
        except part("model_management").OOM_EXCEPTION:
            pieces, stream = [], self._in_windows(latents, on_latent)
        yield from pieces
        yield from stream

    def _in_windows(self, latents: Tensor, on_latent: OnLatent | None) -> Iterator[Tensor]:
        total = latents.shape[1]
        for start in [0, *range(WINDOW, total, WINDOW - LEAD)]:
            check_interrupted()
            lead = min(start, LEAD)
            stop = min(total, start + WINDOW - lead)
            raw = self.to_raw(latents[:, start - lead : stop].float())
            frames = self.vae.decode(raw[None])[0]  # (T, H, W, 3) in [0, 1]
            if on_latent is not None:
                on_latent(stop)
            dropped = self.grid.num_frames(lead) if lead else 0
            yield signed(frames[dropped:].movedim(-1, 1).float().cpu()).clamp_(-1.0, 1.0)

    def _one_by_one(self, latents: Tensor, on_latent: OnLatent | None) -> Iterator[Tensor]:
        wan, network = part("ldm.wan.vae2_2"), self.vae.first_stage_model
        cache: list = [None] * wan.count_conv3d(network.decoder)
        for index in range(latents.shape[1]):
            check_interrupted()
            raw = self.to_raw(latents[:, index : index + 1].float())[None]
            needed = self.vae.memory_used_decode(raw.shape, self.vae.vae_dtype)
            part("model_management").load_models_gpu([self.vae.patcher], memory_required=needed)
            hidden = network.conv2(raw.to(self.vae.device, self.vae.vae_dtype))
            pixels = network.decoder(hidden, feat_cache=cache, feat_idx=[0], first_chunk=index == 0)
            frames = wan.unpatchify(pixels, patch_size=2)[0].movedim(0, 1)  # (1 or 4, 3, H, W)
            if on_latent is not None:
                on_latent(index + 1)
            yield frames.float().cpu().clamp(-1.0, 1.0)

    def to_raw(self, latents: Tensor) -> Tensor:
        """Normalised -> what ComfyUI's LATENT holds."""
        return self.latent_format.process_out(latents[None])[0]

    def from_raw(self, raw: Tensor) -> Tensor:
        """What ComfyUI's LATENT holds -> normalised."""
        return self.latent_format.process_in(raw[None])[0]
