"""Meshes in: covered evenly by points, placed and coloured as their files say."""

import io
import json
import struct

import numpy as np
import pytest
import torch
from cloud_files import FACES, refused
from PIL import Image
from spatial_memory.memory.exchange import read_cloud
from spatial_memory.memory.meshes import Surface, sample_surfaces
from spatial_memory.memory.ply import read_ply_triangles

SQUARE = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.0, 1.0, 0.0)]


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
