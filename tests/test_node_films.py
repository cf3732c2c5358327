"""Whole films through the nodes, very small: what runs again, what resumes, and that bits agree."""

import json

import pytest
from spatial_memory.headless import host as headless
from spatial_memory.headless.runner import NodeFailed, Runner
from spatial_memory.headless.standin.folders import Folders
from spatial_memory.headless.standin.graph import is_link
from spatial_memory.headless.standin.runtime import SESSION, InterruptProcessingException

NODES = headless.nodes()  # registers the stand-ins, so it comes before anything of spatial_memory.nodes

import tiny_rollout  # noqa: E402
from spatial_memory.memory.path import CameraPath  # noqa: E402
from spatial_memory.nodes import geometry, model  # noqa: E402
from spatial_memory.rollout.loop import Settings, run, run_baseline  # noqa: E402

PREFIX = "SpatialMemory_"


SEED = 3


def keys(*frames, **moved):
    """Keyframes at these frames, each a little further right, at rest at each; ``at56=(x, y, z)`` moves one."""
    made = []
    for i, frame in enumerate(frames):
        position = list(moved.get(f"at{frame}", (0.05 * i, 0.0, 0.0)))
        made.append({"frame": frame, "position": position, "vertical_fov": 50.0, "easing": "ease_in_out"})
    return json.dumps({"version": 1, "num_frames": frames[-1] + 1, "keyframes": made})


def film(keyframes, kind="latent", **end):
    """The loop drawn by hand, as a prompt."""
    world, n = ["world", 0], lambda name: PREFIX + name
    nodes = {
        "world": (n("LoadWorldModel"), {"model": "mini"}),
        "photo": ("LoadImage", {"image": "photo.png"}),
        "encode": (n("EncodeStartFrame"), {"world": world, "image": ["photo", 0], "vertical_fov": 50.0, "seed": SEED}),
        "depth": (n("EstimateGeometry"), {"state": ["encode", 0], "images": ["encode", 1]}),
        "memory": (
            n("InitMemory"),
            {"world": world, "state": ["encode", 0], "images": ["encode", 1], "geometry": ["depth", 0], "kind": kind},
        ),
        "path": (
            n("CameraPath"),
            {
                "preset": "hold",
                "num_frames": 33,
                "amount": 0.0,
                "vertical_fov": ["encode", 3],
                "fps": 16.0,
                "loop": False,
                "keyframes": keyframes,
            },
        ),
        "start": (n("ChunkLoopStart"), {"state": ["memory", 0]}),
        "references": (n("RetrieveReferences"), {"world": world, "state": ["start", 0], "max_references": 2}),
        "warp": (n("WarpMemory"), {"world": world, "state": ["start", 0]}),
        "denoise": (
            n("DenoiseChunk"),
            {
                "world": world,
                "state": ["start", 0],
                "control": ["warp", 0],
                "hole": ["warp", 1],
                "references": ["references", 0],
                "steps": 2,
            },
        ),
        "geometry": (n("EstimateGeometry"), {"state": ["denoise", 0], "images": ["denoise", 1]}),
        "update": (
            n("UpdateMemory"),
            {"world": world, "state": ["denoise", 0], "images": ["denoise", 1], "geometry": ["geometry", 0]},
        ),
        "end": (n("ChunkLoopEnd"), {"state": ["update", 0], "world": world, "path": ["path", 0], **end}),
        "save": (n("SaveWorld"), {"state": ["end", 0], "filename": "end"}),
    }
    return {name: {"class_type": kind_, "inputs": inputs} for name, (kind_, inputs) in nodes.items()}


def denoised(ran):
    """The chunks that a run denoised."""
    return [name.split("chunk")[-1].split("/")[0] for name in ran.executed if name.endswith("/denoise")]


@pytest.fixture
def runner(tmp_path, monkeypatch):
    """The built-in runner with a tiny random world, exact depth of a wall, and a photograph of 64 x 96."""
    from PIL import Image

    monkeypatch.setitem(model.MODELS, "mini", lambda: tiny_rollout.WORLD)
    monkeypatch.setitem(geometry.PROVIDERS, "mini", tiny_rollout.WallGeometry)
    geometry.loaded.cache_clear()
    pixels = (tiny_rollout.photograph()[0].permute(1, 2, 0) * 255).round().byte().numpy()
    (tmp_path / "input").mkdir()
    Image.fromarray(pixels).save(tmp_path / "input" / "photo.png")
    headless.use_folders(Folders([tmp_path / "input"], tmp_path / "output", tmp_path))
    yield Runner(NODES)
    geometry.loaded.cache_clear()
    SESSION.set_progress_bar_global_hook(None)


def test_append_edit_nothing(runner):
    first = keys(0, 32, 56)
    assert denoised(runner.run(film(first))) == ["0", "1"]
    assert runner.run(film(first)).executed == ()
    assert denoised(runner.run(film(keys(0, 32, 56, 80)))) == ["2"]
    moved = keys(0, 32, 56, 80, at56=(0.1, 0.05, 0.0))
    assert denoised(runner.run(film(moved))) == ["1", "2"]


def test_checkpoints_cost_nothing_and_resume_with_the_same_bits(runner, tmp_path):
    text = keys(0, 32, 56, 80)
    whole = runner.run(film(text)).outputs["end"][0]
    with_files = runner.run(film(text, checkpoint="run"))
    assert denoised(with_files) == []
    assert sorted(p.name for p in (tmp_path / "output/run").iterdir()) == [f"chunk00{k}.safetensors" for k in range(3)]
    resumed = runner.run(film(text, resume="run/chunk000.safetensors"))
    assert denoised(resumed) == ["1", "2"]
    assert tiny_rollout.same_bits(resumed.outputs["end"][0], whole)
    with pytest.raises(NodeFailed, match="not those along which the film"):
        runner.run(film(keys(0, 32, 56, 80, at56=(0.3, 0.0, 0.0)), resume="run/chunk001.safetensors"))


def rollout(keyframes, memory, **more):
    """The same film by one node."""
    drawn = film(keyframes)
    node = {"world": ["world", 0], "image": ["photo", 0], "path": ["path", 0], "memory": memory, "seed": SEED}
    kept = {name: drawn[name] for name in ("world", "photo", "encode", "path")}
    kept["film"] = {
        "class_type": PREFIX + "Rollout",
        "inputs": {**node, "steps": 2, "max_references": 2, **more},
    }
    return {**kept, "save": {"class_type": PREFIX + "SaveWorld", "inputs": {"state": ["film", 0], "filename": "one"}}}


def test_one_node_the_drawn_loop_and_the_plain_loop_make_the_same_bits(runner):
    text = keys(0, 32, 56)
    drawn = runner.run(film(text)).outputs
    by_node = runner.run(rollout(text, "latent")).outputs["film"]
    assert tiny_rollout.same_bits(by_node[0], drawn["end"][0])
    assert by_node[1].shape == (57, 64, 96, 3)
    world, path = tiny_rollout.WORLD, CameraPath.from_json(text)
    plain = run(world, drawn["memory"][0], path, Settings(world.defaults, 2), tiny_rollout.WallGeometry())
    assert tiny_rollout.same_bits(plain, drawn["end"][0])
    without = runner.run(rollout(text, "off (baseline)")).outputs["film"][0]
    assert tiny_rollout.same_bits(without, run_baseline(world, drawn["memory"][0], path, world.defaults))
    assert without.memory.num_points == drawn["memory"][0].memory.num_points < drawn["end"][0].memory.num_points


def test_rgb_memory_runs_through_the_same_loop(runner):
    done = runner.run(film(keys(0, 32, 56), kind="rgb")).outputs["end"][0]
    assert done.memory.kind == "rgb" and done.chunk == 2


def test_interrupting_stops_within_a_step_and_the_next_run_works(runner):
    ticks = []

    def hook(value, total, preview, node_id=None):
        ticks.append((value, preview))
        if len(ticks) == 2:
            SESSION.interrupt_current_processing()

    SESSION.set_progress_bar_global_hook(hook)
    with pytest.raises(InterruptProcessingException):
        runner.run(film(keys(0, 32, 56)))
    assert len(ticks) <= 3
    SESSION.set_progress_bar_global_hook(None)
    assert runner.run(film(keys(0, 32, 56))).outputs["end"][0].chunk == 2


def test_progress_shows_a_picture(runner):
    pictures = []
    SESSION.set_progress_bar_global_hook(lambda value, total, preview, node_id=None: pictures.append(preview))
    runner.run(film(keys(0, 32)))
    shown = [preview[1] for preview in pictures if preview is not None]
    assert shown and all(picture.size == (96, 64) for picture in shown)


def test_the_drawn_start_says_what_is_wrong_when_it_runs(runner):
    prompt = film(keys(0, 32))
    prompt["look"] = {"class_type": "PreviewImage", "inputs": {"images": ["warp", 2]}}
    with pytest.raises(NodeFailed, match="ChunkLoopStart has no chunk to make|inside the loop's body"):
        runner.run(prompt)


def test_chunks_by_hand_make_the_bits_of_the_loop(runner):
    text = keys(0, 32, 56)
    looped = runner.run(film(text)).outputs["end"][0]
    prompt = film(text)
    body = ("start", "references", "warp", "denoise", "geometry", "update")
    again = {}
    for k in (1, 2):
        for name in body:
            inputs = {}
            for key, value in prompt[name]["inputs"].items():
                inner = is_link(value) and value[0] in body
                inputs[key] = [f"{value[0]}{k}", value[1]] if inner else value
            again[f"{name}{k}"] = {"class_type": prompt[name]["class_type"], "inputs": inputs}
        again[f"start{k}"]["inputs"] |= {"world": ["world", 0], "path": ["path", 0]}
    again["start2"]["inputs"]["state"] = ["update1", 0]
    again["save"] = {"class_type": PREFIX + "SaveWorld", "inputs": {"state": ["update2", 0], "filename": "hand"}}
    rest = {name: node for name, node in prompt.items() if name not in (*body, "end", "save")}
    assert tiny_rollout.same_bits(runner.run({**rest, **again}).outputs["update2"][0], looped)


@pytest.mark.parametrize(
    ("node", "inputs", "message"),
    [
        ("path", {"keyframes": "", "vertical_fov": 40.0}, "the path's first pose is not the start frame's camera"),
        ("path", {"keyframes": "", "num_frames": 80}, "num_frames is 80.*77 and 81"),
        ("path", {"keyframes": "{"}, "no JSON"),
        ("references", {"max_references": 9}, "max_references is 9"),
        ("depth", {"depth": ["encode", 1], "images": ["path", 1]}, "depth is 1 map"),
        ("depth", {"dynamic": ["photo", 1]}, "dynamic is 1 mask"),
        ("save", {"filename": "../out"}, "leads out of"),
        ("end", {"resume": "photo.png"}, "photo.png"),
    ],
)
def test_bad_input_is_refused_and_the_next_run_works(runner, tmp_path, node, inputs, message):
    prompt = film(keys(0, 32))
    prompt[node]["inputs"] |= inputs
    with pytest.raises(NodeFailed, match=message):
        runner.run(prompt)
    assert not [p for p in (tmp_path / "output").rglob("*") if p.suffix in (".safetensors", ".part")]
    assert runner.run(film(keys(0, 32))).outputs["end"][0].chunk == 1
