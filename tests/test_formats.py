import json
import math
from pathlib import Path

import pytest
import torch
from spatial_memory.headless import camera as command
from spatial_memory.headless import cli
from spatial_memory.memory.camera import Cameras, invert_rigid
from spatial_memory.memory.formats import WRITERS, dropped_by_path, path_from_cameras, read_cameras, write_cameras
from spatial_memory.memory.path import CameraPath
from spatial_memory.memory.presets import PRESETS, arc

TESTS = Path(__file__).parent

DATA = TESTS / "data" / "cameras"
GOLDEN = TESTS / "fixtures" / "cameras"
OPENGL = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))


def test_spatia_poses_are_world_to_camera_and_intrinsics_are_fractions():
    imported = read_cameras(DATA / "spatia" / "w2c.txt", 704, 1248)
    cameras = imported.cameras
    assert (len(cameras), cameras.height, cameras.width) == (5, 704, 1248)
    want = torch.tensor([[0.25 * i, 0.0, 0.125 * i] for i in range(5)])
    torch.testing.assert_close(cameras.position, want, rtol=0, atol=1e-6)
    left = torch.tensor([[-math.sin(math.radians(4 * i)), 0.0, math.cos(math.radians(4 * i))] for i in range(5)])
    torch.testing.assert_close(cameras.c2w[:, :3, 2], left, rtol=0, atol=1e-6)
    K = torch.tensor([[0.75 * 1248, 0, 624], [0, 1.25 * 704, 352], [0, 0, 1]])
    assert torch.equal(cameras.K, K.expand(5, 3, 3))
    assert any("world-to-camera" in s for s in imported.assumed) and any("704 x 1248" in s for s in imported.assumed)


def test_realestate10k_rows_are_world_to_camera_with_their_own_intrinsics():
    cameras = read_cameras(DATA / "realestate10k.txt", 256, 384).cameras
    row = (DATA / "realestate10k.txt").read_text().splitlines()[3].split()
    w2c = torch.tensor([float(x) for x in row[7:]]).reshape(3, 4)
    assert len(cameras) == 16
    torch.testing.assert_close(cameras.w2c[2, :3], w2c, rtol=0, atol=2e-6)
    torch.testing.assert_close(
        cameras.K[2], torch.tensor([[float(row[1]) * 384, 0, 192], [0, float(row[2]) * 256, 128], [0, 0, 1]])
    )
    forward = (cameras.position[-1] - cameras.position[0]) @ cameras.c2w[0, :3, 2]
    assert forward.abs() > 0.1  # the film moves along its view


@pytest.mark.parametrize("kind", ["json", "spatia", "realestate10k"])
@pytest.mark.parametrize("source", ["spatia/w2c.txt", "realestate10k.txt"])
def test_what_was_written_reads_back(tmp_path, kind, source):
    cameras = read_cameras(DATA / source, 180, 320).cameras
    written = write_cameras(tmp_path / "cameras.any", cameras, kind)
    assert len(written) == (2 if kind == "spatia" else 1)
    again = read_cameras(written[0], 180, 320).cameras
    exact = kind == "json"
    torch.testing.assert_close(again.c2w, cameras.c2w, rtol=0, atol=0 if exact else 1e-6)
    torch.testing.assert_close(again.K, cameras.K, rtol=0, atol=0 if exact else 1e-4)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in written)


def test_the_name_decides_the_format_where_none_is_given(tmp_path):
    cameras = arc(9).bake(48, 64)
    assert json.loads(write_cameras(tmp_path / "a.json", cameras)[0].read_text())["format"] == "spatial-memory-cameras"
    assert [p.name for p in write_cameras(tmp_path / "w2c.txt", cameras)] == ["w2c.txt", "intrinsics.txt"]
    assert len(write_cameras(tmp_path / "a.txt", cameras)[0].read_text().splitlines()[1].split()) == 19
    for name, kind in (("a.fbx", None), ("a.json", "pickle")):
        with pytest.raises(ValueError, match="no format for"):
            write_cameras(tmp_path / name, cameras, kind)


def test_our_json_path_is_read_as_its_bake(tmp_path):
    path = arc(9)
    (tmp_path / "path.json").write_text(path.to_json())
    cameras = read_cameras(tmp_path / "path.json", 48, 64).cameras
    assert torch.equal(cameras.c2w, path.bake(48, 64).c2w) and torch.equal(cameras.K, path.bake(48, 64).K)


# --- dense cameras as a path


@pytest.mark.parametrize("name", ["pan", "arc", "orbit", "figure_eight", "dolly", "hold"])
def test_dense_cameras_become_a_path_of_few_keys_that_follows_them(name):
    cameras = PRESETS[name](97, fps=24.0, vertical_fov=37.0).bake(180, 320)
    path = path_from_cameras(cameras, fps=24.0)
    assert path.units == "world" and path.fps == 24.0 and len(path.keyframes) < 70
    again = path.bake(180, 320)
    extent = (cameras.position - cameras.position[0]).norm(dim=-1).max().item()
    assert (again.position - cameras.position).norm(dim=-1).max() <= 1e-3 * extent + 2e-5
    cosine = ((again.c2w[:, :3, :3] * cameras.c2w[:, :3, :3]).sum((-1, -2)) - 1) / 2
    assert cosine.min() > math.cos(math.radians(0.1))
    torch.testing.assert_close(again.K, cameras.K, rtol=2e-3, atol=0)


def test_real_cameras_become_a_path_and_what_it_drops_is_said():
    cameras = read_cameras(DATA / "realestate10k.txt", 256, 384).cameras
    assert (path_from_cameras(cameras).bake(256, 384).c2w - cameras.c2w).abs().max() < 1e-3
    assert any("not square" in s for s in dropped_by_path(cameras))  # meant for another aspect than 256 x 384
    moved = Cameras(cameras.c2w, cameras.K + torch.tensor([[0, 0, 9.0], [0, 0, 0], [0, 0, 0]]), 256, 384)
    assert any("9.0 pixels" in sentence for sentence in dropped_by_path(moved))
    assert dropped_by_path(arc(9).bake(48, 64)) == ()


def test_noise_takes_as_many_keys_as_a_path_holds_and_no_more():
    cameras = arc(400).bake(48, 64)
    c2w = cameras.c2w.clone()
    c2w[:, :3, 3] += torch.randn(400, 3, generator=torch.Generator().manual_seed(0))
    path = path_from_cameras(Cameras(c2w, cameras.K, 48, 64))
    assert 2 <= len(path.keyframes) <= 256 and path.num_frames == 400


def test_one_camera_is_no_path():
    with pytest.raises(ValueError, match="2 to 4096"):
        path_from_cameras(arc(9).bake(48, 64)[:1])


# --- what is refused, and what is mended and said


def spatia(tmp_path, lines, intrinsics="[0.75 1.25 0.5 0.5]"):
    (tmp_path / "w2c.txt").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if intrinsics is not None:
        (tmp_path / "intrinsics.txt").write_text(intrinsics)
    return tmp_path / "w2c.txt"


EYE = torch.eye(4).tolist()


def test_small_deviations_are_made_orthonormal_and_said(tmp_path):
    off = torch.eye(4)
    off[0, 1] = 3e-4
    imported = read_cameras(spatia(tmp_path, [EYE, off.tolist()]))
    R = imported.cameras.c2w[:, :3, :3].double()
    torch.testing.assert_close(R.mT @ R, torch.eye(3, dtype=R.dtype).expand(2, 3, 3), rtol=0, atol=1e-6)
    assert any("off by up to 0.0003" in sentence for sentence in imported.assumed)
    assert not any("off by" in s for s in read_cameras(spatia(tmp_path, [EYE])).assumed)


def test_three_rows_a_line_are_read_like_four(tmp_path):
    a = read_cameras(spatia(tmp_path, [EYE[:3]])).cameras
    assert torch.equal(a.c2w, torch.eye(4)[None])


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda m: m[0].__setitem__(1, 2e-3), "line 2 holds no rotation"),
        (lambda m: m[0].__setitem__(0, -1.0), "line 2 holds no rotation .*mirrored"),
        (lambda m: m[0].__setitem__(0, float("nan")), "line 2 is nan"),
        (lambda m: m[0].__setitem__(3, "3"), "line 2"),
        (lambda m: m[3].__setitem__(0, 5.0), "transposed"),
        (lambda m: m.pop(), None),
        (lambda m: (m.pop(), m.pop()), "3x4 or 4x4"),
        (lambda m: m[1].pop(), "4 numbers"),
    ],
)
def test_spatia_lines_that_are_no_pose_are_refused_by_line(tmp_path, spoil, message):
    bad = torch.eye(4).tolist()
    spoil(bad)
    path = spatia(tmp_path, [EYE, bad])
    if message is None:
        assert len(read_cameras(path).cameras) == 2
        return
    with pytest.raises(ValueError, match=f"w2c.txt, read as spatia: .*{message}"):
        read_cameras(path)


@pytest.mark.parametrize(
    "intrinsics, message",
    [
        (None, "no intrinsics.txt"),
        ("1 2 3", "3 numbers"),
        ("900 900 0.5 0.5", "not pixels"),
        ("0 1 0.5 0.5", "fractions"),
    ],
)
def test_spatia_intrinsics_that_do_not_fit_are_refused(tmp_path, intrinsics, message):
    with pytest.raises(ValueError, match=message):
        read_cameras(spatia(tmp_path, [EYE], intrinsics))


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda rows: rows[1][:-1], "line 3 has 18 columns"),
        (lambda rows: [*rows[1], "0", "0", "0", "1"], "line 3 has 23 columns.*camera-to-world"),
        (lambda rows: [*rows[1][:-1], "x"], "line 3"),
        (lambda rows: [*rows[1][:7], "2", *rows[1][8:]], "line 3 holds no rotation"),
    ],
)
def test_realestate10k_rows_that_do_not_fit_are_refused_by_line(tmp_path, change, message):
    lines = (DATA / "realestate10k.txt").read_text().splitlines()
    lines[2] = " ".join(change([line.split() for line in lines[1:]]))
    (tmp_path / "a.txt").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=message):
        read_cameras(tmp_path / "a.txt")


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "no camera file known"),
        (b"hello\nworld", "no camera file known"),
        (b"\x80\x04\x95pickle", "no text"),
        (b"{}", "version None"),
        (
            b'{"version": 1, "format": "spatial-memory-cameras", "height": 0, "width": 4, "frames": []}',
            "height and width",
        ),
        (b'{"version": 1, "format": "spatial-memory-cameras", "height": 4, "width": 4, "frames": []}', "0 poses"),
        (
            b'{"version": 1, "format": "spatial-memory-cameras", "height": 4, "width": 4, "frames": [{"c2w": [1]}]}',
            "frame 0 c2w",
        ),
        (b"[" * 50_000, "line 1"),
        (b"1 " * 19 + b"\n" + b"1 " * 19, "line 1"),
    ],
)
def test_what_is_no_camera_file_is_refused(tmp_path, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(ValueError, match=f"a.txt.*{message}"):
        read_cameras(tmp_path / "a.txt")


def test_a_file_too_long_is_not_parsed(tmp_path):
    with open(tmp_path / "a.txt", "wb") as file:
        file.truncate(600_000_000)
    with pytest.raises(ValueError, match="600000000 bytes"):
        read_cameras(tmp_path / "a.txt")


def test_a_format_that_cannot_hold_the_cameras_says_which_can(tmp_path):
    cameras = arc(9).bake(48, 64)
    zoomed = Cameras(
        cameras.c2w, cameras.K * torch.linspace(1, 2, 9)[:, None, None].where(torch.eye(3) > 0, 1.0), 48, 64
    )
    zoomed.K[:, 2, 2] = 1.0
    with pytest.raises(ValueError, match="write realestate10k"):
        write_cameras(tmp_path / "w2c.txt", zoomed)
    assert list(tmp_path.iterdir()) == []
    assert torch.allclose(
        read_cameras(write_cameras(tmp_path / "a.txt", zoomed)[0], 48, 64).cameras.K, zoomed.K, atol=1e-5
    )


# --- the command


def test_the_command_converts_and_reports_one_json_line(tmp_path, capsys):
    target = tmp_path / "cameras.json"
    assert cli.main(["camera", "convert", str(DATA / "realestate10k.txt"), str(target), "--size", "180x320"]) == 0
    out, err = capsys.readouterr()
    record = json.loads(out)
    assert out.count("\n") == 1 and record["frames"] == 16 and record["written"] == [str(target)]
    assert "assumed: poses are 3x4 world-to-camera" in err
    cameras = read_cameras(target).cameras
    assert (cameras.height, cameras.width) == (180, 320)
    torch.testing.assert_close(invert_rigid(cameras.c2w)[0, 0, 3].item(), 0.726968646, rtol=0, atol=1e-6)

    assert cli.main(["camera", "convert", str(target), str(tmp_path / "path.json"), "--to", "path", "--fps", "24"]) == 0
    path = CameraPath.from_json((tmp_path / "path.json").read_text())
    assert path.num_frames == 16 and path.fps == 24.0
    record = json.loads(capsys.readouterr().out)
    assert record["dropped"] == [] and record["assumed"] == ["our JSON: camera-to-world, OpenCV axes, K in pixels"]


@pytest.mark.parametrize("more", [["--size", "big"], ["--fps", "0"], ["--to", "spatia", "--size", "0x3"]])
def test_the_command_fails_with_status_1_and_writes_nothing(tmp_path, capsys, more):
    arguments = ["camera", "convert", str(DATA / "realestate10k.txt"), str(tmp_path / "w2c.txt"), *more]
    assert cli.main(arguments) == 1
    assert cli.main(["camera", "convert", str(tmp_path / "missing.txt"), str(tmp_path / "a.json")]) == 1
    assert capsys.readouterr().out == "" and list(tmp_path.iterdir()) == []


def test_every_writer_is_offered(capsys):
    with pytest.raises(SystemExit):
        cli.main(["camera", "--help"])
    text = capsys.readouterr().out
    assert all(kind in text for kind in WRITERS) and command.run


def test_the_command_names_the_format_corrects_and_says_what_is_dropped(tmp_path, capsys):
    cameras = read_cameras(GOLDEN / "cameras.json").cameras
    rows = "".join(" ".join(map(str, (w2c @ OPENGL)[:3].flatten().tolist())) + "\n" for w2c in cameras.w2c)
    (tmp_path / "rows.txt").write_text(rows)
    arguments = ["camera", "convert", str(tmp_path / "rows.txt"), str(tmp_path / "a.glb"), "--format", "kitti"]
    assert cli.main([*arguments, "--size", "48x64", "--flip", "--invert", "--scale", "2"]) == 0
    out, err = capsys.readouterr()
    record = json.loads(out)
    assert (record["format"], record["frames"], record["size"]) == ("kitti", 4, [48, 64])
    assert len(record["corrected"]) == 3 and any("size of the images" in sentence for sentence in record["dropped"])
    assert "corrected: poses were inverted" in err and "dropped: the size" in err
    back = read_cameras(tmp_path / "a.glb", 48, 64).cameras
    turned = invert_rigid(cameras.w2c @ OPENGL) @ OPENGL  # inverted, then flipped
    turned[:, :3, 3] *= 2
    torch.testing.assert_close(back.c2w, turned, rtol=0, atol=2e-6)


def test_the_command_writes_a_folder_and_reads_it_again(tmp_path, capsys):
    folder, zoomed = tmp_path / "model", tmp_path / "poses.tum"
    assert cli.main(["camera", "convert", str(GOLDEN / "camera.gltf"), str(folder), "--to", "colmap_binary"]) == 0
    assert sorted(file.name for file in folder.iterdir()) == ["cameras.bin", "images.bin", "points3D.bin"]
    assert cli.main(["camera", "convert", str(folder), str(zoomed)]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[1])
    assert record["format"] == "colmap" and any("field of view" in sentence for sentence in record["dropped"])
    assert cli.main(["camera", "convert", str(zoomed), str(tmp_path / "b.json"), "--format", "wan"]) == 1
    assert "line 2 has 8 columns" in capsys.readouterr().err and not (tmp_path / "b.json").exists()
