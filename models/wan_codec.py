"""The Wan2.2 VAE as a codec: 48 channels, 4 x 16 x 16, streamed with its causal caches kept between pieces.

diffusers supplies the network; its own loops start and clear the caches at every call. Here one pass holds them, so
that a stream equals one shot to the bit and memory does not grow with the length of the film.
"""

from collections.abc import Iterable, Iterator

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan, WanCausalConv3d
from einops import rearrange
from torch import Tensor, nn

from ..memory.grid import LatentGrid
from ..memory.pages import roomy
from .codec import OnLatent, check_images, check_latents, frame_groups

# The Wan2.2 VAE's own statistics of its latents, channel by channel.
WAN22_MEAN = (
    -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557, -0.1382, 0.0542, 0.2813, 0.0891,
    0.1570, -0.0098, 0.0375, -0.1825, -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502,
    -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230, -0.0313, -0.1649, 0.0117, 0.0723,
    -0.2839, -0.2083, -0.0520, 0.3748, 0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
)  # fmt: skip
WAN22_STD = (
    0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013, 0.8158, 1.0344, 0.5894, 1.0901,
    0.6885, 0.6165, 0.8454, 0.4978, 0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659,
    0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093, 0.5709, 0.6065, 0.6415, 0.4944,
    0.5726, 1.2042, 0.5458, 1.6887, 0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
)  # fmt: skip

WAN22_VAE = dict(
    base_dim=160,
    decoder_base_dim=256,
    z_dim=48,
    dim_mult=[1, 2, 4, 4],
    num_res_blocks=2,
    attn_scales=[],
    temperal_downsample=[False, True, True],
    latents_mean=list(WAN22_MEAN),
    latents_std=list(WAN22_STD),
    is_residual=True,
    in_channels=12,
    out_channels=12,
    patch_size=2,
    scale_factor_temporal=4,
    scale_factor_spatial=16,
)

RUN = 8  # latents that a tile decodes before its caches make way for the next tile's


class WanCodec:
    """``AutoencoderKLWan`` with the Wan2.2 settings. Runs where its weights are, in their dtype; gives CPU float32.

    A latent depends on all before it, so latents of a clip of its own differ from those inside a longer stream.
    """

    independent = False

    def __init__(self, vae: AutoencoderKLWan, name: str = "wan2.2") -> None:
        self.vae = vae.eval()
        self.name = name
        config = vae.config
        self.grid = LatentGrid(
            channels=config["z_dim"],
            temporal=config["scale_factor_temporal"],
            spatial=config["scale_factor_spatial"],
            patch=2,
        )
        self._mean = torch.tensor(config["latents_mean"]).view(-1, 1, 1, 1)
        self._std = torch.tensor(config["latents_std"]).view(-1, 1, 1, 1)

    def encode(self, images: Tensor) -> Tensor:
        """(T, 3, H, W) in [-1, 1], T = 1 + 4n -> (C, t, h, w): the mode of the posterior, normalised.

        Raises:
            ValueError: T is not 1 + 4n, or the size does not fit the grid.
        """
        self.grid.latent_frames(len(images))
        return torch.cat(list(self.encode_stream([images])), dim=1)

    def decode(self, latents: Tensor) -> Tensor:
        """(C, t, h, w) -> (T, 3, H, W) clamped to [-1, 1]."""
        check_latents(latents, self.grid)
        count, h, w = latents.shape[1:]
        size = (self.grid.num_frames(count), 3, h * self.grid.spatial, w * self.grid.spatial)
        made, done = roomy(size, torch.device("cpu")), 0
        for frames in self._decoded(latents):
            made[done : done + len(frames)] = frames
            done += len(frames)
        return made

    def encode_frames(self, images: Tensor) -> Tensor:
        """(V, 3, H, W) -> (C, V, h, w), each image as a clip of one frame."""
        return torch.cat([self.encode(image[None]) for image in images], dim=1)

    def encode_stream(self, clips: Iterable[Tensor]) -> Iterator[Tensor]:
        """Clips of any lengths -> one (C, 1, h, w) a group of frames, as soon as the group is full."""
        cache = _empty_cache(self.vae.encoder)
        for group in frame_groups(clips, self.grid.temporal):
            check_images(group, self.grid)
            yield self.from_raw(self._encode_group(group, cache))

    def decode_stream(self, latents: Tensor, on_latent: OnLatent | None = None) -> Iterator[Tensor]:
        """(C, t, h, w) -> (1, 3, H, W), then (4, 3, H, W) a latent."""
        check_latents(latents, self.grid)
        for index, frames in enumerate(self._decoded(latents)):
            if on_latent is not None:
                on_latent(index + 1)
            yield frames.cpu()

    def decode_tiled(
        self, latents: Tensor, tile: int = 32, overlap: int = 8, on_latent: OnLatent | None = None
    ) -> Iterator[Tensor]:
        """``decode_stream`` in overlapping tiles of ``tile`` x ``tile`` cells, for a device that cannot hold a frame.

        Tiles are blended linearly over ``overlap`` cells. Not equal to ``decode_stream``: the decoder's attention and
        its convolutions see no further than their tile. Each tile decodes ``RUN`` latents in a row; between its runs
        its caches wait on the CPU, which takes as long as decoding several latents.

        Raises:
            ValueError: the overlap is not smaller than the tile.
        """
        check_latents(latents, self.grid)
        if not 0 <= overlap < tile:
            raise ValueError(f"overlap is {overlap}, expected 0 to {tile - 1}, less than the tile")
        height, width = latents.shape[2:]
        tiles = [(rows, columns) for rows in spans(height, tile, overlap) for columns in spans(width, tile, overlap)]
        caches, scale = [_empty_cache(self.vae.decoder) for _ in tiles], self.grid.spatial
        ramps = [
            tile_ramp(rows, height, overlap, scale)[:, None] * tile_ramp(columns, width, overlap, scale)
            for rows, columns in tiles
        ]
        places = [tuple(slice(begin * scale, end * scale) for begin, end in tile) for tile in tiles]
        weights = torch.zeros(height * scale, width * scale)
        for place, ramp in zip(places, ramps):
            weights[place] += ramp
        for begin in range(0, latents.shape[1], RUN):
            run = latents[:, begin : begin + RUN]
            counts = [1 if begin + i == 0 else self.grid.temporal for i in range(run.shape[1])]
            canvas = torch.zeros(sum(counts), 3, height * scale, width * scale)
            for number, (cache, (rows, columns)) in enumerate(zip(caches, tiles)):
                raw = self.to_raw(run[:, :, slice(*rows), slice(*columns)])
                for i, part in enumerate(canvas.split(counts)):
                    frames = self._decode_latent(raw[:, i : i + 1], cache, first=begin + i == 0)
                    part[(..., *places[number])] += frames.cpu() * ramps[number]
                cache[:] = [kept.cpu() if isinstance(kept, Tensor) else kept for kept in cache]
                if on_latent is not None:
                    on_latent(begin + len(counts) * (number + 1) // len(tiles))
            yield from (canvas / weights).clamp_(-1.0, 1.0).split(counts)

    def to_raw(self, latents: Tensor) -> Tensor:
        """Normalised -> what the VAE itself speaks: latents * std + mean."""
        return latents * self._std.to(latents) + self._mean.to(latents)

    def from_raw(self, raw: Tensor) -> Tensor:
        """What the VAE itself speaks -> normalised: (raw - mean) / std."""
        return (raw - self._mean.to(raw)) / self._std.to(raw)

    def _decoded(self, latents: Tensor) -> Iterator[Tensor]:
        """The frames of one latent after another, clamped to [-1, 1], where the VAE computes."""
        cache = _empty_cache(self.vae.decoder)
        for index in range(latents.shape[1]):
            raw = self.to_raw(latents[:, index : index + 1])
            yield self._decode_latent(raw, cache, first=index == 0).clamp_(-1.0, 1.0)

    @torch.no_grad()
    def _encode_group(self, frames: Tensor, cache: list) -> Tensor:  # (1 or 4, 3, H, W) -> (C, 1, h, w) raw
        patch = self.vae.config["patch_size"] or 1
        weight = self.vae.quant_conv.weight
        pixels = rearrange(frames.to(weight.device), "t c (h q) (w r) -> 1 (c r q) t h w", q=patch, r=patch).to(weight)
        moments = self.vae.quant_conv(self.vae.encoder(pixels, feat_cache=cache, feat_idx=[0]))
        return moments[0, : self.grid.channels].float().cpu()

    @torch.no_grad()
    def _decode_latent(self, raw: Tensor, cache: list, first: bool) -> Tensor:  # (C, 1, h, w) -> (1 or 4, 3, H, W)
        patch = self.vae.config["patch_size"] or 1
        weight = self.vae.post_quant_conv.weight
        cache[:] = [kept.to(weight.device) if isinstance(kept, Tensor) else kept for kept in cache]
        hidden = self.vae.post_quant_conv(raw[None].to(weight))
        pixels = self.vae.decoder(hidden, feat_cache=cache, feat_idx=[0], first_chunk=first)
        return rearrange(pixels, "1 (c r q) t h w -> t c (h q) (w r)", q=patch, r=patch).float()


def _empty_cache(network: nn.Module) -> list:
    """One place a causal convolution, for the last frames that it has seen."""
    return [None] * sum(isinstance(module, WanCausalConv3d) for module in network.modules())


def spans(length: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """Ranges of at most ``tile`` cells that cover ``length``, neighbours sharing at least ``overlap``."""
    starts = range(0, max(1, length - overlap), tile - overlap)
    return [(max(0, min(start, length - tile)), min(length, start + tile)) for start in starts]


def tile_ramp(span: tuple[int, int], length: int, overlap: int, scale: int) -> Tensor:
    """A tile's weight along one side, in pixels: rising from its inner borders over the overlap, 1 elsewhere."""
    cells = (span[1] - span[0]) * scale
    at = torch.arange(cells) + 0.5
    reach = max(overlap * scale, 1)
    left = at / reach if span[0] else torch.ones(cells)
    right = (cells - at) / reach if span[1] < length else torch.ones(cells)
    return torch.minimum(left, right).clamp(max=1.0)
