"""Nodes that go back to an earlier chunk, and that bring another world's memory into this one."""

from ..memory.merge import POLICIES
from ..memory.worlds import merge_worlds
from ..rollout.edit import with_memory
from ..rollout.history import revert
from ..rollout.state import check_world
from .host import MemorySocket, State, World, io, result, schema, socket, ui
from .memory import described, happened, policy_input
from .world_space import angle, length, motion, turned


class RevertMemory(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "RevertMemory",
            "Revert Memory",
            "Goes back to the film as it was after one of its chunks: frames, memory, edits and references. The state "
            "that came in stays what it was.",
            inputs=[
                socket(State, "state", "From Chunk Loop End or Load World."),
                socket(
                    io.Int,
                    "chunk",
                    "The last chunk to keep, counted from 0. -1 = before the first: the start frame and what was "
                    "edited then.",
                    default=-1,
                    min=-1,
                    max=1_000_000,
                ),
                socket(
                    World,
                    "world",
                    "Only needed before the first chunk, where an edit of the start frame was undone after the film "
                    "had begun: the start frame is then made anew.",
                    optional=True,
                ),
            ],
            outputs=[
                result(State, "state", "The earlier state: edit it, or go on from it along another path."),
                result(MemorySocket, "memory", "Its memory."),
                result(io.String, "happened", "What was dropped."),
            ],
            search_aliases=["undo chunk", "go back", "rewind", "history"],
        )

    @classmethod
    def execute(cls, state, chunk, world=None):
        earlier = revert(state, chunk, world)
        dropped = len(state.cameras) - len(earlier.cameras)
        text = f"{earlier.chunk} of {state.chunk} chunks kept, {dropped} frames dropped\n{described(earlier.memory)}"
        return io.NodeOutput(earlier, earlier.memory, text, ui=ui.PreviewText(text))


class MergeMemory(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "MergeMemory",
            "Merge Memory",
            "Brings what another memory shows into this one: turned, moved and scaled, its edits applied. What both "
            "show is kept once.",
            inputs=[
                socket(World, "world", "The world model, from Load World Model."),
                socket(State, "state", "The film whose memory grows."),
                socket(MemorySocket, "other", "The memory to bring in, of the same kind and codec: from Load World."),
                length("x", "Where the other world's origin, its start camera, goes: to the right, in scene units."),
                length("y", "The same, downwards."),
                length("z", "The same, ahead."),
                angle("yaw", "How the other world is turned about its origin: to the right, in degrees."),
                angle("pitch", "The same, upwards."),
                angle("roll", "The same, clockwise."),
                socket(
                    io.Float,
                    "scale",
                    "World units of this memory for one of the other; 1 where both are in metres.",
                    default=1.0,
                    min=0.000001,
                    max=1_000_000.0,
                    step=0.01,
                    round=0.000001,
                    optional=True,
                ),
                policy_input("Who stays where both show the same surface."),
            ],
            outputs=[
                result(State, "state", "The state with both memories in one."),
                result(MemorySocket, "memory", "The merged memory."),
                result(io.String, "happened", "What was added, merged, replaced, refused."),
            ],
            search_aliases=["combine worlds", "join", "stitch", "align"],
        )

    @classmethod
    def execute(
        cls, world, state, other, x=0.0, y=0.0, z=0.0, yaw=0.0, pitch=0.0, roll=0.0, scale=1.0, policy="keep_first"
    ):
        check_world(world.name, state)
        if state.memory is None:
            raise ValueError("the state has no memory to merge into; InitMemory comes first")
        if state.fresh is not None:
            raise ValueError("the state is in the middle of a chunk; merge before ChunkLoopStart or after ChunkLoopEnd")
        unit = state.memory.scene_unit
        transform = motion((unit * x, unit * y, unit * z), turned(yaw, pitch, roll))
        merged, tally = merge_worlds(state.memory, other, transform, scale, POLICIES[policy])
        done = with_memory(world, state, merged)
        text = "\n".join([happened(tally), described(merged), *done.notes])
        return io.NodeOutput(done.state, merged, text, ui=ui.PreviewText(text))
