"""Camera files of other tools as they come: read, and checked against what their sources say of them."""

import os
from pathlib import Path

import pytest
import torch
from spatial_memory.memory.formats import path_from_cameras, read_cameras

DATA = Path(os.environ.get("SPATIAL_MEMORY_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
OTHER = DATA / "traj_other"

pytestmark = pytest.mark.skipif(not OTHER.is_dir(), reason=f"no folder {OTHER}: set SPATIAL_MEMORY_DATA")


def moved(cameras):
    """Where the last camera stands as the first one sees it."""
    return (cameras.position[-1] - cameras.position[0]) @ cameras.c2w[0, :3, :3]


@pytest.mark.parametrize("file", sorted((DATA / "traj_realestate10k").glob("*.txt")), ids=lambda file: file.stem)
def test_realestate10k(file):
    found = read_cameras(file, 256, 384)
    assert found.format == "realestate10k" and len(found.cameras) == 16 and len(found.times) == 16
    assert 0 < found.times[-1] - found.times[0] < 60


@pytest.mark.parametrize("case, frames", [("case_1", 193), ("case_2", 193), ("case_3", 121)])
def test_spatia(case, frames):
    file = DATA / "spatia_cases" / case / "w2c.txt"
    found = read_cameras(file)
    assert found.format == "spatia" and len(found.cameras) == frames
    x, y, z = moved(found.cameras).tolist()
    if case == "case_1":  # 1.4 to the left, then 2.4 forward
        assert x < -0.5 and z > 1.5
    else:  # no parallax
        assert abs(x) + abs(y) + abs(z) < 1e-3
    assert torch.equal(read_cameras(file.parent).cameras.c2w, found.cameras.c2w)


def test_tum():
    found = read_cameras(OTHER / "tum" / "freiburg1_xyz-groundtruth.txt")
    assert found.format == "tum" and len(found.cameras) == 3000 and 20 < found.times[-1] - found.times[0] < 40
    extent = found.cameras.position.amax(0) - found.cameras.position.amin(0)
    assert (extent > 0.2).all() and (extent < 1.5).all()  # xyz: half a metre along each axis
    assert len(read_cameras(OTHER / "tum" / "slambook2_ch4_groundtruth.txt").cameras) == 612


NAMED = [("L", 0, -1), ("R", 0, 1), ("U", 1, -1), ("D", 1, 1), ("I", 2, 1), ("O", 2, -1)]


@pytest.mark.parametrize("name, axis, sign", NAMED)
def test_motionctrl_moves_as_its_files_are_named(name, axis, sign):
    found = read_cameras(OTHER / "motionctrl" / f"test_camera_{name}.json")
    assert found.format == "matrices" and len(found.cameras) == 16
    way = moved(found.cameras)
    assert way.abs().argmax() == axis and way[axis] * sign > 0.5


@pytest.mark.parametrize("name, axis, sign", [("front", 2, 1), ("back", 2, -1), ("left", 0, -1), ("right", 0, 1)])
def test_matrix3d_moves_as_its_files_are_named(name, axis, sign):
    found = read_cameras(OTHER / "matrix3d" / f"test_cam_{name}.json")
    assert found.format == "matrices" and len(found.cameras) == 81
    way = found.cameras.position[-1] - found.cameras.position[0]
    assert way.abs().argmax() == axis and way[axis] * sign > 1


@pytest.mark.parametrize("name", ["example_0.npz", "example_1.npz"])
def test_lyra(name):
    found = read_cameras(OTHER / "lyra2" / name)
    assert found.format == "lyra" and len(found.cameras) == 500
    assert (found.cameras.height, found.cameras.width) == (720, 1280)
    assert len(path_from_cameras(found.cameras).keyframes) <= 256
