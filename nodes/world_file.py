"""Nodes that write the world file and read it back."""

from dataclasses import replace

from ..rollout.state import load_state, save_state
from .colours import cloud_of, decimated
from .host import (
    MemorySocket,
    PathSocket,
    State,
    World,
    file_stamp,
    io,
    output_file,
    result,
    schema,
    socket,
    ui,
    user_file,
)
from .memory import described

SUFFIX = ".safetensors"
PREVIEW_POINTS = 20_000  # of the decimated preview in a world file


class SaveWorld(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "SaveWorld",
            "Save World",
            "Writes the film's state with its memory to the output folder: safetensors, bit-exact, complete or not "
            "at all. A file of the same name is replaced; under another name it is a fork.",
            inputs=[
                socket(State, "state", "The state to save."),
                socket(PathSocket, "path", "The camera path, to keep it in the file.", optional=True),
                socket(
                    io.String,
                    "filename",
                    "File name below the output folder, for instance worlds/kitchen.",
                    default="worlds/world",
                ),
            ],
            outputs=[
                result(State, "state", "The same state, so that a chain can go on behind the file."),
                result(io.String, "file", "The file that was written: Load World's file name."),
            ],
            is_output_node=True,
            search_aliases=["checkpoint", "export memory", "save state"],
        )

    @classmethod
    def execute(cls, state, filename, path=None):
        name = filename if filename.endswith(SUFFIX) else filename + SUFFIX
        preview = None if state.memory is None else decimated(cloud_of(state.memory), PREVIEW_POINTS)
        save_state(output_file(name), state if path is None else replace(state, path=path), preview)
        return io.NodeOutput(state, name, ui=ui.PreviewText(f"{name}: {state.chunk} chunks, {described(state.memory)}"))


class LoadWorld(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "LoadWorld",
            "Load World",
            "Reads a world file: the film goes on from it with the same bits.",
            inputs=[
                socket(World, "world", "The world model that made the file."),
                socket(
                    io.String,
                    "filename",
                    "A world file in the input or output folder.",
                    default="worlds/world.safetensors",
                ),
            ],
            outputs=[
                result(
                    State,
                    "state",
                    "The saved state. To go on in a loop, give the file to Chunk Loop End's resume instead.",
                ),
                result(MemorySocket, "memory", "The memory in it."),
            ],
            search_aliases=["resume", "checkpoint", "import memory", "load state"],
        )

    @classmethod
    def fingerprint_inputs(cls, filename="", **others):
        return file_stamp(filename or "")

    @classmethod
    def execute(cls, world, filename):
        state = load_state(user_file(filename), world.name)
        return io.NodeOutput(state, state.memory, ui=ui.PreviewText(f"{state.chunk} chunks, {described(state.memory)}"))
