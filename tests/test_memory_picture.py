"""A memory in numbers and as a picture, and the cameras that swing about it."""

import math

import pytest
import scenes
import torch
from spatial_memory.memory.camera import Cameras, intrinsics_from_fov
from spatial_memory.memory.edits import Delete, Insert, Move
from spatial_memory.memory.figures import figures_table, memory_figures
from spatial_memory.memory.lift import lift_latents
from spatial_memory.memory.observation import NEVER
from spatial_memory.memory.regions import Everywhere, Selection, Sphere
from spatial_memory.rollout.look import home, orbit
from spatial_memory.rollout.memory_picture import draw_memory


def memory(chunks=3):
    """One given view and two of each chunk, the camera moving to the right; some points stamped."""
    seen = []
    for chunk in range(-1, chunks):
        for i in range(1 if chunk < 0 else 2):
            frame = 0 if chunk < 0 else 10 * (chunk + 1) + i
            c2w = scenes.pose((0.2 * (chunk + 1), 0.0, 0.0), degrees=5.0 * i)[None]
            depth = torch.full((1, 6, 8), 2.0 + 0.1 * chunk)
            seen += lift_latents(torch.randn(4, 1, 6, 8), scenes.geometry(depth, c2w=c2w), [frame], chunk)
    first = torch.arange(48) < 7
    seen[1] = seen[1].marked("doubted", first, 1)
    seen[2] = seen[2].marked("doubted", first, 1).marked("retired", torch.arange(48) < 3, 2)
    return scenes.memory_of(seen)


def grey(some):
    return torch.full((len(some.points), 3), 120, dtype=torch.uint8)


def test_figures_are_what_a_slow_count_finds():
    some = memory()
    told = memory_figures(some)
    doubted = retired = 0
    by_chunk = {}
    for o in some.observations:
        for i in range(len(o)):
            is_retired = int(o.retired[i]) != NEVER
            retired += is_retired
            doubted += int(o.doubted[i]) != NEVER and not is_retired
            by_chunk[o.chunk] = by_chunk.get(o.chunk, 0) + 1
    assert (told["contradicted_points"], told["retired_points"]) == (doubted, retired) == (11, 3)
    assert {row["chunk"]: row["points"] for row in told["chunks"]} == by_chunk
    assert told["drawn_points"] == told["stored_points"] - 3 == sum(by_chunk.values()) - 3
    assert sum(row["bytes"] for row in told["chunks"]) == told["bytes"]


def test_edits_are_counted_over_what_was_drawn_before_them():
    some = memory()
    whole = Selection(Everywhere(), (10,))
    shift = torch.eye(4)
    shift[2, 3] = 5.0
    after = some.edited(Move(whole, 2, shift)).edited(Delete(Selection(Sphere((0.0, 0.0, 7.0), 3.0)), 2))
    after = after.edited(Insert(2, (some.observations[0],)))
    moved, deleted, inserted = memory_figures(after)["edits"]
    assert (moved["edit"], moved["points"]) == ("move", len(some.observations[1]))
    near = (some.observations[1].points + torch.tensor([0.0, 0.0, 5.0]) - torch.tensor([0.0, 0.0, 7.0])).norm(dim=1)
    assert deleted["points"] == int((near <= 3.0).sum()) > 0
    assert (inserted["points"], inserted["after_chunk"]) == (48, 2)
    table = figures_table(memory_figures(after))
    assert "1  move: everywhere around" in table and "only of frames 10" in table and "11 contradicted once" in table


def test_the_picture_shows_points_in_their_colours_and_ages():
    some = memory()
    red = torch.zeros(len(some.points), 3, dtype=torch.uint8)
    red[:, 0] = 255
    one, other = draw_memory(some, grey(some)), draw_memory(some, red)
    assert one.shape == other.shape and one.shape[1:] == (1600, 3) and one.dtype == torch.uint8
    changed = (one != other).any(-1)
    columns = changed.any(0).nonzero()
    assert changed.sum() > 200 and columns.max() < 800  # the left map alone
    assert (other[..., 0].int() - other[..., 1].int() > 200).sum() > 200
    ages = draw_memory(memory(2), grey(memory(2)))[:, 800:]
    assert not torch.equal(ages, one[: len(ages), 800:])


def test_an_empty_memory_and_a_long_one_are_drawn():
    empty = scenes.memory_of([])
    assert draw_memory(empty, grey(empty)).shape[1] == 1600
    assert memory_figures(empty)["chunks"] == []
    long = memory(40)
    assert draw_memory(long, grey(long)).shape[1] == 1600
    with pytest.raises(ValueError, match="holds no points"):
        home(empty)


@pytest.mark.parametrize("roll", [0.0, 180.0])
def test_an_orbit_looks_at_one_point_and_comes_back(roll):
    c2w = scenes.pose((0.3, -0.2, 1.5), axis=(0.0, 0.0, 1.0), degrees=roll)
    start = Cameras(c2w, intrinsics_from_fov(50.0, 12, 20), 12, 20)
    cameras = orbit(start, 2.0, 16, 12.0)
    assert len(cameras) == 16 and torch.equal(cameras.c2w[0], c2w)
    middle = torch.tensor([0.3, -0.2, 3.5])
    for view in range(16):
        ahead = cameras.c2w[view, :3, 2]
        torch.testing.assert_close(cameras.position[view] + 2.0 * ahead, middle, atol=1e-5, rtol=0)
    sign = 1.0 if roll == 0 else -1.0  # of the world's right and up, seen from the camera
    away = cameras.position - start.position
    assert sign * away[4, 0] > 0.3 and sign * away[12, 0] < -0.3  # first to its right, then to its left
    assert -sign * away[8, 1] > 0.05  # y points down: in the middle of the way the camera stands higher
    turned = math.degrees(math.acos(float((cameras.c2w[4, :3, 2] * c2w[:3, 2]).sum())))
    assert 12.0 <= turned < 13.0
    with pytest.raises(ValueError, match="less than 90"):
        orbit(start, 2.0, 4, 90.0)
