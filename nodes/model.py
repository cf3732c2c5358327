"""The node that brings a world model."""

from ..models.world import load_mini_world
from .host import World, io, result, schema, socket

MODELS = {"mini": load_mini_world}


class LoadWorldModel(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "LoadWorldModel",
            "Load World Model",
            "Loads the network that draws the film, together with its codec and the layout it was trained with.",
            inputs=[
                socket(
                    io.Combo,
                    "model",
                    "Which world model. 'mini' ships with the pack: small, needs no download and no GPU, reads no "
                    "prompt.",
                    options=list(MODELS),
                    default="mini",
                ),
            ],
            outputs=[result(World, "world", "Backbone, control branch, codec and sampler defaults in one value.")],
            search_aliases=["spatia", "mirage", "video world model", "load model"],
        )

    @classmethod
    def execute(cls, model):
        if model not in MODELS:
            raise ValueError(f"model is {model!r}, expected one of {sorted(MODELS)}")
        return io.NodeOutput(MODELS[model]())
