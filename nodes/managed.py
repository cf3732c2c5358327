"""Networks whose memory the host manages: one owner each, on the device when they compute, evictable after."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from ..models.adapter import Adapter
from ..models.backbone import Backbone
from ..models.codec import Codec, OnLatent
from ..models.transformer import SpatialTransformer
from ..models.wan_codec import WanCodec
from ..models.wan_load import Parts, WanNetworks
from ..models.wan_memory import codec_activation, transformer_activation
from .host import Owner


class ManagedBackbone:
    """A transformer that its owner loads before every call, with the adapter on where there is one."""

    def __init__(self, network: SpatialTransformer, owner: Owner, adapter: Adapter | None = None) -> None:
        self.network, self.owner, self.adapter = network, owner, adapter

    @property
    def device(self) -> torch.device:
        """Where it computes once it is loaded."""
        return self.owner.device

    def parameters(self) -> Iterator[nn.Parameter]:
        """The weights, wherever they lie now."""
        return self.network.parameters()

    def around(self, network: SpatialTransformer) -> "ManagedBackbone":
        """The same owner around another network with the very same weights."""
        return ManagedBackbone(network, self.owner, self.adapter)

    def __call__(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        control_hidden_states: Tensor | None,
        num_references: int = 0,
    ) -> Tensor:
        """See ``models.backbone.Backbone``."""
        frames, h, w = hidden_states.shape[2:]
        self.owner.load(transformer_activation(self.network.config, num_references, frames - num_references, h, w))
        given = (hidden_states, timestep, encoder_hidden_states, control_hidden_states, num_references)
        if self.adapter is None:
            return self.network(*given)
        with self.adapter.on(self.network):
            return self.network(*given)


class ManagedCodec:
    """A VAE that its owner loads before every piece that it codes."""

    def __init__(self, codec: WanCodec, owner: Owner) -> None:
        self.codec, self.owner = codec, owner
        self.name, self.grid, self.independent = codec.name, codec.grid, codec.independent
        self.to_raw, self.from_raw = codec.to_raw, codec.from_raw

    def encode(self, images: Tensor) -> Tensor:
        """See ``models.codec.Codec``."""
        self._load(*(side // self.grid.spatial for side in images.shape[-2:]))
        return self.codec.encode(images)

    def decode(self, latents: Tensor) -> Tensor:
        """See ``models.codec.Codec``."""
        self._load(*latents.shape[-2:])
        return self.codec.decode(latents)

    def decode_tiled(
        self, latents: Tensor, tile: int = 32, overlap: int = 8, on_latent: OnLatent | None = None
    ) -> Iterator[Tensor]:
        """See ``models.wan_codec.WanCodec``."""
        self._load(*(min(tile, side) for side in latents.shape[-2:]))
        yield from self.codec.decode_tiled(latents, tile, overlap, on_latent)

    def encode_frames(self, images: Tensor) -> Tensor:
        """See ``models.codec.Codec``."""
        self._load(*(side // self.grid.spatial for side in images.shape[-2:]))
        return self.codec.encode_frames(images)

    def encode_stream(self, clips: Iterable[Tensor]) -> Iterator[Tensor]:
        """See ``models.codec.Codec``."""
        yield from self.codec.encode_stream(self._before_each(clips))

    def decode_stream(self, latents: Tensor, on_latent: OnLatent | None = None) -> Iterator[Tensor]:
        """See ``models.codec.Codec``."""
        self._load(*latents.shape[-2:])
        yield from self.codec.decode_stream(latents, on_latent)

    def _before_each(self, clips: Iterable[Tensor]) -> Iterator[Tensor]:
        for clip in clips:
            self._load(*(side // self.grid.spatial for side in clip.shape[-2:]))
            yield clip

    def _load(self, h: int, w: int) -> None:
        self.owner.load(codec_activation(self.codec.vae.config, h, w))


class Held(nn.Module):
    """A transformer and the adapter that belongs to it: moved together."""

    def __init__(self, network: SpatialTransformer, adapter: Adapter | None) -> None:
        super().__init__()
        self.network, self.adapter = network, adapter


def managed(networks: WanNetworks) -> Parts:
    """The networks in the host's care: the transformer with its adapter is one model, the VAE another."""
    network, adapter = networks.transformer, networks.adapter
    owner = Owner(Held(network, adapter), "spatial transformer")
    first: Backbone = ManagedBackbone(network, owner)
    later = None if adapter is None else ManagedBackbone(network, owner, adapter)
    codec: Codec = ManagedCodec(networks.codec, Owner(networks.codec.vae, "spatial VAE"))
    return first, codec, later
