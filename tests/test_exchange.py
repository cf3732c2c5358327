"""Clouds in and out: what is written is read again to the bit, and open3d's own files are read as open3d reads them."""

import builtins
import struct
import subprocess
import sys

import numpy as np
import pytest
import torch
from cloud_files import FACES, PLY, cloud_of
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
from spatial_memory.memory.retrieve import refine_registration


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
