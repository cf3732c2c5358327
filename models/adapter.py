"""A LoRA as an adapter: added while a network computes, never to its weights; switched off, every bit is as before."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn
from torch.nn.functional import linear

from .backbone import Backbone, Wrap
from .checkpoints import Report
from .lora import Lora, LowRank


class Adapter(nn.Module):
    """What a LoRA adds to some linear layers of one network; its factors are moved with whoever holds this module."""

    def __init__(self, network: nn.Module, lora: Lora, strength: float = 1.0, source: str = "the LoRA") -> None:
        """Fit a LoRA to a network, which is not changed.

        Raises:
            CheckpointError: it changes what the network lacks, what is no linear layer, or has another shape.
        """
        super().__init__()
        layers = {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}
        self.strength = strength
        self.names: list[str] = []
        self.scales: list[float] = []
        unexpected, mismatched = [], []
        for name, change in [*lora.low_rank.items(), *lora.differences.items()]:
            module, _, kind = name.rpartition(".")
            layer = layers.get(module)
            if layer is None or (kind == "bias" and layer.bias is None):
                unexpected.append(name)
                continue
            wanted = tuple((layer.weight if kind == "weight" else layer.bias).shape)
            if tuple(change.shape) != wanted:
                mismatched.append(f"{name}: has {tuple(change.shape)}, expected {wanted}")
                continue
            number = len(self.names)
            self.names.append(name)
            low_rank = isinstance(change, LowRank)
            self.scales.append(change.scale if low_rank else 1.0)
            for part, factor in zip("ab", (change.down, change.up) if low_rank else (change,)):
                self.register_buffer(f"{part}{number}", factor)
        Report(f"{source} does not fit the network", (), tuple(unexpected), tuple(mismatched)).check()

    def _added(self, number: int, x: Tensor) -> Tensor:
        a, b = getattr(self, f"a{number}").to(x), getattr(self, f"b{number}", None)
        scale = self.strength * self.scales[number]
        if b is not None:
            return scale * linear(linear(x, a.flatten(1)), b.to(x).flatten(1))
        return scale * (linear(x, a) if a.ndim == 2 else a)

    @contextmanager
    def on(self, network: nn.Module) -> Iterator[None]:
        """Within the block the network computes with the LoRA. ``network`` is the one it was fitted to, or a copy."""
        handles = []
        try:
            for number, name in enumerate(self.names):
                layer = network.get_submodule(name.rpartition(".")[0])
                handles.append(layer.register_forward_hook(self._hook(number)))
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, number: int):
        def add(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            return output + self._added(number, inputs[0]).to(output)

        return add


class Adapted(Wrap):
    """A network with its LoRA on, as a backbone: the weights are those of the network itself."""

    def __init__(self, network: Backbone, adapter: Adapter) -> None:
        super().__init__(network)
        self.adapter = adapter

    def __call__(self, *args, **keywords) -> Tensor:
        with self.adapter.on(self.network):  # type: ignore[arg-type]
            return self.network(*args, **keywords)
