"""The loop that is drawn once: what is its body, what is refused, and what it expands to."""

import pytest
from spatial_memory.headless import host as headless
from spatial_memory.headless.standin.graph import DynamicPrompt, GraphBuilder

headless.nodes()  # registers the stand-ins, so it comes before anything of spatial_memory.nodes

from spatial_memory.nodes import loop  # noqa: E402


def graph_of(**nodes):
    """A prompt of (class, inputs), as the host's dynamic prompt."""
    return DynamicPrompt({name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()})


SMALL = {
    "begin": ("Begin", {}),
    "start": (loop.START, {"state": ["begin", 0]}),
    "step": ("Step", {"state": ["start", 0], "strength": 2, "other": ["aside", 1]}),
    "aside": ("Aside", {}),
    "end": (loop.END, {"state": ["step", 0], "world": ["aside", 0], "path": ["aside", 2]}),
}


def test_the_body_is_what_lies_between_start_and_end():
    body = loop.find_body(graph_of(**SMALL), "end")
    assert list(body.nodes) == ["start", "step"] and body.start == "start" and body.tail == ("step", 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"end": (loop.END, {})}, "state of ChunkLoopEnd is not connected"),
        ({"step": ("Step", {"state": ["begin", 0]})}, "has 0 ChunkLoopStart nodes upstream"),
        (
            {"twin": (loop.START, {}), "step": ("Step", {"a": ["start", 0], "b": ["twin", 0]})},
            "has 2 ChunkLoopStart nodes upstream",
        ),
        ({"step": ("Step", {"state": ["start", 0], "again": ["step", 0]})}, "runs in a circle through node step"),
        (
            {"inner": (loop.END, {"state": ["start", 0]}), "step": ("Step", {"state": ["inner", 0]})},
            "loops cannot be nested",
        ),
        ({"look": ("Preview", {"images": ["step", 0]})}, r"Preview \(look\) stands inside the loop's body"),
        ({"step": ("Preview", {"state": ["start", 0]})}, r"Preview \(step\) stands inside the loop's body"),
    ],
)
def test_a_broken_loop_is_refused(change, message, monkeypatch):
    monkeypatch.setattr(loop, "is_output_node", lambda kind: kind == "Preview")
    with pytest.raises(ValueError, match=message):
        loop.find_body(graph_of(**{**SMALL, **change}), "end")


def test_a_preview_behind_the_loop_is_no_part_of_it(monkeypatch):
    monkeypatch.setattr(loop, "is_output_node", lambda kind: kind == "Preview")
    nodes = {**SMALL, "look": ("Preview", {"images": ["end", 0]})}
    assert list(loop.find_body(graph_of(**nodes), "end").nodes) == ["start", "step"]


def test_expansion_is_flat_with_the_slice_as_text_and_the_rest_as_links():
    nodes = {**SMALL, "start": (loop.START, {"state": ["begin", 0], "world": ["aside", 0], "path": ["aside", 2]})}
    body, graph = loop.find_body(graph_of(**nodes), "end"), GraphBuilder("end.")
    after = loop.expand(graph, body, ["first", "second"], ["begin", 0], checkpoint="worlds")
    made = graph.finalize()
    assert after == ["end.chunk1/step", 0]
    assert made["end.chunk0/start"]["inputs"] == {"state": ["begin", 0], "slice": "first"}
    assert made["end.chunk1/start"]["inputs"] == {"state": ["end.chunk0/step", 0], "slice": "second"}
    assert made["end.chunk1/step"]["inputs"] == {
        "state": ["end.chunk1/start", 0],
        "strength": 2,
        "other": ["aside", 1],
    }
    saved = made["end.chunk0/checkpoint"]["inputs"]
    assert saved == {"state": ["end.chunk0/step", 0], "filename": "worlds/chunk000"}
    assert list(made) == list(dict.fromkeys(made)) and len(made) == 6
