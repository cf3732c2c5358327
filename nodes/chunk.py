"""Nodes that make one chunk: choose references, read the memory, denoise."""

import time
from dataclasses import replace

import torch

from ..models.codec import Codec, as_colours
from ..models.latent_rgb import rgb_factors, show_latents
from ..models.sampler import SOLVERS, Sampling, Step
from ..models.world import WorldModel
from ..rollout.chunk import denoise_chunk, retrieve
from ..rollout.control import Warp, blank, warp
from ..rollout.retrieval import frame_numbers, reference_table
from .convert import (
    hole_to_socket,
    images_to_socket,
    known_from_socket,
    latents_from_socket,
    latents_to_socket,
    tinted,
)
from .host import Progress, ReferencesSocket, State, World, io, result, schema, socket, ui
from .text import texts

POLICIES = ("default", "algorithm1", "set_cover", "union_overlap")
READ, OFF = "read", "off (baseline)"
LOOKS = 3  # latents of a readout that the preview decodes
LOOK_SIZE = 4  # pixels a side of a cell in a preview by linear factors


class RetrieveReferences(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "RetrieveReferences",
            "Retrieve References",
            "Chooses, among the frames made so far, those that see the same surfaces as the chunk to make.",
            inputs=[
                socket(World, "world", "The world model, from Load World Model."),
                socket(State, "state", "From Chunk Loop Start."),
                socket(
                    io.Combo,
                    "policy",
                    "'default': as the release of this world chooses them. 'algorithm1': the best frame for each view "
                    "in turn, as the Spatia paper has it. 'set_cover': each further frame is the one that adds most to "
                    "the views covered worst. 'union_overlap': the frames that share most with all views together, as "
                    "Mirage's released code has it.",
                    options=list(POLICIES),
                    default="default",
                    optional=True,
                ),
                socket(
                    io.Int,
                    "max_references",
                    "At most so many frames; -1 = as many as the world was trained with (mini 3, Mirage 4, Spatia 7), "
                    "0 = none.",
                    default=-1,
                    min=-1,
                    max=16,
                    optional=True,
                ),
                socket(
                    io.Float,
                    "threshold",
                    "A frame counts when it shares at least this part of the visible surface with a view.",
                    default=0.04,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    round=0.0001,
                    optional=True,
                ),
                socket(
                    io.String,
                    "pin",
                    "Numbers of frames that are taken first, with commas between them, such as 0, 48. They count among "
                    "max_references.",
                    default="",
                    optional=True,
                ),
                socket(
                    io.String,
                    "ban",
                    "Numbers of frames that are never taken, with commas between them. What was edited since is left "
                    "out anyway.",
                    default="",
                    optional=True,
                ),
            ],
            outputs=[
                result(ReferencesSocket, "references", "The chosen frames, their latents, scores and coverage."),
                result(
                    io.String,
                    "why",
                    "One line for each frame considered: its score, how much it covers of each view of the chunk, and "
                    "why it was taken or not.",
                ),
            ],
            search_aliases=["reference frames", "retrieval", "overlap"],
        )

    @classmethod
    def execute(cls, world, state, policy="default", max_references=-1, threshold=0.04, pin="", ban=""):
        pinned, banned = frame_numbers(pin, "pin"), frame_numbers(ban, "ban")
        references = retrieve(world, state, policy, max_references, threshold, pinned, banned)
        why = reference_table(references)
        return io.NodeOutput(references, why, ui=ui.PreviewText(why))


class WarpMemory(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "WarpMemory",
            "Warp Memory",
            "Reads the memory at the cameras of the chunk to make: what is seen from there, and where nothing is "
            "known.",
            inputs=[
                socket(World, "world", "The world model, from Load World Model."),
                socket(State, "state", "From Chunk Loop Start."),
                socket(
                    io.Combo,
                    "memory",
                    "'off (baseline)' shows the network nothing but holes, to compare with.",
                    options=[READ, OFF],
                    default=READ,
                    optional=True,
                ),
            ],
            outputs=[
                result(io.Latent, "control", "What the memory shows, one latent for each latent of the chunk; raw."),
                result(io.Mask, "hole", "1 = the memory knows nothing here, on the latent grid."),
                result(io.Image, "preview", "First, middle and last view, decoded; holes are tinted."),
            ],
            search_aliases=["project", "render memory", "readout", "splat"],
        )

    @classmethod
    def execute(cls, world, state, memory=READ):
        read = blank(world, state) if memory == OFF else warp(world, state)
        shown = images_to_socket(look(world.codec, read))
        beside = {name: getattr(read, name) for name in ("code", "seen") if getattr(read, name) is not None}
        control = latents_to_socket(world.codec, read.control, offset=read.offset, seconds=read.seconds, **beside)
        return io.NodeOutput(control, hole_to_socket(read.known), shown, ui=ui.PreviewImage(shown))


def look(codec: Codec, read: Warp) -> torch.Tensor:
    """A few views of a readout with its holes tinted: (V, 3, H, W) in [0, 1]."""
    count = len(read.known)
    index = sorted({0, count // 2, count - 1})[:LOOKS]
    if read.images is not None:
        frames = [min(i * codec.grid.temporal, len(read.images) - 1) for i in index]
        images = read.images[frames]
    else:
        images = pictures(codec, read.control[:, index])
    return tinted(images, read.known[index])


def pictures(codec: Codec, latents: torch.Tensor) -> torch.Tensor:
    """A quick look at latents (C, t, h, w), each alone: (t, 3, H, W) in [0, 1].

    A light codec decodes them; for a heavy one each cell has one colour, by linear factors.
    """
    if codec.independent:
        return as_colours(torch.cat([codec.decode(latents[:, i : i + 1]) for i in range(latents.shape[1])]))
    colours = show_latents(latents, rgb_factors(codec.name, codec.grid.channels)).clamp(0, 1)
    return colours.transpose(0, 1).repeat_interleave(LOOK_SIZE, 2).repeat_interleave(LOOK_SIZE, 3)


def thumbnail(codec: Codec, clean: torch.Tensor):
    """What the chunk's last latent looks like by now, as a PIL image.

    Args:
        clean: (C, t, h, w) the sampler's estimate.
    """
    from PIL import Image

    frame = pictures(codec, clean[:, -1:].float().cpu())[0]
    return Image.fromarray((frame.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())


def sampling_of(world: WorldModel, sampler: str, steps: int, guidance_scale: float, shift: float) -> Sampling:
    """The world's own sampling with what the user set; 0 and ``default`` leave the world's own."""
    chosen = {"steps": steps, "guidance_scale": guidance_scale, "shift": shift}
    chosen = {key: value for key, value in chosen.items() if value}
    return replace(world.defaults, **chosen, **({} if sampler == "default" else {"sampler": sampler}))


def sampling_inputs() -> list:
    """The widgets of the sampler, the same on every node that has them."""
    return [
        socket(
            io.Int,
            "steps",
            "Denoising steps of each chunk. 0 = the world model's own number.",
            default=0,
            min=0,
            max=200,
            optional=True,
        ),
        socket(
            io.Float,
            "guidance_scale",
            "How much the memory is followed beyond what the network does by itself; 1 = no guidance, half the time. "
            "0 = the world model's own.",
            default=0.0,
            min=0.0,
            max=20.0,
            step=0.1,
            round=0.001,
            optional=True,
        ),
        socket(
            io.Combo,
            "sampler",
            "The solver. 'default': the one that the world model was made for.",
            options=["default", *SOLVERS],
            default="default",
            optional=True,
        ),
        socket(
            io.Float,
            "shift",
            "Shifts the noise levels towards noise; larger pictures want more. 0 = the world model's own.",
            default=0.0,
            min=0.0,
            max=20.0,
            step=0.1,
            round=0.001,
            optional=True,
        ),
    ]


class DenoiseChunk(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "DenoiseChunk",
            "Denoise Chunk",
            "Makes the chunk: from noise to latents, with history and references clean and the memory as control; "
            "then frames.",
            inputs=[
                socket(World, "world", "The world model, from Load World Model."),
                socket(State, "state", "From Chunk Loop Start."),
                socket(io.Latent, "control", "What the memory shows, from Warp Memory."),
                socket(io.Mask, "hole", "Where it shows nothing, from Warp Memory."),
                socket(
                    ReferencesSocket, "references", "From Retrieve References; none where not connected.", optional=True
                ),
                *sampling_inputs(),
                socket(
                    io.Conditioning,
                    "positive",
                    "What the chunk shows, from CLIP Text Encode. The mini model reads no text.",
                    optional=True,
                ),
                socket(
                    io.Conditioning,
                    "negative",
                    "What guidance moves away from; empty where not connected.",
                    optional=True,
                ),
            ],
            outputs=[
                result(State, "state", "The state with the chunk's latents, not yet part of the film."),
                result(io.Image, "frames", "The chunk's new frames, decoded for geometry and masks."),
            ],
            search_aliases=["sampler", "generate", "denoise", "ksampler"],
        )

    @classmethod
    def execute(
        cls,
        world,
        state,
        control,
        hole,
        references=None,
        steps=0,
        guidance_scale=0.0,
        sampler="default",
        shift=0.0,
        positive=None,
        negative=None,
    ):
        text = texts(world, positive, negative)
        known = known_from_socket(hole)
        latents = latents_from_socket(world.codec, control, "control")
        offset = control.get("offset", torch.zeros(2, *known.shape))  # a control from elsewhere lies on the grid
        read = Warp(
            torch.where(known > 0, latents, 0.0),
            known,
            offset,
            code=control.get("code"),
            seconds=control.get("seconds", 0.0),
            seen=control.get("seen"),
        )
        sampling = sampling_of(world, sampler, steps, guidance_scale, shift)
        progress = Progress(sampling.steps)
        shown = time.monotonic()

        def on_step(step: Step) -> None:
            nonlocal shown
            due = time.monotonic() - shown > 0.5 or step.index + 1 == step.total
            shown = time.monotonic() if due else shown
            progress.tick(step.index + 1, thumbnail(world.codec, step.clean) if due else None)

        done, frames = denoise_chunk(world, state, read, references, sampling, on_step, text)
        return io.NodeOutput(done, images_to_socket(frames))
