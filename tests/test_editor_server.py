"""The editor's routes on a server of their own: answers, bounds, and requests that mean harm."""

import asyncio
import io
import json
import shutil
import zipfile

import numpy as np
import pytest
import torch
from spatial_memory.headless import host as headless
from spatial_memory.headless.standin.folders import Folders

NODES = headless.nodes()  # registers the stand-ins, so it comes before anything of spatial_memory.nodes

import tiny_rollout  # noqa: E402
from aiohttp import ClientSession, web  # noqa: E402
from PIL import Image  # noqa: E402
from spatial_memory.memory.cloud import SpatialMemory  # noqa: E402
from spatial_memory.memory.path import CameraPath  # noqa: E402
from spatial_memory.memory.presets import PRESETS, close_loop, out_and_back  # noqa: E402
from spatial_memory.nodes import editor_answer, editor_live, editor_server, host  # noqa: E402
from spatial_memory.nodes.editor_live import Live, Shelf, publish  # noqa: E402
from spatial_memory.rollout import chunk  # noqa: E402
from spatial_memory.rollout.fingerprint import memory_key  # noqa: E402
from spatial_memory.rollout.scene_file import read_scene  # noqa: E402
from spatial_memory.rollout.scene_film import film_of  # noqa: E402
from spatial_memory.rollout.scene_preview import conditioning_digest, frame_camera, preview  # noqa: E402

PATH = tiny_rollout.PATH
RECIPE = {key: value for key, value in json.loads(PATH.to_json()).items() if key != "bake"}


class Asked:
    """What a request got."""

    def __init__(self, status, headers, content):
        self.status, self.headers, self.content = status, headers, content

    @property
    def json(self):
        return json.loads(self.content)


class Editor:
    """The routes on a real server; each call is one request."""

    def __init__(self, tmp_path):
        self.inputs, self.folder = tmp_path / "input", tmp_path / "scenes"
        self.inputs.mkdir()
        headless.use_folders(Folders([self.inputs], tmp_path / "out", tmp_path))
        self.shelf = Shelf()
        self.room = editor_server.Room(self.shelf, lambda: self.folder)

    def publish(self, kind="latent", state=None):
        state = state or tiny_rollout.begin(kind)
        return state, publish(self.shelf, self.folder, state.memory, state)

    def all(self, *requests):
        return asyncio.run(self._all(requests))

    def get(self, path, **options):
        return self.all(("GET", path, options))[0]

    def post(self, path, body, **options):
        content = {"data": body} if isinstance(body, bytes) else {"json": body}
        return self.all(("POST", "/spatial_memory/" + path, {**content, **options}))[0]

    async def _all(self, requests):
        app = web.Application(client_max_size=2**30)
        for method, path, handler in editor_server.routes(self.room):
            app.router.add_route(method, path, handler)
        runner = web.AppRunner(app, lingering_time=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        base = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
        async with ClientSession() as session:

            async def one(method, path, options):
                async with session.request(method, base + path, **options) as answer:
                    return Asked(answer.status, answer.headers, await answer.read())

            try:
                return await asyncio.gather(*(one(*request) for request in requests))
            finally:
                await runner.cleanup()


@pytest.fixture
def editor(tmp_path):
    return Editor(tmp_path)


def view(content):
    """The head, rgb (h, w, 3) and known (h, w) of a raw preview."""
    assert content[:8] == b"SMVIEW01"
    length = int.from_bytes(content[8:12], "little")
    head = json.loads(content[16 : 16 + length])
    size = head["height"] * head["width"]
    rest = np.frombuffer(content[16 + length :], np.uint8)
    assert len(rest) == 4 * size
    shape = (head["height"], head["width"])
    return head, rest[: 3 * size].reshape(*shape, 3), rest[3 * size :].reshape(shape)


# ------------------------------------------------------------------------------------------------------------ scenes


def test_a_scene_is_served_for_ever_and_in_part(editor):
    _, told = editor.publish()
    whole = editor.get(f"/spatial_memory/scene/{told['scene']}")
    assert whole.status == 200 and "immutable" in whole.headers["Cache-Control"]
    scene = read_scene(whole.content)
    assert scene.header["memory"] == told["memory"] and scene.header["points"] == told["points"]
    part = editor.get(f"/spatial_memory/scene/{told['scene']}?points=20")
    few = read_scene(part.content)
    assert few.header["points"] == 20 and (few.arrays["look"] == scene.arrays["look"][:20]).all()
    assert part.headers["ETag"] != whole.headers["ETag"]
    again = editor.get(f"/spatial_memory/scene/{told['scene']}", headers={"If-None-Match": whole.headers["ETag"]})
    assert again.status == 304 and not again.content


def test_a_scene_outlives_the_server(editor):
    _, told = editor.publish()
    editor.room = editor_server.Room(Shelf(), lambda: editor.folder)
    assert editor.get(f"/spatial_memory/scene/{told['scene']}").status == 200
    assert editor.get(f"/spatial_memory/live/{told['memory']}").json == {"live": False}
    gone = editor.post("preview", {"memory": told["memory"], "path": RECIPE, "frame": 0})
    assert gone.status == 410 and gone.json["gone"] is True and "queue" in gone.json["error"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("scene/" + "0" * 32, 404),
        ("scene/" + "G" * 32, 400),
        ("scene/..%2f..%2fsecret", 400),
        ("scene/" + "a" * 5000, 400),
        ("scene/" + "0" * 32 + "?points=0", 400),
        ("scene/" + "0" * 32 + "?points=-5", 400),
        ("scene/" + "0" * 32 + "?points=1e9", 400),
        ("scene/" + "0" * 32 + "?points=%D9%A3", 400),
        ("node/77", 404),
        ("node/a%2Fb%2F..%2Fc", 404),
    ],
)
def test_scenes_that_are_none(editor, path, status):
    answer = editor.get("/spatial_memory/" + path)
    assert answer.status == status and answer.json["error"]


def test_the_scene_of_a_nodes_execution(editor):
    _, told = editor.publish()
    editor.shelf.show("12.0.0.chunk3/7", told)
    assert editor.get("/spatial_memory/node/12.0.0.chunk3%2F7").json == {"spatial_scene": told}


# ----------------------------------------------------------------------------------------------------------- previews


@pytest.mark.parametrize("kind", ["latent", "rgb"])
def test_a_preview_is_what_conditions(editor, kind):
    state, told = editor.publish(kind)
    film = film_of(state.memory, state)
    asked = {"memory": told["memory"], "path": RECIPE, "frame": 20, "size": 0}
    head, rgb, known = view(editor.post("preview", asked).content)
    shown = preview(state.memory, frame_camera(PATH, 20, film, state.memory.scene_unit), film)
    assert head["bits"] == conditioning_digest(shown.readout) and head["exact"] and head["frame"] == 20
    assert head["stage"] == {"latent": "as conditioned", "rgb": "before encoding"}[kind]
    assert head["hole"] == shown.hole and head["film"] == [64, 96]
    assert (known == (shown.known * 255).round().byte().numpy()).all()
    assert (rgb == (shown.picture * 255).round().byte().permute(1, 2, 0).numpy()).all()
    warped = chunk.warp(tiny_rollout.WORLD, tiny_rollout.aimed(state))
    if kind == "latent":
        assert torch.equal(warped.control[:, 5], shown.readout.features[0])
    else:
        assert torch.equal(warped.images[20], shown.readout.features[0])
    pose = [*PATH.poses().positions[20].tolist(), *PATH.poses().quaternions[20].tolist()]
    by_pose = {"memory": told["memory"], "pose": [*pose, PATH.poses().vertical_fov[20].item()], "size": 0}
    assert view(editor.post("preview", by_pose).content)[0]["bits"] == head["bits"]
    as_text = {**asked, "path": json.dumps(RECIPE)}
    assert view(editor.post("preview", as_text).content)[0]["bits"] == head["bits"]
    picture = editor.post("preview", {**asked, "answer": "png"})
    assert picture.headers["Content-Type"] == "image/png"
    assert json.loads(picture.headers["X-Spatial-Memory"])["bits"] == head["bits"]
    with Image.open(io.BytesIO(picture.content)) as image:
        assert (np.asarray(image)[..., :3] == rgb).all() and (np.asarray(image)[..., 3] == known).all()


def test_a_small_preview_says_that_it_is_small(editor):
    _, told = editor.publish("rgb")
    head, rgb, _ = view(
        editor.post("preview", {"memory": told["memory"], "path": RECIPE, "frame": 9, "size": 48}).content
    )
    assert rgb.shape == (32, 48, 3) and head["scale"] == 0.5 and head["exact"] is False


NAN = b'{"memory": "%s", "pose": [NaN, 0, 0, 1, 0, 0, 0, 50]}'


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"frame": 81}, "frame is 81"),
        ({"frame": -1}, "frame is -1"),
        ({"frame": 1.5}, "whole"),
        ({"frame": True}, "frame is True"),
        ({"frame": "3"}, "frame is '3'"),
        ({"path": None}, "path is None"),
        ({"path": [1, 2]}, "path is"),
        ({"path": {"version": 99}}, "update the pack"),
        ({"path": {**RECIPE, "num_frames": 10**9}}, "num_frames"),
        ({"path": "[" * 100_000}, "nested|JSON"),
        ({"path": "x" * 10}, "JSON"),
        ({"size": 10**9}, "size is"),
        ({"size": -4}, "size is"),
        ({"size": 5}, "size is 5"),
        ({"answer": "exe"}, "answer is"),
        ({"pose": [0] * 8}, "pose"),
        ({"pose": [0, 0, 0, 1, 0, 0, 0]}, "8 numbers"),
        ({"pose": [1e300, 0, 0, 1, 0, 0, 0, 50]}, "pose"),
        ({"pose": [0, 0, 0, 1, 0, 0, 0, 0]}, "degrees"),
        ({"pose": [0, 0, 0, 1, 0, 0, 0, 50], "units": "miles"}, "units is"),
        ({"pose": [0, 0, 0, 2, 0, 0, 0, 50]}, "quaternion"),
        ({"memory": "../../etc/passwd"}, "memory is"),
        ({"memory": 7}, "memory is 7"),
        ({"memory": "a" * 10_000}, "memory is"),
    ],
)
def test_previews_of_nothing_are_refused(editor, change, says):
    _, told = editor.publish("rgb")
    answer = editor.post("preview", {"memory": told["memory"], "path": RECIPE, "frame": 0, **change})
    assert answer.status == 400
    assert any(part in answer.json["error"] for part in says.split("|")), answer.json


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"x"', b"{", b"\xff\xfe", b"[" * 100_000, NAN % (b"0" * 32)])
@pytest.mark.parametrize("route", ["preview", "holes", "image", "export"])
def test_bodies_that_are_no_request_are_refused(editor, body, route):
    answer = editor.post(route, body)
    assert answer.status == 400 and "request" in answer.json["error"]


@pytest.mark.parametrize("route", ["preview", "holes", "image", "export"])
def test_bodies_that_are_too_long_are_not_read(editor, route):
    async def endless():
        for _ in range(64):
            yield b" " * 65536

    for body in (b" " * 2_000_000, endless()):
        answer = editor.all(("POST", "/spatial_memory/" + route, {"data": body}))[0]
        assert answer.status == 413 and "at most" in answer.json["error"]


def test_unknown_memories_are_gone(editor):
    assert editor.post("preview", {"memory": "0" * 32}).status == 410
    assert editor.post("holes", {"memory": "0" * 32}).status == 410


# -------------------------------------------------------------------------------------------------------------- holes


def test_holes_come_in_pieces_that_join_to_the_whole(editor):
    state, told = editor.publish("latent")
    asked = {"memory": told["memory"], "path": RECIPE, "every": 7, "chunks": [[0, 33], [33, 57], [57, 81]]}
    whole = editor.post("holes", {**asked, "budget": 2000}).json
    assert whole["frames"] == [*range(0, 80, 7), 80] and whole["next"] is None
    film = film_of(state.memory, state)
    for frame, hole in zip(whole["frames"], whole["hole"]):
        assert hole == preview(state.memory, frame_camera(PATH, frame, film, state.memory.scene_unit), film).hole
    assert [row["frames"] for row in whole["chunks"]] == [5, 4, 4] and max(whole["hole"]) > 0
    frames, values, after = [], [], -1
    while after is not None:
        part = editor.post("holes", {**asked, "budget": 10, "after": after}).json
        frames, values, after = frames + part["frames"], values + part["hole"], part["next"]
    assert (frames, values) == (whole["frames"], whole["hole"])


@pytest.mark.parametrize(
    "change",
    [
        {"every": 0},
        {"every": 1e9},
        {"budget": 1e9},
        {"budget": "all"},
        {"after": -2},
        {"chunks": 5},
        {"chunks": [[1]]},
        {"chunks": [[0, 1]] * 5000},
        {"path": {}},
    ],
)
def test_holes_of_nothing_are_refused(editor, change):
    _, told = editor.publish("rgb")
    answer = editor.post("holes", {"memory": told["memory"], "path": RECIPE, **change})
    assert answer.status == 400 and answer.json["error"]


# -------------------------------------------------------------------------------------------------------------- image


def drop(editor, name="photo.png", size=(100, 70), **more):
    if name is not None and size:
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), np.uint8)).save(
            editor.inputs / "photo.png"
        )
    return editor.post("image", {"name": name, **more})


def test_a_photograph_becomes_points_before_anything_has_run(editor, monkeypatch):
    from spatial_memory.nodes import geometry

    class Wall(tiny_rollout.WallGeometry):
        def estimate(self, images, cameras, *rest):
            depth = torch.full((1, *images.shape[2:]), 2.0)
            return tiny_rollout.Estimate(depth, torch.ones_like(depth), depth < 0, False)

    monkeypatch.setattr(geometry, "loaded", lambda provider: Wall())
    answer = drop(editor, vertical_fov=40.0, points=500)
    assert answer.status == 200, answer.json
    told = answer.json["spatial_scene"]
    assert (told["kind"], told["height"], told["width"], told["points"]) == ("rgb", 64, 96, 500)
    header = read_scene(editor.get(f"/spatial_memory/scene/{told['scene']}").content).header
    assert header["frusta"][0]["decoded"] and header["home"]["vertical_fov"] == pytest.approx(40, abs=1e-3)
    still = out_and_back(5, vertical_fov=40.0).to_json()
    head, *_ = view(editor.post("preview", {"memory": told["memory"], "path": still, "frame": 0, "size": 0}).content)
    assert head["hole"] == 0 and head["exact"]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"name": "../secret.png"}, 400),
        ({"name": "/etc/passwd"}, 400),
        ({"name": "photo.png", "subfolder": "../.."}, 400),
        ({"name": "photo.png\0.txt"}, 400),
        ({"name": ""}, 400),
        ({"name": None}, 400),
        ({"name": ["photo.png"]}, 400),
        ({"name": "x" * 100_000}, 400),
        ({"name": "absent.png"}, 404),
        ({"name": "photo.png", "type": "output"}, 400),
        ({"name": "photo.png", "provider": "os.system"}, 400),
        ({"name": "photo.png", "vertical_fov": 0}, 400),
        ({"name": "photo.png", "vertical_fov": 1e308}, 400),
        ({"name": "photo.png", "points": 10**9}, 400),
        ({"name": "text.png"}, 400),
    ],
)
def test_photographs_that_are_none_are_refused(editor, tmp_path, change, status):
    (tmp_path / "secret.png").write_bytes(b"secret")
    (editor.inputs / "text.png").write_text("no image")
    name = change.pop("name")
    answer = drop(editor, name, **change)
    assert answer.status == status and answer.json["error"]
    assert "secret" not in answer.json["error"] or name.startswith("../")


def test_photographs_that_are_too_large_are_not_decoded(editor, monkeypatch):
    monkeypatch.setattr(editor_answer, "MAX_IMAGE_SIDE", 99)
    assert "100 x 70" in drop(editor).json["error"]
    monkeypatch.setattr(editor_answer, "MAX_IMAGE_BYTES", 99)
    assert "bytes" in drop(editor).json["error"]


# ------------------------------------------------------------------------------------------------- cameras and export


def test_a_path_goes_out_as_a_file_and_comes_back(editor):
    answer = editor.post("export", {"path": RECIPE, "format": "json", "height": 64, "width": 96, "scene_unit": 2.0})
    assert answer.status == 200 and "camera_path.json" in answer.headers["Content-Disposition"]
    back = editor.all(("POST", "/spatial_memory/cameras?name=camera_path.json", {"data": answer.content}))[0]
    assert back.status == 200, back.json
    found = back.json
    assert found["count"] == len(found["poses"]) == 81 and (found["height"], found["width"]) == (64, 96)
    cameras = PATH.bake(64, 96, 2.0)
    assert np.allclose([pose[:3] for pose in found["poses"]], cameras.position.numpy(), atol=2e-6)
    assert 2 <= len(found["path"]["keyframes"]) < 81 and "bake" not in found["path"]
    assert isinstance(found["assumed"], list)


def test_a_camera_file_is_corrected_as_asked(editor):
    content = editor.post("export", {"path": RECIPE, "format": "json"}).content

    def poses(query=""):
        answer = editor.all(("POST", "/spatial_memory/cameras?name=a.json" + query, {"data": content}))[0]
        return np.array(answer.json["poses"])

    assert np.allclose(poses("&scale=2")[:, :3], 2 * poses()[:, :3], atol=2e-6)
    assert not np.allclose(poses("&flip=1")[:, 3:7], poses()[:, 3:7], atol=0.1)
    assert np.allclose(poses("&invert=1")[0], poses()[0], atol=1e-6)  # the identity
    assert not np.allclose(poses("&invert=1")[20], poses()[20], atol=0.01)


def test_a_format_of_two_files_goes_out_as_an_archive(editor):
    answer = editor.post("export", {"path": RECIPE, "format": "spatia", "height": 64, "width": 96})
    assert answer.status == 200 and ".zip" in answer.headers["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert len(archive.namelist()) == 2 and archive.testzip() is None


@pytest.mark.parametrize(
    "change",
    [
        {"format": "../../x"},
        {"format": "fbx"},
        {"format": 3},
        {"height": 0},
        {"width": 10**9},
        {"scene_unit": -1},
        {"scene_unit": 1e308},
        {"fps": 0},
        {"path": {"version": 1, "num_frames": 5, "keyframes": [{}]}},
    ],
)
def test_exports_of_nothing_are_refused(editor, change):
    answer = editor.post("export", {"path": RECIPE, "format": "json", **change})
    assert answer.status == 400 and answer.json["error"]


@pytest.mark.parametrize(
    ("query", "body"),
    [
        ("name=a.json", b""),
        ("name=a.txt", b"\0\1\2"),
        ("name=a.json", b'{"version": 1, "num_frames": 3}'),
        ("name=../../a.txt", b"nothing"),
        ("name=a.txt&height=-3", b"nothing"),
        ("name=a.json&scale=nan", b"nothing"),
        ("name=a.json&scale=-1", b"nothing"),
        ("name=a.json&flip=yes", b"nothing"),
        ("name=a.json&format=exe", b"nothing"),
        ("name=a.txt&width=99999999999999999999", b"nothing"),
    ],
)
def test_camera_files_that_are_none_are_refused(editor, query, body):
    answer = editor.all(("POST", "/spatial_memory/cameras?" + query, {"data": body}))[0]
    assert answer.status == 400 and answer.json["error"]


# -------------------------------------------------------------------------------------------------- what stays alive


def test_the_shelf_is_bounded_and_finds_what_the_host_still_holds():
    states = [tiny_rollout.begin("rgb", seed=0), tiny_rollout.begin("latent")]
    one, two = (state.memory for state in states)
    shelf = Shelf(max_memories=1)
    for memory in (one, two):
        shelf.put(memory_key(memory), Live(memory, film_of(memory)))
    assert list(shelf.held) == [memory_key(two)]
    found = shelf.get(memory_key(one))
    assert found.memory is one and found.film == film_of(one)
    key = memory_key(one)
    del states, one, found, memory
    assert shelf.get(key) is None and shelf.get(memory_key(two)).memory is two
    small = Shelf(max_bytes=1)
    small.put("a" * 32, Live(two, film_of(two)))
    assert small.get("a" * 32) is not None  # the newest stays, whatever its size


def test_whoever_comes_while_too_many_wait_is_sent_away(editor):
    _, told = editor.publish("rgb")
    editor.room.quick.waiting = 0
    asked = {"json": {"memory": told["memory"], "path": RECIPE, "frame": 0, "size": 512}}
    answers = editor.all(*[("POST", "/spatial_memory/preview", asked)] * 6)
    assert {answer.status for answer in answers} == {200, 503}
    assert editor.post("preview", {**asked["json"], "size": 48}).status == 200


# ---------------------------------------------------------------------------------------------------------- the node


def camera_path(**more):
    return NODES["SpatialMemory_CameraPath"].execute("out_and_back", 33, 0.0, 50.0, 16.0, False, **more)


@pytest.mark.parametrize("kind", ["latent", "rgb"])
def test_camera_path_shows_its_memory_where_there_is_a_page(editor, monkeypatch, kind):
    state = tiny_rollout.begin(kind)
    without = camera_path(memory=state.memory)
    assert set(without.ui) == set(camera_path().ui) and "spatial_scene" not in without.ui
    monkeypatch.setattr(editor_live, "running_server", lambda: object())
    monkeypatch.setattr(editor_live, "kept_folder", lambda name: editor.folder)
    monkeypatch.setattr(editor_live, "SHELF", editor.shelf)
    monkeypatch.setattr(editor_live, "executing_node", lambda: "7")
    shown = camera_path(memory=state.memory, start_image=torch.rand(1, 64, 96, 3))
    (told,) = shown.ui["spatial_scene"]
    assert set(shown.ui) == {*without.ui, "spatial_scene"} and json.dumps(told)
    assert editor.get("/spatial_memory/node/7").json == {"spatial_scene": told}
    scene = read_scene((editor.folder / f"{told['scene']}.smscene").read_bytes())
    assert scene.header["frusta"][0]["decoded"] and told["memory"] == memory_key(state.memory)
    (told,) = camera_path(state=tiny_rollout.one_chunk(state)).ui["spatial_scene"]
    assert told["chunks"] == 1 and told["memory"] != memory_key(state.memory)
    empty = SpatialMemory("rgb", "", 3, 1.0, False)
    assert "spatial_scene" not in camera_path(memory=empty).ui and "spatial_scene" not in camera_path().ui
    shutil.rmtree(editor.folder)
    editor.folder.write_text("in the way")
    assert "spatial_scene" not in camera_path(memory=state.memory).ui  # a folder that cannot be written


def test_routes_are_registered_where_the_host_has_a_server(monkeypatch):
    table = web.RouteTableDef()

    class Server:
        routes = table

    assert host.running_server() is None
    monkeypatch.setattr(host, "running_server", Server)
    host.serve(editor_server.routes(editor_server.Room()))
    assert len(table) == 9 and {route.method for route in table} == {"GET", "POST"}


def test_the_path_of_the_widgets_is_the_one_that_the_node_makes(editor):
    widgets = {"preset": "truck", "num_frames": 33, "amount": 0, "vertical_fov": 40.5, "fps": 24, "loop": True}
    found = CameraPath.from_json(editor.post("path", widgets).json["path"])
    assert found == close_loop(PRESETS["truck"](33, fps=24, vertical_fov=40.5))
    keys = PRESETS["arc"](17).to_compact()
    assert CameraPath.from_json(editor.post("path", {"keyframes": keys}).json["path"]) == CameraPath.from_json(keys)


@pytest.mark.parametrize(
    "change",
    [{"preset": "nowhere"}, {"num_frames": 1}, {"loop": "yes"}, {"keyframes": "{"}, {"fps": "fast"}, {"preset": 3}],
)
def test_widgets_that_make_no_path_are_told(editor, change):
    widgets = {"preset": "truck", "num_frames": 33, "amount": 0, "vertical_fov": 50, "fps": 16, "loop": False}
    answer = editor.post("path", {**widgets, **change})
    assert answer.status == 400 and answer.json["error"]
