"""What a world model asks of the network that draws: called the same whether diffusers holds it or the host does."""

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn


class Backbone(Protocol):
    """The transformer together with its control branch. Whoever implements it sees to it that the weights are there."""

    @property
    def device(self) -> torch.device:
        """Where it computes: inputs are brought there."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """The weights that this value keeps alive; none where somebody else owns them."""

    def __call__(
        self,
        hidden_states: Tensor,
        timestep: Tensor,
        encoder_hidden_states: Tensor,
        control_hidden_states: Tensor | None,
        num_references: int = 0,
    ) -> Tensor:
        """Predict every frame's velocity; frames run [R references | F others in stream order].

        Args:
            hidden_states: (B, C, R + F, h, w).
            timestep: (B, R + F) float32 in [0, 1000], 0 = clean.
            encoder_hidden_states: (B, L, D) text, L = 0 for a network without.
            control_hidden_states: (B, Cc, F, h, w); None leaves the branch out.

        Returns:
            (B, C, R + F, h, w) in the network's dtype.
        """


class Wrap:
    """A backbone around another one: the same device, the same weights."""

    def __init__(self, network: Backbone) -> None:
        self.network = network

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.network.device

    def parameters(self) -> Iterator[nn.Parameter]:
        """Those of the network."""
        return self.network.parameters()


def layers(backbone: Any) -> Iterator[Any]:
    """A backbone and what it wraps, from the outside in."""
    while backbone is not None:
        yield backbone
        backbone = getattr(backbone, "network", None)
