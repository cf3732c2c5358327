"""The bundled workflows: drawn properly, accepted by an outside judge, and run small from end to end."""

import copy
import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from spatial_memory.headless import host, workflow
from spatial_memory.headless.runner import Runner
from spatial_memory.headless.standin.folders import Folders
from spatial_memory.models.world import MINI_FOLDER

ROOT = Path(__file__).parents[1]
EVERY = sorted((ROOT / "workflows").glob("*.json"))
WAN = [file for file in EVERY if file.stem.startswith("wan22_")]  # they need a server and a user's files: tests/host
WORKFLOWS = [file for file in EVERY if file not in WAN]
LISTINGS = sorted((ROOT / "tests/host").glob("object_info_*.json"))
NOTES = ("Note", "MarkdownNote")
TITLE = 30  # pixels above a node's position
SMALL = {"CameraPath": {"num_frames": 57}, "DenoiseChunk": {"steps": 2}, "Rollout": {"steps": 2}}
VIDEO = {"closed_loop", "closed_loop_rgb", "edit_world", "one_node", "two_chunks_step_by_step"}
REPORTED = VIDEO - {"edit_world", "one_node"}

named = pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
every = pytest.mark.parametrize("file", EVERY, ids=lambda file: file.stem)


def of_class(prompt, kind):
    """The ids of all nodes of one of the pack's classes."""
    return [name for name, node in prompt.items() if node["class_type"] == "SpatialMemory_" + kind]


def box(node):
    """Left, top, right, bottom of a node with its title."""
    (x, y), (width, height) = node["pos"], node["size"]
    return x, y - TITLE, x + width, y + height


def meet(a, b):
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def test_all_are_there_and_each_has_a_picture():
    from PIL import Image

    assert {file.stem for file in WORKFLOWS} == VIDEO
    assert {file.stem for file in WAN} == {
        "wan22_closed_loop_latent",
        "wan22_closed_loop_rgb_spatia",
        "wan22_native_model",
    }
    for file in EVERY:
        with Image.open(file.with_suffix(".jpg")) as picture:
            assert picture.format == "JPEG" and min(picture.size) >= 300


@every
def test_drawn_properly(file):
    drawn = json.loads(file.read_text(encoding="utf-8"))
    assert drawn["version"] == 0.4 and drawn["groups"]
    nodes = drawn["nodes"]
    assert any(node["type"] in NOTES for node in nodes)
    for one, other in itertools.combinations(nodes, 2):
        assert not meet(box(one), box(other)), (one["title"], other["title"])
    groups = []
    for group in drawn["groups"]:
        x, y, width, height = group["bounding"]
        groups.append((x, y, x + width, y + height))
    for one, other in itertools.combinations(groups, 2):
        assert not meet(one, other)
    for node in nodes:
        assert node["title"] and node["color"] and node["bgcolor"]
        if node["type"] in NOTES:
            continue
        owner = "spatial-memory" if node["type"].startswith("SpatialMemory_") else "comfy-core"
        assert node["properties"]["cnr_id"] == owner and node["properties"]["ver"]
        left, top, right, bottom = box(node)
        assert any(g[0] <= left and g[1] <= top and right <= g[2] and bottom <= g[3] for g in groups), node["title"]
    assert len({node["id"] for node in nodes}) == len(nodes)


@every
def test_links_agree_with_the_nodes_at_both_ends(file):
    drawn = json.loads(file.read_text(encoding="utf-8"))
    nodes = {node["id"]: node for node in drawn["nodes"]}
    for link, source, slot, target, entry, kind in drawn["links"]:
        assert link in nodes[source]["outputs"][slot]["links"]
        assert nodes[target]["inputs"][entry]["link"] == link
        assert kind == nodes[source]["outputs"][slot]["type"] == nodes[target]["inputs"][entry]["type"]
    linked = {i["link"] for node in nodes.values() for i in node["inputs"] if i["link"] is not None}
    assert linked == {link[0] for link in drawn["links"]}


def small(file):
    """The workflow as a prompt of two chunks and two steps."""
    prompt = workflow.to_prompt(workflow.read_workflow(file), host.object_info(host.nodes()))
    for node in prompt.values():
        node["inputs"].update(SMALL.get(node["class_type"].removeprefix("SpatialMemory_"), {}))
    return prompt


@named
def test_the_full_film_is_what_the_demo_promises(file):
    prompt = workflow.to_prompt(workflow.read_workflow(file), host.object_info(host.nodes()))
    (path,) = [node["inputs"] for node in prompt.values() if node["class_type"] == "SpatialMemory_CameraPath"]
    if not file.stem.startswith("closed_loop"):
        assert path["num_frames"] >= 57
        return
    assert (path["preset"], path["num_frames"]) == ("out_and_back", 153)
    kinds = [node["class_type"].removeprefix("SpatialMemory_") for node in prompt.values()]
    assert {"ChunkLoopStart", "ChunkLoopEnd", "ClosedLoopReport", "SaveVideo", "Rollout"} <= set(kinds)
    assert "EstimateGeometry" in kinds and kinds.count("LoadImage") == 1  # the measured depth is muted


@named
@pytest.mark.skipif(not (MINI_FOLDER / "world.safetensors").is_file(), reason="the mini world has no weights here")
def test_runs_small(file, tmp_path):
    from PIL import Image

    (tmp_path / "in").mkdir()
    for photo in (ROOT / "workflows/inputs").glob("*.png"):  # photographs, depth, and masks in their transparency
        Image.open(photo).resize((96, 64)).save(tmp_path / "in" / photo.name)
    for thing in (ROOT / "workflows/inputs").glob("*.ply"):
        shutil.copyfile(thing, tmp_path / "in" / thing.name)
    nodes = host.nodes()
    host.use_folders(Folders([tmp_path / "in"], tmp_path / "out", tmp_path))
    ran = Runner(nodes).run(small(file))
    assert [p for p in (tmp_path / "out").rglob("*.mp4") if p.stat().st_size > 1000]
    if file.stem in REPORTED:
        report = json.loads(next((tmp_path / "out").rglob("*report.json")).read_text(encoding="utf-8"))
        assert (report["frames"], report["chunks"]) == (57, 2)
        assert ("baseline_psnr_return" in report) == file.stem.startswith("closed_loop")
    assert ran.ui


@pytest.mark.skipif(not (MINI_FOLDER / "world.safetensors").is_file(), reason="the mini world has no weights here")
def test_each_edit_changes_the_start_frame_where_its_thing_is(tmp_path):
    """The bundled edits at full size, without the film: each changes the picture where its thing is, and only there."""
    nodes = host.nodes()
    host.use_folders(Folders([ROOT / "workflows/inputs"], tmp_path / "out", tmp_path))
    prompt = workflow.to_prompt(workflow.read_workflow(ROOT / "workflows/edit_world.json"), host.object_info(nodes))
    edits = of_class(prompt, "EditMemory")
    begun = of_class(prompt, "InitMemory")
    kept = {**prompt}
    for name, node in prompt.items():
        if node["class_type"] in ("PreviewImage", "SaveVideo") or name in of_class(prompt, "PreviewMemory"):
            del kept[name]
    for kind in ("SaveWorld", "MemoryInfo"):
        for name in of_class(prompt, kind):
            del kept[name]
    kept["look"] = {"class_type": "PreviewAny", "inputs": {"source": [edits[-1], 3]}}
    outputs = Runner(nodes).run(kept).outputs
    states = [outputs[begun[0]][0], *(outputs[name][0] for name in edits)]
    places = {"delete": (260, 310, 50, 75), "insert": (50, 95, 100, 140), "recolour": (250, 310, 100, 130)}
    aside = (120, 140, 20, 60)  # a pipe on the wall, which no edit touches
    for name, before, after in zip(edits, states, states[1:]):
        left, right, top, bottom = places[prompt[name]["inputs"]["action"]]
        difference = (before.image - after.image).abs().mean(0)
        assert difference[top:bottom, left:right].mean() > 0.1
        assert difference[aside[2] : aside[3], aside[0] : aside[1]].max() == 0
    blue = states[-1].image[:, 100:130, 250:310].mean((1, 2))
    assert blue[2] > 1.3 * blue[0]
    assert [type(e).__name__ for e in states[-1].memory.edits] == ["Delete", "Insert", "Paint"]


# ---------------------------------------------------------------------------------------------- judged from outside


def judged(arguments, cwd):
    """What comfy-cli prints."""
    command = [sys.executable, "-m", "comfy_cli", "--json", "--skip-prompt", *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    answer = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert answer, done.stdout + done.stderr
    return json.loads(answer[-1])


@pytest.mark.parametrize("listing", LISTINGS, ids=lambda file: file.stem)
@named
def test_comfy_cli_accepts_it_in_both_forms(file, listing, tmp_path):
    """Against what the real server said of its nodes."""
    info = json.loads(listing.read_text(encoding="utf-8"))
    api = tmp_path / "api.json"
    api.write_text(json.dumps(workflow.to_prompt(workflow.read_workflow(file), info)))
    for form in (file, api):
        answer = judged(["workflow", "validate", "--workflow", str(form), "--input", str(listing)], tmp_path)
        assert answer["ok"] and answer["data"]["valid"], answer["data"]["errors"]
        assert not answer["data"]["errors"] and not answer["data"]["warnings"]
        assert answer["data"].get("converted_from_ui", False) is (form is file)


def test_comfy_cli_finds_a_fault(tmp_path):
    """The judge is awake: a workflow with a wrong choice and a lost link is refused."""
    info = json.loads(LISTINGS[0].read_text(encoding="utf-8"))
    prompt = copy.deepcopy(workflow.to_prompt(workflow.read_workflow(WORKFLOWS[0]), info))
    (memory,) = [node for node in prompt.values() if node["class_type"] == "SpatialMemory_InitMemory"]
    memory["inputs"]["kind"] = "no such kind"
    memory["inputs"]["geometry"] = ["999", 0]
    (tmp_path / "api.json").write_text(json.dumps(prompt))
    answer = judged(["workflow", "validate", "--workflow", "api.json", "--input", str(LISTINGS[0])], tmp_path)
    assert not answer["ok"] or len(answer["data"]["errors"]) >= 2


def test_comfy_node_validate_has_no_finding():
    command = [sys.executable, "-m", "comfy_cli", "--skip-prompt", "node", "validate"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "error" not in said.lower() and "warning" not in said.lower(), said
