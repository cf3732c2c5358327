"""Options of a world that save time or memory. Each gives a new world with the same weights; the old one stays."""

from collections.abc import Callable
from dataclasses import replace

import torch

from .attending import Attending
from .backbone import Backbone
from .blockwise import Blockwise
from .compiled import check_compiler, compiled
from .forecast import Forecast
from .tiled_codec import TiledCodec
from .transformer import SpatialTransformer
from .world import WorldModel


def with_kernel(world: WorldModel, kernel: str) -> WorldModel:
    """The world with its attention computed by another kernel (``attending.KERNELS``).

    Raises:
        ValueError: the kernel is not installed, or somebody else holds the network.
    """
    _networks(world, "attention")
    later = None if world.later is None else Attending(world.later, kernel)
    return replace(world, transformer=Attending(world.transformer, kernel), later=later)


def with_compiled_blocks(world: WorldModel) -> WorldModel:
    """The world with compiled blocks. The first forward of each shape takes a minute or more.

    Raises:
        ValueError: nothing here compiles, somebody else holds the network, or a LoRA is switched on between chunks.
    """
    if world.later is not None:
        raise ValueError("compiled blocks do not see a LoRA that is switched on between chunks; set compile to off")
    _networks(world, "compile")
    check_compiler(world.transformer.device)
    return replace(world, transformer=_around(world.transformer, compiled))


def with_tiles(world: WorldModel, tile: int, overlap: int) -> WorldModel:
    """The world with a codec that decodes in tiles.

    Raises:
        ValueError: its codec cannot, or sizes that do not fit.
    """
    return replace(world, codec=TiledCodec(world.codec, tile, overlap))  # type: ignore[arg-type]


def with_forecast(world: WorldModel, plan: Forecast) -> WorldModel:
    """The world with some of its steps foretold."""
    return replace(world, forecast=plan)


def with_blocks_in_turn(world: WorldModel, device: torch.device) -> WorldModel:
    """The world with its blocks on the device one at a time.

    Raises:
        ValueError: somebody else holds the network.
    """
    first, *later = _networks(world, "offload")
    turns = [Blockwise(_inner(network), device, getattr(network, "adapter", None)) for network in (first, *later)]
    return replace(world, transformer=turns[0], later=turns[1] if later else None)


def _networks(world: WorldModel, option: str) -> list[Backbone]:
    """The backbones of a world, which must be diffusers networks.

    Raises:
        ValueError: ComfyUI holds them.
    """
    networks = [world.transformer] if world.later is None else [world.transformer, world.later]
    for network in networks:
        if not isinstance(_inner(network), SpatialTransformer):
            raise ValueError(
                f"{option} is ComfyUI's own affair for a world of Apply Spatial Control: choose it by ComfyUI's start "
                f"options and model nodes, and leave {option} as it is here"
            )
    return networks


def _inner(backbone: Backbone) -> SpatialTransformer:
    """The transformer inside however many wraps."""
    while not isinstance(backbone, SpatialTransformer) and hasattr(backbone, "network"):
        backbone = backbone.network
    return backbone  # type: ignore[return-value]


def _around(backbone: Backbone, change: Callable[[SpatialTransformer], SpatialTransformer]) -> Backbone:
    """The same wraps around a changed transformer."""
    if isinstance(backbone, SpatialTransformer):
        return change(backbone)
    if isinstance(backbone, Attending):
        return Attending(_around(backbone.network, change), backbone.kernel)
    assert hasattr(backbone, "around")
    return backbone.around(change(_inner(backbone)))
