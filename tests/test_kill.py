"""A save that is killed, or that the disk has no room for, leaves the old file whole; what it dropped is cleared."""

import errno
import io
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from scenes import geometry
from spatial_memory.memory import store
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.lift import lift_latents
from spatial_memory.memory.memory_file import memory_from_tensors, memory_to_tensors
from spatial_memory.memory.store import load_tensors, replacing, save_tensors

NURSERY = """
import os, sys
sys.path.insert(0, sys.argv[1])
import conftest
from test_kill import world
from spatial_memory.memory.store import save_tensors
versions = [world(0), world(1)]
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if not child:
        while True:
            for version in versions:
                save_tensors(sys.argv[2], *version)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""


def world(seed):
    """The parts of a large memory, about 20 MB."""
    generator = torch.Generator().manual_seed(seed)
    depth = 2 + torch.rand(24, 96, 160, generator=generator)
    lifted = lift_latents(torch.randn(16, 24, 96, 160, generator=generator), geometry(depth), range(24), 0)
    parts, record = memory_to_tensors(SpatialMemory("latent", "toy", 16, 2.0, False).insert(lifted), "m.")
    return parts, {"memory": record, "seed": seed}


def temporaries(folder):
    return sorted(name for name in os.listdir(folder) if name.endswith(".tmp"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are killed the POSIX way")
def test_a_save_that_is_killed_leaves_a_whole_file(tmp_path):
    path = tmp_path / "world.safetensors"
    versions = []
    for seed in (1, 0):
        save_tensors(path, *world(seed))
        versions.append(path.read_bytes())
    delays, left, found = random.Random(0), 0, set()
    argv = [sys.executable, "-c", NURSERY, str(Path(__file__).parent), str(path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as nursery:
        assert nursery.stdout.readline() == "ready\n"
        for _ in range(10):
            nursery.stdin.write("\n")
            nursery.stdin.flush()
            child = int(nursery.stdout.readline())
            time.sleep(delays.uniform(0.02, 0.25))
            os.kill(child, signal.SIGKILL)
            assert int(nursery.stdout.readline()) == signal.SIGKILL
            assert path.read_bytes() in versions
            found.add(versions.index(path.read_bytes()))
            left = max(left, len(temporaries(tmp_path)))
        nursery.stdin.close()
    tensors, header = load_tensors(path)
    assert memory_from_tensors(tensors, header["memory"], "m.").num_points == 24 * 96 * 160
    assert left > 0 and found == {0, 1}  # some were killed in the middle, and some saves had been done
    for name in temporaries(tmp_path):
        os.utime(tmp_path / name, (0, 0))  # as if it had happened a while ago
    save_tensors(path, *world(0))
    assert os.listdir(tmp_path) == [path.name] and path.read_bytes() == versions[1]


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be removed there, nor be made old")
def test_only_what_dead_processes_left_of_this_very_file_is_cleared_away(tmp_path):
    path = tmp_path / "a[1].world"
    theirs = [tmp_path / f".{name}.{'0' * 32}.tmp" for name in ("b.world", "a1.world")]
    mine = [tmp_path / f".{path.name}.{i:032x}.tmp" for i in range(2)]
    other = tmp_path / f".{path.name}.notes.tmp"
    for file in (*theirs, *mine, other):
        file.write_bytes(b"x")
    for file in (*theirs, mine[0], other):
        os.utime(file, (0, 0))
    with replacing(path) as file:
        (written,) = set(tmp_path.iterdir()) - {*theirs, *mine, other}
        assert not mine[0].exists() and mine[1].exists()  # the second is so young that its writer may not hold it yet
        os.utime(written, (0, 0))
        with replacing(path) as second:  # a second save while the first still writes
            second.write(b"second")
        assert written.exists() and path.read_bytes() == b"second"
        file.write(b"first")
    assert path.read_bytes() == b"first"
    assert set(tmp_path.iterdir()) == {path, mine[1], *theirs, other}


class Small(io.FileIO):
    """A file on a disk with room for so many bytes."""

    room = 0

    def write(self, data):
        if self.tell() + len(data) > self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(data)


@pytest.mark.parametrize("room", [0, 10, 3000, 100_000])
def test_a_full_disk_leaves_the_old_file_and_no_trace(tmp_path, monkeypatch, room):
    path = tmp_path / "world.safetensors"
    lifted = lift_latents(torch.randn(16, 1, 48, 80), geometry(torch.full((1, 96, 160), 2.0)), [0], 0)
    memory = SpatialMemory("latent", "toy", 16, 2.0, False).insert(lifted)
    parts, record = memory_to_tensors(memory, "m.")
    save_tensors(path, parts, {"memory": record})
    before, points = path.read_bytes(), memory.points
    assert len(before) > 100_000
    monkeypatch.setattr(Small, "room", room)
    monkeypatch.setattr(store, "open", lambda name, mode: io.BufferedWriter(Small(name, "x")), raising=False)
    monkeypatch.setattr(store, "_sweep", lambda path: None)
    with pytest.raises(OSError, match="No space left"):
        save_tensors(path, parts, {"memory": record})
    assert os.listdir(tmp_path) == [path.name] and path.read_bytes() == before
    assert torch.equal(memory.points, points)
    assert torch.equal(memory.features, lifted[0].features)
    monkeypatch.undo()
    save_tensors(path, parts, {"memory": record})  # and there it is again, once there is room
    assert path.read_bytes() == before


def test_a_file_that_the_system_refuses_to_grow_leaves_the_old_one(tmp_path):
    resource = pytest.importorskip("resource")
    path = tmp_path / "world.safetensors"
    save_tensors(path, {"x": torch.ones(10)}, {})
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError):
            save_tensors(path, {"x": torch.zeros(100_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert os.listdir(tmp_path) == [path.name] and path.read_bytes() == before
    assert load_tensors(path)[0]["x"].eq(1).all()
