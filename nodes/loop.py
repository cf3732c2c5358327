"""A loop that is drawn once and expanded flat: one clone of its body for every chunk of the camera path.

The drawn body never runs: the end takes its tail as a lazy, raw-linked input that it never asks for. Heavy values
travel between the clones as links; a clone's own part of the path is a literal text. A clone is therefore computed
again only when its slice, or something before it, has changed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..memory.path import CameraPath
from ..models.world import WorldModel
from ..rollout.chunk import aim
from ..rollout.loop import remaining
from ..rollout.plan import ChunkPlan, plan
from ..rollout.state import load_state
from .host import (
    PREFIX,
    GraphBuilder,
    PathSocket,
    State,
    World,
    file_stamp,
    io,
    is_link,
    is_output_node,
    raw,
    result,
    schema,
    socket,
    user_file,
)

START, END = PREFIX + "ChunkLoopStart", PREFIX + "ChunkLoopEnd"


@dataclass(frozen=True)
class Body:
    """What stands between the loop's start and its end."""

    nodes: dict[str, tuple[str, dict]]  # id -> (class, inputs), the start included
    start: str
    tail: tuple[str, int]  # the node and slot that hand the state to the end


def sources(inputs: dict) -> list[str]:
    """The ids of the nodes that these inputs are linked to."""
    return [value[0] for value in inputs.values() if is_link(value)]


def find_body(graph, end: str) -> Body:
    """The nodes that depend on the loop's start and lead to its end.

    Args:
        graph: the host's dynamic prompt.
        end: id of the ChunkLoopEnd.

    Raises:
        ValueError: no tail, no start, two starts, a nested loop, a circle, or an output node inside the body.
    """
    tail = graph.get_node(end)["inputs"].get("state")
    if not is_link(tail):
        raise ValueError(
            "state of ChunkLoopEnd is not connected; connect what the last node of the loop's body gives out"
        )
    order, starts = ancestors(graph, tail[0])
    if len(starts) != 1:
        raise ValueError(
            f"the loop that ends in node {end} has {len(starts)} ChunkLoopStart nodes upstream, expected exactly one; "
            "begin the body at one ChunkLoopStart and let its state run through every node to ChunkLoopEnd"
        )
    (start,) = starts
    within: dict[str, tuple[str, dict]] = {}
    for name in order:
        node = graph.get_node(name)
        if name == start or any(source in within for source in sources(node["inputs"])):
            within[name] = (node["class_type"], dict(node["inputs"]))
    refuse_outputs(graph, within)
    return Body(within, start, (tail[0], tail[1]))


def ancestors(graph, tail: str) -> tuple[list[str], list[str]]:
    """Everything upstream of ``tail`` down to loop starts, sources first, and the starts among it."""
    order: list[str] = []
    starts: list[str] = []
    done: set[str] = set()
    trail: dict[str, list[str]] = {tail: []}  # what is being visited, with what is left of its sources
    visit(graph, tail, trail, starts)
    while trail:
        name, left = next(reversed(trail.items()))
        if not left:
            trail.pop(name)
            done.add(name)
            order.append(name)
            continue
        source = left.pop()
        if source in trail:
            raise ValueError(f"the loop's body runs in a circle through node {source}; open the circle")
        if source not in done:
            visit(graph, source, trail, starts)
    return order, starts


def visit(graph, name: str, trail: dict[str, list[str]], starts: list[str]) -> None:
    """Put a node on the trail with the sources it still has to see; the trail ends at a start."""
    node = graph.get_node(name)
    if node["class_type"] == END:
        raise ValueError(
            f"ChunkLoopEnd {name} stands inside another loop's body; loops cannot be nested. Connect a finished "
            "loop's state to a ChunkLoopStart, not past it"
        )
    if node["class_type"] == START:
        starts.append(name)
        trail[name] = []
    else:
        trail[name] = sources(node["inputs"])[::-1]


def refuse_outputs(graph, within: dict[str, tuple[str, dict]]) -> None:
    """Previews and saves that hang on the body would run the drawn body itself, which has no chunk to make."""
    hanging = set(within)
    names = [name for name in graph.all_node_ids() if name not in within and graph.get_node(name)["class_type"] != END]
    grown = True
    while grown:
        new = {name for name in names if name not in hanging and hanging & set(sources(graph.get_node(name)["inputs"]))}
        grown = bool(new)
        hanging |= new
    outputs = sorted(name for name in hanging if is_output_node(graph.get_node(name)["class_type"]))
    if outputs:
        names = ", ".join(f"{graph.get_node(name)['class_type']} ({name})" for name in outputs)
        raise ValueError(
            f"{names} stands inside the loop's body, which is drawn once and runs for every chunk; connect previews "
            "and saves after ChunkLoopEnd. For a world file after each chunk, set checkpoint on ChunkLoopEnd"
        )


def slices(path: CameraPath, chunks: Sequence[ChunkPlan]) -> list[str]:
    """The text of each chunk's part of the path, in order."""
    return [path.slice(chunk.start, chunk.stop) for chunk in chunks]


def expand(
    graph: GraphBuilder, body: Body, parts: Sequence[str], state: list, first: int = 0, checkpoint: str = ""
) -> list:
    """Add a clone of the body for each part, ids ``chunk{k}/{id in the body}``.

    Args:
        graph: what the clones are added to.
        parts: texts of the slices; ``first`` is the index of the first of them.
        state: link to the state before the first chunk.
        checkpoint: folder below the output folder for a world file after each chunk, "" = none.

    Returns:
        The link to the state after the last chunk.
    """
    for k, part in enumerate(parts, first):
        clones = {name: graph.node(kind, id=f"chunk{k}/{name}") for name, (kind, _) in body.nodes.items()}
        for name, (_, inputs) in body.nodes.items():
            for key, value in inputs.items():
                inner = is_link(value) and value[0] in clones
                clones[name].set_input(key, clones[value[0]].out(value[1]) if inner else value)
        for key in ("world", "path"):  # a link to the path would make every chunk depend on all of it
            clones[body.start].set_input(key, None)
        clones[body.start].set_input("state", state)
        clones[body.start].set_input("slice", part)
        state = clones[body.tail[0]].out(body.tail[1])
        if checkpoint:  # an output node of the expansion: the host runs it as soon as its chunk is done
            file = f"{checkpoint}/chunk{k:03d}"
            graph.node(PREFIX + "SaveWorld", id=f"chunk{k}/checkpoint", state=state, filename=file)
    return state


def expand_path(
    graph: GraphBuilder,
    body: Body,
    world: WorldModel,
    world_link: list,
    path: CameraPath,
    state: list,
    checkpoint: str = "",
    resume: str = "",
) -> list:
    """Expand the body over a whole path, or over what a world file leaves of it; the link to the last state.

    Raises:
        ValueError: the path's length does not fit, or the world file was made along another path or by another model.
    """
    chunks, done = plan(world.layout, path.num_frames, world.codec.grid.temporal), 0
    if resume:
        saved = load_state(user_file(resume), world.name)
        chunks, done = remaining(world, saved, path), saved.chunk
        state = graph.node(PREFIX + "LoadWorld", id="resume", world=world_link, filename=resume).out(0)
    return expand(graph, body, slices(path, chunks), state, done, checkpoint.strip("/"))


class ChunkLoopStart(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "ChunkLoopStart",
            "Chunk Loop Start",
            "The body of the loop begins here: what stands between this node and Chunk Loop End runs once for every "
            "chunk.",
            inputs=[
                socket(
                    State,
                    "state",
                    "The state before the first chunk: from Init Memory, Encode Start Frame or Load World.",
                ),
                socket(
                    io.String,
                    "slice",
                    "Cameras of one chunk, as text. Chunk Loop End fills it in for every chunk: leave it alone.",
                    default="",
                    optional=True,
                    force_input=True,
                ),
                socket(World, "world", "For a chunk drawn by hand, without a loop: the world model.", optional=True),
                socket(
                    PathSocket,
                    "path",
                    "For a chunk drawn by hand, without a loop: the path, of which the next chunk is made.",
                    optional=True,
                ),
            ],
            outputs=[result(State, "state", "The state, aimed at the cameras of the chunk to make.")],
            search_aliases=["loop", "for each chunk", "autoregressive", "rollout"],
        )

    @classmethod
    def execute(cls, state, slice="", world=None, path=None):
        if slice:
            return io.NodeOutput(aim(state, slice))
        if world is None or path is None:
            raise ValueError(
                "ChunkLoopStart has no chunk to make: something outside takes a value from inside the loop's body (a "
                "preview, a save, a missing ChunkLoopEnd); connect it after ChunkLoopEnd. For a chunk without a loop, "
                "connect world and path"
            )
        left = remaining(world, state, path)
        if not left:
            raise ValueError(f"the state has made all {state.chunk} chunks of the path; make the path longer")
        return io.NodeOutput(aim(state, path.slice(left[0].start, left[0].stop)))


class ChunkLoopEnd(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "ChunkLoopEnd",
            "Chunk Loop End",
            "The body of the loop ends here. It runs once for every chunk of the path; chunks that are done stay "
            "done: keys added behind one at which the camera rests run only the new chunks, an edited key runs the "
            "first chunk it moves and those after it.",
            inputs=[
                raw(State, "state", "The state after the body's last node, as a rule Update Memory.", lazy=True),
                socket(World, "world", "The world model: it says how long a chunk is."),
                socket(PathSocket, "path", "The camera path of the whole film."),
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
                    "A world file in the input or output folder to go on from, made along the same path. Empty: "
                    "start anew.",
                    default="",
                    optional=True,
                ),
            ],
            outputs=[result(State, "state", "The state after the last chunk.")],
            hidden=(io.Hidden.unique_id, io.Hidden.dynprompt),
            enable_expand=True,
            search_aliases=["loop", "for each chunk", "autoregressive", "rollout", "checkpoint", "resume"],
        )

    @classmethod
    def fingerprint_inputs(cls, resume="", **others):
        return file_stamp(resume or "")

    @classmethod
    def check_lazy_status(cls, **inputs):
        return []

    @classmethod
    def execute(cls, state, world, path, checkpoint="", resume=""):
        body = find_body(cls.hidden.dynprompt, cls.hidden.unique_id)
        graph = GraphBuilder()
        link = cls.hidden.dynprompt.get_node(cls.hidden.unique_id)["inputs"]["world"]
        begin = body.nodes[body.start][1]["state"]
        after = expand_path(graph, body, world, link, path, begin, checkpoint, resume)
        return io.NodeOutput(after, expand=graph.finalize())
