"""Every camera format, both directions: a world point lands on the same pixel before and after."""

import json
import math
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from native_cameras import FOV, HEIGHT, NAMES, NATIVE, NO_LENS, PIXELS, POINT, WIDTH, expected, fixture
from spatial_memory.memory import formats
from spatial_memory.memory.camera import Cameras, project
from spatial_memory.memory.formats import FORMATS, chan, gltf_motion, read_camera_bytes, read_cameras, write_cameras
from spatial_memory.memory.presets import PRESETS

TESTS = Path(__file__).parent

GOLDEN = TESTS / "fixtures" / "cameras"
KINDS = list(FORMATS)


def pixels(cameras: Cameras, point=POINT) -> list[tuple[float, ...]]:
    uv, z = project(torch.tensor([point]), cameras)
    assert (z > 0).all()
    return [tuple(row) for row in uv[:, 0].tolist()]


def close(found, wanted, within=2e-3):
    assert len(found) == len(wanted)
    assert max(abs(a - b) for x, y in zip(found, wanted) for a, b in zip(x, y)) < within, (found, wanted)


@pytest.fixture
def golden():
    return read_cameras(GOLDEN / NAMES["json"]).cameras


def test_every_format_has_a_golden_file_and_a_native_projection():
    assert set(FORMATS) == set(NATIVE) == set(NAMES)


@pytest.mark.parametrize("kind", KINDS)
def test_the_golden_file_means_what_its_owner_says(kind, tmp_path):
    close(NATIVE[kind](fixture(kind, GOLDEN, tmp_path), POINT), expected(kind), 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_point_lands_on_its_pixel_when_the_golden_file_is_read(kind, tmp_path):
    file = fixture(kind, GOLDEN, tmp_path)
    imported = read_cameras(file, HEIGHT, WIDTH)  # its format is found by content
    assert imported.format in (kind, {"colmap_binary": "colmap", "glb": "gltf"}.get(kind))
    close(pixels(imported.cameras), expected(kind))
    assert (imported.cameras.height, imported.cameras.width) == (HEIGHT, WIDTH)
    assert all(sentence and sentence == sentence.strip() for sentence in imported.assumed)
    named = read_cameras(file, HEIGHT, WIDTH, kind)
    assert torch.equal(named.cameras.c2w, imported.cameras.c2w) and named.format == kind


@pytest.mark.parametrize("kind", KINDS)
def test_a_point_lands_on_its_pixel_in_the_file_that_is_written(kind, tmp_path, golden):
    written = write_cameras(tmp_path / (NAMES[kind].rpartition("/")[2]), golden, kind, fps=16)
    first = written[0] if not kind.startswith("colmap") else tmp_path / NAMES[kind]
    close(NATIVE[kind](first, POINT), expected(kind))


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_reads_back_along_a_real_path(kind, tmp_path):
    cameras = PRESETS["figure_eight"](33, vertical_fov=FOV).bake(HEIGHT, WIDTH)
    written = write_cameras(tmp_path / NAMES[kind].rpartition("/")[2], cameras, kind, fps=16)
    source = tmp_path / NAMES[kind] if kind.startswith("colmap") else written[0]
    again = read_cameras(source, HEIGHT, WIDTH, kind, fps=16).cameras
    torch.testing.assert_close(again.c2w, cameras.c2w, rtol=0, atol=2e-6)
    if kind not in NO_LENS:
        torch.testing.assert_close(again.K, cameras.K, rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("spatia", "gltf", "glb", *NO_LENS)])
def test_a_zoom_survives_where_the_format_says_that_it_keeps_it(kind, tmp_path, golden):
    K = golden.K.clone()
    K[:, 0, 0] = K[:, 1, 1] = torch.tensor([40.0, 44.0, 50.0, 60.0])
    zoomed = Cameras(golden.c2w, K, HEIGHT, WIDTH)
    assert "zoom" in FORMATS[kind].keeps and not any("zoom" in s for s in formats.dropped_by(kind, zoomed))
    write_cameras(tmp_path / "cameras", zoomed, kind)
    close(pixels(read_cameras(tmp_path / "cameras", HEIGHT, WIDTH, kind).cameras), pixels(zoomed))


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "centre" in FORMATS[kind].keeps and kind != "spatia"])
def test_principal_point_and_aspect_survive_where_the_format_keeps_them(kind, tmp_path, golden):
    K = golden.K.clone()
    K[:, 0, 0], K[:, 0, 2], K[:, 1, 2] = 36.0, 30.0, 20.0
    odd = Cameras(golden.c2w, K, HEIGHT, WIDTH)
    write_cameras(tmp_path / "cameras", odd, kind)
    close(pixels(read_cameras(tmp_path / "cameras", HEIGHT, WIDTH, kind).cameras), pixels(odd))


def test_what_a_format_drops_is_said(golden):
    K = golden.K.clone()
    K[:, 0, 0], K[:, 0, 2], K[0, 1, 1] = 36.0, 30.0, 44.0
    odd = Cameras(golden.c2w, K, HEIGHT, WIDTH)
    assert formats.dropped_by("json", odd) == () and formats.dropped_by("colmap", odd) == ()
    said = " ".join(formats.dropped_by("gltf", odd))
    assert "zoom" in said and "principal point" in said and "not square" in said and "48 x 64" in said
    assert any("field of view" in sentence for sentence in formats.dropped_by("tum", golden))
    assert formats.dropped_by("path", golden) == formats.dropped_by_path(golden)
    with pytest.raises(ValueError, match="not known"):
        formats.dropped_by("fbx", golden)


# --- what looks alike and is not


def test_rows_of_wanvideo_and_of_core_mean_the_opposite_and_the_count_tells(tmp_path):
    ours, core = (json.loads((GOLDEN / f"{name}.json").read_text()) for name in ("wanvideo", "wan"))
    assert [len(row) for row in (ours[1], core[1])] == [19, 23] and ours[1][:7] == core[1][:7]
    for kind in ("wanvideo", "wan"):
        close(pixels(read_cameras(GOLDEN / f"{kind}.json", HEIGHT, WIDTH).cameras), PIXELS)
        text = "\n".join(" ".join(map(str, row)) for row in json.loads((GOLDEN / f"{kind}.json").read_text()))
        (tmp_path / "rows.txt").write_text(text)
        close(pixels(read_cameras(tmp_path / "rows.txt", HEIGHT, WIDTH, kind).cameras), PIXELS)
    with pytest.raises(ValueError, match="row 0 has 19 numbers, expected 23"):
        read_cameras(GOLDEN / "wanvideo.json", HEIGHT, WIDTH, "wan")


def test_focal_lengths_of_wan_rows_are_for_1280_x_720_that_covers_the_frame():
    """Portrait and wide frames: the fraction counts along the side that 16:9 overhangs."""
    tall = read_cameras(GOLDEN / "wan.json", 96, 54).cameras.K[0]
    assert tall[0, 0].item() == pytest.approx(96 * 1280 / 720 * 40 / (48 * 1280 / 720))
    assert tall[1, 1].item() == pytest.approx(96 * 40 / 48)
    wide = read_cameras(GOLDEN / "wan.json", 40, 128).cameras.K[0]
    assert wide[1, 1].item() == pytest.approx(128 * 720 / 1280 * 40 / 48)


def test_tum_and_chan_are_both_eight_columns_and_the_quaternion_tells():
    assert read_cameras(GOLDEN / "tum.txt").format == "tum" and read_cameras(GOLDEN / "camera.chan").format == "chan"


def test_bytes_and_zips_read_like_files(tmp_path):
    for kind in ("kitti", "transforms", "glb"):
        data = (GOLDEN / NAMES[kind]).read_bytes()
        close(pixels(read_camera_bytes(data, "C:\\x\\dropped", HEIGHT, WIDTH).cameras), expected(kind))
    for folder, prefix in (("colmap", ""), ("colmap", "model/sparse/0/"), ("spatia", "case/")):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for file in (GOLDEN / folder).iterdir():
                archive.write(file, prefix + file.name)
        found = read_camera_bytes((tmp_path / "a.zip").read_bytes(), "a.zip", HEIGHT, WIDTH)
        close(pixels(found.cameras), PIXELS)
        assert found.format == folder
    close(pixels(read_cameras(GOLDEN / "spatia", HEIGHT, WIDTH).cameras), PIXELS)
    close(pixels(read_cameras(GOLDEN / "colmap" / "images.txt", HEIGHT, WIDTH).cameras), PIXELS)


def test_times_are_kept_where_the_file_has_them():
    for name, clock, times in (
        ("tum.txt", "seconds", (0, 0.0625, 0.125, 0.1875)),
        ("realestate10k.txt", "seconds", (0, 0.0625, 0.125, 0.1875)),
        ("camera.chan", "frames", (1, 2, 3, 4)),
        ("camera_extrinsics.json", "frames", (0, 4, 8, 12)),
        ("camera_path.json", "seconds", (0, 0.0625, 0.125, 0.1875)),
    ):
        found = read_cameras(GOLDEN / name, HEIGHT, WIDTH)
        assert found.clock == clock and found.times == pytest.approx(times)
    assert read_cameras(GOLDEN / "kitti.txt").times == ()


def test_poses_for_every_fourth_frame_are_filled_in():
    sparse = read_cameras(GOLDEN / "camera_extrinsics.json", HEIGHT, WIDTH)
    dense = formats.every_frame(sparse)
    assert len(dense.cameras) == 13 and dense.times == tuple(range(13)) and "4 poses stand for 13" in dense.assumed[-1]
    torch.testing.assert_close(dense.cameras.c2w[::4], sparse.cameras.c2w, rtol=0, atol=1e-6)
    middle = sparse.cameras.position[:2].mean(0)
    torch.testing.assert_close(dense.cameras.position[2], middle, rtol=0, atol=1e-6)
    turn = dense.cameras.c2w[1, :3, :3]  # a quarter of the turn by atan(3/4)
    assert math.degrees(math.acos((turn.trace().item() - 1) / 2)) == pytest.approx(36.8699 / 4, abs=1e-2)
    for name in ("camera.chan", "tum.txt", "kitti.txt"):
        found = read_cameras(GOLDEN / name)
        assert formats.every_frame(found) is found


# --- one click


def test_inverted_flipped_and_scaled_put_right_what_was_read_wrong(golden):
    w2c = formats.inverted(golden)
    torch.testing.assert_close(w2c.c2w, golden.w2c, rtol=0, atol=1e-6)
    torch.testing.assert_close(formats.inverted(w2c).c2w, golden.c2w, rtol=0, atol=1e-6)
    opengl = torch.tensor(json.loads((GOLDEN / "transforms.json").read_text())["frames"][3]["transform_matrix"])
    torch.testing.assert_close(formats.flipped(golden).c2w[3], opengl, rtol=0, atol=1e-6)
    assert torch.equal(formats.flipped(formats.flipped(golden)).c2w, golden.c2w)
    twice = formats.scaled(golden, 2.0)
    assert torch.equal(twice.position, 2 * golden.position) and torch.equal(twice.c2w[:, :, :3], golden.c2w[:, :, :3])
    close(pixels(twice, tuple(2 * x for x in POINT)), PIXELS)
    for factor in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="scale is"):
            formats.scaled(golden, factor)


# --- details of single formats


def test_nuke_turns_about_z_then_x_then_y():
    """R = Ry Rx Rz by three matrices, and back, near and at straight up."""
    angles = torch.tensor([[10.0, 20.0, 30.0], [-80.0, 170.0, -40.0], [90.0, 25.0, 0.0], [0.0, 0.0, 180.0]]).double()
    for (x, y, z), R in zip(angles.deg2rad().tolist(), chan.rotations(angles)):
        X = torch.tensor([[1, 0, 0], [0, math.cos(x), -math.sin(x)], [0, math.sin(x), math.cos(x)]]).double()
        Y = torch.tensor([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]]).double()
        Z = torch.tensor([[math.cos(z), -math.sin(z), 0], [math.sin(z), math.cos(z), 0], [0, 0, 1]]).double()
        torch.testing.assert_close(R, Y @ X @ Z, rtol=0, atol=1e-6)
    R = chan.rotations(angles)
    torch.testing.assert_close(chan.rotations(chan.angles(R)), R, rtol=0, atol=1e-9)


def test_chan_angles_run_on_without_jumps():
    turning = torch.tensor([[0.0, 20.0 * i, 0.0] for i in range(40)], dtype=torch.float64)
    torch.testing.assert_close(chan.angles(chan.rotations(turning)), turning, rtol=0, atol=1e-9)


def test_colmap_models_with_distortion_and_other_sizes(tmp_path):
    folder = tmp_path / "colmap"
    folder.mkdir()
    images = (GOLDEN / "colmap" / "images.txt").read_text()
    (folder / "images.txt").write_text(images.replace(" 7 frame_1", " 8 frame_1"))
    (folder / "cameras.txt").write_text("7 SIMPLE_RADIAL 64 48 40 32 24 0.1\n8 PINHOLE 128 96 80 80 64 48\n")
    found = read_cameras(folder)
    close(pixels(found.cameras), PIXELS)
    assert any("distortion" in s for s in found.assumed) and any("2 sizes" in s for s in found.assumed)
    (folder / "cameras.txt").write_text("7 OPENCV_FISHEYE 64 48 40 40 32 24 0 0 0 0\n")
    with pytest.raises(ValueError, match="OPENCV_FISHEYE.*undistort"):
        read_cameras(folder)
    (folder / "cameras.txt").write_text("7 PINHOLE 64 48 40 40 32 24\n")
    (folder / "images.txt").write_text(images.replace("frame_3", "frame_7").replace("frame_2", "frame_4"))
    assert any("missing" in sentence for sentence in read_cameras(folder).assumed)


def test_transforms_take_angles_and_frames_of_their_own(tmp_path):
    record = json.loads((GOLDEN / "transforms.json").read_text())
    for key in ("fl_x", "fl_y", "w", "h", "cx", "cy"):
        del record[key]
    record["camera_angle_x"] = 2 * math.atan(64 / 80)
    (tmp_path / "a.json").write_text(json.dumps(record))
    found = read_cameras(tmp_path / "a.json", HEIGHT, WIDTH)
    close(pixels(found.cameras), PIXELS)
    assert any("does not say" in sentence for sentence in found.assumed)
    record["frames"][1] |= {"fl_x": 80, "fl_y": 80, "cx": 64, "cy": 48, "w": 128, "h": 96}
    (tmp_path / "a.json").write_text(json.dumps({**record, "w": 64, "h": 48}))
    close(pixels(read_cameras(tmp_path / "a.json").cameras), PIXELS)
    del record["camera_angle_x"]
    (tmp_path / "a.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match=r"frames\[0\] has neither fl_x"):
        read_cameras(tmp_path / "a.json")


def test_a_gltf_camera_moves_with_its_parents_and_between_keys(tmp_path):
    """A rig scaled by 2 and shifted by a matrix; frames between the keys follow the curve's own interpolation."""
    tree = json.loads((GOLDEN / "camera.gltf").read_text())
    tree["nodes"][0]["matrix"] = [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 1, 0, 0, 1]  # columns; the last one shifts
    (tmp_path / "a.gltf").write_text(json.dumps(tree))
    plain = read_cameras(GOLDEN / "camera.gltf", HEIGHT, WIDTH).cameras
    moved = read_cameras(tmp_path / "a.gltf", HEIGHT, WIDTH, fps=32).cameras
    assert len(moved) == 7
    torch.testing.assert_close(moved.position[::2], 2 * plain.position + torch.tensor([1.0, 0, 0]), rtol=0, atol=1e-5)
    torch.testing.assert_close(moved.c2w[::2, :3, :3], plain.c2w[:, :3, :3], rtol=0, atol=1e-6)
    torch.testing.assert_close(moved.position[1], moved.position[0:3:2].mean(0), rtol=0, atol=1e-5)
    half = moved.c2w[0, :3, :3].T @ moved.c2w[1, :3, :3]  # half of the turn by atan(3/4)
    assert math.degrees(math.acos((half.trace().item() - 1) / 2)) == pytest.approx(18.435, abs=1e-2)
    tree["animations"][0]["samplers"][0]["interpolation"] = "STEP"
    (tmp_path / "a.gltf").write_text(json.dumps(tree))
    steps = read_cameras(tmp_path / "a.gltf", HEIGHT, WIDTH, fps=32).cameras.position
    assert torch.equal(steps[1], steps[0]) and not torch.equal(steps[2], steps[1])
    tree["nodes"][0]["matrix"][0] = 3.0
    (tmp_path / "a.gltf").write_text(json.dumps(tree))
    with pytest.raises(ValueError, match=r"nodes\[1\] at 0 s holds no rotation"):
        read_cameras(tmp_path / "a.gltf", HEIGHT, WIDTH)


def test_a_gltf_cubic_spline_has_the_slopes_of_its_tangents():
    values = torch.tensor([[0.0], [0.0], [2.0], [4.0], [1.0], [0.0]], dtype=torch.float64)
    curve = gltf_motion.Curve([0.0, 2.0], values, "CUBICSPLINE")
    at = [curve.at(t, False)[0] for t in (0.0, 1e-4, 1.0, 2 - 1e-4, 2.0, 9.0)]
    assert at[0] == 0 and at[4] == 1 and at[5] == 1
    assert at[1] / 1e-4 == pytest.approx(2, abs=1e-2) and (1 - at[3]) / 1e-4 == pytest.approx(4, abs=1e-2)
    assert at[2] == pytest.approx(0.5 + 2 * (2 - 4) / 8)  # Hermite at the middle: h (m0 - m1) / 8


def test_a_gltf_buffer_may_lie_beside_the_file_but_nowhere_else(tmp_path):
    tree = json.loads((GOLDEN / "camera.gltf").read_text())
    data = (GOLDEN / "camera.glb").read_bytes()
    (size,) = struct.unpack_from("<I", data, 12)
    (tmp_path / "inner").mkdir()
    for folder in (tmp_path, tmp_path / "inner"):
        (folder / "camera.dat").write_bytes(data[28 + size :])
    tree["buffers"][0]["uri"] = "camera.dat"
    (tmp_path / "inner" / "a.gltf").write_text(json.dumps(tree))
    close(pixels(read_cameras(tmp_path / "inner" / "a.gltf", HEIGHT, WIDTH).cameras), PIXELS)
    for uri in ("../camera.dat", "/etc/passwd", "file:///etc/passwd", "http://x/y", "..\\camera.dat", "..", "missing"):
        tree["buffers"][0]["uri"] = uri
        (tmp_path / "inner" / "a.gltf").write_text(json.dumps(tree))
        with pytest.raises(ValueError, match=r"buffers\[0\]"):
            read_cameras(tmp_path / "inner" / "a.gltf", HEIGHT, WIDTH)


def test_recammaster_matrices_in_a_list_are_read_when_the_format_is_named(tmp_path):
    texts = json.loads((GOLDEN / "camera_extrinsics.json").read_text())
    listed = []
    for frame in texts.values():
        rows = [[float(x) for x in row.strip("[] ").split()] for row in frame["cam01"].split("] [")]
        listed.append([list(column) for column in zip(*rows)])
    (tmp_path / "poses.json").write_text(json.dumps(listed))
    named = read_cameras(tmp_path / "poses.json", HEIGHT, WIDTH, "recammaster")
    close(pixels(named.cameras), expected("recammaster"))
    guessed = read_cameras(tmp_path / "poses.json", HEIGHT, WIDTH)
    assert guessed.format == "matrices" and any("ReCamMaster" in sentence for sentence in guessed.assumed)


def test_golden_files_are_small():
    assert sum(file.stat().st_size for file in Path(GOLDEN).rglob("*") if file.is_file()) < 60_000
