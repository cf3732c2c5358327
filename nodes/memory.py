"""Nodes that begin the memory and write to it."""

from ..memory.cloud import SpatialMemory
from ..memory.merge import POLICIES
from ..rollout.chunk import forget, update
from ..rollout.start import Writing, init_memory
from .convert import images_from_socket
from .editor_live import shown_scene
from .host import GeometrySocket, MemorySocket, State, World, io, result, schema, socket, ui

KINDS = ("latent", "rgb")
DONE = {  # what a row of the ledger counts, in the words of the node's face
    "lifted": "lifted",
    "added": "added",
    "merged": "merged with what was known",
    "replaced": "replaced",
    "refused": "kept out where something was deleted",
    "overlooked": "left out, since a given picture looks past them",
    "doubted": "contradicted",
    "retired": "retired, contradicted twice",
    "purged": "retired points purged",
    "evicted": "evicted",
}


def described(memory: SpatialMemory | None) -> str:
    """One line about a memory, for the node's face."""
    if memory is None:
        return "no memory"
    count, size = len(memory.observations), memory.get_ram_usage() / 1e6
    edits = f", {len(memory.edits)} edits" if memory.edits else ""
    return f"{memory.kind} memory: {memory.num_points} points of {count} views, {size:.1f} MB{edits}"


def happened(row: dict) -> str:
    """What a write did, from its row of the ledger: one line, without what did not happen."""
    return ", ".join(f"{row[key]} {word}" for key, word in DONE.items() if row.get(key) or key in ("lifted", "added"))


def face(memory: SpatialMemory) -> str:
    """What the last write did, and what the memory is now."""
    return f"{happened(memory.ledger[-1])}\n{described(memory)}"


def policy_input(question: str):
    """The choice between the policies of merging."""
    return socket(
        io.Combo,
        "policy",
        f"{question} 'keep_first': what is remembered already. 'keep_finest': what was seen from closer, or with "
        "more confidence. 'keep_newest': the newcomer. What was given at the start never gives way to what was made.",
        options=list(POLICIES),
        default="keep_first",
        optional=True,
    )


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
        return io.NodeOutput(begun, begun.memory, ui=ui.PreviewText(face(begun.memory)))


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
                policy_input("Who stays where a surface is seen again."),
                socket(
                    io.Boolean,
                    "carving",
                    "A view that clearly sees through an old point contradicts it; contradicted twice, it draws no "
                    "more. So ghosts of what moved away disappear.",
                    default=True,
                    optional=True,
                ),
                socket(
                    io.Int,
                    "max_points",
                    "At most so many points are kept: those worth least go, the start frame's and locked ones never. "
                    "0 = no bound.",
                    default=0,
                    min=0,
                    max=1_000_000_000,
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
    def execute(cls, world, state, images, geometry=None, policy="keep_first", carving=True, max_points=0):
        if geometry is None:
            done = forget(world, state)
            return io.NodeOutput(done, done.memory, ui=ui.PreviewText(described(done.memory)))
        done = update(world, state, images_from_socket(images), geometry, Writing(policy, carving, max_points))
        shown = {**ui.PreviewText(face(done.memory)).as_dict(), **shown_scene(done.memory, done)}
        return io.NodeOutput(done, done.memory, ui=shown)
