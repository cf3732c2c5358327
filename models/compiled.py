"""A transformer with compiled blocks: the same weights, and the network that was given stays as it is."""

import copy
import shutil

import torch
from torch import nn

from .transformer import SpatialBlock, SpatialTransformer


def check_compiler(device: torch.device) -> None:
    """Refuse to compile where the first forward would fail.

    Raises:
        ValueError: no C++ compiler for a CPU, no Triton for a GPU.
    """
    if device.type == "cpu":
        wanted = [name for name in torch._inductor.config.cpp.cxx if name] or ["g++"]
        if not any(shutil.which(name) for name in wanted):
            raise ValueError(f"blocks are compiled for a CPU by {' or '.join(wanted)}, which is not installed")
        return
    try:
        import triton  # noqa: F401
    except ImportError as missing:
        raise ValueError(
            "blocks are compiled for a GPU by Triton, which is not installed: pip install triton"
        ) from missing


def is_compiled(network: SpatialTransformer) -> bool:
    """Whether its blocks are compiled, or will be at the first forward."""
    return not isinstance(network.blocks[0], SpatialBlock)


def compiled(network: SpatialTransformer) -> SpatialTransformer:
    """The network with its blocks compiled one by one at the first forward; itself where they are already."""
    if is_compiled(network):
        return network
    twin = copy.copy(network)
    twin._modules = dict(network._modules)
    for name in ("blocks", "vace_blocks"):
        twin._modules[name] = nn.ModuleList(torch.compile(block) for block in getattr(network, name))
    return twin
