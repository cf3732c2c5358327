"""The node that decodes the film."""

from ..rollout.chunk import decode_film
from ..rollout.state import RolloutState, check_world
from .convert import images_to_socket, latents_to_socket
from .host import Progress, State, World, io, result, schema, socket


class DecodeVideo(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "DecodeVideo",
            "Decode Video",
            "Decodes the whole film in one pass, so that the joins between chunks do not flicker.",
            inputs=[
                socket(World, "world", "The world model, from Load World Model."),
                socket(State, "state", "From Chunk Loop End, Update Memory or Load World."),
            ],
            outputs=[
                result(io.Image, "images", "All frames: into Create Video, and into Closed Loop Report."),
                result(io.Latent, "latents", "The film's latents, raw."),
            ],
            search_aliases=["vae decode", "frames", "film"],
        )

    @classmethod
    def execute(cls, world, state: RolloutState):
        check_world(world.name, state)
        progress = Progress(state.latents.shape[1])
        frames = decode_film(world, state, progress.tick)
        return io.NodeOutput(images_to_socket(frames), latents_to_socket(world.codec, state.latents))
