"""The editor's server side on the real host: a run shows its memory, and the routes answer below /api as well."""

import json
import urllib.request

import pytest
from spatial_memory.memory.presets import out_and_back
from spatial_memory.models.world import MINI_FOLDER
from spatial_memory.rollout.scene_file import read_scene

PREFIX = "SpatialMemory_"

pytestmark = [
    pytest.mark.host,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not (MINI_FOLDER / "world.safetensors").is_file(), reason="the mini world has no weights here"),
]


def prompt_of(kind):
    """A memory of a photograph, and a path over it."""
    made = {
        "photo": ("LoadImage", {"image": "spatial_memory_kitchen.png"}),
        "world": (PREFIX + "LoadWorldModel", {"model": "mini"}),
        "start": (PREFIX + "EncodeStartFrame", {"world": ["world", 0], "image": ["photo", 0]}),
        "depth": (PREFIX + "EstimateGeometry", {"state": ["start", 0], "images": ["start", 1]}),
        "memory": (
            PREFIX + "InitMemory",
            {
                "world": ["world", 0],
                "state": ["start", 0],
                "images": ["start", 1],
                "geometry": ["depth", 0],
                "kind": kind,
            },
        ),
        "path": (
            PREFIX + "CameraPath",
            {
                "preset": "out_and_back",
                "num_frames": 57,
                "amount": 0.0,
                "vertical_fov": ["start", 3],
                "fps": 16.0,
                "loop": False,
                "keyframes": "",
                "memory": ["memory", 1],
                "start_image": ["photo", 0],
            },
        ),
        "shown": ("PreviewImage", {"images": ["path", 1]}),
    }
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in made.items()}


def post(server, path, content):
    request = urllib.request.Request(server.url + path, json.dumps(content).encode())
    with urllib.request.urlopen(request, timeout=60) as reply:
        return reply.read()


@pytest.mark.parametrize("kind", ["latent", "rgb"])
def test_a_run_shows_its_memory(server, kind):
    ran = server.run(prompt_of(kind))
    assert ran.ended == "execution_success", ran.message
    (told,) = ran.outputs["path"]["spatial_scene"]
    assert ran.outputs["path"]["images"], "the drawing stays"
    scene = read_scene(server.get(f"/api/spatial_memory/scene/{told['scene']}?points=4000"))
    assert scene.header["points"] == min(4000, told["points"]) and scene.header["frusta"][0]["decoded"]
    assert json.loads(server.get("/spatial_memory/node/path"))["spatial_scene"] == told
    assert (server.base / "user/__spatial_memory/scenes" / f"{told['scene']}.smscene").is_file()
    path = json.loads(out_and_back(57, vertical_fov=scene.header["home"]["vertical_fov"]).to_json())
    asked = {"memory": told["memory"], "path": {k: v for k, v in path.items() if k != "bake"}, "frame": 28}
    view = post(server, "/api/spatial_memory/preview", asked)
    head = json.loads(view[16 : 16 + int.from_bytes(view[8:12], "little")])
    assert head["kind"] == kind and 0 <= head["hole"] < 60
    again = prompt_of(kind)
    again["path"]["inputs"]["num_frames"] = 61
    ran = server.run(again)
    assert ran.executed == ("path", "shown"), "only what changed runs"
    assert ran.outputs["path"]["spatial_scene"] == [told], "the same memory is the same scene"


def test_a_photograph_is_seen_before_any_run(server):
    asked = {"name": "spatial_memory_kitchen.png", "vertical_fov": 36.2}
    told = json.loads(post(server, "/api/spatial_memory/image", asked))["spatial_scene"]
    assert told["kind"] == "rgb" and told["points"] > 1000
    assert read_scene(server.get(f"/spatial_memory/scene/{told['scene']}")).header["total"] == told["points"]
