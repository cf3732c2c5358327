"""Camera files and paths: in, out, and what the node's widgets mean."""

import io
import zipfile

import numpy as np
import pytest
from editor_routes import PATH, RECIPE
from spatial_memory.memory.path import CameraPath
from spatial_memory.memory.presets import PRESETS, close_loop


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
