"""A transformer larger than the device: its blocks come one at a time for their forward and go back."""

from collections.abc import Iterator
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from .adapter import Adapter
from .transformer import SpatialTransformer

HOME = torch.device("cpu")


class Blockwise:
    """A backbone of which the device holds one block at a time, and what stands beside the blocks.

    The numbers are those of the whole network on the device. Slower by the way of all weights to the device, every
    forward. For runs without a host: ComfyUI's own management does this for networks in its care.
    """

    def __init__(self, network: SpatialTransformer, device: torch.device, adapter: Adapter | None = None) -> None:
        self.network, self.device, self.adapter = network, device, adapter

    def parameters(self) -> Iterator[nn.Parameter]:
        """The weights, which lie on the CPU between forwards."""
        return self.network.parameters()

    def device_bytes(self) -> int:
        """Bytes of weights that lie on the device at once: what stands beside the blocks, and the largest block."""
        blocks = [_bytes(block) for block in (*self.network.blocks, *self.network.vace_blocks)]
        return _bytes(self.network) - sum(blocks) + max(blocks)

    def __call__(self, *given, **named) -> Tensor:
        """See ``models.backbone.Backbone``."""
        blocks = [*self.network.blocks, *self.network.vace_blocks]
        with ExitStack() as stack:
            stack.callback(self._home)
            for module in self._beside():
                module.to(self.device)
            self.network.scale_shift_table.data = self.network.scale_shift_table.data.to(self.device)
            if self.adapter is not None:
                self.adapter.to(self.device)
                stack.enter_context(self.adapter.on(self.network))
            for block in blocks:
                stack.callback(block.register_forward_pre_hook(self._comes).remove)
                stack.callback(block.register_forward_hook(self._goes).remove)
            return self.network(*given, **named)

    def _beside(self) -> list[nn.Module]:
        return [module for name, module in self.network.named_children() if name not in ("blocks", "vace_blocks")]

    def _comes(self, block: nn.Module, given: tuple) -> None:
        block.to(self.device)

    def _goes(self, block: nn.Module, given: tuple, output) -> None:
        block.to(HOME)

    def _home(self) -> None:
        self.network.to(HOME)
        if self.adapter is not None:
            self.adapter.to(HOME)


def _bytes(module: nn.Module) -> int:
    return sum(p.numel() * p.element_size() for p in module.parameters())
