"""Camera files that are damaged or hostile: a ValueError that names the line and the field, and nothing else."""

import base64
import contextlib
import io
import json
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from native_cameras import HEIGHT, NAMES, WIDTH, fixture
from spatial_memory.memory.formats import FORMATS, read_camera_bytes, read_cameras
from spatial_memory.memory.formats.source import zip_bytes, zip_members

TESTS = Path(__file__).parent

GOLDEN = TESTS / "fixtures" / "cameras"
FILES = [kind for kind in FORMATS if not kind.startswith("colmap") and kind != "spatia"]
DEEP = "[" * 100_000


def text_of(kind):
    return (GOLDEN / NAMES[kind]).read_text()


def refused(data, name="a", kind=None, match="."):
    with pytest.raises(ValueError, match=match) as found:
        read_camera_bytes(data if isinstance(data, bytes) else data.encode(), name, HEIGHT, WIDTH, kind)
    assert len(str(found.value)) < 700
    return str(found.value)


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize(
    "content", [b"", b"\0" * 64, b"\xff\xfe", b"hello", DEEP.encode(), b'{"a":' * 50_000, b"9" * 9000]
)
def test_rubbish_is_refused_whatever_it_is_called(kind, content):
    refused(content, NAMES[kind], kind)
    refused(content, NAMES[kind])


@pytest.mark.parametrize("kind", FILES)
def test_half_a_file_is_refused_or_holds_fewer_poses(kind, tmp_path):
    data = fixture(kind, GOLDEN, tmp_path).read_bytes()
    for stop in (len(data) // 3, len(data) // 2, len(data) - len(data) // 10):
        try:
            assert len(read_camera_bytes(data[:stop], "a", HEIGHT, WIDTH, kind).cameras) < 4
        except ValueError as error:
            assert str(error)


def changed(kind, change):
    """The golden JSON of a kind after ``change`` had it in its hands."""
    record = json.loads(text_of(kind))
    record = change(record) or record
    return json.dumps(record)


def put(value, *keys):
    def change(record):
        inner = record
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value

    return change


NAN = float("nan")
MIRROR = [[-1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


@pytest.mark.parametrize(
    ("kind", "change", "match"),
    [
        ("transforms", put(NAN, "frames", 1, "transform_matrix", 0, 3), r"frames\[1\].transform_matrix is nan"),
        ("transforms", put(MIRROR, "frames", 2, "transform_matrix"), r"frames\[2\].transform_matrix.*no rotation"),
        ("transforms", put([1, 2], "frames", 3, "transform_matrix"), r"frames\[3\].transform_matrix is no 3x4 or 4x4"),
        ("transforms", put("x", "frames"), "frames is a str, expected a list"),
        ("transforms", put([], "frames"), "0 frames"),
        ("transforms", put(0, "w"), "w is 0"),
        ("transforms", put(NAN, "fl_x"), "fl_x is nan"),
        ("nerfstudio", put([0.0] * 15, "camera_path", 1, "camera_to_world"), r"camera_path\[1\].camera_to_world"),
        ("nerfstudio", put(0.0, "camera_path", 2, "fov"), r"camera_path\[2\] has a field of view of 0.0"),
        ("nerfstudio", put("equirectangular", "camera_type"), "camera_type is 'equirectangular'"),
        ("nerfstudio", put(1e12, "render_height"), "render_height"),
        ("nerfstudio", put(-1, "fps"), "fps is -1"),
        ("ngp", put([0, 0, 0, 0], "path", 1, "R"), r"path\[1\].R is a quaternion of length 0"),
        ("ngp", put([0, 0], "path", 3, "T"), r"path\[3\].T"),
        ("ngp", put(180.0, "path", 0, "fov"), r"path\[0\] has a field of view of 180"),
        ("inria", put([[1, 0, 0], [0, 1, 0], [0, 0, -1]], 2, "rotation"), "camera 2 holds no rotation"),
        ("inria", put(NAN, 1, "position", 0), "camera 1 position is nan"),
        ("inria", put(-5.0, 1, "fx"), "camera 1 gives fx fy"),
        ("inria", put(None, 3, "width"), "camera 3 width"),
        ("wan", put(NAN, 1, 8), "row 1 is nan"),
        ("wan", put(1.0, 2, 7), "row 2 holds no rotation"),
        ("wan", put(900.0, 2, 1), "row 2 gives fx fy cx cy.*not pixels"),
        ("wan", put([0.0] * 19, 3), "row 3 has 19 numbers, expected 23"),
        ("wanvideo", put("x", 1, 8), "row 1 is 'x'"),
        ("matrices", put(MIRROR, 1), "pose 1 holds no rotation"),
        ("matrices", put([1.0, 2.0], 1), "pose 1 is no 3x4 or 4x4 matrix"),
        ("recammaster", lambda r: {k: v for k, v in r.items() if k != "frame8"}, "frame8 is missing: frame12"),
        ("recammaster", put("[1 0 0 0]", "frame8", "cam01"), "frame8, cam01 is no text of four rows"),
        ("recammaster", put(7, "frame8"), "frame8 is a int"),
        ("recammaster", put("[1 0 0 0] [0 1 0 0] [0 0 1] [0 0 0 1]", "frame4", "cam01"), "frame4, cam01 row 2 has 3"),
        ("json", put([1.0], "frames", 1, "c2w"), "frame 1 c2w"),
        ("json", put(NAN, "frames", 1, "K", 0), "frame 1 K is nan"),
        ("json", put(2, "version"), "version 2"),
        ("json", put(-1, "height"), "height and width"),
    ],
)
def test_a_bad_field_of_json_is_named(kind, change, match):
    refused(changed(kind, change), "a.json", kind, match)


@pytest.mark.parametrize(
    ("kind", "line", "new", "match"),
    [
        ("tum", 2, "0.1 0 0 0 0 0 0 2", "line 2 has a quaternion of length 2"),
        ("tum", 3, "nan 0 0 0 0 0 0 1", "line 3, column 1 is nan"),
        ("tum", 3, "0 0 0 0 0 0 1", "line 3 has 7 columns, expected 8"),
        ("tum", 4, "0 0 0 0 0 0 0 1", "line 4 has time 0 behind"),
        ("tum", 5, "1 0 0 zero 0 0 0 1", "line 5, column 4 is 'zero'"),
        ("kitti", 2, "1 0 0 0 0 1 0 0 0 0 -1 0", "line 2 holds no rotation"),
        ("kitti", 3, "1 0 0 inf 0 1 0 0 0 0 1 0", "line 3, column 4 is inf"),
        ("kitti", 4, "1 0 0 0 0 1 0 0 0 0 1", "line 4 has 11 columns"),
        ("kitti", 4, "1 0 0 1e9 0 1 0 0 0 0 1 0", "line 4 stands beyond a million"),
        ("chan", 3, "5 0 0 0 0 0 0 50", "line 3 is frame 5, expected 3: frames are missing"),
        ("chan", 2, "2 0 0 0 0 0 0 200", "line 2 has a field of view of 200"),
        ("chan", 2, "2 0 0 0 0 0 0", "line 2 has 7 columns, expected 8: frame tx ty tz rx ry rz vertical_fov"),
        ("realestate10k", 3, "0 9 9 9 9 0 0 " + "1 " * 12, "line 3 holds no rotation"),
        ("realestate10k", 3, "0 -1 1 .5 .5 0 0 1 0 0 0 0 1 0 0 0 0 1 0", "line 3 gives fx fy"),
    ],
)
def test_a_bad_line_and_column_of_text_are_named(kind, line, new, match):
    lines = text_of(kind).splitlines()
    lines[line - 1] = new
    refused("\n".join(lines), "a.txt", kind, match)


@pytest.mark.parametrize(
    ("file", "find", "new", "match"),
    [
        ("images.txt", "3 0 ", "3 nan ", "images.txt, line 2, column 2 is nan"),
        ("images.txt", "3 0 ", "3 5 ", "images.txt, line 2 has a quaternion of length 5"),
        ("images.txt", " 7 frame_2", " 9 frame_2", "camera 9, which the list of cameras does not hold"),
        ("images.txt", " 7 frame_2.png", " 7", "line 2 has 9 columns"),
        ("cameras.txt", "40 40", "-40 40", "fx fy cx cy"),
        ("cameras.txt", "64 48", "64.5 48", "whole numbers"),
        ("cameras.txt", "64 48", "99999999 48", "65536"),
        ("cameras.txt", "40 40 32 24", "40", "PINHOLE with 1 parameters"),
        ("cameras.txt", "7 PINHOLE 64 48 40 40 32 24", "7 PINHOLE", "line 2 has 2 columns"),
    ],
)
def test_a_bad_line_of_colmap_is_named(file, find, new, match, tmp_path):
    for name in ("cameras.txt", "images.txt"):
        text = (GOLDEN / "colmap" / name).read_text()
        assert name != file or find in text
        (tmp_path / name).write_text(text.replace(find, new, 1) if name == file else text)
    with pytest.raises(ValueError, match=match):
        read_cameras(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda c, i: (c, struct.pack("<Q", 2**62) + i[8:]), "images.bin counts 4611686018427387904 entries"),
        (lambda c, i: (struct.pack("<Q", 2**40) + c[8:], i), "cameras.bin counts"),
        (lambda c, i: (c, i[:-30]), "images.bin, image 3 ends at byte|name without an end|more than the file"),
        (lambda c, i: (c[:-8], i), "cameras.bin, camera 0 ends at byte"),
        (lambda c, i: (c[:12] + struct.pack("<i", 77) + c[16:], i), "model 77"),
        (lambda c, i: (c, i[:72] + b"\xff" + i[73:]), "no text"),
        (lambda c, i: (c, b""), "images.bin, count"),
    ],
)
def test_binary_colmap_is_checked_against_its_bytes(spoil, match, tmp_path):
    made = fixture("colmap_binary", GOLDEN, tmp_path)
    cameras, images = spoil((made / "cameras.bin").read_bytes(), (made / "images.bin").read_bytes())
    (made / "cameras.bin").write_bytes(cameras)
    (made / "images.bin").write_bytes(images)
    with pytest.raises(ValueError, match=match):
        read_cameras(made)


def archive(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def lyra(**changes):
    K = np.tile(np.array([[40.0, 0, 32], [0, 40, 24], [0, 0, 1]]), (3, 1, 1))
    return {"w2c": np.tile(np.eye(4), (3, 1, 1)), "intrinsics": K, "image_height": 48, "image_width": 64, **changes}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"w2c": np.array([{"a": 1}], dtype=object)}, "w2c holds object, expected numbers"),
        ({"w2c": np.array(["x" * 9])}, "expected numbers"),
        ({"w2c": np.zeros((3, 5, 4))}, r"w2c has shape \(3, 5, 4\)"),
        ({"w2c": np.zeros((0, 4, 4)), "intrinsics": np.zeros((0, 3, 3))}, "0 poses"),
        ({"w2c": np.full((3, 4, 4), np.nan)}, r"w2c\[0\] holds NaN"),
        ({"intrinsics": np.zeros((2, 3, 3))}, r"intrinsics has shape \(2, 3, 3\), expected \(3, 3, 3\)"),
        ({"intrinsics": np.zeros((3, 3, 3))}, r"intrinsics\[0\]"),
        ({"image_width": -3}, "image_width is"),
        ({"image_width": 2.5}, "image_width is"),
        ({"image_height": np.arange(9)}, "image_height is"),
    ],
)
def test_arrays_of_lyra_are_checked_before_they_are_used(changes, match):
    refused(archive(**lyra(**changes)), "trajectory.npz", None, match)


def test_an_array_that_says_more_than_it_holds_is_not_allocated():
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (2**40, 4, 4)})
    data = archive(**lyra())
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w") as target:
        for name in source.namelist():
            target.writestr(name, file.getvalue() if name == "w2c.npy" else source.read(name))
    refused(out.getvalue(), "trajectory.npz", None, "w2c says shape")
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out := io.BytesIO(), "w") as target:
        for name in source.namelist():
            target.writestr(
                name, b"\x93NUMPY\x01\x00\xff\xff{" + b"(" * 5000 if name == "w2c.npy" else source.read(name)
            )
    refused(out.getvalue(), "trajectory.npz", None, "w2c is no array")


def places(value, path=()):
    """The ways to every value inside a JSON document."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield (*path, key)
        yield from places(one, (*path, key))


@pytest.mark.parametrize("kind", [kind for kind in FILES if NAMES[kind].endswith(("json", "gltf"))])
def test_any_value_in_any_place_is_read_or_refused_but_never_breaks(kind):
    text = text_of(kind)
    every = list(places(json.loads(text)))
    strange = [None, True, "x", "", -1, 1e300, 10**400, NAN, [], {}, [[]], {"a": []}, [1, 2, 3], 0, 4, -(2**63)]
    chosen = random.Random(0).sample(every, min(len(every), 40))
    for place in [*chosen, *(place for place in every if len(place) == 1)]:
        for value in strange:
            record = json.loads(text)
            put(value, *place)(record)
            with contextlib.suppress(ValueError):
                assert len(read_camera_bytes(json.dumps(record).encode(), "a", HEIGHT, WIDTH, kind).cameras) >= 1


@pytest.mark.parametrize("kind", ["glb", "lyra", "colmap_binary"])
def test_flipped_bytes_are_read_or_refused_but_never_break(kind, tmp_path):
    file = fixture(kind, GOLDEN, tmp_path)
    data = (file / "images.bin" if kind == "colmap_binary" else file).read_bytes()
    chance = random.Random(0)
    for _ in range(300):
        spoilt = bytearray(data)
        for at in chance.sample(range(len(data)), 3):
            spoilt[at] = chance.randrange(256)
        with contextlib.suppress(ValueError):
            if kind == "colmap_binary":
                (file / "images.bin").write_bytes(bytes(spoilt))
                read_cameras(file)
            else:
                read_camera_bytes(bytes(spoilt), "a", HEIGHT, WIDTH, kind)


# --- archives


def zipped(**files):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize("name", ["../images.txt", "/etc/passwd", "a/../../b", "..\\images.txt", "C:/images.txt"])
def test_archives_that_lead_out_of_themselves_are_refused(name):
    good = {file.name: file.read_bytes() for file in (GOLDEN / "colmap").iterdir()}
    refused(zipped(**good, **{name: b"x"}), "a.zip", None, "leads out of the archive")


def test_an_archive_is_never_unpacked_beyond_the_limit():
    bomb = zipped(**{"images.txt": b"0" * 10_000_000, "cameras.txt": b"x"})
    assert len(bomb) < 20_000
    with pytest.raises(ValueError, match="10000000 bytes unpacked"):
        zip_bytes(bomb, zip_members(bomb, "a.zip")["images.txt"], 1_000_000)
    lying = zip_members(bomb, "a.zip")["images.txt"]
    lying.file_size = 10
    with pytest.raises(ValueError, match="more than 1000000|damaged"):
        zip_bytes(bomb, lying, 1_000_000)
    refused(bomb[: len(bomb) // 2], "a.zip", None, "damaged archive")
    refused(zipped(**{"film.mp4": b"x"}), "a.zip", None, "no camera file known")


# --- glTF


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (put("1.0", "asset", "version"), "asset.version"),
        (put(99, "accessors", 0, "bufferView"), r"bufferViews\[99\], the file has 2"),
        (put(2**40, "accessors", 1, "count"), r"accessors\[1\].count"),
        (put(10**6, "accessors", 1, "count"), r"accessors\[1\] holds 1000000 entries"),
        (put(-4, "bufferViews", 1, "byteOffset"), "offset is -4"),
        (put({}, "accessors", 1, "sparse"), r"accessors\[1\] is VEC3"),
        (put("VEC2", "accessors", 1, "type"), r"accessors\[1\] is VEC2"),
        (put(3, "accessors", 0, "count"), r"channels\[0\] has 3 times and 4 values"),
        (put("data:,x", "buffers", 0, "uri"), "expected base64"),
        (put("data:x;base64,@", "buffers", 0, "uri"), "no base64"),
        (put([1, 0], "nodes", 0, "children"), "more than 256 nodes deep|parent already"),
        (put([0], "nodes", 1, "children"), "loop"),
        (put([], "cameras"), r"cameras\[0\], the file has 0"),
        (put("orthographic", "cameras", 0, "type"), "no perspective camera"),
        (put(4.0, "cameras", 0, "perspective", "yfov"), "field of view"),
        (put("LINES", "animations", 0, "samplers", 0, "interpolation"), "interpolation 'LINES'"),
        (put(True, "animations", 0, "channels", 0, "sampler"), r"channels\[0\].sampler"),
        (put(5, "nodes"), "nodes is a int"),
        (put([0, 0, 0], "nodes", 0, "scale"), "scaled to nothing"),
        (put([NAN, 0, 0], "nodes", 0, "translation"), r"nodes\[0\].translation is nan"),
    ],
)
def test_a_damaged_gltf_is_refused_by_name(change, match):
    refused(changed("gltf", change), "a.gltf", "gltf", match)


def test_a_glb_with_wrong_lengths_is_refused():
    data = (GOLDEN / NAMES["glb"]).read_bytes()
    refused(data[:12], "a.glb", None, "header ends")
    refused(data[:8] + struct.pack("<I", 2**31) + data[12:], "a.glb", None, "header says")
    refused(data[:12] + struct.pack("<I", 2**31) + data[16:], "a.glb", None, "chunk at byte 12")
    refused(data[:4] + struct.pack("<I", 1) + data[8:], "a.glb", None, "version 1")


def test_an_animation_of_a_million_seconds_is_thinned_and_longer_ones_are_refused():
    record = json.loads(text_of("gltf"))

    def lasting(seconds):
        data = bytearray(base64.b64decode(record["buffers"][0]["uri"].partition(",")[2]))
        data[12:16] = struct.pack("<f", seconds)
        uri = "data:application/octet-stream;base64," + base64.b64encode(bytes(data)).decode()
        return json.dumps({**record, "buffers": [{"byteLength": len(data), "uri": uri}]})

    found = read_camera_bytes(lasting(9e5).encode(), "a.gltf", HEIGHT, WIDTH)
    assert len(found.cameras) == 4096 and any("14400001 frames were thinned" in s for s in found.assumed)
    refused(lasting(1e9), "a.gltf", None, "animation runs")


# --- a million poses


def test_a_million_rows_are_thinned_evenly_with_notice():
    rows = "".join(f"{i} {i} 0 0 0 0 0 1\n" for i in range(1_000_000))
    found = read_camera_bytes(rows.encode(), "long.txt", HEIGHT, WIDTH)
    assert len(found.cameras) == 4096 and "1000000 poses were thinned out evenly to 4096" in " ".join(found.assumed)
    x = found.cameras.position[:, 0]
    assert x[0] == 0 and x[-1] == 999_999 and set(torch.diff(x).tolist()) <= {244.0, 245.0}


def test_a_million_poses_of_an_archive_are_thinned_with_notice():
    w2c = np.zeros((1_000_000, 4, 4), dtype=np.float32)
    w2c[:, range(4), range(4)] = 1
    found = read_camera_bytes(archive(**lyra(w2c=w2c, intrinsics=lyra()["intrinsics"][0])), "t.npz")
    assert len(found.cameras) == 4096 and any("1000000 poses" in sentence for sentence in found.assumed)


def test_five_thousand_poses_of_json_are_thinned_with_notice():
    listed = json.dumps([torch.eye(4).tolist()] * 5000)
    found = read_camera_bytes(listed.encode(), "a.json", HEIGHT, WIDTH)
    assert len(found.cameras) == 4096 and any("5000 poses" in sentence for sentence in found.assumed)
