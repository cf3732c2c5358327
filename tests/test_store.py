import json
import os

import pytest
import safetensors.torch
import torch
from spatial_memory.memory.camera import Cameras, intrinsics_from_fov
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.memory_file import memory_from_tensors, memory_to_tensors
from spatial_memory.memory.observation import Observation
from spatial_memory.memory.store import FORMAT, Rows, load_tensors, save_tensors


def tensors():
    g = torch.Generator().manual_seed(0)
    return {
        "zeros": torch.tensor([-0.0, 0.0]),
        "denormal": torch.tensor([1e-42, -1e-42, 3.4e38]),
        "not finite": torch.tensor([float("nan"), float("inf"), -float("inf")]),
        "half": torch.randn(3, 5, generator=g).half(),
        "brain": torch.randn(7, generator=g).bfloat16(),
        "double": torch.randn(2, 2, generator=g, dtype=torch.float64),
        "mask": torch.tensor([[True, False, True]]),
        "bytes": torch.arange(5, dtype=torch.uint8),
        "long": torch.tensor([-(2**62), 2**62]),
        "scalar": torch.tensor(3, dtype=torch.int32),
        "empty": torch.zeros(0, 48, dtype=torch.float16),
        "transposed": torch.randn(4, 6, generator=g).T,
        "view": torch.randn(10, 3, generator=g)[::2],
    }


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8).tolist()


def raw(path, table, body=b""):
    head = json.dumps(table).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + body)
    return path


META = {"format": FORMAT, "version": "1", "header": "{}"}
ONE = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


def test_round_trip_is_exact_to_the_bit_and_plain_safetensors(tmp_path):
    header = {
        "seed": 2**53 + 1,
        "scene_unit": 0.1 + 0.2,
        "prompts": ["a room, \u00e9\u2713", ""],
        "deep": {"a": [None, True]},
    }
    save_tensors(tmp_path / "world.safetensors", tensors(), header)
    loaded, again = load_tensors(tmp_path / "world.safetensors")
    assert again == header and set(loaded) == set(tensors())
    theirs = safetensors.torch.load_file(tmp_path / "world.safetensors")
    for name, tensor in tensors().items():
        for other in (loaded[name], theirs[name]):
            assert other.dtype == tensor.dtype and other.shape == tensor.shape and bits(other) == bits(tensor), name
    assert os.listdir(tmp_path) == ["world.safetensors"]


def test_loaded_tensors_do_not_change_when_the_file_is_replaced(tmp_path):
    path = tmp_path / "world.safetensors"
    save_tensors(path, {"x": torch.ones(100_000)}, {})
    loaded, _ = load_tensors(path)
    save_tensors(path, {"x": torch.zeros(100_000)}, {})
    assert loaded["x"].eq(1).all() and load_tensors(path)[0]["x"].eq(0).all()


def test_a_world_without_tensors_is_a_world(tmp_path):
    save_tensors(tmp_path / "a", {}, {"k": 1})
    assert load_tensors(tmp_path / "a") == ({}, {"k": 1})


def test_a_failed_write_leaves_the_old_file_whole_and_no_trace(tmp_path, monkeypatch):
    path = tmp_path / "world.safetensors"
    save_tensors(path, {"x": torch.ones(3)}, {"k": 1})
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    def interrupted(old, new):
        raise KeyboardInterrupt

    for name, failure, error in (("fsync", full, OSError), ("replace", interrupted, KeyboardInterrupt)):
        with monkeypatch.context() as patch, pytest.raises(error):
            patch.setattr(os, name, failure)
            save_tensors(path, {"x": torch.zeros(3)}, {"k": 2})
        assert os.listdir(tmp_path) == [path.name] and path.read_bytes() == before
    for given, header in (
        ({"x": torch.zeros(3, dtype=torch.complex64)}, {}),
        ({}, {"k": float("nan")}),
        ({}, {"k": {1}}),
    ):
        with pytest.raises(ValueError):
            save_tensors(path, given, header)
        assert os.listdir(tmp_path) == [path.name] and path.read_bytes() == before
    with pytest.raises(FileNotFoundError):
        save_tensors(tmp_path / "missing" / "world", {}, {})


def test_every_truncation_is_refused_by_name(tmp_path):
    path = tmp_path / "world.safetensors"
    save_tensors(path, {"x": torch.arange(6.0), "mask": torch.tensor([True])}, {"k": 1})
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 7), len(whole) - 1]:
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="world.safetensors"):
            load_tensors(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(ValueError, match="header says"):
        load_tensors(path)


def test_foreign_and_newer_files_are_refused_with_what_to_do(tmp_path):
    safetensors.torch.save_file({"x": torch.ones(2)}, tmp_path / "lora.safetensors")
    with pytest.raises(ValueError, match="lora.safetensors is a safetensors file of format None.*choose a saved world"):
        load_tensors(tmp_path / "lora.safetensors")
    with pytest.raises(ValueError, match="version 3, this pack reads up to 2: update the pack"):
        load_tensors(raw(tmp_path / "new", {"__metadata__": {**META, "version": "3"}}))
    for version in (1, "1.5", "", None, "9" * 5000):
        with pytest.raises(ValueError, match="version"):
            load_tensors(raw(tmp_path / "odd", {"__metadata__": {**META, "version": version}}))
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))
    with pytest.raises(ValueError, match="picture.png .*no world file"):
        load_tensors(tmp_path / "picture.png")


@pytest.mark.parametrize(
    "table, body, message",
    [
        ([], b"", "expected an object"),
        ({"__metadata__": {**META, "header": "{"}}, b"", "no JSON"),
        ({"__metadata__": {**META, "header": "[]"}}, b"", "expected an object"),
        ({"__metadata__": META, "x": {**ONE, "dtype": "F8_E4M3"}}, bytes(8), "'F8_E4M3'"),
        ({"__metadata__": META, "x": {**ONE, "dtype": ["F32"]}}, bytes(8), "F32"),
        ({"__metadata__": META, "x": 3}, b"", "x as None"),
        ({"__metadata__": META, "x": {**ONE, "shape": [-2]}}, bytes(8), r"shape \[-2\]"),
        ({"__metadata__": META, "x": {**ONE, "shape": [2.0]}}, bytes(8), "shape"),
        ({"__metadata__": META, "x": {**ONE, "shape": [True, 2]}}, bytes(8), "shape"),
        ({"__metadata__": META, "x": {**ONE, "shape": [10**13]}}, bytes(8), "needs 40000000000000 bytes"),
        (
            {"__metadata__": META, "x": {**ONE, "shape": [10**14], "data_offsets": [0, 4 * 10**14]}},
            bytes(8),
            "header says|offsets",
        ),
        ({"__metadata__": META, "x": {**ONE, "data_offsets": [8, 0]}}, bytes(8), "offsets"),
        ({"__metadata__": META, "x": {**ONE, "data_offsets": [8, 16]}}, bytes(16), "starts at byte 8, expected 0"),
        (
            {"__metadata__": META, "x": ONE, "y": {**ONE, "data_offsets": [4, 12]}},
            bytes(12),
            "y starts at byte 4, expected 8",
        ),
        ({"__metadata__": META, "x": ONE, "y": ONE}, bytes(8), "starts at byte 0, expected 8"),
        ({"__metadata__": META, "x": {"dtype": "BOOL", "shape": [8], "data_offsets": [0, 8]}}, b"\2" * 8, "BOOL"),
    ],
)
def test_damaged_headers_are_refused(tmp_path, table, body, message):
    with pytest.raises(ValueError, match=message):
        load_tensors(raw(tmp_path / "bad", table, body))


def test_a_header_larger_than_its_limit_is_not_read(tmp_path):
    path = tmp_path / "huge"
    path.write_bytes((2**40).to_bytes(8, "little") + bytes(64))
    with pytest.raises(ValueError, match="huge"):
        load_tensors(path)


# --- memories


def memory():
    g = torch.Generator().manual_seed(1)
    observations = []
    for i, n in enumerate((5, 1, 9)):
        c2w = torch.eye(4)
        c2w[:3, 3] = torch.randn(3, generator=g)
        observations.append(
            Observation(
                points=torch.randn(n, 3, generator=g),
                features=torch.randn(n, 16, generator=g).half(),
                cells=torch.randperm(96, generator=g)[:n].int(),
                camera=Cameras(c2w, intrinsics_from_fov(50 + i, 8, 12), 8, 12),
                frame=12 - 4 * i,
                chunk=i - 1,
                voxel=0.1 * i,
            )
        )
    return SpatialMemory("latent", "mini", 16, 0.1 + 0.2, True, tuple(observations))


def test_a_memory_comes_back_to_the_bit_with_its_observations_in_order(tmp_path):
    before = memory()
    parts, record = memory_to_tensors(before, "memory.")
    assert all(name.startswith("memory.") for name in parts)
    save_tensors(tmp_path / "world", {**parts, "other": torch.ones(1)}, {"memory": record})
    loaded, header = load_tensors(tmp_path / "world")
    after = memory_from_tensors(loaded, header["memory"], "memory.")
    for field in ("kind", "codec", "channels", "scene_unit", "metric"):
        assert getattr(after, field) == getattr(before, field)
    assert len(after.observations) == 3
    for a, b in zip(after.observations, before.observations):
        assert (a.frame, a.chunk, a.voxel, a.camera.height, a.camera.width) == (b.frame, b.chunk, b.voxel, 8, 12)
        for field in ("points", "features", "cells"):
            assert bits(getattr(a, field)) == bits(getattr(b, field))
        assert torch.equal(a.camera.c2w, b.camera.c2w) and torch.equal(a.camera.K, b.camera.K)


def test_an_empty_memory_comes_back(tmp_path):
    before = SpatialMemory("rgb", "", 3, 1.0, False)
    save_tensors(tmp_path / "world", *memory_to_tensors(before, "m."))
    after = memory_from_tensors(*load_tensors(tmp_path / "world"), "m.")
    assert after.kind == "rgb" and after.observations == () and after.num_points == 0


@pytest.mark.parametrize(
    "spoil, message",
    [
        (lambda t, r: t.pop("m.features"), "m.features is missing"),
        (lambda t, r: t.update({"m.points": torch.zeros(15, 4)}), "m.points"),
        (lambda t, r: t.update({"m.cells": torch.zeros(15)}), "m.cells"),
        (lambda t, r: t.update({"m.features": torch.zeros(15, 16)}), "m.features is torch.float32"),
        (lambda t, r: t.update({"m.points": torch.full((15, 3), float("nan"))}), "m.points"),
        (lambda t, r: t.update({"m.cells": torch.full((15,), 96, dtype=torch.int32)}), "m.cells of frame 12"),
        (lambda t, r: t.update({"m.c2w": torch.zeros(3, 4, 4)}), "m.camera"),
        (lambda t, r: r.pop("kind"), "m.kind is None"),
        (lambda t, r: r.update(channels="16"), "m.channels"),
        (lambda t, r: r.update(channels=48), r"expected torch.float16 \(15, 48\)"),
        (lambda t, r: r["observations"][1].update(frame=1.5), "m.1.frame"),
        (lambda t, r: r["observations"][1].update(count=-1), "m.1 has a count"),
        (lambda t, r: r["observations"][1]["same"].update(doubted=1 << 15), "m.doubted"),
        (lambda t, r: r["observations"][1]["same"].update(points=1), "m.points is 1"),
        (lambda t, r: r["observations"].append({}), "m.3.count"),
        (lambda t, r: r.update(edits=[{"edit": "melt", "chunk": 0}]), "'melt', which this pack does not know: update"),
        (lambda t, r: r.update(edits=[{"edit": "delete", "chunk": 0}]), "m.edits.00000.region"),
        (lambda t, r: r.update(edits={}), "m.edits"),
        (lambda t, r: r.update(ledger=[3]), "m.ledger.chunk"),
        (lambda t, r: r.update(kind="voxels"), "voxels"),
    ],
)
def test_a_spoilt_memory_is_refused_by_name(spoil, message):
    parts, record = memory_to_tensors(memory(), "m.")
    parts = {name: torch.cat(part.parts) if isinstance(part, Rows) else part for name, part in parts.items()}
    memory_from_tensors(parts, json.loads(json.dumps(record)), "m.")  # unspoilt it is read
    record = json.loads(json.dumps(record))
    spoil(parts, record)
    with pytest.raises(ValueError, match=message):
        memory_from_tensors(parts, record, "m.")
