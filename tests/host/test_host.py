"""The pack on the real server: it loads, every workflow runs, films equal the built-in runner's, nothing runs twice."""

import copy
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from spatial_memory.headless import edits, workflow
from spatial_memory.memory.store import load_tensors
from spatial_memory.models.world import MINI_FOLDER

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PREFIX = "SpatialMemory_"
CORE = ("LoadImage", "PreviewImage", "SaveImage", "CreateVideo", "SaveVideo", "LoadVideo", "GetVideoComponents")
PHOTOS = (
    "spatial_memory_kitchen.png",
    "spatial_memory_coffee.png",
    "spatial_memory_kitchen_depth.png",
    "spatial_memory_kitchen_basket.png",
    "spatial_memory_kitchen_table.png",
)
EVERY = sorted((ROOT / "workflows").glob("*.json"))
WORKFLOWS = [file for file in EVERY if not file.stem.startswith("wan22_")]  # those: test_wan.py, test_native.py
SMALL = {"CameraPath": {"num_frames": 57}, "DenoiseChunk": {"steps": 2}, "Rollout": {"steps": 2}}

pytestmark = [
    pytest.mark.host,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not (MINI_FOLDER / "world.safetensors").is_file(), reason="the mini world has no weights here"),
]


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """The bundled photographs, depth and masks at 64 x 96."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("photographs")
    for name in PHOTOS:
        Image.open(ROOT / "workflows/inputs" / name).resize((96, 64)).save(folder / name)
    return folder


@pytest.fixture
def small(server, photographs):
    """A bundled workflow as a prompt of two chunks at 64 x 96 and two steps."""
    for name in PHOTOS:
        shutil.copyfile(photographs / name, server.base / "input" / f"small_{name}")
    info = server.object_info()

    def make(name):
        prompt = workflow.to_prompt(workflow.read_workflow(ROOT / "workflows" / f"{name}.json"), info)
        for node in prompt.values():
            node["inputs"].update(SMALL.get(node["class_type"].removeprefix(PREFIX), {}))
            if node["class_type"] == "LoadImage":
                node["inputs"]["image"] = f"small_{node['inputs']['image']}"
        return prompt

    return make


def of_class(prompt, kind):
    """The id of the only node of a class."""
    return edits.find_node(prompt, PREFIX + kind)


def test_the_pack_loads(server):
    log = server.log.read_text(errors="replace")
    lines = [line for line in log.splitlines() if "ComfyUI-SpatialMemory" in line]
    assert lines and not [line for line in lines if "IMPORT FAILED" in line], log[-3000:]
    assert "Error while calling comfy_entrypoint" not in log
    assert "Cannot import" not in "".join(line for line in log.splitlines() if "SpatialMemory" in line)
    for name in (*PHOTOS, "spatial_memory_ball.ply"):
        assert (server.base / "input" / name).is_file()


def test_object_info_is_the_committed_one(server):
    """``SPATIAL_MEMORY_REFRESH=1`` writes the file anew; look at its diff before you commit it."""
    info = server.object_info()
    found = {name: info[name] for name in sorted(info) if name.startswith(PREFIX) or name in CORE}
    for name in ("LoadImage", "LoadVideo"):  # the files in the input folder are no part of the node
        choices = found[name]["input"]["required"]["image" if name == "LoadImage" else "file"]
        kept = [file for file in PHOTOS if name == "LoadImage"]
        if isinstance(choices[0], list):
            choices[0] = kept
        else:
            choices[1]["options"] = kept
    file = HERE / f"object_info_{server.version}.json"
    if os.environ.get("SPATIAL_MEMORY_REFRESH"):
        file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert json.loads(json.dumps(found)) == json.loads(file.read_text(encoding="utf-8"))


def test_texts_help_and_templates_are_served(server):
    texts = json.loads(server.get("/i18n"))
    assert PREFIX + "CameraPath" in texts["en"]["nodeDefs"]
    assert b"# Camera Path" in server.get(f"/extensions/ComfyUI-SpatialMemory/docs/{PREFIX}CameraPath.md")
    listed = json.loads(server.get("/workflow_templates"))["ComfyUI-SpatialMemory"]
    assert sorted(listed) == sorted(file.stem for file in EVERY)
    for file in WORKFLOWS:
        picture = server.get(f"/api/workflow_templates/ComfyUI-SpatialMemory/{file.stem}.jpg")
        assert picture[:2] == b"\xff\xd8"


@pytest.mark.parametrize("name", [file.stem for file in WORKFLOWS])
def test_workflow_runs(server, small, name):
    ran = server.run(small(name))
    assert ran.ended == "execution_success", ran.message
    assert [file for file in (server.base / "output").rglob("*.mp4")]


def test_latents_equal_the_built_in_runner(server, small, photographs, tmp_path):
    prompt = small("closed_loop")
    end = of_class(prompt, "ChunkLoopEnd")
    prompt["save"] = {"class_type": PREFIX + "SaveWorld", "inputs": {"state": [end, 0], "filename": "compare"}}
    assert server.run(prompt).ended == "execution_success"
    for node in prompt.values():
        if node["class_type"] == "LoadImage":
            node["inputs"]["image"] = node["inputs"]["image"].removeprefix("small_")
    (tmp_path / "prompt.json").write_text(json.dumps(prompt))
    code = f"import sys; sys.path.insert(0, {str(ROOT / 'tests')!r}); import conftest; "
    code += "from spatial_memory.headless.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["run", "prompt.json", "--input", str(photographs), "--output", "out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as the server runs
    subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, env=environment, check=True)
    here, there = (
        load_tensors(folder / "compare.safetensors")[0] for folder in (tmp_path / "out", server.base / "output")
    )
    torch.testing.assert_close(there["latents"], here["latents"], rtol=0, atol=1e-5)


def keys(*frames, **moved):
    """Keyframes at rest; ``at56=(x, y, z)`` moves one."""
    made = [
        {
            "frame": frame,
            "position": list(moved.get(f"at{frame}", (0.05 * i, 0.0, 0.0))),
            "vertical_fov": 36.2104,
            "easing": "ease_in_out",
        }
        for i, frame in enumerate(frames)
    ]
    return json.dumps({"version": 1, "num_frames": frames[-1] + 1, "keyframes": made})


def test_append_edit_nothing(server, small):
    prompt = small("closed_loop")
    path, drawn = of_class(prompt, "CameraPath"), of_class(prompt, "DenoiseChunk")
    baseline, report = of_class(prompt, "Rollout"), of_class(prompt, "ClosedLoopReport")
    del prompt[baseline]
    for name in ("baseline_state", "baseline_images"):
        del prompt[report]["inputs"][name]

    def chunks(keyframes):
        prompt[path]["inputs"]["keyframes"] = keyframes
        ran = server.run(copy.deepcopy(prompt))
        assert ran.ended == "execution_success", ran.message
        assert drawn not in ran.executed, "the drawn body itself must never run"
        done = [name.split("chunk")[-1].split("/")[0] for name in ran.executed if name.endswith(f"/{drawn}")]
        return done, ran.executed

    assert chunks(keys(0, 32, 56))[0] == ["0", "1"]
    assert chunks(keys(0, 32, 56)) == ([], ())
    assert chunks(keys(0, 32, 56, 80, 104))[0] == ["2", "3"]
    assert chunks(keys(0, 32, 56, 80, 104, at80=(0.1, 0.05, 0.0)))[0] == ["2", "3"]
    prompt[of_class(prompt, "ChunkLoopEnd")]["inputs"]["checkpoint"] = "promise"
    assert chunks(keys(0, 32, 56, 80, 104, at80=(0.1, 0.05, 0.0)))[0] == []
    assert len(list((server.base / "output/promise").iterdir())) == 4


def test_rollout_keeps_the_promise_too(server, small):
    prompt = small("one_node")
    path = of_class(prompt, "CameraPath")
    for keyframes, expected in ((keys(0, 32, 56), ["0", "1"]), (keys(0, 32, 56, 80), ["2"])):
        prompt[path]["inputs"]["keyframes"] = keyframes
        ran = server.run(copy.deepcopy(prompt))
        done = [name.split("chunk")[-1].split("/")[0] for name in ran.executed if name.endswith("/denoise")]
        assert (ran.ended, done) == ("execution_success", expected)


def test_interrupt_stops_within_one_step_and_the_next_prompt_works(server, small):
    prompt = small("closed_loop")
    drawn, seed = of_class(prompt, "DenoiseChunk"), of_class(prompt, "EncodeStartFrame")
    prompt[seed]["inputs"]["seed"] = 77
    prompt[drawn]["inputs"]["steps"] = 40
    ticks = []

    def second_step(event):
        if event["type"] == "progress" and event["data"]["max"] == 40:
            ticks.append(event["data"]["value"])
        return len(ticks) >= 2

    ran = server.run(copy.deepcopy(prompt), stop_when=second_step)
    assert ran.ended == "execution_interrupted", ran.message
    assert ticks[-1] < 20, f"it went on to step {ticks[-1]} of 40"
    prompt[drawn]["inputs"]["steps"] = 2
    assert server.run(prompt).ended == "execution_success"


def test_an_output_node_inside_the_loop_is_refused_by_name(server, small):
    prompt = small("closed_loop")
    warp = of_class(prompt, "WarpMemory")
    prompt["look"] = {"class_type": "PreviewImage", "inputs": {"images": [warp, 2]}}
    prompt[of_class(prompt, "EncodeStartFrame")]["inputs"]["seed"] = 78
    ran = server.run(prompt)
    assert ran.ended == "execution_error"
    assert "inside the loop's body" in ran.message["exception_message"]
