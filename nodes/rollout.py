"""The whole film in one node, which expands to the same atoms as a loop drawn by hand."""

from .chunk import OFF, POLICIES, sampling_inputs
from .host import PREFIX, GraphBuilder, PathSocket, State, World, file_stamp, io, raw, result, schema, socket
from .loop import START, Body, expand_path
from .memory import KINDS

BASELINE = "off (baseline)"


def with_text(nodes: dict[str, tuple[str, dict]], text: dict) -> dict[str, tuple[str, dict]]:
    """A body whose chunks read text: encoded chunk by chunk where a CLIP is given, else the same for all.

    Args:
        text: raw links under ``clip``, ``positive`` and ``negative``, those that are connected.
    """
    read = {name: text[name] for name in ("positive", "negative") if name in text}
    if "clip" not in text:
        kind, inputs = nodes["denoise"]
        return {**nodes, "denoise": (kind, {**inputs, **read})}
    kind, inputs = nodes["denoise"]
    return {
        **nodes,
        "prompt": (PREFIX + "ChunkPrompt", {"state": ["start", 0]}),
        "text": ("CLIPTextEncode", {"clip": text["clip"], "text": ["prompt", 0]}),
        "denoise": (kind, {**inputs, **read, "positive": ["text", 0]}),
    }


def drawn(world: list, sampling: dict, retrieval: dict, text: dict) -> Body:
    """The loop's body as a user would draw it, with memory."""
    nodes = {
        "start": ("ChunkLoopStart", {}),
        "references": ("RetrieveReferences", {"world": world, "state": ["start", 0], **retrieval}),
        "warp": ("WarpMemory", {"world": world, "state": ["start", 0]}),
        "denoise": (
            "DenoiseChunk",
            {
                "world": world,
                "state": ["start", 0],
                "control": ["warp", 0],
                "hole": ["warp", 1],
                "references": ["references", 0],
                **sampling,
            },
        ),
        "geometry": ("EstimateGeometry", {"state": ["denoise", 0], "images": ["denoise", 1]}),
        "update": (
            "UpdateMemory",
            {"world": world, "state": ["denoise", 0], "images": ["denoise", 1], "geometry": ["geometry", 0]},
        ),
    }
    return body_of(nodes, text)


def drawn_without_memory(world: list, sampling: dict, text: dict) -> Body:
    """The baseline's body: the same noise and history, no memory, no references."""
    nodes = {
        "start": ("ChunkLoopStart", {}),
        "warp": ("WarpMemory", {"world": world, "state": ["start", 0], "memory": OFF}),
        "denoise": (
            "DenoiseChunk",
            {"world": world, "state": ["start", 0], "control": ["warp", 0], "hole": ["warp", 1], **sampling},
        ),
        "update": ("UpdateMemory", {"world": world, "state": ["denoise", 0], "images": ["denoise", 1]}),
    }
    return body_of(nodes, text)


def body_of(nodes: dict[str, tuple[str, dict]], text: dict) -> Body:
    """A body that runs from ``start`` to the first output of ``update``."""
    ours = {name: (PREFIX + kind, inputs) for name, (kind, inputs) in nodes.items()}
    body = Body(with_text(ours, text), "start", ("update", 0))
    assert body.nodes["start"][0] == START
    return body


class Rollout(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "Rollout",
            "Rollout",
            "The whole film in one node: start frame, geometry, memory, every chunk, decoding. It expands to the "
            "same nodes as a loop drawn by hand, and finished chunks stay finished in the same way.",
            inputs=[
                socket(World, "world", "The world model, from Load World Model."),
                raw(io.Image, "image", "The start photograph; its size is the film's."),
                socket(PathSocket, "path", "The camera path; its field of view is taken for the photograph's."),
                socket(
                    io.Combo,
                    "memory",
                    "What the memory holds: latents (Mirage) or colours (Spatia). 'off (baseline)': neither memory nor "
                    "references, to compare with.",
                    options=[*KINDS, BASELINE],
                    default="latent",
                ),
                socket(
                    io.String,
                    "prompt",
                    "What the film shows: one line for each chunk, the last line holds for the rest. The mini model "
                    "ignores it.",
                    default="",
                    multiline=True,
                    optional=True,
                ),
                socket(
                    io.Int,
                    "seed",
                    "The film's random seed. Each chunk's noise depends on it and on the chunk's number alone.",
                    default=0,
                    min=0,
                    max=2**53 - 1,
                    control_after_generate=True,
                    optional=True,
                ),
                *sampling_inputs(),
                socket(
                    io.Combo,
                    "policy",
                    "How reference frames are chosen: as the release of this world does, as the Spatia paper does, by "
                    "greedy coverage, or as Mirage's code does.",
                    options=list(POLICIES),
                    default="default",
                    optional=True,
                ),
                socket(
                    io.Int,
                    "max_references",
                    "At most so many reference frames a chunk; -1 = as many as the world was trained with (mini 3, "
                    "Mirage 4, Spatia 7), 0 = none.",
                    default=-1,
                    min=-1,
                    max=16,
                    optional=True,
                ),
                socket(
                    io.String,
                    "checkpoint",
                    "A folder below the output folder: a world file is written there after each chunk. Empty: none.",
                    default="",
                    optional=True,
                ),
                socket(
                    io.String,
                    "resume",
                    "A world file in the input or output folder to go on from, made along the same path. Empty: new.",
                    default="",
                    optional=True,
                ),
                raw(io.Mask, "dynamic", "1 = a moving thing in the photograph: it is never remembered.", optional=True),
                raw(io.Mask, "sky", "1 = sky in the photograph: it is never remembered.", optional=True),
                raw(
                    io.Image,
                    "depth",
                    "The photograph's depth, a grey image; the network estimates it otherwise.",
                    optional=True,
                ),
                socket(
                    io.Float,
                    "depth_scale",
                    "What white means in a connected depth image, in world units (metres).",
                    default=10.0,
                    min=0.001,
                    max=10000.0,
                    step=0.1,
                    round=0.000001,
                    optional=True,
                ),
                raw(
                    io.Clip,
                    "clip",
                    "Encodes the prompt, line by line, for a world that reads text: CLIPLoader of type 'wan'.",
                    optional=True,
                ),
                raw(io.Conditioning, "positive", "Instead of clip: one encoded prompt for all chunks.", optional=True),
                raw(io.Conditioning, "negative", "What guidance moves away from, in all chunks.", optional=True),
            ],
            outputs=[
                result(State, "state", "The state after the last chunk."),
                result(io.Image, "images", "All frames of the film."),
            ],
            hidden=(io.Hidden.unique_id, io.Hidden.dynprompt),
            enable_expand=True,
            search_aliases=["image to video", "camera control", "long video", "world model", "generate"],
        )

    @classmethod
    def fingerprint_inputs(cls, resume="", **others):
        return file_stamp(resume or "")

    @classmethod
    def execute(
        cls,
        world,
        image,
        path,
        memory,
        prompt="",
        seed=0,
        steps=0,
        guidance_scale=0.0,
        sampler="default",
        shift=0.0,
        policy="default",
        max_references=-1,
        checkpoint="",
        resume="",
        dynamic=None,
        sky=None,
        depth=None,
        depth_scale=10.0,
        clip=None,
        positive=None,
        negative=None,
    ):
        given = cls.hidden.dynprompt.get_node(cls.hidden.unique_id)["inputs"]
        link = given["world"]
        graph = GraphBuilder()
        begun = graph.node(
            PREFIX + "EncodeStartFrame",
            id="encode",
            world=link,
            image=image,
            vertical_fov=path.poses().vertical_fov[0].item(),
            prompt=prompt,
            seed=seed,
        )
        brought = {"dynamic": dynamic, "sky": sky, "depth": depth}
        brought = {name: value for name, value in brought.items() if value is not None}
        if depth is not None:
            brought["depth_scale"] = depth_scale
        geometry = graph.node(
            PREFIX + "EstimateGeometry", id="geometry", state=begun.out(0), images=begun.out(1), **brought
        )
        first = graph.node(
            PREFIX + "InitMemory",
            id="memory",
            world=link,
            state=begun.out(0),
            images=begun.out(1),
            geometry=geometry.out(0),
            kind=KINDS[0] if memory == BASELINE else memory,
        )
        text = {"clip": clip, "positive": positive, "negative": negative}
        text = {name: value for name, value in text.items() if value is not None}
        if {"clip", "positive"} <= set(text):
            raise ValueError("clip and positive are both connected; clip encodes the prompt line by line, so take one")
        sampling = {"steps": steps, "guidance_scale": guidance_scale, "sampler": sampler, "shift": shift}
        if memory == BASELINE:
            body = drawn_without_memory(link, sampling, text)
        else:
            body = drawn(link, sampling, {"policy": policy, "max_references": max_references}, text)
        state = expand_path(graph, body, world, link, path, first.out(0), checkpoint, resume)
        film = graph.node(PREFIX + "DecodeVideo", id="decode", world=link, state=state)
        return io.NodeOutput(state, film.out(0), expand=graph.finalize())
