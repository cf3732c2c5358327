"""Scenes: served in whole and in part, of a node, of a memory that is held; the node that publishes them."""

import json
import shutil

import pytest
import tiny_rollout
import torch
from aiohttp import web
from editor_routes import NODES, RECIPE
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.nodes import editor_live, editor_server, host
from spatial_memory.nodes.editor_live import Live, Shelf
from spatial_memory.rollout.fingerprint import memory_key
from spatial_memory.rollout.scene_file import read_scene
from spatial_memory.rollout.scene_film import film_of


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
