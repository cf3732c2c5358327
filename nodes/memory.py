"""Nodes that begin the memory and write to it."""

from ..memory.cloud import SpatialMemory
from ..rollout.chunk import forget, update
from ..rollout.start import init_memory
from .convert import images_from_socket
from .host import GeometrySocket, MemorySocket, State, World, io, result, schema, socket, ui

KINDS = ("latent", "rgb")


def described(memory: SpatialMemory | None) -> str:
    """One line about a memory, for the node's face."""
    if memory is None:
        return "no memory"
    count, size = len(memory.observations), memory.get_ram_usage() / 1e6
    return f"{memory.kind} memory: {memory.num_points} points of {count} views, {size:.1f} MB"


class InitMemory(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "InitMemory",
            "Init Memory",
            "Lifts the first pictures into a new 3D memory: one point for each latent cell, or for each pixel.",
            inputs=[
                socket(World, "world", "The world model, from Load World Model."),
                socket(State, "state", "From Encode Start Frame."),
                socket(io.Image, "images", "Encode Start Frame's images."),
                socket(GeometrySocket, "geometry", "Their geometry, from Estimate Geometry."),
                socket(
                    io.Combo,
                    "kind",
                    "What a point carries. 'latent': the latent of its cell, read straight into the network "
                    "(Mirage). 'rgb': a colour, rendered and encoded for every chunk (Spatia).",
                    options=list(KINDS),
                    default="latent",
                ),
            ],
            outputs=[
                result(State, "state", "The state with its memory: into Chunk Loop Start."),
                result(MemorySocket, "memory", "The memory itself: Camera Path draws it."),
            ],
            search_aliases=["point cloud", "lift", "spatial memory", "3d cache"],
        )

    @classmethod
    def execute(cls, world, state, images, geometry, kind):
        begun = init_memory(world, state, images_from_socket(images), geometry, kind)
        return io.NodeOutput(begun, begun.memory, ui=ui.PreviewText(described(begun.memory)))


class UpdateMemory(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "UpdateMemory",
            "Update Memory",
            "Ends a chunk: its latents join the film, and what is new, static and sure joins the memory. The old "
            "state stays what it was.",
            inputs=[
                socket(World, "world", "The world model, from Load World Model."),
                socket(State, "state", "From Denoise Chunk."),
                socket(io.Image, "images", "Denoise Chunk's frames."),
                socket(
                    GeometrySocket,
                    "geometry",
                    "Geometry of the frames, from Estimate Geometry. Without it nothing is remembered: the baseline.",
                    optional=True,
                ),
            ],
            outputs=[
                result(State, "state", "The state after the chunk: into Chunk Loop End."),
                result(MemorySocket, "memory", "The memory after the chunk."),
            ],
            search_aliases=["point cloud", "write memory", "append"],
        )

    @classmethod
    def execute(cls, world, state, images, geometry=None):
        if geometry is None:
            done = forget(world, state)
        else:
            done = update(world, state, images_from_socket(images), geometry)
        return io.NodeOutput(done, done.memory, ui=ui.PreviewText(described(done.memory)))
