"""The nodes' schemas: permanent ids, what inputs and outputs say, and that only one file speaks to the host."""

import ast
import inspect
import json
from pathlib import Path

import pytest
from spatial_memory.headless import host as headless

NODES = headless.nodes()  # registers the stand-ins, so it comes before anything of spatial_memory.nodes

from spatial_memory.nodes import host  # noqa: E402

ROOT = Path(__file__).parents[1]
PREFIX = "SpatialMemory_"
OURS = {name: node for name, node in NODES.items() if name.startswith(PREFIX)}
PERMANENT = """LoadWorldModel EncodeStartFrame EstimateGeometry SegmentDynamics InitMemory CameraPath ImportCameraPath
ExportCameraPath RetrieveReferences WarpMemory DenoiseChunk UpdateMemory DecodeVideo ClosedLoopReport ChunkLoopStart
ChunkLoopEnd Rollout SaveWorld LoadWorld EditMemory RevertMemory MergeMemory MemoryInfo PreviewMemory PathFromLoad3D
PathToLoad3D PathToWanCamera PathToText PathFromText ChunkPrompt Preflight
ApplySpatialControl TuneWorldModel""".split()


def test_ids_are_permanent():
    assert sorted(OURS) == sorted(PREFIX + name for name in PERMANENT)


@pytest.mark.parametrize("name", OURS)
def test_schema_inputs_are_the_parameters_of_execute(name):
    schema = OURS[name].GET_SCHEMA()
    parameters = inspect.signature(OURS[name].execute).parameters
    assert [i.id for i in schema.inputs if i.id not in parameters] == []
    assert set(parameters) == {i.id for i in schema.inputs}
    for entry in schema.inputs:
        default = parameters[entry.id].default
        assert entry.optional or default is inspect.Parameter.empty or default is None, entry.id
        if entry.optional:  # the server fills no widget default in, so the signature must hold the same one
            assert default == getattr(entry, "default", None), entry.id


@pytest.mark.parametrize("name", OURS)
def test_every_input_and_output_says_what_it_is(name):
    schema = OURS[name].GET_SCHEMA()
    assert schema.category == "SpatialMemory" and schema.description and schema.display_name
    texts = [schema.description, *(entry.tooltip for entry in [*schema.inputs, *schema.outputs])]
    for text in texts:
        assert text and text[0].isalnum() | (text[0] == "'") and text.rstrip()[-1] in ".:", text
        assert not set(text) & set("{}@|"), f"the interface's translator reads these characters as commands: {text}"
    assert all(output.display_name for output in schema.outputs)


@pytest.mark.parametrize("name", OURS)
def test_locale_and_help_page_say_what_the_schema_says(name):
    schema = OURS[name].GET_SCHEMA()
    listed = json.loads((ROOT / "locales/en/nodeDefs.json").read_text(encoding="utf-8"))[name]
    assert (listed["display_name"], listed["description"]) == (schema.display_name, schema.description)
    assert listed["inputs"] == {i.id: {"name": i.id, "tooltip": i.tooltip} for i in schema.inputs}
    outputs = [{"name": o.display_name, "tooltip": o.tooltip} for o in schema.outputs]
    assert list(listed["outputs"].values()) == outputs
    page = (ROOT / f"web/docs/{name}.md").read_text(encoding="utf-8")
    for entry, label in [*((i, i.id) for i in schema.inputs), *((o, o.display_name) for o in schema.outputs)]:
        assert f"| `{label}` | {entry.tooltip} |" in page


def test_only_host_imports_comfyui():
    for file in (ROOT / "nodes").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            foreign = [name for name in names if name.split(".")[0] in headless.HOST_MODULES + ("nodes", "server")]
            assert file.name == "host.py" or not foreign, (file.name, foreign)


def test_options_that_an_older_host_does_not_know_are_dropped():
    entry = host.socket(host.io.Int, "count", "A count.", default=3, colour="unheard of")
    assert (entry.default, entry.tooltip) == (3, "A count.") and not hasattr(entry, "colour")
    made = host.schema("X", "X", "A node.", [], [], loop_boundary="unheard of")
    assert made.node_id == "SpatialMemory_X" and not hasattr(made, "loop_boundary")
