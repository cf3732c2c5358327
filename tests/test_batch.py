"""A batch: what a manifest may say, what it runs again and what not, and what its log holds."""

import json

import pytest
import torch
from PIL import Image
from spatial_memory.headless import batch_edits, batch_log, host
from spatial_memory.headless.batch_jobs import Place, Planner
from spatial_memory.headless.batch_log import Record
from spatial_memory.headless.batch_manifest import read_manifest
from spatial_memory.headless.batch_share import Process, join
from spatial_memory.headless.cli import main
from spatial_memory.headless.validate import WorkflowError
from spatial_memory.headless.workflow import read_workflow, to_prompt
from spatial_memory.memory.formats import write_cameras
from spatial_memory.memory.path import CameraPath
from spatial_memory.memory.presets import PRESETS, orbit

STILL = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "absent.png"}},
    "2": {"class_type": "CreateVideo", "inputs": {"images": ["1", 0], "fps": 8.0}},
    "3": {
        "class_type": "SaveVideo",
        "inputs": {"video": ["2", 0], "filename_prefix": "films/film", "format": "auto", "codec": "auto"},
        "_meta": {"title": "Film"},
    },
}


@pytest.fixture
def place(tmp_path):
    """A workflow without networks, and images beside the manifest; H.264 refuses the odd one."""
    (tmp_path / "images").mkdir()
    for name, size in (("one", (32, 16)), ("two", (16, 16)), ("odd", (31, 16))):
        Image.new("RGB", size, (250, 100, len(name))).save(tmp_path / "images" / f"{name}.png")
    (tmp_path / "still.json").write_text(json.dumps(STILL))
    return tmp_path


def batch(place, *items, options=()):
    """Write the manifest and run it; the status and the log."""
    lines = [item if isinstance(item, str) else json.dumps(item) for item in items]
    (place / "films.jsonl").write_text("\n".join(lines))
    workflow = ["--workflow", str(place / "still.json")]
    status = main(["batch", str(place / "films.jsonl"), *workflow, "--output", str(place / "out"), *options])
    return status, batch_log.read_log(place / "out" / "batch.jsonl")


def item(name, image="images/one.png", **more):
    return {"id": name, "image": image, **more}


def test_each_item_has_a_folder_and_a_line_and_a_failure_ends_no_other(place, capsys):
    items = [item("a"), item("b", "images/odd.png"), item("c", "images/two.png", set={"Film.filename_prefix": "x"})]
    status, log = batch(place, *items, options=["--json"])
    assert status == 1
    assert [(one.id, one.status, one.files) for one in log] == [
        ("a", "done", ("a/films/film_00001_.mp4",)),
        ("b", "failed", ()),
        ("c", "done", ("c/x_00001_.mp4",)),
    ]
    assert all((place / "out" / file).stat().st_size > 500 for one in log for file in one.files)
    assert "H.264 needs frames of even size" in log[1].error and log[0].error is None
    out, err = capsys.readouterr()
    *records, summary = map(json.loads, out.splitlines())
    assert [one["id"] for one in records] == ["a", "b", "c"]
    assert summary["done"] == 2 and summary["failed"] == ["b"] and summary["items"] == 3
    assert "[2/3] b: failed" in err and "1 of 3 items failed: b" in err and "Traceback" not in err
    assert sorted(file.name for file in (place / "out").iterdir()) == ["a", "b", "batch.jsonl", "c"]


def test_two_equal_items_write_a_film_each(place):
    status, log = batch(place, item("a"), item("b"))
    assert status == 0 and [one.files for one in log] == [(f"{name}/films/film_00001_.mp4",) for name in "ab"]


def test_only_what_changed_or_is_missing_runs_again(place):
    def ran(*items, options=()):
        before = len(batch_log.read_log(place / "out" / "batch.jsonl"))
        status, log = batch(place, *items, options=options)
        assert status == 0
        return [one.id for one in log[before:]]

    films = [item("a"), item("b"), item("c")]
    assert ran(*films) == ["a", "b", "c"]
    assert ran(*films) == []
    assert ran(*films[::-1], item("d")) == ["d"], "the place in the manifest does not count"
    films[1] = item("b", set={"2.fps": 9})
    assert ran(*films) == ["b"], "a changed line"
    (place / "out" / "c" / "films" / "film_00001_.mp4").unlink()
    assert ran(*films) == ["c"], "a film that was thrown away"
    Image.new("RGB", (32, 16)).save(place / "images" / "one.png")
    assert ran(*films) == ["a", "b", "c"], "another picture under the same name"
    (place / "still.json").write_text(json.dumps(STILL).replace("8.0", "12.0"))
    assert ran(*films) == ["a", "c"], "another workflow; b sets the very number itself"


def test_what_failed_runs_again_only_when_asked(place):
    assert batch(place, item("a"), item("b", "images/odd.png"))[0] == 1
    status, log = batch(place, item("a"), item("b", "images/odd.png"))
    assert status == 1 and len(log) == 2, "it still counts as failed"
    status, log = batch(place, item("a"), item("b", "images/odd.png"), options=["--retry-failed"])
    assert status == 1 and [one.id for one in log] == ["a", "b", "b"]
    status, log = batch(place, item("a"), item("b", "images/two.png"))
    assert status == 0 and [one.status for one in log if one.id == "b"] == ["failed", "failed", "done"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: this is no JSON"),
        ("[1]", "line 2: got [1], expected a JSON object"),
        ({}, "line 2, id: is missing"),
        ({"id": 7}, "line 2, id: got 7, expected a text"),
        ({"id": "../x"}, "line 2, id: '../x' cannot be the name of a folder"),
        ({"id": "Con"}, "line 2, id: 'Con' cannot be the name of a folder"),
        ({"id": "A"}, "line 2, id: 'A' is the id of line 1 too"),
        ({"id": "b", "imgae": "x.png"}, "line 2, imgae: there is no such field; the fields are id, workflow, image"),
        ({"id": "b", "seed": 1.5}, "line 2, seed: got 1.5, expected a whole number"),
        ({"id": "b", "seed": True}, "line 2, seed: got True, expected a whole number"),
        (item("b", "images/none.png"), "line 2, image: there is no file 'images/none.png'"),
        (item("b", "images"), "line 2, image: there is no file 'images'"),
        ({"id": "b"}, "line 2: node 1 (LoadImage): there is no image 'absent.png'"),
        (item("b", workflow="none.json"), "line 2, workflow: there is no workflow file none.json"),
        (item("b", workflow="images/one.png"), "line 2, workflow: "),
        (
            item("b", path="orbit"),
            "line 2, path: the workflow has no SpatialMemory_CameraPath; name the input",
        ),
        (item("b", path="nowhere.txt"), "line 2, path: 'nowhere.txt' is no preset ("),
        (item("b", path={"num_frames": 9}), "line 2, path: "),
        (item("b", path="images/one.png"), "line 2, path: "),
        (
            item("b", seed=3),
            "line 2, seed: the workflow has no SpatialMemory_EncodeStartFrame or SpatialMemory_Rollout",
        ),
        (item("b", set={"2.speed": 3}), "line 2, set: --set '2.speed=3': node 2 (CreateVideo) has no input 'speed'"),
        (item("b", set={"2.fps": 900}), "line 2: node 2 (CreateVideo): input 'fps' got 900.0, expected 1.0 to 120.0"),
        (item("b", set={"2.fps": [1]}), "line 2, set: --set '2.fps=[1]': got '[1]', expected a value of type FLOAT"),
        (item("b", set={"3.resume": "w"}), "line 2, set: 3.resume: a batch keeps its own world files"),
        (item("b", set={"Film.filename_prefix": "../x"}), 'line 2, workflow: node 3 "Film" (SaveVideo): filename_'),
    ],
)
def test_a_wrong_line_is_refused_before_anything_runs(place, capsys, line, message):
    assert batch(place, item("a"), line)[0] == 1
    out, err = capsys.readouterr()
    assert message in err and out == "" and "Traceback" not in err
    assert not (place / "out").exists()


def test_all_that_is_wrong_is_said_at_once_up_to_twenty(place, capsys):
    wrong = item("b", "images/none.png", seed=1, set={"9.x": 1})
    batch(place, item("a"), wrong)
    err = capsys.readouterr().err
    assert [name in err for name in ("line 2, image", "line 2, seed", "line 2, set")] == [True] * 3
    batch(place, *[item(f"i{k}", "images/none.png") for k in range(25)])
    err = capsys.readouterr().err
    assert err.count("there is no file") == 20 and "and 5 more" in err
    assert "line 1, " in err and "line 21, " not in err


def test_a_manifest_that_is_none_and_lines_without_workflow_are_refused(place, capsys):
    assert main(["batch", str(place / "none.jsonl")]) == 1
    assert "cannot be read" in capsys.readouterr().err
    assert batch(place, "", " ")[0] == 1
    assert "is empty" in capsys.readouterr().err
    (place / "films.jsonl").write_text(json.dumps(item("a")))
    assert main(["batch", str(place / "films.jsonl"), "--output", str(place / "out")]) == 1
    assert "line 1, workflow: is missing" in capsys.readouterr().err


def test_two_images_are_refused_and_named(place, capsys):
    mask = {"4": {"class_type": "LoadImage", "inputs": {"image": "one.png"}, "_meta": {"title": "Mask"}}}
    shown = {"5": {"class_type": "PreviewImage", "inputs": {"images": ["4", 0]}}}
    (place / "still.json").write_text(json.dumps(STILL | mask | shown))
    assert batch(place, item("a"))[0] == 1
    err = capsys.readouterr().err
    assert "several nodes that image could mean: node 1 (LoadImage)" in err and 'node 4 "Mask" (LoadImage)' in err
    named = {"id": "a", "set": {"1.image": "images/one.png", "4.image": "images/two.png"}}
    assert batch(place, named)[0] == 0


@pytest.fixture(scope="module")
def info():
    return host.object_info(host.nodes())


def bundled(name, info):
    return to_prompt(read_workflow(host.EXAMPLES.parent / name), info)


def only(prompt, kind):
    return [node["inputs"] for node in prompt.values() if node["class_type"] == batch_edits.PREFIX + kind]


def test_the_fields_find_their_nodes_in_the_bundled_workflows(info):
    before = bundled("closed_loop.json", info)
    after = batch_edits.with_start(batch_edits.with_start(before, "seed", 7), "prompt", "a room")
    (start,), (baseline,) = only(after, "EncodeStartFrame"), only(after, "Rollout")
    assert (start["seed"], start["prompt"]) == (7, "a room") == (baseline["seed"], baseline["prompt"])
    assert only(before, "EncodeStartFrame")[0]["seed"] == 1, "the prompt that was given is left as it is"
    (rollout,) = only(batch_edits.with_start(bundled("one_node.json", info), "seed", 7), "Rollout")
    assert rollout["seed"] == 7
    assert len(batch_edits.loops_of(before, info)) == 2
    going = batch_edits.with_inputs(before, batch_edits.loops_of(before, info)[0], {"resume": "w.safetensors"})
    with pytest.raises(WorkflowError, match="empty its input resume"):
        batch_edits.loops_of(going, info)


def test_two_films_in_a_workflow_are_refused(info):
    prompt = bundled("one_node.json", info)
    (film,) = [i for i, node in prompt.items() if node["class_type"] == batch_edits.ROLLOUT]
    with pytest.raises(WorkflowError, match=r"several nodes that seed could mean: node 4 .*node 99"):
        batch_edits.with_start(prompt | {"99": prompt[film]}, "seed", 1)


def test_a_path_is_a_preset_an_object_or_a_file_and_brings_its_field_of_view(info, tmp_path):
    prompt = bundled("closed_loop.json", info)
    named = batch_edits.with_path(prompt, batch_edits.read_path("orbit", None, 16.0))
    assert only(named, "CameraPath")[0]["preset"] == "orbit" and "orbit" in PRESETS
    assert only(named, "EncodeStartFrame")[0]["vertical_fov"] == only(prompt, "EncodeStartFrame")[0]["vertical_fov"]
    path = orbit(33, 20.0, 24.0, 61.0)
    recipe = json.loads(path.to_json())
    (tmp_path / "path.json").write_text(path.to_json())
    for made in (batch_edits.read_path(recipe, None, 16.0), batch_edits.read_path("", tmp_path / "path.json", 16.0)):
        changed = batch_edits.with_path(prompt, made)
        assert CameraPath.from_json(only(changed, "CameraPath")[0]["keyframes"]) == path
        assert only(changed, "EncodeStartFrame")[0]["vertical_fov"] == path.poses().vertical_fov[0].item()
    cameras = path.bake(64, 96)
    write_cameras(str(tmp_path / "w2c.txt"), cameras, None, 16.0)
    read = batch_edits.read_path("", tmp_path / "w2c.txt", 16.0)
    assert read.units == "world" and torch.allclose(read.bake(64, 96).c2w, cameras.c2w, atol=2e-3)


def test_a_path_of_a_length_that_no_film_has_is_refused(tmp_path):
    write_cameras(str(tmp_path / "w2c.txt"), orbit(33, 20.0, 16.0, 61.0).bake(64, 96)[:32], None, 16.0)
    with pytest.raises(ValueError, match="num_frames is 32, expected 1 .*nearest are 29 and 33"):
        batch_edits.read_path("", tmp_path / "w2c.txt", 16.0)


def record(name, ended, status="done", process=0):
    return Record(name, status, "k", 1.5, ("f.mp4",), None, process, (), ended)


def test_a_torn_line_costs_only_itself(tmp_path, caplog):
    file = batch_log.log_file(tmp_path, 0)
    batch_log.append(file, [record("a", "1"), record("é", "2")])
    whole = file.read_bytes()
    for cut in range(1, len(whole)):
        file.write_bytes(whole[:cut])
        batch_log.append(file, [record("c", "3")])
        found = batch_log.read_log(file)
        assert found[-1] == record("c", "3")
        assert found[:-1] == [record("a", "1"), record("é", "2")][: len(found) - 1]
        assert len(found) >= 1 + whole[: cut + 1].count(b"\n")
    assert "is no record and was passed over" in caplog.text


def test_the_last_word_counts_whoever_said_it_and_merging_repeats_nothing(tmp_path):
    batch_log.append(batch_log.log_file(tmp_path, 0), [record("a", "1"), record("b", "4", "failed")])
    batch_log.append(batch_log.log_file(tmp_path, 11), [record("b", "2", process=11), record("a", "3", "failed", 11)])
    assert {name: one.status for name, one in batch_log.latest(batch_log.read_logs(tmp_path)).items()} == {
        "a": "failed",
        "b": "failed",
    }
    far = record("c", "5", process=2)  # from a machine whose files are not seen here
    for _ in range(2):
        batch_log.merge(tmp_path, [far, record("a", "1")])
        assert [one.ended for one in batch_log.read_log(tmp_path / "batch.jsonl")] == ["1", "4", "2", "3", "5"]


def test_processes_share_everything_and_nothing_twice():
    for count in range(1, 5):
        shares = [Process(index, count).share(range(10)) for index in range(count)]
        assert sorted(sum(shares, [])) == list(range(10)) and max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_process_that_was_started_alone_by_mistake_is_told(monkeypatch, caplog):
    assert join() == Process(0, 1) and caplog.text == ""
    monkeypatch.setenv("ACCELERATE_USE_CPU", "True")
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    assert join() == Process(0, 1) and "give --multi_gpu" in caplog.text


@pytest.mark.parametrize("workflow", ["one_node.json", "closed_loop.json", "closed_loop_rgb.json"])
def test_the_bundled_manifest_fits_the_bundled_workflows(workflow, tmp_path):
    manifest = host.EXAMPLES.parent / "batch.jsonl"
    items, problems = read_manifest(manifest)
    place = Place(manifest, manifest.with_name(workflow), (), tmp_path / "out", tmp_path, tmp_path)
    jobs, found = zip(*map(Planner(place, host.nodes()).job, items))
    assert problems == [] and list(found) == [[]] * len(items)
    assert len({job.key for job in jobs}) == len(jobs) and all(job.loops for job in jobs)
    assert not (tmp_path / "out").exists()
