"""A photograph becomes points; what is no photograph is refused."""

import numpy as np
import pytest
import tiny_rollout
import torch
from editor_routes import view
from PIL import Image
from spatial_memory.memory.presets import out_and_back
from spatial_memory.nodes import editor_answer
from spatial_memory.rollout.scene_file import read_scene


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
