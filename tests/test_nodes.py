"""The nodes: their schemas and texts, what they convert, and the loop that is drawn once and runs for every chunk."""

import ast
import inspect
import json
from pathlib import Path

import pytest
import torch
from spatial_memory.headless import host as headless
from spatial_memory.headless.runner import NodeFailed, Runner
from spatial_memory.headless.standin.folders import Folders
from spatial_memory.headless.standin.graph import DynamicPrompt, GraphBuilder, is_link
from spatial_memory.headless.standin.runtime import SESSION, InterruptProcessingException

NODES = headless.nodes()  # registers the stand-ins, so it comes before anything of spatial_memory.nodes

import tiny_rollout  # noqa: E402
from spatial_memory.memory.path import CameraPath  # noqa: E402
from spatial_memory.memory.presets import PRESETS  # noqa: E402
from spatial_memory.models.codec import MiniCodec  # noqa: E402
from spatial_memory.nodes import chunk as chunk_nodes  # noqa: E402
from spatial_memory.nodes import convert, geometry, host, loop, model, start  # noqa: E402
from spatial_memory.rollout.loop import Settings, run, run_baseline  # noqa: E402

ROOT = Path(__file__).parents[1]
PREFIX = "SpatialMemory_"
OURS = {name: node for name, node in NODES.items() if name.startswith(PREFIX)}
PERMANENT = """LoadWorldModel EncodeStartFrame EstimateGeometry SegmentDynamics InitMemory CameraPath ImportCameraPath
ExportCameraPath RetrieveReferences WarpMemory DenoiseChunk UpdateMemory DecodeVideo ClosedLoopReport ChunkLoopStart
ChunkLoopEnd Rollout SaveWorld LoadWorld EditMemory RevertMemory MergeMemory MemoryInfo PreviewMemory PathFromLoad3D
PathToLoad3D PathToWanCamera PathToText PathFromText ChunkPrompt Preflight
ApplySpatialControl TuneWorldModel""".split()


# ---------------------------------------------------------------------------------------------------------- schemas


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


# ---------------------------------------------------------------------------------------------------------- sockets


def test_images_turn_axes_and_lose_alpha():
    images = torch.rand(2, 3, 4, 4)  # (T, H, W, RGBA)
    inside = convert.images_from_socket(images)
    assert inside.shape == (2, 3, 3, 4)
    assert torch.equal(convert.images_to_socket(inside), images[..., :3])
    with pytest.raises(ValueError, match=r"photo has shape \(3, 4, 3\), expected an IMAGE"):
        convert.images_from_socket(images[0, ..., :3], "photo")


def test_a_hole_is_selected_outside_and_zero_inside():
    known = torch.tensor([[[1.0, 0.25], [0.0, 1.0]]])
    hole = convert.hole_to_socket(known)
    assert hole.tolist() == [[[0.0, 0.75], [1.0, 0.0]]]
    assert torch.equal(convert.known_from_socket(hole), known)


def test_the_control_carries_its_offsets_and_a_control_from_elsewhere_lies_on_the_grid():
    state = tiny_rollout.aimed(tiny_rollout.begin())
    control, hole, *_ = chunk_nodes.WarpMemory.execute(tiny_rollout.WORLD, state).result
    assert control["offset"].shape == (2, *hole.shape) and control["offset"].abs().max() > 0.1
    bare = {"samples": control["samples"]}
    made = [
        chunk_nodes.DenoiseChunk.execute(tiny_rollout.WORLD, state, told, hole).result[0].fresh
        for told in (control, {**control, "offset": torch.zeros_like(control["offset"])}, bare)
    ]
    assert torch.equal(made[1], made[2]) and not torch.equal(made[0], made[1])
    with pytest.raises(ValueError, match="offset"):
        wrong = {**control, "offset": control["offset"][:, 1:]}
        chunk_nodes.DenoiseChunk.execute(tiny_rollout.WORLD, state, wrong, hole)


def test_latents_leave_raw_and_come_back_in_model_space():
    class Scaled(MiniCodec):
        """A codec whose raw latents are 2 z + 1."""

        def to_raw(self, latents):
            return 2 * latents + 1

        def from_raw(self, raw):
            return (raw - 1) / 2

    codec = Scaled(tiny_rollout.WORLD.codec.network, tiny_rollout.WORLD.codec.grid)
    latents = torch.randn(codec.grid.channels, 3, 2, 2)
    socket = convert.latents_to_socket(codec, latents, seconds=0.5)
    assert torch.equal(socket["samples"][0], 2 * latents + 1) and socket["seconds"] == 0.5
    torch.testing.assert_close(convert.latents_from_socket(codec, socket, "control"), latents)
    with pytest.raises(ValueError, match="control has shape .* expected"):
        convert.latents_from_socket(codec, {"samples": torch.zeros(1, 5, 3, 2, 2)}, "control")


def test_depth_is_grey_times_scale():
    grey = torch.full((1, 2, 2, 3), 0.5)
    assert torch.equal(convert.depth_from_socket(grey, 10.0), torch.full((1, 2, 2), 5.0))


def test_tint_colours_holes_only():
    images = torch.rand(1, 3, 4, 4)
    known = torch.tensor([[[1.0, 0.0]]])
    shown = convert.tinted(images, known)
    assert torch.equal(shown[..., :2], images[..., :2]) and not torch.equal(shown[..., 2:], images[..., 2:])


def test_files_stay_in_their_folders(tmp_path):
    for name in ("input", "output"):
        (tmp_path / name).mkdir()
    (tmp_path / "secret.txt").write_text("no")
    (tmp_path / "input" / "leak.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "output" / "fine.txt").write_text("yes")
    headless.use_folders(Folders([tmp_path / "input"], tmp_path / "output", tmp_path))
    assert host.user_file("fine.txt").read_text() == "yes"
    assert host.output_file("a/b.txt").parent == (tmp_path / "output" / "a").resolve()
    for name in ("../secret.txt", str(tmp_path / "secret.txt"), "leak.txt", "", "."):
        with pytest.raises(ValueError, match="leads out of"):
            host.user_file(name)
        with pytest.raises(ValueError, match="leads out of"):
            host.output_file(name if name != "leak.txt" else "../x")
    with pytest.raises(FileNotFoundError, match="absent.txt"):
        host.user_file("absent.txt")


def test_examples_are_offered_once_and_never_over_a_file(tmp_path):
    headless.use_folders(Folders([tmp_path / "input"], tmp_path / "output", tmp_path))
    host.offer_examples()
    copied = tmp_path / "input" / "spatial_memory_kitchen.png"
    assert copied.read_bytes() == (host.EXAMPLES / copied.name).read_bytes()
    copied.write_bytes(b"mine")
    host.offer_examples()
    assert copied.read_bytes() == b"mine"
    assert not list((tmp_path / "input").glob("*.part"))


def test_the_start_camera_is_the_first_of_every_preset():
    camera = start.first_camera(36.2104, 64, 96)
    path = PRESETS["out_and_back"](57, vertical_fov=36.2104).bake(64, 96)
    assert torch.equal(camera.c2w[0], path.c2w[0]) and torch.equal(camera.K[0], path.K[0])


def test_posed_pictures_are_seen_from_the_start_frame():
    images, poses = torch.rand(5, 3, 64, 96), PRESETS["truck"](5, 1.0)
    cameras = start.posed(images, poses, 50.0, origin=4)
    assert torch.equal(cameras.c2w[4], torch.eye(4))
    torch.testing.assert_close(cameras.position[0], torch.tensor([-1.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match="5 images came without poses"):
        start.posed(images, None, 50.0, origin=0)
    with pytest.raises(ValueError, match="poses has 5 poses for 4 images"):
        start.posed(images[:4], poses, 50.0, origin=0)


def test_a_video_is_continued_from_its_last_frame():
    images, poses = torch.rand(10, 3, 64, 96), PRESETS["truck"](10, 0.9)
    chosen, cameras = start.last_first(images, start.posed(images, poses, 50.0, origin=9), stride=4)
    assert torch.equal(chosen, images[[9, 5, 1]])
    assert torch.equal(cameras.c2w[0], torch.eye(4)) and cameras.position[1, 0] > cameras.position[2, 0]


@pytest.mark.parametrize("format_", ["json", "spatia", "realestate10k"])
def test_an_exported_path_comes_back(format_, tmp_path):
    headless.use_folders(Folders([tmp_path / "in"], tmp_path / "out", tmp_path))
    path = PRESETS["arc"](33, 20.0)
    written = OURS[PREFIX + "ExportCameraPath"].execute(path, "paths/arc", format_).args[1]
    name = str(Path(written).relative_to((tmp_path / "out").resolve()))
    back, assumed, fov, picture = OURS[PREFIX + "ImportCameraPath"].execute(name).args
    ours, theirs = path.bake(192, 320), back.bake(192, 320)
    torch.testing.assert_close(theirs.c2w, ours.c2w, atol=2e-3, rtol=0)
    assert fov == pytest.approx(50.0, abs=0.1) and picture.shape[-1] == 3
    assert torch.equal(theirs.c2w[0], torch.eye(4)) and isinstance(assumed, str)


# --------------------------------------------------------------------------------------------------------- the loop


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


# --------------------------------------------------------------------------------------------- whole films, very small

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
