"""Options of a world that save time or memory. Each gives a new world with the same weights; the old one stays."""

from collections.abc import Callable
from dataclasses import replace

import torch

from .attending import Attending
from .backbone import Backbone, layers
from .blockwise import Blockwise
from .compiled import check_compiler, compiled, is_compiled
from .forecast import Forecast
from .tiled_codec import TiledCodec
from .transformer import SpatialTransformer
from .world import WorldModel

EITHER = "compiled blocks cannot be moved one by one; choose compile or offload"


def with_kernel(world: WorldModel, kernel: str) -> WorldModel:
    """The world with its attention computed by another kernel (``attending.KERNELS``).

    Raises:
        ValueError: the kernel is not installed, or somebody else holds the network.
    """
    return _changed(world, "attention", lambda backbone: Attending(backbone, kernel))


def with_compiled_blocks(world: WorldModel) -> WorldModel:
    """The world with compiled blocks. The first forward of each shape takes a minute or more.

    Raises:
        ValueError: nothing here compiles, somebody else holds the network, a LoRA is switched on between chunks, or
            blocks come to the device in turn.
    """
    if world.later is not None:
        raise ValueError("compiled blocks do not see a LoRA that is switched on between chunks; set compile to off")

    def change(backbone: Backbone) -> Backbone:
        if isinstance(backbone, Attending):
            return Attending(change(backbone.network), backbone.kernel)
        if isinstance(backbone, Blockwise):
            raise ValueError(EITHER)
        check_compiler(backbone.device)
        if isinstance(backbone, SpatialTransformer):
            return compiled(backbone)
        assert hasattr(backbone, "around")
        return backbone.around(compiled(_inner(backbone)))

    return _changed(world, "compile", change)


def with_tiles(world: WorldModel, tile: int, overlap: int) -> WorldModel:
    """The world with a codec that decodes in tiles; in these ones, where it did so before.

    Raises:
        ValueError: its codec cannot, or sizes that do not fit.
    """
    whole = world.codec.codec if isinstance(world.codec, TiledCodec) else world.codec
    return replace(world, codec=TiledCodec(whole, tile, overlap))  # type: ignore[arg-type]


def with_forecast(world: WorldModel, plan: Forecast) -> WorldModel:
    """The world with some of its steps foretold."""
    return replace(world, forecast=plan)


def with_blocks_in_turn(world: WorldModel, device: torch.device) -> WorldModel:
    """The world with its blocks on the device one at a time.

    Raises:
        ValueError: somebody else holds the network, or its blocks are compiled.
    """

    def change(backbone: Backbone) -> Backbone:
        if isinstance(backbone, Attending):
            return Attending(change(backbone.network), backbone.kernel)
        if is_compiled(_inner(backbone)):
            raise ValueError(EITHER)
        return Blockwise(_inner(backbone), device, getattr(backbone, "adapter", None))

    return _changed(world, "offload", change)


def _changed(world: WorldModel, option: str, change: Callable[[Backbone], Backbone]) -> WorldModel:
    """The world with each of its backbones changed, which must be diffusers networks.

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
    first, *later = map(change, networks)
    return replace(world, transformer=first, later=later[0] if later else None)


def _inner(backbone: Backbone) -> SpatialTransformer:
    """The transformer inside however many wraps."""
    *_, innermost = layers(backbone)
    return innermost
