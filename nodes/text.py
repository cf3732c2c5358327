"""Prompts: the host's CONDITIONING as the text that a world model reads."""

from torch import Tensor

from ..models.world import WorldModel
from ..rollout.chunk import NO_TEXT, Text
from .host import State, io, result, schema, socket


def text_of(conditioning: list | None, world: WorldModel, name: str) -> Tensor | None:
    """A CONDITIONING of one prompt as (L, D).

    Raises:
        ValueError: several prompts at once, or an encoder of another width than the world reads.
    """
    if conditioning is None:
        return None
    if len(conditioning) != 1:
        raise ValueError(
            f"{name} holds {len(conditioning)} prompts, expected one; combine prompts in words, not by "
            "ConditioningCombine"
        )
    tokens = conditioning[0][0]
    if tokens.ndim != 3 or tokens.shape[0] != 1 or tokens.shape[2] != world.text_channels:
        raise ValueError(
            f"{name} has shape {tuple(tokens.shape)}, {world.name} reads (1, tokens, {world.text_channels}); encode "
            "the prompt with CLIPLoader of type 'wan' and umt5_xxl"
        )
    return tokens[0].float().cpu()


def texts(world: WorldModel, positive: list | None, negative: list | None) -> Text:
    """What a chunk reads. A world that reads no text takes none, whatever is connected."""
    if not world.reads_text:
        return NO_TEXT
    return Text(text_of(positive, world, "positive"), text_of(negative, world, "negative"))


class ChunkPrompt(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "ChunkPrompt",
            "Chunk Prompt",
            "The prompt of the chunk to make, for CLIP Text Encode inside the loop: one line of Encode Start Frame's "
            "prompt for each chunk.",
            inputs=[socket(State, "state", "From Chunk Loop Start.")],
            outputs=[result(io.String, "prompt", "The line of this chunk; the last line holds for all later ones.")],
            search_aliases=["prompt schedule", "text per chunk", "prompt travel"],
        )

    @classmethod
    def execute(cls, state):
        return io.NodeOutput(state.prompt)
