"""The node that says what a film will cost before it is begun, and refuses what cannot be done."""

from ..models.backbone import layers
from ..models.wan_world import trained_together
from ..rollout.loop import remaining
from ..rollout.preflight import REACHED, cost_of, rate_of, refusal, sentences
from .chunk import sampling_inputs, sampling_of
from .host import PathSocket, State, World, device_bytes, free_disk, io, result, schema, socket, ui


def config_of(network) -> dict | None:
    """The configuration of a network that diffusers built, wherever it is wrapped; None for another's."""
    configs = [getattr(layer, "config", None) for layer in layers(network)]
    return next((dict(config) for config in configs if config is not None and "num_layers" in config), None)


def codec_config_of(codec) -> dict | None:
    """The configuration of a VAE that diffusers built; None for another's."""
    while hasattr(codec, "codec"):
        codec = codec.codec
    vae = getattr(codec, "vae", None)
    config = getattr(vae, "config", None)
    return None if config is None or "decoder_base_dim" not in config else dict(config)


class Preflight(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "Preflight",
            "Preflight",
            "Says before the first chunk how many there are, about how long they take, how much memory and disk they "
            "need, and stops the run where that is not there.",
            inputs=[
                socket(World, "world", "The world model, from Load World Model."),
                socket(State, "state", "The state before the first chunk, from Init Memory or Load World."),
                socket(PathSocket, "path", "The camera path."),
                *sampling_inputs(),
                socket(
                    io.Boolean,
                    "checkpoint",
                    "Whether Chunk Loop End keeps a world file after each chunk.",
                    default=False,
                    optional=True,
                ),
            ],
            outputs=[
                result(State, "state", "The same state, for Chunk Loop Start."),
                result(io.String, "report", "What the film will cost, a line each."),
            ],
            search_aliases=["estimate", "vram", "time", "cost"],
        )

    @classmethod
    def execute(cls, world, state, path, steps=0, guidance_scale=0.0, sampler="default", shift=0.0, checkpoint=False):
        sampling = sampling_of(world, sampler, steps, guidance_scale, shift)
        kind = "latent" if state.memory is None else state.memory.kind
        cost = cost_of(
            world,
            remaining(world, state, path),
            state.height,
            state.width,
            sampling,
            kind,
            config_of(world.transformer),
            codec_config_of(world.codec),
        )
        memory, disk = device_bytes(), free_disk()
        refused = refusal(cost, memory, disk, checkpoint)
        if refused is not None:
            raise ValueError(refused)
        seconds = cost.flops / (REACHED * rate_of(world.transformer.device)) if cost.flops else None
        report = "\n".join([*sentences(cost, seconds, memory, disk), trained_together(world, kind)])
        return io.NodeOutput(state, report, ui=ui.PreviewText(report))
