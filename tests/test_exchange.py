"""Clouds in and out: what is written is read again to the bit, meshes are covered evenly, what is broken is refused."""

import builtins
import io
import json
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from scenes import geometry, memory_of, pose
from spatial_memory.memory import libraries
from spatial_memory.memory.exchange import (
    Cloud,
    import_open3d,
    memory_cloud,
    read_cloud,
    rgb_from_latents,
    write_ply,
)
from spatial_memory.memory.lift import lift_latents, lift_pixels
from spatial_memory.memory.meshes import Surface, sample_surfaces
from spatial_memory.memory.ply import read_ply_triangles
from spatial_memory.memory.retrieve import refine_registration
from spatial_memory.memory.tables import MAX_POINTS

SQUARE = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.0, 1.0, 0.0)]


@pytest.fixture
def open3d():
    try:
        return import_open3d()
    except ImportError as error:
        pytest.skip(f"open3d cannot be imported: {error}")


def cloud_of(n=50, seed=0):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(n, 3, generator=generator) * 3
    return points, torch.randint(0, 256, (n, 3), generator=generator, dtype=torch.uint8)


def ply_twin(path):
    """Points and colours of a PLY file as ``write_ply`` writes it, row by row."""
    head, body = path.read_bytes().split(b"end_header\n", 1)
    count = int(next(line.split()[2] for line in head.splitlines() if line.startswith(b"element vertex")))
    rows = [struct.unpack_from("<fffBBB", body, 15 * i) for i in range(count)]
    assert len(body) == 15 * count
    return torch.tensor([r[:3] for r in rows]), torch.tensor([r[3:] for r in rows], dtype=torch.uint8)


# --- PLY out ---


def test_a_written_ply_holds_the_points_to_the_bit(tmp_path, open3d):
    points, colours = cloud_of()
    write_ply(tmp_path / "a.ply", points, colours)
    assert all(map(torch.equal, ply_twin(tmp_path / "a.ply"), (points, colours)))
    cloud = read_cloud(tmp_path / "a.ply")
    assert torch.equal(cloud.points, points) and torch.equal(cloud.colours, colours) and not cloud.normals.any()
    theirs = open3d.io.read_point_cloud(str(tmp_path / "a.ply"))
    assert np.array_equal(np.asarray(theirs.points, np.float32), points.numpy())
    assert np.array_equal(np.round(np.asarray(theirs.colors) * 255), colours.numpy())


def test_blocks_of_a_large_ply_join(tmp_path, monkeypatch):
    monkeypatch.setattr("spatial_memory.memory.exchange.BLOCK", 7)
    points, colours = cloud_of()
    write_ply(tmp_path / "a.ply", points, colours)
    assert all(map(torch.equal, ply_twin(tmp_path / "a.ply"), (points, colours)))


@pytest.mark.parametrize(
    "points, colours, message",
    [
        (torch.full((4, 3), torch.nan), torch.zeros(4, 3, dtype=torch.uint8), "4 of 4 points are NaN"),
        (torch.tensor([[0.0, 0, 0], [0, torch.inf, 0]]), torch.zeros(2, 3, dtype=torch.uint8), "first is number 1"),
        (torch.zeros(4, 3), torch.zeros(5, 3, dtype=torch.uint8), r"colours has shape \(5, 3\)"),
        (torch.zeros(4, 2), torch.zeros(4, 3, dtype=torch.uint8), r"points has shape \(4, 2\)"),
        (torch.zeros(4, 3), torch.zeros(4, 3), "torch.uint8"),
    ],
)
def test_what_no_ply_can_hold_is_refused_and_the_old_file_stays(tmp_path, points, colours, message):
    path = tmp_path / "a.ply"
    path.write_text("the old one")
    with pytest.raises(ValueError, match=message):
        write_ply(path, points, colours)
    assert path.read_text() == "the old one" and list(tmp_path.iterdir()) == [path]


# --- a memory as a cloud ---


def test_an_rgb_memory_is_exported_with_its_own_colours(tmp_path):
    seen = geometry(torch.rand(1, 12, 16) + 1, c2w=pose((0.2, 0.1, 1.0), (0, 0, 1.0), 180.0)[None])
    images = torch.rand(1, 3, 12, 16)
    memory = memory_of(lift_pixels(images, seen, [0], 0, voxel=0.05), 3, "rgb")
    cloud = memory_cloud(memory)
    assert len(cloud) > 50 and torch.equal(cloud.points, memory.points)
    assert torch.equal(cloud.colours.float() / 255, memory.gather(torch.arange(len(cloud))))
    write_ply(tmp_path / "a.ply", cloud.points, cloud.colours)
    assert torch.equal(read_cloud(tmp_path / "a.ply").points, memory.points)


def test_a_latent_memory_is_shown_by_linear_factors():
    latents = torch.randn(4, 1, 6, 8)
    memory = memory_of(lift_latents(latents, geometry(torch.rand(1, 6, 8) + 1), [0], 0))
    weight, bias = torch.randn(4, 3) * 0.2, torch.tensor([0.4, 0.5, 0.6])
    cloud = memory_cloud(memory, (weight, bias))
    assert len(cloud) == 48
    for point in range(0, 48, 5):
        z = memory.features[point].tolist()
        for channel in range(3):
            value = sum(z[c] * weight[c, channel].item() for c in range(4)) + bias[channel].item()
            assert abs(cloud.colours[point, channel].item() - 255 * min(1, max(0, value))) <= 0.51
    with pytest.raises(ValueError, match="'toy' latents"):
        memory_cloud(memory)
    with pytest.raises(ValueError, match="weight has shape"):
        rgb_from_latents(latents.movedim(0, -1), (weight[:3], bias))


def test_the_normals_of_a_memory_come_along():
    behind = pose((0.2, 0.1, 1.0), (0.3, 1.0, 0.1), 130.0)
    memory = memory_of(
        lift_latents(torch.randn(4, 1, 6, 8), geometry(torch.full((1, 6, 8), 2.0), c2w=behind[None]), [0], 0)
    )
    cloud = memory_cloud(memory, (torch.zeros(4, 3), torch.zeros(3)))
    assert torch.allclose(cloud.normals, -behind[:3, 2].expand(48, 3), atol=0.02)


def test_an_empty_memory_is_an_empty_cloud(tmp_path):
    cloud = memory_cloud(memory_of([], 3, "rgb"))
    write_ply(tmp_path / "a.ply", cloud.points, cloud.colours)
    assert len(cloud) == 0
    with pytest.raises(ValueError, match="no points"):
        read_cloud(tmp_path / "a.ply")


# --- points in ---


@pytest.mark.parametrize("suffix", ["ply", "pcd", "xyz", "xyzn", "xyzrgb", "pts"])
@pytest.mark.parametrize("text, packed", [(True, False), (False, False), (False, True)])
def test_what_open3d_writes_is_read_as_open3d_reads_it(tmp_path, open3d, suffix, text, packed):
    path = str(tmp_path / f"a.{suffix}")
    points, colours = cloud_of()
    vectors = open3d.utility.Vector3dVector
    theirs = open3d.geometry.PointCloud(vectors(points.double().numpy()))
    theirs.colors = vectors(colours.double().numpy() / 255)
    theirs.normals = vectors(torch.nn.functional.normalize(points.double().flip(1), dim=1).numpy())
    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        open3d.io.write_point_cloud(path, theirs, write_ascii=text, compressed=packed)
        again = open3d.io.read_point_cloud(path)
    cloud = read_cloud(path)
    assert torch.allclose(cloud.points, torch.from_numpy(np.array(again.points)).float(), atol=1e-6)
    assert torch.allclose(cloud.points, points, atol=1e-5)
    if again.has_colors():
        assert torch.equal(cloud.colours, torch.from_numpy(np.round(np.asarray(again.colors) * 255)).byte())
        assert (cloud.colours.int() - colours.int()).abs().max() <= 1
    else:
        assert (cloud.colours == 128).all()
    if again.has_normals():
        assert torch.allclose(cloud.normals, torch.from_numpy(np.array(again.normals)).float(), atol=1e-5)
    else:
        assert not cloud.normals.any()


def test_big_endian_wide_colours_and_rows_of_other_parts_are_read(tmp_path):
    head = (
        "ply\nformat binary_big_endian 1.0\ncomment made by hand\nelement camera 2\nproperty short k\n"
        "element vertex 2\n"
        "property double x\nproperty double y\nproperty double z\nproperty ushort red\nproperty ushort green\n"
        "property ushort blue\nproperty float extra\n"
        "element face 0\nproperty list uchar int vertex_indices\nend_header\n"
    )
    rows = struct.pack(">hh", 7, 8) + struct.pack(">dddHHHf", 1, 2, 3, 65535, 0, 257 * 9, 0.5)
    (tmp_path / "a.ply").write_bytes(head.encode() + rows + struct.pack(">dddHHHf", -1, 0, 0.25, 0, 65535, 0, 1))
    cloud = read_cloud(tmp_path / "a.ply")
    assert cloud.points.tolist() == [[1, 2, 3], [-1, 0, 0.25]]
    assert cloud.colours.tolist() == [[255, 0, 9], [0, 255, 0]]


def test_text_rows_of_other_parts_are_passed_over(tmp_path):
    head = PLY.format(3, FACES.format(1), "").replace(
        "element vertex", "element camera 2\nproperty int k\nelement vertex"
    )
    (tmp_path / "a.ply").write_text(head + "7\n\n8\n0 0 0\n2 0 0\n2 2 0\n3 0 1 2\n")
    cloud = read_cloud(tmp_path / "a.ply", 400)
    assert (cloud.points[:, 1] <= cloud.points[:, 0]).all() and cloud.points.amax() > 1.9


def test_colours_with_a_point_count_to_one_or_to_255(tmp_path):
    path = tmp_path / "a.xyzrgb"
    path.write_text("# a comment\n1 2 3 0 0.5 1\n\n4 5 6 1 0 0\n")
    assert read_cloud(path).colours.tolist() == [[0, 128, 255], [255, 0, 0]]
    path.write_text("1 2 3 0 128 255\n")
    assert read_cloud(path).colours.tolist() == [[0, 128, 255]]
    path.write_text("1 2 3 0 128 256\n")
    with pytest.raises(ValueError, match="colours run from 0 to 256"):
        read_cloud(path)


PLY = "ply\nformat ascii 1.0\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\n{}end_header\n{}"
PCD = (
    "VERSION .7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH {0}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\n"
    "POINTS {0}\nDATA {1}\n{2}"
)
FACES = "element face {}\nproperty list uchar int vertex_indices\n"
TRIANGLE = "0 0 0\n1 0 0\n1 1 0\n"
BROKEN = {
    "empty.ply": ("", "is empty"),
    "points.las": ("1 2 3", r"ends in '\.las', expected one of \.ply"),
    "no_suffix": ("1 2 3", "ends in ''"),
    "another.ply": ("solid x", "does not begin with 'ply'"),
    "no_end.ply": ("ply\nformat ascii 1.0\n", "no end"),
    "no_format.ply": ("ply\nelement vertex 1\nend_header\n", "no format"),
    "strange.ply": ("ply\nformat ascii 1.0\nelement vertex -1\nend_header\n", "'element vertex -1'"),
    "no_vertices.ply": ("ply\nformat ascii 1.0\nend_header\n", "no element vertex"),
    "none.ply": (PLY.format(0, "", ""), "no points"),
    "short.ply": (PLY.format(9, "", TRIANGLE), "cut short"),
    "short_by_one.ply": (PLY.format(4, "", TRIANGLE + "\n\n\n\n\n\n"), "4 points, 3 follow"),
    "hostile.ply": (PLY.format(10**14, "", TRIANGLE), f"at most {MAX_POINTS}"),
    "hostile_binary.ply": (PLY.format(MAX_POINTS, "", TRIANGLE).replace("ascii", "binary_little_endian"), "cut short"),
    "words.ply": (PLY.format(3, "", TRIANGLE.replace("1 1", "1 one")), "one"),
    "nan.ply": (PLY.format(3, "", TRIANGLE.replace("1 1", "1 nan")), "1 of 3 points are NaN.*number 2"),
    "far.ply": (PLY.format(3, "", TRIANGLE.replace("1 1", "1 1e30")), "beyond 1e[+]15"),
    "flat.ply": ("ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nend_header\n0\n", "expected x y z"),
    "list.ply": (PLY.format(3, "property list uchar int a\n", TRIANGLE), "lists"),
    "bytes.ply": (PLY.format(1, "property uchar red\n", "0 0 0 300\n"), "red holds numbers beyond 0 to 255"),
    "short.pcd": (PCD.format(3, "ascii", "1 2 3\n4 5 6\n"), "cut short"),
    "words.pcd": (PCD.format(2, "ascii", "1 2 3\n4 5 six\n"), "six"),
    "hostile.pcd": (PCD.format(4 * 10**9, "binary", "1234"), f"at most {MAX_POINTS}"),
    "hostile_packed.pcd": (PCD.format(4 * 10**9, "binary_compressed", "1234"), f"at most {MAX_POINTS}"),
    "short_binary.pcd": (PCD.format(1000, "binary", "1234"), "cut short"),
    "no_data.pcd": ("VERSION .7\nFIELDS x y z\n", "no PCD header"),
    "other.pcd": (PCD.format(3, "zipped", "1234"), "'zipped'"),
    "words.xyz": ("1 2 3\n4 5 six\n", "six"),
    "ragged.xyz": ("1 2 3\n4 5\n", "columns changed"),
    "colours.xyz": ("1 2 3 4 5 6\n", "xyzrgb"),
    "comments.xyz": ("# nothing\n\n", "no points"),
    "inf.xyz": ("1 2 3\n4 5 -inf\n", "number 1"),
    "short.pts": ("3\n1 2 3\n4 5 6\n", "cut short"),
    "no_count.pts": ("1 2 3\n", "number of points"),
    "wide.pts": ("1\n1 2 3 4 5\n", "rows have 5 numbers"),
    "hostile.pts": ("99999999999\n1 2 3\n", f"at most {MAX_POINTS}"),
}
BROKEN_MESHES = {
    "bare.obj": (TRIANGLE.replace("0 0 0", "v 0 0 0").replace("\n1", "\nv 1"), "no faces.*bare points.*[.]xyz"),
    "bare.off": ("OFF\n3 0 0\n" + TRIANGLE, "no faces.*bare points"),
    "beyond.obj": ("v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 9\n", "or is damaged"),
    "nan.obj": ("v 0 0 nan\nv 1 0 0\nv 1 1 0\nf 1 2 3\n", "NaN"),
    "dot.obj": ("v 1 1 1\nv 1 1 1\nv 1 1 1\nf 1 2 3\n", "area of 0"),
    "short.off": ("OFF\n3 2 0\n" + TRIANGLE + "3 0 1 2\n3 0", "says .3, 2. vertices and faces"),
    "hostile.off": (f"OFF\n{10**12} 1 0\n" + TRIANGLE, f"at most {MAX_POINTS}"),
    "hostile_faces.off": (f"OFF\n3 {10**7} 0\n" + TRIANGLE, "cut short"),
    "other.off": ("solid x\n", "no OFF header"),
    "other.stl": ("nothing of the kind\n" * 20, "no faces"),
    "hostile.stl": (b"\0" * 80 + struct.pack("<I", 10**9) + b"\0" * 50, "no faces"),
    "short.ply": (PLY.format(3, FACES.format(2), TRIANGLE + "3 0 1 2\n3 0 "), "faces end early"),
    "beyond.ply": (PLY.format(3, FACES.format(1), TRIANGLE + "3 0 1 9\n"), "beyond the 3"),
    "hostile.ply": (PLY.format(3, FACES.format(10**12), TRIANGLE), "20000000"),
    "hostile_faces.ply": (PLY.format(3, FACES.format(10**7), TRIANGLE), "0 bytes follow"),
    "words.ply": (PLY.format(3, FACES.format(1), TRIANGLE.replace("1 1", "1 one") + "3 0 1 2\n"), "one"),
    "words_in_faces.ply": (PLY.format(3, FACES.format(1), TRIANGLE + "3 0 1 two\n"), "two"),
    "fractions.ply": (PLY.format(3, FACES.format(1).replace("int", "float"), TRIANGLE + "3 0 1 2\n"), "whole-numbered"),
    "corners.ply": (PLY.format(3, FACES.format(1), TRIANGLE + "99999 0 1 2\n"), "99999 vertex_indices"),
    "two_faces.ply": (PLY.format(3, FACES.format(1) * 2, TRIANGLE + "3 0 1 2\n"), "element face twice"),
    "twice.ply": (PLY.format(3, "property float x\n" + FACES.format(1), TRIANGLE + "3 0 1 2\n"), "x of vertex twice"),
    "edges.ply": (PLY.format(3, FACES.format(1), TRIANGLE + "2 0 1\n"), "area of 0"),
    "other.glb": ("nothing of the kind\n" * 9, "no binary glTF"),
}


def refused(path, content, message):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message) as caught:
        read_cloud(path)
    assert path.name in str(caught.value)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_point_file_is_refused_by_name(tmp_path, name):
    refused(tmp_path / name, *BROKEN[name])


@pytest.mark.parametrize("name", BROKEN_MESHES)
def test_a_broken_mesh_is_refused_by_name(tmp_path, open3d, name):
    refused(tmp_path / name, *BROKEN_MESHES[name])


def test_a_damaged_packed_pcd_is_refused(tmp_path, open3d):
    path = tmp_path / "a.pcd"
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(cloud_of()[0].double().numpy()))
    open3d.io.write_point_cloud(str(path), cloud, compressed=True)
    refused(path, path.read_bytes()[:-20], "50 points, 0 could be read")


def test_a_missing_file_and_a_senseless_number_of_samples_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="a.ply"):
        read_cloud(tmp_path / "a.ply")
    with pytest.raises(ValueError, match="samples is 0"):
        read_cloud(tmp_path / "a.ply", 0)


# --- meshes in ---


def test_every_triangle_gets_its_share_of_the_points():
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(200, 3, 3, generator=generator, dtype=torch.float64)
    corners *= torch.linspace(0.01, 2, 200)[:, None, None]
    corners[:, :, 2] = torch.arange(200)[:, None]  # flat ones, one above the other, so that a point tells its own
    black, white = torch.zeros(90, 3, 3).double(), torch.ones(110, 3, 3).double()
    halves = Surface(corners[:90], black), Surface(corners[90:], white)
    points, colours, normals = sample_surfaces(halves, 9000)
    assert torch.equal(colours == 255, (points[:, 2:] > 89.5).expand(-1, 3))
    areas = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] / 2
    for face in range(200):
        own = points[points[:, 2].round() == face]
        share = 9000 * areas[face].abs() / areas.abs().sum()
        assert abs(len(own) - share) <= 1
        edges = torch.stack([corners[face, 1] - corners[face, 0], corners[face, 2] - corners[face, 0]], 1)[:2]
        st = torch.linalg.solve(edges, (own - corners[face, 0])[:, :2].T)
        assert (st > -1e-9).all() and (st.sum(0) < 1 + 1e-9).all()
    assert (normals[:, :2] == 0).all() and torch.equal(normals[:, 2], areas.sign()[points[:, 2].round().long()])


def test_points_lie_evenly_within_a_triangle():
    corners = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]], dtype=torch.float64)
    points, colours, _ = sample_surfaces((Surface(corners, torch.eye(3).double()[None]),), 4096)
    cells = torch.bincount((points[:, 0] * 8).long() * 8 + (points[:, 1] * 8).long(), minlength=64).view(8, 8)
    full = torch.tensor([[i + j < 7 for j in range(8)] for i in range(8)])
    assert (cells[full] - 128).abs().max() < 30  # chance alone would leave the worst of 28 near 28
    assert torch.allclose(points.mean(0)[:2], torch.tensor([1 / 3, 1 / 3]).double(), atol=1e-3)
    expected = torch.stack([1 - points[:, 0] - points[:, 1], points[:, 0], points[:, 1]], 1) * 255
    assert (colours - expected).abs().max() <= 0.5 + 1e-9


def glb(colours=None, base=None, picture=None, count=4, **node):
    """A unit square with its lower left corner at the origin, as a binary glTF 2.0 file."""
    uv = np.array([(0, 1), (1, 1), (1, 0), (0, 0)], np.float32)
    parts = [np.array(SQUARE, np.float32).tobytes(), uv.tobytes(), np.array([0, 1, 2, 0, 2, 3], np.uint16).tobytes()]
    accessors = [
        dict(bufferView=0, componentType=5126, count=count, type="VEC3", min=[0, 0, 0], max=[1, 1, 0]),
        dict(bufferView=1, componentType=5126, count=4, type="VEC2"),
        dict(bufferView=2, componentType=5123, count=6, type="SCALAR"),
    ]
    attributes, material = dict(POSITION=0, TEXCOORD_0=1), dict(pbrMetallicRoughness={})
    scene = dict(
        asset=dict(version="2.0"),
        scene=0,
        scenes=[dict(nodes=[0])],
        nodes=[dict(mesh=0, **node)],
        meshes=[dict(primitives=[dict(attributes=attributes, indices=2, material=0)])],
        materials=[material],
        accessors=accessors,
    )
    if colours is not None:
        attributes["COLOR_0"] = len(parts)
        accessors.append(dict(bufferView=len(parts), componentType=5126, count=4, type="VEC3"))
        parts.append(np.array(colours, np.float32).tobytes())
    if base is not None:
        material["pbrMetallicRoughness"]["baseColorFactor"] = base
    if picture is not None:
        file = io.BytesIO()
        Image.fromarray(picture).save(file, "PNG")
        material["pbrMetallicRoughness"]["baseColorTexture"] = dict(index=0)
        scene |= dict(textures=[dict(source=0)], images=[dict(bufferView=len(parts), mimeType="image/png")])
        parts.append(file.getvalue())
    blob, views = b"", []
    for part in parts:
        views.append(dict(buffer=0, byteOffset=len(blob), byteLength=len(part)))
        blob += part + b"\0" * (-len(part) % 4)
    scene |= dict(bufferViews=views, buffers=[dict(byteLength=len(blob))])
    text = json.dumps(scene).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(blob), b"BIN\0") + blob
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


QUARTERS = np.array([[(255, 0, 0), (0, 255, 0)], [(0, 0, 255), (255, 255, 0)]], np.uint8).repeat(16, 0).repeat(16, 1)


def quarter_colours(points):
    """The colours of ``QUARTERS`` hung on the unit square, upright."""
    rows, columns = (points[:, 1] < 0.5).long(), (points[:, 0] >= 0.5).long()
    return torch.from_numpy(QUARTERS[::16, ::16].copy())[rows, columns]


def test_a_glb_is_placed_by_its_nodes_and_coloured_by_its_texture(tmp_path, open3d):
    path = tmp_path / "a.glb"
    path.write_bytes(glb(picture=QUARTERS, translation=[10, 20, 30], scale=[2, 2, 2]))
    cloud = read_cloud(path, 1000)
    on_square = (cloud.points - torch.tensor([10.0, 20, 30])) / 2
    assert len(cloud) == 1000 and (on_square >= 0).all() and (on_square <= 1).all() and on_square[:, :2].max() > 0.98
    clear = ((on_square[:, :2] - 0.5).abs() > 0.01).all(1)
    assert torch.equal(cloud.colours[clear], quarter_colours(on_square)[clear]) and clear.sum() > 900
    assert torch.equal(cloud.normals, torch.tensor([0.0, 0, 1]).expand(1000, 3))


def test_an_obj_is_coloured_by_its_texture(tmp_path, open3d):
    Image.fromarray(QUARTERS).save(tmp_path / "a.png")
    (tmp_path / "a.mtl").write_text("newmtl m\nKd 1 1 1\nmap_Kd a.png\n")
    corners = "".join(f"v {x} {y} {z}\n" for x, y, z in SQUARE)
    (tmp_path / "a.obj").write_text(
        f"mtllib a.mtl\n{corners}vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nusemtl m\nf 1/1 2/2 3/3 4/4\n"
    )
    cloud = read_cloud(tmp_path / "a.obj", 500)
    clear = ((cloud.points[:, :2] - 0.5).abs() > 0.01).all(1)
    assert torch.equal(cloud.colours[clear], quarter_colours(cloud.points)[clear]) and clear.sum() > 450


def test_vertex_colours_go_before_the_material(tmp_path, open3d):
    path = tmp_path / "a.glb"
    path.write_bytes(glb(base=[0.2, 0.4, 0.8, 1]))
    assert (read_cloud(path, 10).colours == torch.tensor([51, 102, 204])).all()
    path.write_bytes(glb(base=[0.2, 0.4, 0.8, 1], colours=[(0, 0, 0), (1, 0, 0), (1, 0, 0), (0, 0, 0)]))
    cloud = read_cloud(path, 100)
    assert (cloud.colours[:, 0] - cloud.points[:, 0] * 255).abs().max() <= 0.51 and not cloud.colours[:, 1:].any()


@pytest.mark.parametrize("count", [10**9, 25_000_000, "four", -1])
def test_a_glb_that_promises_too_much_is_refused(tmp_path, open3d, count):
    refused(tmp_path / "a.glb", glb(count=count), "damaged")


def test_a_glb_that_shows_one_mesh_too_often_is_refused(tmp_path, open3d, monkeypatch):
    monkeypatch.setattr("spatial_memory.memory.meshes.MAX_POINTS", 3)
    refused(tmp_path / "a.glb", glb(), "4 vertices and 2 faces, at most 3")


@pytest.mark.parametrize("order, text", [("<", False), (">", False), ("<", True)])
def test_a_ply_with_faces_is_a_mesh(tmp_path, order, text):
    names = {True: "ascii", False: f"binary_{'little' if order == '<' else 'big'}_endian"}
    head = (
        f"ply\nformat {names[text]} 1.0\nelement vertex 4\nproperty float x\nproperty float y\nproperty float z\n"
        f"property float red\nproperty float green\nproperty float blue\n{FACES.format(1)}end_header\n"
    )
    rows = [(*place, place[0], place[1], 0.0) for place in SQUARE]
    if text:
        body = "".join(" ".join(map(str, row)) + "\n" for row in rows).encode() + b"4 0 1 2 3\n"
    else:
        body = b"".join(struct.pack(order + "6f", *row) for row in rows) + struct.pack(order + "B4i", 4, 0, 1, 2, 3)
    (tmp_path / "a.ply").write_bytes(head.encode() + body)
    cloud = read_cloud(tmp_path / "a.ply", 333)
    assert len(cloud) == 333 and (cloud.colours - cloud.points * 255).abs().max() <= 0.51
    assert cloud.points[:, 0].max() > 0.9 and cloud.points[:, 1].min() < 0.1
    again = read_cloud(tmp_path / "a.ply", 333)
    assert torch.equal(cloud.points, again.points) and torch.equal(cloud.colours, again.colours)


@pytest.mark.parametrize("order", ["", "<", ">"])
@pytest.mark.parametrize("polygons", [[(0, 1, 2), (2, 3, 4)], [(0, 1, 2, 3, 4)], [(0, 1), (4, 3, 2, 1), (0, 1, 2)], []])
@pytest.mark.parametrize("extra", [False, True])
def test_faces_of_any_number_of_corners_become_triangles(tmp_path, order, polygons, extra):
    head = "ply\nformat " + {"": "ascii", "<": "binary_little_endian", ">": "binary_big_endian"}[order] + " 1.0\n"
    head += f"element face {len(polygons)}\n" + "property short flag\nproperty list uchar float uv\n" * extra
    head += "property list uchar uint vertex_index\nend_header\n"
    body = b""
    for number, polygon in enumerate(polygons):
        before = (number, 2, 0.5, 0.25) if extra else ()
        if order:
            body += struct.pack(order + "hBff", *before) if extra else b""
            body += struct.pack(f"{order}B{len(polygon)}I", len(polygon), *polygon)
        else:
            body += " ".join(map(str, (*before, len(polygon), *polygon))).encode() + b"\n"
    (tmp_path / "a.ply").write_bytes(head.encode() + body)
    expected = [(p[0], b, c) for p in polygons for b, c in zip(p[1:], p[2:])]
    assert read_ply_triangles(tmp_path / "a.ply").tolist() == [list(t) for t in expected]
    if polygons:
        (tmp_path / "a.ply").write_bytes(head.encode() + body[:-3])
        with pytest.raises(ValueError, match="cut short"):
            read_ply_triangles(tmp_path / "a.ply")


@pytest.mark.parametrize("suffix", ["stl", "off"])
def test_a_box_is_covered_on_all_sides(tmp_path, open3d, suffix):
    box = open3d.geometry.TriangleMesh.create_box(1, 2, 3)
    box.compute_triangle_normals()
    with open3d.utility.VerbosityContextManager(open3d.utility.VerbosityLevel.Error):
        open3d.io.write_triangle_mesh(str(tmp_path / f"a.{suffix}"), box)
    cloud = read_cloud(tmp_path / f"a.{suffix}", 2200)
    assert (cloud.colours == 128).all()
    for axis, area in enumerate((6, 3, 2)):
        for side, sign in ((0.0, -1), (float(axis + 1), 1)):
            on_it = (cloud.points[:, axis] == side) & (cloud.normals[:, axis] == sign)
            assert abs(int(on_it.sum()) - 100 * area) <= 2


# --- open3d ---


def test_icp_runs_on_the_open3d_that_is_found_here(open3d):
    target = torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) * 4
    moved = pose((0.05, -0.02, 0.04), (0.3, 1.0, 0.1), 2.0)
    source = (target - moved[:3, 3]) @ moved[:3, :3]
    found, fitness = refine_registration(source, target, torch.eye(4), 0.3)
    assert fitness > 0.99 and torch.allclose(found, moved, atol=1e-3)


def test_open3d_changes_nothing_that_torch_would_notice(open3d):
    code = (
        "import torch\n"
        "from spatial_memory.memory.exchange import import_open3d\n"
        "torch.set_num_threads(2)\n"
        "def state():\n"
        "    x = torch.linspace(-3, 3, 4096).view(64, 64)\n"
        "    tiny = (torch.tensor([1e-40]) * 0.5).item()\n"
        "    sums = ((x @ x).sum().item(), torch.rand(3).tolist(), x.exp().sum().item())\n"
        "    return torch.get_num_threads(), torch.get_num_interop_threads(), tiny, torch.get_default_dtype(), sums\n"
        "torch.manual_seed(0); before = state()\n"
        "import_open3d()\n"
        "torch.set_rng_state(torch.manual_seed(0).get_state()); after = state()\n"
        "assert before == after and before[2] > 0, (before, after)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_without_open3d_the_error_says_what_to_install(monkeypatch):
    real = builtins.__import__
    fault = ImportError("libusb-1.0.so.0: cannot open shared object file: No such file or directory")

    def lacking(name, *rest):
        if name == "open3d":
            raise fault
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", lacking)
    monkeypatch.setattr(libraries, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="libusb-1.0-0.*pip install libusb-package"):
        import_open3d()
    fault = ModuleNotFoundError("No module named 'open3d'")
    with pytest.raises(ImportError, match="pip install open3d"):
        import_open3d()
    fault = ImportError("libGL.so.1: cannot open shared object file")
    with pytest.raises(ImportError, match="libGL.so.1.*install what it names"):
        import_open3d()


def test_a_cloud_holds_as_many_colours_as_points():
    with pytest.raises(ValueError, match="colours has shape"):
        Cloud(torch.zeros(3, 3), torch.zeros(2, 3, dtype=torch.uint8), torch.zeros(3, 3))
