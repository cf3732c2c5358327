"""Previews and holes: what conditions, at every frame; what is refused."""

import io
import json

import numpy as np
import pytest
import tiny_rollout
import torch
from editor_routes import PATH, RECIPE, view
from PIL import Image
from spatial_memory.rollout import chunk
from spatial_memory.rollout.scene_film import film_of
from spatial_memory.rollout.scene_preview import conditioning_digest, frame_camera, preview


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


def test_whoever_comes_while_too_many_wait_is_sent_away(editor):
    _, told = editor.publish("rgb")
    editor.room.quick.waiting = 0
    asked = {"json": {"memory": told["memory"], "path": RECIPE, "frame": 0, "size": 512}}
    answers = editor.all(*[("POST", "/spatial_memory/preview", asked)] * 6)
    assert {answer.status for answer in answers} == {200, 503}
    assert editor.post("preview", {**asked["json"], "size": 48}).status == 200
