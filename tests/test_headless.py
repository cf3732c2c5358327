"""The built-in runner: schedules, caches and expands as ComfyUI does, and says what is wrong with a workflow."""

import math

import pytest
from spatial_memory.headless import host, workflow
from spatial_memory.headless.runner import NodeFailed, Runner
from spatial_memory.headless.standin import io
from spatial_memory.headless.standin.graph import GraphBuilder, is_link
from spatial_memory.headless.validate import WorkflowError, check_prompt

Words = io.Custom("WORDS")


def node(name, inputs, outputs=(), run=None, **options):
    """A node class for these tests; ``run`` is its execute, given the class and the inputs."""

    class Made(io.ComfyNode):
        @classmethod
        def define_schema(cls):
            hidden = list(options.get("hidden", []))
            rest = {key: value for key, value in options.items() if key not in ("hidden", "methods")}
            return io.Schema(name, category="test", inputs=inputs(), outputs=list(outputs), hidden=hidden, **rest)

        @classmethod
        def execute(cls, **values):
            return run(cls, **values)

    for method, body in options.get("methods", {}).items():
        setattr(Made, method, classmethod(body))
    return Made


def end_of_loop(cls, words, path):
    """Expand the drawn body between Start and End once per letter of the path."""
    graph, builder = cls.hidden.dynprompt, GraphBuilder()
    assert is_link(words), "a raw link arrives as a link"
    step = graph.get_node(words[0])["inputs"]
    link = graph.get_node(step["words"][0])["inputs"]["words"]
    for k, letter in enumerate(path):
        start = builder.node("Start", id=f"chunk{k}/start", words=link, letter=letter)
        link = builder.node("Append", id=f"chunk{k}/append", words=start.out(0), letter=letter).out(0)
    return io.NodeOutput(link, expand=builder.finalize())


LOOP = [
    node("Source", lambda: [io.Int.Input("seed", default=0)], [Words.Output()], lambda cls, seed: (str(seed),)),
    node(
        "Start",
        lambda: [Words.Input("words"), io.String.Input("letter", default="", optional=True)],
        [Words.Output()],
        lambda cls, words, letter="": (words,),
    ),
    node(
        "Append",
        lambda: [Words.Input("words"), io.String.Input("letter", default="")],
        [Words.Output()],
        lambda cls, words, letter: (words + letter,),
    ),
    node(
        "End",
        lambda: [Words.Input("words", lazy=True, raw_link=True), io.String.Input("path", default="ab")],
        [Words.Output()],
        end_of_loop,
        enable_expand=True,
        hidden=[io.Hidden.unique_id, io.Hidden.dynprompt],
        methods={"check_lazy_status": lambda cls, **inputs: []},
    ),
    node(
        "Show",
        lambda: [Words.Input("words")],
        [],
        lambda cls, words: io.NodeOutput(ui={"text": (words,)}),
        is_output_node=True,
    ),
]


def registry(*more):
    return {kind.GET_SCHEMA().node_id: kind for kind in [*LOOP, *more]}


def loop_prompt(path="ab", seed=0):
    return {
        "1": {"class_type": "Source", "inputs": {"seed": seed}},
        "2": {"class_type": "Start", "inputs": {"words": ["1", 0]}},
        "3": {"class_type": "Append", "inputs": {"words": ["2", 0], "letter": "never"}},
        "4": {"class_type": "End", "inputs": {"words": ["3", 0], "path": path}},
        "5": {"class_type": "Show", "inputs": {"words": ["4", 0]}},
    }


def test_a_loop_runs_only_what_changed():
    runner = Runner(registry())

    def chunks(path, seed=0):
        ran = runner.run(loop_prompt(path, seed))
        assert ran.ui["5"]["text"] == (str(seed) + path,)
        return [name for name in ran.executed if "append" in name]

    def ids(*numbers):
        return [f"4.0.0.chunk{k}/append" for k in numbers]

    assert chunks("ab") == ids(0, 1)
    assert chunks("abc") == ids(2), "a longer path runs only the new chunk"
    assert chunks("axc") == ids(1, 2), "an edit runs the chunk that it changes and those after it"
    assert chunks("axc") == [], "no change runs nothing"
    assert chunks("ax") == []
    assert chunks("ax", seed=1) == ids(0, 1), "another source runs everything"


def test_the_drawn_body_never_runs_and_a_long_loop_fits():
    ran = Runner(registry()).run(loop_prompt("z" * 600))
    assert not {"2", "3"} & set(ran.executed)
    assert len(ran.executed) == 2 * 600 + 3


def test_equal_nodes_are_computed_once_unless_they_ask_for_their_id():
    def prompt(kind):
        sources = {i: {"class_type": kind, "inputs": {"seed": 3}} for i in "12"}
        return sources | {
            "3": {"class_type": "Show", "inputs": {"words": ["1", 0]}},
            "4": {"class_type": "Show", "inputs": {"words": ["2", 0]}},
        }

    own = node(
        "Own",
        lambda: [io.Int.Input("seed")],
        [Words.Output()],
        lambda cls, seed: (cls.hidden.unique_id,),
        hidden=[io.Hidden.unique_id],
    )
    assert Runner(registry()).run(prompt("Source")).executed == ("1", "3")
    assert Runner(registry(own)).run(prompt("Own")).executed == ("1", "3", "2", "4")


def test_fingerprints_decide_about_reuse():
    stamp = iter([1, 1, 2, math.nan, math.nan])
    source = node(
        "Stamped",
        lambda: [],
        [Words.Output()],
        lambda cls: ("x",),
        methods={"fingerprint_inputs": lambda cls: next(stamp)},
    )
    prompt = {"1": {"class_type": "Stamped", "inputs": {}}, "2": {"class_type": "Show", "inputs": {"words": ["1", 0]}}}
    runner = Runner(registry(source))
    assert [bool(runner.run(prompt).executed) for _ in range(5)] == [True, False, True, True, True]


def test_a_lazy_node_gets_what_it_asks_for_and_nothing_else():
    choose = node(
        "Choose",
        lambda: [
            io.Boolean.Input("first"),
            Words.Input("a", lazy=True),
            Words.Input("b", lazy=True, optional=True),
        ],
        [Words.Output()],
        lambda cls, first, a=None, b=None: (f"{a}|{b}",),
        methods={"check_lazy_status": lambda cls, first, a=None, b=None: ["a"] if first else ["b"]},
    )
    prompt = {
        "1": {"class_type": "Source", "inputs": {"seed": 1}},
        "2": {"class_type": "Source", "inputs": {"seed": 2}},
        "3": {"class_type": "Choose", "inputs": {"first": False, "a": ["1", 0], "b": ["2", 0]}},
        "4": {"class_type": "Show", "inputs": {"words": ["3", 0]}},
    }
    ran = Runner(registry(choose)).run(prompt)
    assert ran.executed == ("2", "3", "4") and ran.ui["4"]["text"] == ("None|2",)


def test_blocks_stop_a_branch_and_one_with_a_message_is_an_error():
    def blocking(message):
        return node("Block", lambda: [], [Words.Output()], lambda cls: io.NodeOutput(block_execution=message))

    prompt = {
        "1": {"class_type": "Block", "inputs": {}},
        "2": {"class_type": "Append", "inputs": {"words": ["1", 0], "letter": "a"}},
        "3": {"class_type": "Show", "inputs": {"words": ["2", 0]}},
    }
    with pytest.raises(NodeFailed, match=r"node 2 \(Append\).*no words today"):
        Runner(registry(blocking("no words today"))).run(prompt)


def test_an_output_node_of_an_expansion_runs_too():
    def expand(cls):
        builder = GraphBuilder()
        source = builder.node("Source", id="s", seed=7)
        builder.node("Show", id="shown", words=source.out(0))
        return io.NodeOutput(expand=builder.finalize())

    kind = node("Expand", lambda: [], [], expand, is_output_node=True, enable_expand=True)
    ran = Runner(registry(kind)).run({"1": {"class_type": "Expand", "inputs": {}}})
    assert ran.ui["1.0.0.shown"]["text"] == ("7",)


def test_a_failure_names_the_node_and_the_next_run_works():
    fragile = node(
        "Fragile",
        lambda: [io.Int.Input("seed")],
        [Words.Output()],
        lambda cls, seed: (str(1 // seed),),
    )
    prompt = {
        "1": {"class_type": "Fragile", "inputs": {"seed": 0}, "_meta": {"title": "My node"}},
        "2": {"class_type": "Show", "inputs": {"words": ["1", 0]}},
    }
    runner = Runner(registry(fragile))
    with pytest.raises(NodeFailed, match=r'node 1 "My node" \(Fragile\) failed: ZeroDivisionError'):
        runner.run(prompt)
    prompt["1"]["inputs"]["seed"] = 1
    assert runner.run(prompt).ui["2"]["text"] == ("1",)


def test_a_class_is_locked_while_it_executes():
    def store(cls):
        cls.left_behind = 1

    kind = node("Store", lambda: [], [], store, is_output_node=True)
    with pytest.raises(NodeFailed, match="cannot be changed"):
        Runner(registry(kind)).run({"1": {"class_type": "Store", "inputs": {}}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"1": {"class_type": "Sauce", "inputs": {}}}, r"node 1 \(Sauce\).*not known"),
        ({"1": {"class_type": "Source", "inputs": {}}}, r"node 1 \(Source\): required input 'seed' \(INT\) is missing"),
        ({"1": {"class_type": "Source", "inputs": {"seed": 1, "sed": 2}}}, r"node 1 .*no input 'sed'.*\['seed'\]"),
        ({"1": {"class_type": "Source", "inputs": {"seed": "x"}}}, r"node 1 .*'seed' got 'x', expected INT"),
        ({"2": {"class_type": "Start", "inputs": {"words": ["9", 0]}}}, r"node 2 .*'words' is linked to \['9', 0\]"),
        ({"2": {"class_type": "Start", "inputs": {"words": ["1", 4]}}}, r"node 2 .*wants output 4 of node 1 .*has 1"),
        ({"2": {"class_type": "Start", "inputs": {"words": ["3", 0]}}}, r"wait for each other in a cycle.*node 2"),
        ({"1": {"class_type": "Count", "inputs": {"n": 1}}}, r"node 2 .*'words' got INT from node 1 .*expected WORDS"),
        ({"1": {"class_type": "Count", "inputs": {"n": 99}}}, r"node 1 .*'n' got 99, expected 0 to 9"),
        (
            {"1": {"class_type": "Count", "inputs": {"n": 1, "how": "c"}}},
            r"'how' got 'c', expected one of \['a', 'b'\]",
        ),
        ({"5": {"class_type": "Start", "inputs": {"words": ["4", 0]}}}, r"no node of this workflow shows or saves"),
    ],
)
def test_a_wrong_workflow_is_refused_before_anything_runs(change, message):
    inputs = lambda: [io.Int.Input("n", min=0, max=9), io.Combo.Input("how", options=["a", "b"], optional=True)]  # noqa: E731
    count = node("Count", inputs, [io.Int.Output()], lambda cls, n, how="a": (n,))
    steps = []
    with pytest.raises(WorkflowError, match=message):
        Runner(registry(count), steps.append).run(loop_prompt() | change)
    assert steps == []


def ui_node(id, type, inputs=(), outputs=(), **more):
    sockets = [{"name": name, "type": kind, "link": link} for name, kind, link in inputs]
    return {"id": id, "type": type, "inputs": sockets, "outputs": [{"type": kind} for kind in outputs], **more}


def listing(*more):
    return host.object_info(registry(*more))


def test_a_canvas_becomes_a_prompt():
    seeded = node("Seeded", lambda: [io.Int.Input("seed"), io.String.Input("name", default="n")], [Words.Output()])
    canvas = {
        "nodes": [
            ui_node(1, "Seeded", outputs=["WORDS"], widgets_values=[5, "randomize", "hello"], title="First"),
            ui_node(2, "Reroute", [("", "*", 10)], ["WORDS"]),
            ui_node(3, "Append", [("words", "WORDS", 11), ("letter", "STRING", 14)], ["WORDS"], widgets_values=["q"]),
            ui_node(4, "Append", [("words", "WORDS", 12)], ["WORDS"], widgets_values=["muted way"], mode=4),
            ui_node(5, "Show", [("words", "WORDS", 13)]),
            ui_node(6, "Note", widgets_values=["read me"]),
            ui_node(7, "Show", [("words", "WORDS", None)], mode=2),
            ui_node(8, "PrimitiveNode", outputs=["STRING"], widgets_values=["from primitive", "fixed"]),
        ],
        "links": [
            [10, 1, 0, 2, 0, "WORDS"],
            [11, 2, 0, 3, 0, "WORDS"],
            [12, 3, 0, 4, 0, "WORDS"],
            [13, 4, 0, 5, 0, "WORDS"],
            [14, 8, 0, 3, 1, "STRING"],
        ],
    }
    prompt = workflow.to_prompt(canvas, listing(seeded))
    assert {node_id: (one["class_type"], one["inputs"]) for node_id, one in prompt.items()} == {
        "1": ("Seeded", {"seed": 5, "name": "hello"}),
        "3": ("Append", {"words": ["1", 0], "letter": "from primitive"}),
        "5": ("Show", {"words": ["3", 0]}),
    }
    assert prompt["1"]["_meta"]["title"] == "First"
    assert workflow.to_prompt(prompt, listing(seeded)) == prompt, "the API form is left as it is"


def test_a_subgraph_is_flattened():
    inside = {
        "id": "blue",
        "nodes": [
            ui_node(1, "Append", [("words", "WORDS", 1), ("letter", "STRING", 2)], ["WORDS"], widgets_values=["i"])
        ],
        "links": [
            {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 1, "target_slot": 0},
            {"id": 2, "origin_id": -10, "origin_slot": 1, "target_id": 1, "target_slot": 1},
            {"id": 3, "origin_id": 1, "origin_slot": 0, "target_id": -20, "target_slot": 0},
        ],
    }
    front = ui_node(7, "blue", [("words", "WORDS", 1)], ["WORDS"], widgets_values=["promoted"])
    front["inputs"].append({"name": "letter", "type": "STRING", "link": None, "widget": {"name": "letter"}})
    canvas = {
        "nodes": [
            ui_node(1, "Source", outputs=["WORDS"], widgets_values=[1]),
            front,
            ui_node(9, "Show", [("words", "WORDS", 2)]),
        ],
        "links": [[1, 1, 0, 7, 0, "WORDS"], [2, 7, 0, 9, 0, "WORDS"]],
        "definitions": {"subgraphs": [inside]},
    }
    prompt = workflow.to_prompt(canvas, listing())
    assert prompt["7:1"]["inputs"] == {"words": ["1", 0], "letter": "promoted"}
    assert prompt["9"]["inputs"] == {"words": ["7:1", 0]}


def test_a_canvas_with_foreign_nodes_or_too_many_values_is_refused():
    with pytest.raises(WorkflowError, match=r'node 3 "Odd": the node class .Odd. is not known'):
        workflow.to_prompt({"nodes": [ui_node(3, "Odd")], "links": []}, listing())
    with pytest.raises(WorkflowError, match=r"node 3 .*carries 2 widget values, its widgets are \['seed'\]"):
        workflow.to_prompt({"nodes": [ui_node(3, "Source", widgets_values=[1, 2])], "links": []}, listing())
    loop = {"nodes": [ui_node(1, "Reroute", [("", "*", 1)], ["*"]), ui_node(2, "Show", [("words", "WORDS", 2)])]}
    with pytest.raises(WorkflowError, match="leads back to itself"):
        workflow.to_prompt(loop | {"links": [[1, 1, 0, 1, 0, "*"], [2, 1, 0, 2, 0, "*"]]}, listing())


@pytest.mark.parametrize("content", ["[1, 2]", "{", '{"a": 1}', '{"1": {"inputs": {}}}'])
def test_a_file_that_is_no_workflow_is_refused(tmp_path, content):
    file = tmp_path / "w.json"
    file.write_text(content)
    with pytest.raises(WorkflowError, match=r"w\.json is no"):
        workflow.read_workflow(file)


def test_ids_of_inputs_and_outputs_must_differ():
    """ComfyUI 0.3.64 loses the whole pack over this, so the stand-in must not be more lenient."""
    kind = node("Twice", lambda: [Words.Input("words")], [Words.Output("words")])
    with pytest.raises(ValueError, match=r"Twice.*\['words'\]"):
        kind.GET_SCHEMA()


def test_options_reach_the_listing_as_the_host_writes_them():
    """What the classes of ComfyUI 0.3.64 and 0.8.0 both answer for this very schema."""
    kind = node(
        "Listed",
        lambda: [
            io.Int.Input("n", default=1, min=0, max=9, step=1, tooltip="t"),
            io.Combo.Input("how", options=["a", "b"], default="b", optional=True),
            io.String.Input("text", multiline=True, optional=True),
            Words.Input("words", lazy=True, extra_dict={"rawLink": True}),
        ],
        [Words.Output(display_name="words", tooltip="made")],
        hidden=[io.Hidden.unique_id],
    )
    info = kind.GET_NODE_INFO_V1()
    assert info["input"] == {
        "required": {
            "n": ("INT", {"tooltip": "t", "default": 1, "min": 0, "max": 9, "step": 1}),
            "words": ("WORDS", {"lazy": True, "rawLink": True}),
        },
        "optional": {
            "how": ("COMBO", {"default": "b", "multiselect": False, "options": ["a", "b"]}),
            "text": ("STRING", {"multiline": True}),
        },
        "hidden": {"unique_id": ("UNIQUE_ID",)},
    }
    assert info["input_order"] == {"required": ["n", "words"], "optional": ["how", "text"], "hidden": ["unique_id"]}
    assert (info["output"], info["output_name"], info["output_tooltips"]) == (["WORDS"], ["words"], ["made"])


def test_an_unfinished_node_that_nothing_needs_does_no_harm():
    prompt = loop_prompt() | {"9": {"class_type": "Append", "inputs": {}}}
    assert Runner(registry()).run(prompt).ui["5"]["text"] == ("0ab",)


def test_check_prompt_lists_every_problem_at_once():
    prompt = loop_prompt() | {"1": {"class_type": "Source", "inputs": {}}}
    del prompt["3"]["inputs"]["letter"]
    with pytest.raises(WorkflowError) as caught:
        check_prompt(prompt, listing())
    assert len(str(caught.value).splitlines()) == 2
