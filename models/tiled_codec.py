"""A codec that decodes in tiles, for a device that cannot hold a whole frame."""

from collections.abc import Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from .codec import Codec, OnLatent


class Tileable(Codec, Protocol):
    """A codec that can decode in tiles."""

    def decode_tiled(
        self, latents: Tensor, tile: int, overlap: int, on_latent: OnLatent | None = None
    ) -> Iterator[Tensor]: ...


class TiledCodec:
    """Encodes as the codec does, decodes in overlapping tiles of ``tile`` x ``tile`` cells.

    Not equal to decoding whole: see ``WanCodec.decode_tiled``.
    """

    def __init__(self, codec: Tileable, tile: int, overlap: int) -> None:
        """Tiles of at least 8 cells that share at least one.

        Raises:
            ValueError: a codec that cannot, or sizes that do not fit.
        """
        if not hasattr(codec, "decode_tiled"):
            raise ValueError(f"the codec {codec.name!r} decodes whole frames only; set tile to 0")
        if tile < 8 or not 0 < overlap < tile:
            raise ValueError(f"tile is {tile} with overlap {overlap}, expected at least 8 cells and 1 to {tile - 1}")
        self.codec, self.tile, self.overlap = codec, tile, overlap
        self.name, self.grid, self.independent = codec.name, codec.grid, codec.independent
        self.to_raw, self.from_raw = codec.to_raw, codec.from_raw
        self.encode, self.encode_frames = codec.encode, codec.encode_frames

    def decode(self, latents: Tensor) -> Tensor:
        """See ``models.codec.Codec``."""
        return torch.cat(list(self.decode_stream(latents)))

    def encode_stream(self, clips: Iterable[Tensor]) -> Iterator[Tensor]:
        """See ``models.codec.Codec``."""
        return self.codec.encode_stream(clips)

    def decode_stream(self, latents: Tensor, on_latent: OnLatent | None = None) -> Iterator[Tensor]:
        """See ``models.codec.Codec``."""
        return self.codec.decode_tiled(latents, self.tile, self.overlap, on_latent)
