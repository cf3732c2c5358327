"""The scene that the editor draws: points in an order of prefixes, marks, frusta, and its bytes in a file."""

import io
from dataclasses import replace

import numpy as np
import pytest
import tiny_rollout
import torch
from PIL import Image
from scenes import geometry, memory_of, pose
from spatial_memory.memory.edits import Delete, Insert, Move, Paint, Patch
from spatial_memory.memory.lift import lift_pixels
from spatial_memory.memory.regions import Box, Selection
from spatial_memory.rollout.fingerprint import memory_key, observation_digest
from spatial_memory.rollout.scene import scene_of
from spatial_memory.rollout.scene_file import (
    KEPT,
    Scene,
    first_points,
    load_scene,
    read_scene,
    save_scene,
    scene_bytes,
)
from spatial_memory.rollout.scene_points import CONTRADICTED, EDITED, HIDDEN, RETIRED, marked, scene_points


def views(count=2, height=24, width=32, seed=0):
    """Observations of a memory of colours, seen from a dolly to half depth that rolls by 180 degrees."""
    made = torch.Generator().manual_seed(seed)
    depth = 1 + torch.rand(count, height, width, generator=made)
    poses = [pose((0, 0, 0.5 * i), axis=(0, 0, 1), degrees=180.0 * i) for i in range(count)]
    seen = geometry(depth, c2w=torch.stack(poses))
    return lift_pixels(torch.rand(count, 3, height, width, generator=made), seen, list(range(count)), 0, None)


@pytest.fixture
def memory():
    return memory_of(views(), channels=3, kind="rgb")


def world_of(points):
    return points.place[:, :3] * np.array(points.step) + np.array(points.low)


def test_points_lie_where_they_were_to_half_a_step_and_keep_their_colour(memory):
    points = scene_points(memory, None)
    assert len(points) == points.total == len(memory.points) and points.far == 0
    ours, theirs = world_of(points), memory.points.double().numpy()
    order, other = np.lexsort(points.look[:, :3].T), np.lexsort(memory.features.numpy().T)
    assert (np.abs(ours[order] - theirs[other]) <= 0.51 * np.array(points.step) + 1e-7).all()
    assert (points.look[order, :3] == memory.features.numpy()[other]).all()
    assert (points.place[:, 3] == 1).all() and (points.look[:, 3] == 0).all()


def test_a_coarse_scene_is_the_beginning_of_a_fine_one(memory):
    fine = scene_points(memory, None)
    for most in (1, 7, 100, 1000):
        coarse = scene_points(memory, None, most)
        assert len(coarse) == most and (coarse.low, coarse.step) == (fine.low, fine.step)
        assert (coarse.place == fine.place[:most]).all() and (coarse.look == fine.look[:most]).all()


@pytest.mark.parametrize("blocks", [4, 8, 16])
def test_every_beginning_covers_the_scene_more_evenly_than_chance(blocks):
    wall = geometry(torch.full((1, 64, 64), 2.0))
    memory = memory_of(lift_pixels(torch.rand(1, 3, 64, 64), wall, [0], 0, None), channels=3, kind="rgb")
    place = scene_points(memory, None).place[:, :2].astype(int)
    cells = place[:, 0] * blocks // 65536 * blocks + place[:, 1] * blocks // 65536
    chance = np.random.default_rng(0)
    shares = [len(set(chance.permutation(cells)[: blocks**2])) / blocks**2 for _ in range(9)]
    assert len(set(cells[: blocks**2])) / blocks**2 > max(0.85, *shares)


def test_the_same_memory_gives_the_same_bytes_and_another_another(memory):
    again = memory_of(views(), channels=3, kind="rgb")
    assert scene_bytes(scene_of(memory)) == scene_bytes(scene_of(again)) and memory_key(memory) == memory_key(again)
    other = memory_of(views(seed=1), channels=3, kind="rgb")
    assert memory_key(other) != memory_key(memory)
    doubted = memory.observations[0].marked("doubted", torch.arange(len(memory.observations[0])) == 5, 3)
    assert memory_key(replace(memory, observations=(doubted, memory.observations[1]))) != memory_key(memory)
    assert memory_key(memory.edited(Delete(Selection(Box((0.5, 0.5, 4.0), (1, 1, 9))), 0))) != memory_key(memory)
    assert observation_digest(doubted) != observation_digest(memory.observations[0])


def test_what_lies_far_out_does_not_coarsen_the_rest(memory):
    stray = memory.observations[1]
    points = stray.points.clone()
    points[3] = torch.tensor([1e9, 0.0, 0.0])
    far = replace(memory, observations=(memory.observations[0], replace(stray, points=points)))
    found = scene_points(far, None)
    assert found.far == 1 and len(found) == found.total - 1
    assert max(found.step) < 2e-4


def test_marks_tell_contradicted_retired_edited_and_hidden(memory):
    first, second = memory.observations
    some = torch.arange(len(first))
    stamped = first.marked("doubted", some < 10, 2).marked("retired", (some >= 5) & (some < 20), 2)
    memory = replace(memory, observations=(stamped, second))
    flags = torch.cat([f for _, f in marked(memory)])
    assert [int((flags == value).sum()) for value in (0, 1, 2, 3)] == [len(flags) - 20, 5, 10, 5]
    box = Selection(Box((-5, 0, 0), (10, 20, 20)))
    gone = memory.edited(Delete(box, 0))
    flags = torch.cat([f for _, f in marked(gone)])
    assert int((flags & HIDDEN > 0).sum()) == sum(len(o) for o in memory.drawn) - sum(len(o) for o in gone.drawn) > 0
    assert int((flags & RETIRED > 0).sum()) == 15 and int((flags & EDITED > 0).sum()) == 0
    assert CONTRADICTED == 1

    moved = memory.edited(Move(box, 0, pose((3.0, 0, 0))))
    flags = torch.cat([f for _, f in marked(moved)])
    expected = sum(int(box.mask(o).sum()) for o in memory.living)
    assert int((flags & EDITED > 0).sum()) == expected and int((flags & HIDDEN > 0).sum()) == 0

    patch = Patch(second.frame, second.chunk, second.cells[:4], 255 - second.features[:4])
    painted = torch.cat([f for _, f in marked(memory.edited(Paint(0, (patch,))))])
    assert int((painted & EDITED > 0).sum()) == 4
    brought = replace(second, frame=99)
    inserted = torch.cat([f for _, f in marked(memory.edited(Insert(0, (brought,))))])
    assert int((inserted & EDITED > 0).sum()) == len(brought)


@pytest.mark.parametrize("kind", ["latent", "rgb"])
def test_a_film_becomes_frusta_with_thumbnails_chunks_and_references(kind):
    state = tiny_rollout.one_chunk(tiny_rollout.one_chunk(tiny_rollout.begin(kind)))
    scene = scene_of(state.memory, state)
    header = scene.header
    assert header["kind"] == kind and header["memory"] == memory_key(state.memory)
    assert header["film"]["frames"] == 57 and header["film"]["height"] == tiny_rollout.HEIGHT
    assert header["film"]["grid"] == ([8, 12] if kind == "latent" else None)
    assert [(row["start"], row["stop"]) for row in header["chunks"]] == [(0, 33), (33, 57)]
    assert header["chunks"][1]["references"] and 0 <= header["chunks"][1]["hole"] <= 100
    frusta = header["frusta"]
    assert [row["frame"] for row in frusta] == list(range(0, 57, 4))
    assert [row["chunk"] for row in frusta] == [-1] + [0] * 8 + [1] * 6
    for row in frusta:
        assert row["c2w"] == state.cameras.c2w[row["frame"]].flatten().tolist()
        assert row["aspect"] == pytest.approx(1.5) and row["vertical_fov"] == pytest.approx(50.0, abs=1e-4)
        offset, length = row["picture"]
        with Image.open(io.BytesIO(scene.arrays["pictures"][offset : offset + length].tobytes())) as picture:
            assert picture.size == ((96, 64) if row["decoded"] else (12, 8))
    assert [row["decoded"] for row in frusta] == [True] + [False] * 14
    sure = header["confidence"]
    assert 0 < sure["near"] <= sure["middle"] <= sure["distant"] and 0 < sure["mean"] <= 1
    assert header["up"] == [0, -1, 0] and header["spacing"] > 0


def test_a_memory_alone_shows_where_it_was_seen_from(memory):
    image = torch.rand(3, 24, 32)
    header = scene_of(memory, image=image).header
    assert [row["frame"] for row in header["frusta"]] == [0, 1] and header["frusta"][0]["picture"][1] > 100
    assert header["frusta"][1]["c2w"] == memory.observations[1].camera.c2w.flatten().tolist()
    assert header["film"] == {"height": 24, "width": 32, "grid": None, "temporal": 4, "frames": 0}
    assert scene_of(memory).header["frusta"][0]["picture"] is None


def test_a_memory_and_a_state_of_two_films_are_refused():
    state = tiny_rollout.begin("rgb")
    with pytest.raises(ValueError, match="one film"):
        scene_of(memory_of(views(), channels=3, kind="rgb"), state)


def test_an_empty_memory_and_a_single_point_hold():
    with pytest.raises(ValueError, match="no points"):
        scene_of(memory_of([], channels=3, kind="rgb"))
    one = memory_of([views()[0].where(torch.tensor([7]))], channels=3, kind="rgb")
    points = scene_points(one, None)
    assert len(points) == 1 and np.allclose(world_of(points), one.points.numpy())
    assert read_scene(scene_bytes(scene_of(one))).header["points"] == 1
    hidden = one.edited(Delete(Selection(Box((0, 0, 0), (20, 20, 20))), 0))
    assert scene_points(hidden, None).look[0, 3] == HIDDEN and scene_of(hidden).header["confidence"]["mean"] is None
    for most in (0, 2_000_000):
        with pytest.raises(ValueError, match="1 to 1000000"):
            scene_points(one, None, most)


def test_bytes_come_back_and_a_part_is_read_as_a_part(memory):
    scene = scene_of(memory)
    content = scene_bytes(scene)
    assert content[:8] == b"SMSCENE1" and len(content) % 8 == 0
    back = read_scene(content)
    assert back.header == scene.header
    for name, array in scene.arrays.items():
        assert (back.arrays[name] == array).all() and back.arrays[name].dtype == array.dtype
    some = read_scene(scene_bytes(first_points(back, 100)))
    assert some.header["points"] == 100 and (some.arrays["place"] == scene.arrays["place"][:100]).all()
    assert len(some.arrays["look"]) == 100 and len(some.arrays["pictures"]) == len(scene.arrays["pictures"])
    for damaged in (b"", content[:15], b"X" + content[1:], content[:200], content[:-64]):
        with pytest.raises(ValueError):
            read_scene(damaged)
    with pytest.raises(ValueError, match="version 2"):
        read_scene(scene_bytes(Scene({**scene.header, "version": 2}, scene.arrays)))


def test_files_are_named_by_their_bytes_and_the_oldest_go(tmp_path, memory):
    scene = scene_of(memory, most=10)
    key = save_scene(tmp_path / "scenes", scene)
    assert save_scene(tmp_path / "scenes", scene) == key
    assert load_scene(tmp_path / "scenes", key) == scene_bytes(scene)
    assert load_scene(tmp_path / "scenes", "0" * 32) is None
    for name in ("../" + key, key.upper(), key + "\n", "", key[:-1] + "/"):
        with pytest.raises(ValueError):
            load_scene(tmp_path / "scenes", name)
    keys = [save_scene(tmp_path / "scenes", Scene({**scene.header, "n": i}, scene.arrays)) for i in range(KEPT + 3)]
    left = {file.stem for file in (tmp_path / "scenes").iterdir()}
    assert len(left) == KEPT and key not in left and keys[-1] in left
    (tmp_path / "scenes" / "mine.txt").write_text("stays")
    save_scene(tmp_path / "scenes", scene)
    assert (tmp_path / "scenes" / "mine.txt").is_file()
