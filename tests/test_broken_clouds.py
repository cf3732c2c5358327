"""Files of points and meshes that are broken, cut short or hostile: refused by name, before anything is allocated."""

import struct

import pytest
from cloud_files import FACES, PCD, PLY, TRIANGLE, cloud_of, refused
from spatial_memory.memory.exchange import read_cloud
from spatial_memory.memory.tables import MAX_POINTS

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
