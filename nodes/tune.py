"""The node with what saves time and memory: the same world, drawn by other means."""

from ..models.attending import KERNELS
from ..models.forecast import Forecast
from ..models.tuning import with_blocks_in_turn, with_compiled_blocks, with_forecast, with_kernel, with_tiles
from .host import World, compute_device, host_manages_memory, io, result, schema, socket

NATIVE = KERNELS[0]


class TuneWorldModel(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "TuneWorldModel",
            "Tune World Model",
            "What saves time and memory, all of it off at first. The world that comes in stays as it is.",
            inputs=[
                socket(World, "world", "The world model, from Load World Model or Apply Spatial Control."),
                socket(
                    io.Int,
                    "every",
                    "Compute only every so many steps and foretell those between from those before. 1 = compute all. "
                    "The whole network is foretold, its control branch too.",
                    default=1,
                    min=1,
                    max=8,
                ),
                socket(
                    io.Int,
                    "first",
                    "Steps at the start that are always computed; so is the last one.",
                    default=3,
                    min=1,
                    max=100,
                    optional=True,
                ),
                socket(
                    io.Int,
                    "order",
                    "How steps are foretold: 0 = as the last one computed, 1 = along a line, 2 = along a parabola.",
                    default=1,
                    min=0,
                    max=2,
                    optional=True,
                ),
                socket(
                    io.Int,
                    "tile",
                    "Decode in tiles of so many latent cells, for a device that cannot hold a frame; seams blend. "
                    "0 = whole frames. Films are always coded a few frames at a time.",
                    default=0,
                    min=0,
                    max=256,
                    optional=True,
                ),
                socket(
                    io.Int,
                    "overlap",
                    "Cells that neighbouring tiles share.",
                    default=8,
                    min=1,
                    max=128,
                    optional=True,
                ),
                socket(
                    io.Combo,
                    "attention",
                    "Who computes attention. All but 'native' and 'flex' are packages that you install; 'sage' rounds.",
                    options=list(KERNELS),
                    default=NATIVE,
                    optional=True,
                ),
                socket(
                    io.Boolean,
                    "compile",
                    "Compile the network's blocks: a minute or more at the first step, faster after. Not with a LoRA.",
                    default=False,
                    optional=True,
                ),
                socket(
                    io.Boolean,
                    "offload",
                    "Hold one block on the device at a time. For runs from the command line: ComfyUI does this itself "
                    "for Apply Spatial Control.",
                    default=False,
                    optional=True,
                ),
            ],
            outputs=[result(World, "world", "The same world with these options.")],
            search_aliases=["speed", "cache", "taylorseer", "compile", "offload", "attention", "tiling", "vram"],
        )

    @classmethod
    def execute(
        cls,
        world,
        every,
        first=3,
        order=1,
        tile=0,
        overlap=8,
        attention=NATIVE,
        compile=False,
        offload=False,
    ):
        if offload:
            if host_manages_memory():
                raise ValueError(
                    "offload would move weights that ComfyUI moves too; use Apply Spatial Control, whose model ComfyUI "
                    "loads in parts, or run the workflow from the command line"
                )
            world = with_blocks_in_turn(world, compute_device())
        if compile:
            world = with_compiled_blocks(world)
        if attention != NATIVE:
            world = with_kernel(world, attention)
        if tile:
            world = with_tiles(world, tile, overlap)
        if every > 1:
            world = with_forecast(world, Forecast(every, first, order))
        return io.NodeOutput(world)
