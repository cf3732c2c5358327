"""The host's camera sockets and Blender: conversions that land a point on the same pixel, and the nodes around them."""

import importlib.util
import json
import math
from pathlib import Path

import pytest
import torch
from native_cameras import FOV, HEIGHT, PIXELS, POINT, WIDTH, dot, focal, opengl, rotation_of, seen_by_c2w
from spatial_memory.headless import host
from spatial_memory.headless.standin.folders import Folders
from spatial_memory.memory.camera import Cameras, project
from spatial_memory.memory.formats import FORMATS, read_cameras
from spatial_memory.memory.formats.load3d import camera_from_load3d, load3d_from_camera
from spatial_memory.memory.formats.plucker import plucker_rays, wan_camera_embedding
from spatial_memory.memory.path import CameraPath
from spatial_memory.memory.presets import PRESETS

TESTS = Path(__file__).parent
ROOT = TESTS.parent

NODES = host.nodes()
GOLDEN = TESTS / "fixtures" / "cameras"


def node(name):
    return NODES[f"SpatialMemory_{name}"]


@pytest.fixture(scope="module")
def golden():
    return read_cameras(GOLDEN / "cameras.json").cameras


# --- LOAD3D_CAMERA


def three_js(info, p):
    """Where Three.js draws a point of the pack's world: Y up, looking along -Z."""
    q = info["quaternion"]
    t = [info["position"][axis] for axis in "xyz"]
    f = focal(info["fov"])
    seen = seen_by_c2w(rotation_of(q["w"], q["x"], q["y"], q["z"]), t, (p[0], -p[1], -p[2]))
    return opengl(seen, f, f, WIDTH / 2, HEIGHT / 2)


def test_a_path_camera_is_what_three_js_shows(golden):
    for camera, pixel in zip((golden[i] for i in range(4)), PIXELS):
        info = load3d_from_camera(camera)
        assert three_js(info, POINT) == pytest.approx(pixel, abs=2e-3)
        back = camera_from_load3d(info, HEIGHT, WIDTH)
        torch.testing.assert_close(back.c2w[0], camera.c2w, rtol=0, atol=1e-6)
        assert info["fov"] == pytest.approx(FOV, abs=1e-4) and info["cameraType"] == "perspective"
        ahead = [info["target"][axis] - info["position"][axis] for axis in "xyz"]
        assert dot(ahead, ahead) == pytest.approx(1, abs=1e-5)
        x, y, z = camera.c2w[:3, 2].tolist()
        assert ahead == pytest.approx([x, -y, -z], abs=1e-5)


def test_an_older_host_says_only_position_and_target():
    """In front of the origin, looking at it: Three.js's +Z is our -Z, its up our -Y. Fov 75, divided by the zoom."""
    info = {
        "position": {"x": 0, "y": 0, "z": 3},
        "target": {"x": 0, "y": 0, "z": 0},
        "zoom": 1,
        "cameraType": "perspective",
    }
    camera = camera_from_load3d(info, HEIGHT, WIDTH)
    torch.testing.assert_close(camera.c2w[0, :3], torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, -3]]))
    assert camera.K[0, 1, 1].item() == pytest.approx(24 / math.tan(math.radians(37.5)))
    closer = camera_from_load3d({**info, "zoom": 2}, HEIGHT, WIDTH)
    assert closer.K[0, 1, 1] == pytest.approx(2 * camera.K[0, 1, 1].item())
    for y in (3, -3):  # straight down and up
        above = camera_from_load3d({**info, "position": {"x": 0, "y": y, "z": 0}}, HEIGHT, WIDTH)
        torch.testing.assert_close(above.c2w[0, :3, 2], torch.tensor([0.0, y / 3, 0.0]))
    higher = camera_from_load3d({**info, "position": {"x": 4, "y": 3, "z": 0}}, HEIGHT, WIDTH)
    torch.testing.assert_close(higher.c2w[0, :3, 2], torch.tensor([-0.8, 0.6, 0.0]), rtol=0, atol=1e-6)
    assert higher.c2w[0, 1, 0] == pytest.approx(0, abs=1e-6) and higher.c2w[0, 1, 1] > 0  # no roll, right way up


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"position": None}, "camera_info.position is missing"),
        ({"position": {"x": 0, "y": float("nan"), "z": 0}}, "camera_info.position.y is nan"),
        ({"quaternion": {"x": 0, "y": 0, "z": 0, "w": 0}}, "camera_info.quaternion has length 0"),
        ({"target": {"x": 0, "y": 0, "z": 3}}, "camera_info.target is camera_info.position"),
        ({"fov": 180}, "fov 180"),
        ({"zoom": 0}, "zoom 0"),
        ({"cameraType": "orthographic"}, "cameraType is 'orthographic'"),
    ],
)
def test_a_bad_camera_info_is_named(change, match):
    info = {"position": {"x": 0, "y": 0, "z": 3}, "target": {"x": 0, "y": 0, "z": 0}}
    with pytest.raises(ValueError, match=match):
        camera_from_load3d({**info, **change}, HEIGHT, WIDTH)
    with pytest.raises(ValueError, match="camera_info is a str"):
        camera_from_load3d("x", HEIGHT, WIDTH)


def test_two_3d_cameras_become_a_path_and_its_end_comes_back(golden):
    start, end = (load3d_from_camera(golden[i]) for i in (1, 3))
    path, key, fov = node("PathFromLoad3D").execute(start, 9, end).args
    baked = path.bake(HEIGHT, WIDTH)
    assert torch.equal(baked.c2w[0], torch.eye(4)) and path.num_frames == 9 and fov == pytest.approx(FOV, abs=1e-4)
    relative = golden.w2c[1] @ golden.c2w[3]
    torch.testing.assert_close(baked.c2w[-1], relative, rtol=0, atol=1e-5)
    back = node("PathToLoad3D").execute(path, -1).args[0]
    torch.testing.assert_close(camera_from_load3d(back, HEIGHT, WIDTH).c2w[0], relative, rtol=0, atol=1e-5)
    record = json.loads(key)
    first = {"frame": 0, "position": [0, 0, 0], "vertical_fov": fov}
    again = CameraPath.from_json(json.dumps({"version": 1, "num_frames": 9, "keyframes": [first, record]}))
    torch.testing.assert_close(again.bake(HEIGHT, WIDTH).c2w[-1], relative, rtol=0, atol=1e-5)
    still = node("PathFromLoad3D").execute(start, 5).args[0].bake(HEIGHT, WIDTH)
    assert torch.equal(still.c2w, torch.eye(4).expand(5, 4, 4))
    with pytest.raises(ValueError, match="frame is 9"):
        node("PathToLoad3D").execute(path, 9)


# --- WAN_CAMERA_EMBEDDING


def test_pluecker_rays_pass_through_the_point_that_the_pixel_shows(golden):
    """By hand: d points at the pixel's point, and o x d is the moment of every point on the ray."""
    at = [(3, 5), (47, 63), (20, 31)]
    rays = plucker_rays(golden)
    assert rays.shape == (4, 6, HEIGHT, WIDTH)
    for frame in range(4):
        for row, column in at:
            seen = torch.tensor([(column + 0.5 - 32) / 40, (row + 0.5 - 24) / 40, 1.0])
            d = golden.c2w[frame, :3, :3] @ (seen / seen.norm())
            on_it = golden.position[frame] + 2.5 * d
            found = rays[frame, :, row, column]
            torch.testing.assert_close(found[3:], d, rtol=0, atol=1e-6)
            torch.testing.assert_close(found[:3], torch.linalg.cross(on_it, d), rtol=0, atol=1e-5)
            uv, _ = project(on_it[None], golden[frame])
            assert uv[0].tolist() == pytest.approx([column + 0.5, row + 0.5], abs=1e-3)


def test_the_wan_embedding_repeats_the_first_frame_and_gives_each_coordinate_four_frames():
    cameras = PRESETS["arc"](9, 20.0).bake(16, 24)
    found = wan_camera_embedding(cameras)
    assert found.shape == (1, 24, 3, 16, 24) and found.dtype == torch.float32
    rays = plucker_rays(cameras)
    frames = [0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]
    for t in range(3):
        for coordinate in range(6):
            for k in range(4):
                want = rays[frames[4 * t + k], coordinate]
                torch.testing.assert_close(found[0, 4 * coordinate + k, t], want, rtol=0, atol=1e-6)
    assert found[0, :12, 0].abs().max() == 0  # the first frame stands at the origin: no moment
    with pytest.raises(ValueError, match="10 frames, expected 1 \\+ 4n: 9 or 13"):
        wan_camera_embedding(PRESETS["arc"](10, 20.0).bake(16, 24))


def test_the_wan_embedding_is_relative_to_the_first_camera(golden):
    shifted = Cameras(golden.c2w[[1, 0, 2, 3, 1]], golden.K[[0] * 5], HEIGHT, WIDTH)
    world = golden.c2w[2]
    moved = shifted.moved(world)
    torch.testing.assert_close(wan_camera_embedding(moved), wan_camera_embedding(shifted), rtol=0, atol=1e-5)


@pytest.mark.parametrize("checkout", sorted(Path.home().glob("ComfyUI*")) or [None], ids=str)
def test_the_wan_embedding_is_what_core_makes_of_the_same_rows(checkout):
    """The host's own arithmetic on our Wan rows gives the same tensor."""
    file = checkout and checkout / "comfy_extras" / "nodes_camera_trajectory.py"
    if file is None or not file.is_file():
        pytest.skip("no ComfyUI checkout with Wan's camera nodes")
    import numpy as np
    from spatial_memory.memory.formats.wan_rows import write_wan

    spec = importlib.util.spec_from_file_location("core_camera_nodes", file)
    core_nodes = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(core_nodes)  # what it imports of the host are the built-in runner's stand-ins
    cameras = PRESETS["arc"](9, 20.0).bake(32, 48)
    rows = np.array(json.loads(write_wan(cameras, "a.json", 16)["a.json"]))
    rays = core_nodes.process_pose_params(rows, width=48, height=32)  # (T, H, W, 6)
    torch.testing.assert_close(plucker_rays(cameras), rays.permute(0, 3, 1, 2), rtol=0, atol=1e-5)
    video = rays.permute(3, 0, 1, 2)[None]
    video = torch.cat([video[:, :, :1].repeat_interleave(4, dim=2), video[:, :, 1:]], dim=2).transpose(1, 2)
    core = video.reshape(1, 3, 4, 6, 32, 48).transpose(2, 3).reshape(1, 3, 24, 32, 48).transpose(1, 2)
    torch.testing.assert_close(wan_camera_embedding(cameras), core, rtol=0, atol=1e-5)


def test_the_wan_node_hands_the_size_on():
    path = PRESETS["dolly"](9, 0.5)
    embedding, width, height, length = node("PathToWanCamera").execute(path, 48, 32, 2.0).args
    assert (width, height, length) == (48, 32, 9) and embedding.shape == (1, 24, 3, 32, 48)
    torch.testing.assert_close(embedding, wan_camera_embedding(path.bake(32, 48, 2.0)))


# --- text, and files through the nodes


def test_a_path_survives_as_text():
    path = PRESETS["arc"](33, 20.0)
    back, fov = node("PathFromText").execute(node("PathToText").execute(path).args[0]).args
    assert back == path and torch.equal(back.bake(32, 48).c2w, path.bake(32, 48).c2w) and fov == pytest.approx(50)
    with pytest.raises(ValueError, match="no JSON"):
        node("PathFromText").execute("hello")


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_goes_out_and_comes_back_through_the_nodes(kind, tmp_path):
    host.use_folders(Folders([tmp_path / "in"], tmp_path / "out", tmp_path))
    path = PRESETS["arc"](17, 20.0)
    shown = node("ExportCameraPath").execute(path, "a/b", kind, 320, 192)
    name = Path(shown.args[1]).relative_to((tmp_path / "out").resolve()).as_posix()
    back, assumed, fov, _ = node("ImportCameraPath").execute(name, format=kind).args
    torch.testing.assert_close(back.bake(192, 320).c2w, path.bake(192, 320).c2w, atol=3e-3, rtol=0)
    assert fov == pytest.approx(50.0, abs=0.1) and assumed
    twice = node("ImportCameraPath").execute(name, format=kind, scale=2.0).args[0]
    reach = back.bake(192, 320).position[-1].norm()
    assert twice.bake(192, 320).position[-1].norm() == pytest.approx(2 * reach.item(), rel=1e-2)


def test_invert_and_flip_of_the_import_node_put_a_wrong_guess_right(tmp_path):
    host.use_folders(Folders([tmp_path / "in"], tmp_path / "out", tmp_path))
    (tmp_path / "in").mkdir()
    cameras = PRESETS["arc"](17, 20.0).bake(192, 320)
    rows = "".join(" ".join(map(str, w2c[:3].flatten().tolist())) + "\n" for w2c in cameras.w2c)
    (tmp_path / "in" / "w2c_rows.txt").write_text(rows)
    right = node("ImportCameraPath").execute("w2c_rows.txt", invert=True).args[0].bake(192, 320)
    wrong = node("ImportCameraPath").execute("w2c_rows.txt").args[0].bake(192, 320)
    torch.testing.assert_close(right.c2w, cameras.c2w, atol=3e-3, rtol=0)
    assert (wrong.c2w - cameras.c2w).abs().max() > 0.1
    opengl_rows = cameras.c2w @ torch.diag(torch.tensor([1.0, -1, -1, 1]))
    rows = "".join(" ".join(map(str, c2w[:3].flatten().tolist())) + "\n" for c2w in opengl_rows)
    (tmp_path / "in" / "gl.txt").write_text(rows)
    right = node("ImportCameraPath").execute("gl.txt", flip=True).args[0].bake(192, 320)
    torch.testing.assert_close(right.c2w, cameras.c2w, atol=3e-3, rtol=0)


# --- Blender


@pytest.fixture(scope="module")
def blender():
    """The script without Blender: its mathematics."""
    spec = importlib.util.spec_from_file_location("blender_script", ROOT / "docs/blender/spatial_memory_camera.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def blender_pixel(matrix, K, p):
    """Where Blender draws a point: it looks along -Z with Y up; (x, y, z) of the file is (x, z, -y) there."""
    seen = seen_by_c2w([row[:3] for row in matrix[:3]], [row[3] for row in matrix[:3]], (p[0], p[2], -p[1]))
    return opengl(seen, K[0], K[4], K[2], K[5])


def test_blender_shows_the_point_on_the_same_pixel_both_ways(blender, tmp_path, golden):
    poses, lenses, width, height = blender.read((GOLDEN / "cameras.json").read_text())
    assert (width, height) == (WIDTH, HEIGHT)
    for pose, K, pixel in zip(poses, lenses, PIXELS):
        assert blender_pixel(pose, K, POINT) == pytest.approx(pixel, abs=1e-6)
    scaled = [[[2 * x for x in row[:3]] + row[3:] for row in pose[:3]] + [pose[3]] for pose in poses]
    (tmp_path / "a.json").write_text(blender.written(scaled, lenses, width, height))
    back = read_cameras(tmp_path / "a.json").cameras
    torch.testing.assert_close(back.c2w, golden.c2w, rtol=0, atol=1e-6)
    assert torch.equal(back.K, golden.K)
    forward = blender.from_file(torch.eye(4).tolist())
    assert [-row[2] for row in forward[:3]] == [0, 1, 0] and [row[1] for row in forward[:3]] == [0, 0, 1]


def test_blender_lenses_follow_sensor_fit_shift_and_pixel_aspect(blender):
    landscape = blender.intrinsics(50, 36, 24, "AUTO", 0, 0, 1920, 1080, 1)
    assert landscape[0] == pytest.approx(50 / 36 * 1920) and landscape[4] == landscape[0] and landscape[2] == 960
    portrait = blender.intrinsics(50, 36, 24, "AUTO", 0, 0, 1080, 1920, 1)
    assert portrait[0] == pytest.approx(50 / 36 * 1920)
    upright = blender.intrinsics(50, 36, 24, "VERTICAL", 0, 0, 1920, 1080, 1)
    assert upright[0] == pytest.approx(50 / 24 * 1080)
    shifted = blender.intrinsics(50, 36, 24, "HORIZONTAL", 0.1, 0.1, 1920, 1080, 1)
    assert (shifted[2], shifted[5]) == pytest.approx((960 - 192, 540 + 192))  # shift up: the centre moves down
    for K in (landscape, shifted, blender.intrinsics(35, 36, 24, "HORIZONTAL", -0.2, 0.05, 640, 480, 1.5)):
        width, height = (640, 480) if K[0] < 1000 else (1920, 1080)
        lens, x, y = blender.lens_of(K, width, height)
        assert blender.intrinsics(lens, 36, 24, "HORIZONTAL", x, y, width, height, K[0] / K[4]) == pytest.approx(K)


def test_blender_refuses_what_is_no_pose_and_no_file(blender):
    eye = torch.eye(4).tolist()
    with pytest.raises(ValueError, match="unevenly"):
        blender.written([[[2, 0, 0, 0], *eye[1:]]], [[1.0] * 9], 4, 4)
    with pytest.raises(ValueError, match="mirrored"):
        blender.written([[[-1.0, 0, 0, 0], *eye[1:]]], [[1.0] * 9], 4, 4)
    with pytest.raises(ValueError, match="0 frames"):
        blender.written([], [], 4, 4)
    with pytest.raises(ValueError, match="no spatial-memory-cameras"):
        blender.read('{"format": "other"}')
