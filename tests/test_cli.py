"""The command line: what it prints where, its exit status, and its errors."""

import json
import subprocess
import sys

import pytest
from PIL import Image
from spatial_memory.headless import edits
from spatial_memory.headless.cli import COMMANDS, main
from spatial_memory.headless.validate import WorkflowError

INFO = {
    "SpatialMemory_Walk": {
        "input": {
            "required": {"steps": ("INT", {"min": 1}), "path": ("SPATIAL_CAMERA_PATH", {})},
            "optional": {
                "how": ("COMBO", {"options": ["fast", "slow"]}),
                "size": ("COMBO", {"options": [256, 512]}),
                "loop": ("BOOLEAN", {}),
                "text": ("STRING", {}),
                "resume": ("STRING", {}),
            },
        },
        "output": [],
    }
}


def walk(title="Walk there", **inputs):
    return {"class_type": "SpatialMemory_Walk", "inputs": inputs, "_meta": {"title": title}}


@pytest.fixture
def still(tmp_path):
    """A workflow of core nodes alone, and its image, in a folder of their own."""
    Image.new("RGB", (32, 16), (250, 100, 0)).save(tmp_path / "still.png")
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "still.png"}},
        "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8.0}},
        "3": {
            "class_type": "SaveVideo",
            "inputs": {"video": ["2", 0], "filename_prefix": "film", "format": "auto", "codec": "auto"},
            "_meta": {"title": "Film"},
        },
        "4": {"class_type": "PreviewAny", "inputs": {"source": ["1", 1]}},
    }
    (tmp_path / "still.json").write_text(json.dumps(prompt))
    return tmp_path


def test_json_lines_go_to_stdout_and_the_rest_to_stderr(still, capsys):
    arguments = ["run", str(still / "still.json"), "--output", str(still / "out"), "--set", "Film.filename_prefix=a/b"]
    assert main([*arguments, "--json"]) == 0
    out, err = capsys.readouterr()
    reports = {report["node"]: report for report in map(json.loads, out.splitlines())}
    assert reports["3"]["files"] == [str(still / "out" / "a" / "b_00001_.mp4")]
    assert (still / "out" / "a" / "b_00001_.mp4").stat().st_size > 500
    assert reports["4"]["text"] and reports["3"]["title"] == "Film"
    assert "SaveVideo" in err
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert out == "" and "b_00002_.mp4" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "fps=9"], "expected NODE.INPUT=VALUE"),
        (["--set", "2.fps"], "expected NODE.INPUT=VALUE"),
        (["--set", "Nobody.fps=9"], "'Nobody' is no id, title or class of a node"),
        (
            ["--set", "2.speed=9"],
            "node 2 (CreateVideo) has no input 'speed'; its inputs are ['images', 'fps', 'audio']",
        ),
        (["--set", "2.fps=fast"], "got 'fast', expected a value of type FLOAT"),
        (["--set", "2.fps=900"], "'fps' got 900.0, expected 1.0 to 120.0"),
        (["--set", "1.image=absent.png"], "there is no image 'absent.png'"),
        (["--input", "nowhere"], "--input nowhere: there is no such folder"),
        (["--resume", "absent.safetensors"], "--resume absent.safetensors: there is no such file"),
        (["--server", "localhost"], "expected an address such as"),
        (["--server", "http://127.0.0.1:9"], "Is ComfyUI running there?"),
    ],
)
def test_a_wrong_call_says_why_and_writes_nothing(still, capsys, arguments, message):
    assert main(["run", str(still / "still.json"), "--output", str(still / "out"), *arguments]) == 1
    out, err = capsys.readouterr()
    assert out == "" and message in err and "Traceback" not in err
    assert not (still / "out").exists()


def test_a_world_file_needs_a_loop_to_go_on(still, capsys):
    (still / "world.safetensors").write_bytes(b"x")
    arguments = ["run", str(still / "still.json"), "--output", str(still / "out")]
    assert main([*arguments, "--resume", str(still / "world.safetensors")]) == 1
    assert "no node of this workflow has an input `resume`" in capsys.readouterr().err


def test_nodes_are_found_by_id_then_title_then_class():
    prompt = {"1": walk("2"), "2": walk("There"), "3": {"class_type": "Other", "inputs": {}}}
    assert edits.find_node(prompt, "2") == "2"
    assert edits.find_node(prompt, "There") == "2"
    assert edits.find_node({"1": walk()}, "Walk") == "1" == edits.find_node({"1": walk()}, "SpatialMemory_Walk")
    with pytest.raises(WorkflowError, match=r"'Walk' means several nodes, use an id: node 1 .*node 2"):
        edits.find_node(prompt, "Walk")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Walk.steps=7", 7),
        ("Walk there.how=slow", "slow"),
        ("1.size=512", 512),
        ("1.loop=off", False),
        ("1.loop=TRUE", True),
        ("1.text=a=b.c", "a=b.c"),
        ("1.text=007", "007"),
    ],
)
def test_values_take_the_type_of_their_input(text, value):
    before = {"1": walk(steps=["2", 0])}
    after = edits.set_input(before, text, INFO)
    name = text.partition("=")[0].rpartition(".")[2]
    assert after["1"]["inputs"][name] == value and type(after["1"]["inputs"][name]) is type(value)
    assert before == {"1": walk(steps=["2", 0])}, "the prompt that was given is left as it is"


@pytest.mark.parametrize("text", ["1.steps=1.5", "1.loop=perhaps", "1.path=here"])
def test_values_of_another_type_are_refused(text):
    with pytest.raises(WorkflowError, match="expected a value of type"):
        edits.set_input({"1": walk()}, text, INFO)


def test_resume_goes_to_the_loop_and_passes_over_the_baseline():
    prompt = {"1": walk(memory="off (baseline)"), "2": walk(), "3": {"class_type": "Other", "inputs": {}}}
    resumed = edits.resume_from(prompt, "w.st", INFO)
    assert [resumed[i]["inputs"].get("resume") for i in "123"] == [None, "w.st", None]
    alone = edits.resume_from({"1": prompt["1"]}, "w.st", INFO)
    assert alone["1"]["inputs"]["resume"] == "w.st"
    with pytest.raises(WorkflowError, match=r"several loops could go on.*node 4.*--set NODE.resume=w.st"):
        edits.resume_from(prompt | {"4": walk("Second")}, "w.st", INFO)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    assert f"spatial-memory {command}" in capsys.readouterr().out


def test_the_installed_command_works_from_elsewhere(tmp_path):
    """Not even torch is needed to print the help."""
    script = "import sys; from spatial_memory.headless.cli import main; sys.argv = ['spatial-memory', '--help']\n"
    script += "try: main()\nexcept SystemExit as stop: assert stop.code == 0 and 'torch' not in sys.modules"
    shown = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert shown.returncode == 0, shown.stderr
    assert all(command in shown.stdout for command in COMMANDS)
    assert list(tmp_path.iterdir()) == []
