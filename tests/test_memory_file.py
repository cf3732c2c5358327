"""A memory in a file: every bit of it comes back, old files are read, hostile ones are refused by name."""

import json
from dataclasses import replace

import pytest
import torch
from scenes import geometry, pose
from spatial_memory.memory.camera import Cameras, intrinsics_from_fov
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.edits import Delete, Hide, Insert, Lock, Move, Paint, Patch
from spatial_memory.memory.lift import lift_latents, lift_pixels
from spatial_memory.memory.memory_file import memory_from_tensors, memory_to_tensors
from spatial_memory.memory.observation import NEVER, PER_POINT
from spatial_memory.memory.regions import Box, Everywhere, HalfSpace, Selection, Sphere, Voxels, voxels_around
from spatial_memory.memory.splat import read
from spatial_memory.memory.store import FORMAT, VERSION, Rows, load_tensors, save_tensors

resource = pytest.importorskip("resource")  # POSIX

TURN = pose((0.4, 0.1, -0.3), (0.0, 1.0, 0.2), 30.0)
POSES = torch.stack([pose(), pose((0.0, 0.0, 1.0)), pose((0.1, 0.0, 0.1), (0.0, 0.0, 1.0), 180.0)])


def bits(tensor):
    return torch.cat([tensor.reshape(-1)]).view(torch.uint8).tolist()


def memory_of(kind):
    """Three views with every edit there is over them, and stamps of both sorts."""
    generator = torch.Generator().manual_seed(0)
    wall = geometry(2 + 0.1 * torch.rand(3, 24, 40, generator=generator), c2w=POSES)
    if kind == "latent":
        lifted = lift_latents(torch.randn(4, 3, 6, 10, generator=generator), wall, [0, 4, 8], -1)
    else:
        lifted = lift_pixels(torch.rand(3, 3, 24, 40, generator=generator), wall, [0, 4, 8], -1, 0.05)
    a, b, c = (replace(o, chunk=i - 1) for i, o in enumerate(lifted))
    b = b.marked("doubted", b.cells % 3 == 0, 1).marked("retired", b.cells % 6 == 0, 2)
    c = replace(c, confidence=torch.tensor(7, dtype=torch.uint8), normals=torch.tensor([3, 250], dtype=torch.uint8))
    empty = replace(c.where(torch.zeros(len(c), dtype=torch.bool)), frame=12)
    memory = SpatialMemory(kind, "toy" if kind == "latent" else "", a.features.shape[1], 0.1 + 0.2, True)
    ledger = ({"chunk": -1, "added": 3}, {"chunk": 1, "policy": "keep_first"})
    memory = replace(memory, observations=(a, empty, b, c), ledger=ledger)
    box = Selection(Box((0.1, 0.2, 2.0), (0.3, 0.4, 0.5), (0.9, 0.1, 0.0, -0.3)))
    patches = tuple(Patch(o.frame, o.chunk, o.cells[::2].sort().values, o.features[::2]) for o in (a, c))
    edits = (
        Delete(box, -1),
        Hide(Selection(Sphere((1.0, 2.0, 3.0), 0.25), (0, -3)), 0),
        Lock(Selection(HalfSpace((0.0, 0.0, 1 / 3), (0.0, 1.0, -1.0))), 0),
        Move(Selection(voxels_around(a.points[:5], 0.07), (0,)), 1, TURN),
        Paint(1, patches),
        Insert(1, (replace(a, frame=-1), replace(empty, frame=-2), replace(b, frame=-3))),
        Insert(1, ()),
        Delete(Selection(Everywhere(), (4,)), 1),
        Delete(Selection(Voxels(torch.empty(0, dtype=torch.int64), 0.1)), 1),
    )
    return replace(memory, edits=edits)


def through_a_file(memory, folder):
    parts, record = memory_to_tensors(memory, "m.")
    save_tensors(folder / "world", parts, {"memory": record})
    tensors, header = load_tensors(folder / "world")
    return memory_from_tensors(tensors, header["memory"], "m.")


def assert_same(ours, theirs):
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        assert (a.frame, a.chunk, a.voxel) == (b.frame, b.chunk, b.voxel)
        assert (a.camera.height, a.camera.width) == (b.camera.height, b.camera.width)
        assert bits(a.camera.c2w) == bits(b.camera.c2w) and bits(a.camera.K) == bits(b.camera.K)
        for name in PER_POINT:
            x, y = getattr(a, name), getattr(b, name)
            assert x.dtype == y.dtype and x.shape == y.shape and bits(x) == bits(y), name


@pytest.mark.parametrize("kind", ["latent", "rgb"])
def test_every_edit_and_every_stamp_comes_back_to_the_bit(kind, tmp_path):
    before = memory_of(kind)
    after = through_a_file(before, tmp_path)
    for name in ("kind", "codec", "channels", "scene_unit", "metric", "ledger"):
        assert getattr(after, name) == getattr(before, name), name
    assert_same(after.observations, before.observations)
    assert_same(after.drawn, before.drawn)
    assert [o.get_ram_usage() for o in after.observations] == [o.get_ram_usage() for o in before.observations]
    for a, b in zip(after.edits, before.edits):
        assert type(a) is type(b) and a.chunk == b.chunk
        if hasattr(b, "selection"):
            assert a.selection.frames == b.selection.frames
            if isinstance(b.selection.region, Voxels):
                assert torch.equal(a.selection.region.keys, b.selection.region.keys)
                assert a.selection.region.voxel == b.selection.region.voxel
            else:
                assert a.selection.region == b.selection.region
    assert bits(after.edits[3].transform) == bits(before.edits[3].transform)
    for a, b in zip(after.edits[4].patches, before.edits[4].patches):
        assert (a.frame, a.at_chunk, bits(a.cells), bits(a.features)) == (
            b.frame,
            b.at_chunk,
            bits(b.cells),
            bits(b.features),
        )
    for a, b in zip(after.edits[5:7], before.edits[5:7]):
        assert_same(a.observations, b.observations)
    camera = before.observations[1].camera
    views = Cameras(POSES, camera.K.expand(3, 3, 3), camera.height, camera.width)
    for name in ("features", "depth", "known", "winner", "offset"):
        assert torch.equal(getattr(read(after, views), name), getattr(read(before, views), name))
    assert_same(after.undone().undone().undone().undone().drawn, before.undone().undone().undone().undone().drawn)
    assert_same(after.revert(0).observations, before.revert(0).observations)


def test_a_transform_in_double_is_saved_so_that_it_is_read_again(tmp_path):
    before = memory_of("latent")
    before = replace(before, edits=(Move(Selection(Everywhere()), 1, TURN.double()),))
    assert_same(through_a_file(before, tmp_path).drawn, before.drawn)


def test_a_thousand_observations_are_as_many_tensors_as_ten(tmp_path):
    o = lift_latents(torch.randn(4, 1, 6, 10), geometry(torch.full((1, 24, 40), 2.0)), [0], 0)[0]
    many = tuple(replace(o.where(torch.arange(60) % (i % 7 + 1) == 0), frame=4 * i) for i in range(1000))
    before = replace(SpatialMemory("latent", "toy", 4, 2.0, False), observations=many)
    parts, _ = memory_to_tensors(before, "m.")
    assert parts.keys() == memory_to_tensors(replace(before, observations=many[:10]), "m.")[0].keys()
    assert_same(through_a_file(before, tmp_path).observations, before.observations)


@pytest.mark.parametrize("kind", ["latent", "rgb"])
def test_version_1_is_read(kind, tmp_path):
    generator = torch.Generator().manual_seed(1)
    channels = 16 if kind == "latent" else 3
    rows, tensors, expected = [], {}, []
    for i, n in enumerate((5, 1, 9)):
        features = torch.rand(n, channels, generator=generator).half()
        tensors |= {
            f"memory.{i:05d}.points": torch.randn(n, 3, generator=generator),
            f"memory.{i:05d}.features": features,
            f"memory.{i:05d}.cells": torch.arange(n, dtype=torch.int32) * 7,
            f"memory.{i:05d}.depth": torch.rand(n, generator=generator),
            f"memory.{i:05d}.c2w": POSES[i],
            f"memory.{i:05d}.K": intrinsics_from_fov(50.0 + i, 8, 12),
        }
        rows.append({"frame": 4 * i, "chunk": i - 1, "voxel": 0.1 * i, "height": 8, "width": 12})
        expected.append(features if kind == "latent" else (features.float() * 255).round().to(torch.uint8))
    record = {"kind": kind, "codec": "", "channels": channels, "scene_unit": 2, "metric": False, "observations": rows}
    save_tensors(tmp_path / "old", tensors, {"memory": record})
    loaded, header = load_tensors(tmp_path / "old")
    memory = memory_from_tensors(loaded, header["memory"], "memory.")
    assert memory.edits == () and memory.ledger == () and memory.scene_unit == 2.0
    for i, (o, features) in enumerate(zip(memory.observations, expected)):
        assert (o.frame, o.chunk, o.voxel, o.camera.height, o.camera.width) == (4 * i, i - 1, 0.1 * i, 8, 12)
        assert bits(o.points) == bits(tensors[f"memory.{i:05d}.points"]) and bits(o.features) == bits(features)
        assert (o.doubted == NEVER).all() and (o.retired == NEVER).all() and (o.confidence == 255).all()
    assert_same(through_a_file(memory, tmp_path).observations, memory.observations)  # and written anew as version 2
    for spoilt in (
        {"memory.00001.points": torch.full((1, 3), torch.nan)},
        {"memory.00001.cells": torch.tensor([96]).int()},
    ):
        with pytest.raises(ValueError, match="memory.00001.points or cells"):
            memory_from_tensors({**loaded, **spoilt}, header["memory"], "memory.")


def spoilt(change):
    """The parts and the record of a memory with one thing changed."""
    parts, record = memory_to_tensors(memory_of("latent"), "m.")
    parts = {name: torch.cat(part.parts) if isinstance(part, Rows) else part.clone() for name, part in parts.items()}
    record = json.loads(json.dumps(record))
    memory_from_tensors(parts, record, "m.")  # unspoilt it is read
    change(parts, record)
    return parts, record


def nan_region(number, key, value):
    return lambda t, r: r["edits"][number]["selection"]["shape"].update({key: value})


HUGE = 10**400
EDITED = "m.edits.0000"


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda t, r: r["observations"][0].update(count=10**15), "m.points"),
        (lambda t, r: r["observations"][0].update(count=r["observations"][0]["count"] - 1), "m.points"),
        (lambda t, r: r["observations"][2].update(count=-60), "m.2 has a count of -60"),
        (lambda t, r: r["observations"][0].update(height=10**9, width=10**9), "m.0 has a grid"),
        (lambda t, r: r["observations"][0].update(height=-6, width=-10), "m.0 has a grid"),
        (lambda t, r: r["observations"][0].update(chunk=NEVER), "m.0 has a grid, voxel or chunk"),
        (lambda t, r: r["observations"][0].update(chunk=HUGE), "m.0 has a grid, voxel or chunk"),
        (lambda t, r: r["observations"][0].update(voxel=HUGE), "m.0.voxel"),
        (lambda t, r: r["observations"][0].update(voxel=-0.5), "m.0 has a grid, voxel"),
        (lambda t, r: r["observations"][0].update(voxel=float("nan")), "m.0.voxel"),
        (lambda t, r: r["observations"][3]["same"].update(normals=[3, -1]), "m.normals"),
        (lambda t, r: r["observations"][3]["same"].update(confidence=256), "m.confidence"),
        (lambda t, r: r["observations"][3]["same"].update(normals=3), "m.normals"),
        (lambda t, r: r["observations"][3]["same"].pop("doubted"), "m.doubted"),
        (lambda t, r: r.update(scene_unit=HUGE), "m.scene_unit"),
        (lambda t, r: r.update(scene_unit=float("nan")), "m.scene_unit"),
        (lambda t, r: r.update(scene_unit=0.0), "m.scene_unit"),
        (lambda t, r: r.update(channels=-4), "m.scene_unit is .* with -4 channels"),
        (lambda t, r: r.update(channels=10**12), "channels"),
        (lambda t, r: t.update({"m.c2w": t["m.c2w"] * torch.nan}), "m.camera"),
        (lambda t, r: t.update({"m.cells": t["m.cells"] - 1}), "m.cells of frame 0"),
        (nan_region(0, "centre", [0.0, float("nan"), 0.0]), EDITED + "0.centre"),
        (nan_region(0, "size", [0.0, 1.0, 1.0]), "a box of size"),
        (nan_region(0, "rotation", [0.0, 0.0, 0.0, 0.0]), "a box of size"),
        (nan_region(1, "radius", float("inf")), EDITED + "1.radius"),
        (nan_region(1, "radius", HUGE), EDITED + "1.radius"),
        (nan_region(1, "radius", -1.0), "a sphere of radius -1"),
        (nan_region(2, "normal", [0.0, 0.0, 0.0]), "half-space"),
        (nan_region(2, "normal", [0.0, 0.0]), EDITED + "2.normal"),
        (lambda t, r: t.update({EDITED + "3.keys": t[EDITED + "3.keys"].flip(0)}), EDITED + "3.keys do not rise"),
        (lambda t, r: r["edits"][3]["selection"].update(voxel=0.0), EDITED + "3.voxel"),
        (lambda t, r: r["edits"][3]["selection"].update(voxel=float("nan")), EDITED + "3.voxel"),
        (lambda t, r: r["edits"][3]["selection"].update(frames=[0.5]), EDITED + "3.frames"),
        (lambda t, r: t.update({EDITED + "3.transform": TURN.double()}), EDITED + "3.transform"),
        (lambda t, r: t.update({EDITED + "3.transform": 2 * TURN}), "transform is no rigid motion"),
        (lambda t, r: t.update({EDITED + "3.transform": TURN * torch.nan}), "transform is no rigid motion"),
        (lambda t, r: t.update({EDITED + "4.00000.features": torch.zeros(30, 4)}), EDITED + "4.00000.features"),
        (lambda t, r: t.update({EDITED + "4.00000.features": torch.zeros(30, 3).half()}), EDITED + "4.00000.features"),
        (lambda t, r: t.update({EDITED + "4.00000.cells": t[EDITED + "4.00000.cells"].flip(0)}), "cells do not rise"),
        (lambda t, r: t.pop(EDITED + "5.points"), EDITED + "5.points is missing"),
        (lambda t, r: r["edits"][5]["observations"][0].update(count=10**12), EDITED + "5.points"),
        (lambda t, r: r["edits"][0].update(edit="melt"), "'melt', which this pack does not know: update"),
        (
            lambda t, r: r["edits"][0]["selection"].update(region="cone"),
            "'cone', which this pack does not know: update",
        ),
        (lambda t, r: r["edits"][0].update(chunk="0"), EDITED + "0.chunk"),
    ],
)
def test_a_spoilt_memory_is_refused_by_name_and_nothing_is_allocated(change, message):
    parts, record = spoilt(change)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=message):
        memory_from_tensors(parts, record, "m.")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024  # KiB


META = {"format": FORMAT, "version": str(VERSION), "header": "{}"}
BYTES = {"dtype": "U8", "shape": [4]}


def raw(path, table, body=b""):
    head = (table if isinstance(table, str) else json.dumps(table)).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + body)
    return path


@pytest.mark.parametrize(
    "table, message",
    [
        ({"x": {"dtype": "F32", "shape": [0, 2**47, 2**47], "data_offsets": [0, 0]}}, "x has shape"),
        ({"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}, "header says"),
        ({"x": {**BYTES, "data_offsets": [0, 4]}, "y": {**BYTES, "data_offsets": [2, 6]}}, "y starts"),
        ({"x": {"dtype": "F32", "shape": [int("9" * 400)], "data_offsets": [0, 8]}}, "shape"),
        ('{"__metadata__": {}, "x": ' + "9" * 5000 + "}", "no world file"),
        ({"__metadata__": {**META, "header": '{"x": ' + "9" * 5000 + "}"}}, "world header"),
        ({"__metadata__": {**META, "header": '{"x": NaN}'}}, "world header is no JSON .*NaN"),
        ({"__metadata__": {**META, "header": '{"x": -Infinity}'}}, "world header is no JSON .*Infinity"),
        ({"__metadata__": {**META, "version": str(VERSION + 1)}}, "update the pack"),
    ],
)  # fmt: skip
def test_a_hostile_header_is_refused_by_name(tmp_path, table, message):
    if isinstance(table, dict):
        table = {"__metadata__": META, **table}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match=f"hostile.world.*{message}|{message}.*hostile.world"):
        load_tensors(raw(tmp_path / "hostile.world", table, bytes(8)))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_rows_of_two_types_are_not_written_as_one(tmp_path):
    with pytest.raises(ValueError, match="2 types"):
        Rows((torch.zeros(2), torch.zeros(2).half()))
    o = lift_latents(torch.randn(4, 1, 6, 10), geometry(torch.full((1, 24, 40), 2.0)), [0], 0)[0]
    memory = SpatialMemory("latent", "toy", 4, 2.0, False).insert([o, replace(o, cells=o.cells.long(), frame=4)])
    with pytest.raises(ValueError, match="2 types"):
        memory_to_tensors(memory, "m.")


def test_one_point_whose_features_stand_for_all_is_written(tmp_path):
    value = torch.tensor(3, dtype=torch.int16).expand(1)
    save_tensors(tmp_path / "one", {"x": value, "y": Rows((value, value))}, {})
    tensors, _ = load_tensors(tmp_path / "one")
    assert tensors["x"].tolist() == [3] and tensors["y"].tolist() == [3, 3]
