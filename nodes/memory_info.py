"""The node that tells what a memory holds."""

import json

from ..memory.figures import figures_table, memory_figures
from ..rollout.memory_picture import draw_memory
from .colours import cloud_of
from .host import MemorySocket, io, result, schema, socket, ui


class MemoryInfo(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "MemoryInfo",
            "Memory Info",
            "Says what a memory holds: points and bytes by chunk, where they lie, how old they are, what was "
            "contradicted, edited and evicted.",
            inputs=[socket(MemorySocket, "memory", "From Init Memory, Edit Memory, Update Memory or Load World.")],
            outputs=[
                result(io.Image, "picture", "The memory from above, in its own colours and by age, with its numbers."),
                result(io.String, "table", "The numbers as lines of text."),
                result(io.String, "json", "The same as JSON, with the edits and the ledger."),
            ],
            is_output_node=True,
            search_aliases=["statistics", "point cloud", "inspect", "size", "coverage"],
        )

    @classmethod
    def execute(cls, memory):
        figures = memory_figures(memory)
        picture = draw_memory(memory, cloud_of(memory).colours).float()[None] / 255
        table = figures_table(figures)
        shown = {**ui.PreviewImage(picture).as_dict(), "text": (table,)}
        return io.NodeOutput(picture, table, json.dumps(figures, indent=1, allow_nan=False), ui=shown)
