"""Edits over a memory: what was deleted does not come back, what was inserted stays, what was moved looks the same."""

from dataclasses import replace

import pytest
import torch
from scenes import geometry, memory_of, pose
from spatial_memory.memory.budget import evict
from spatial_memory.memory.camera import Cameras
from spatial_memory.memory.carve import carve
from spatial_memory.memory.edits import Delete, Hide, Insert, Lock, Move, Paint, Patch, last_chunk
from spatial_memory.memory.lift import lift_latents, lift_pixels
from spatial_memory.memory.memory_file import memory_from_tensors, memory_to_tensors
from spatial_memory.memory.merge import keep_finest, keep_first, keep_newest, merge
from spatial_memory.memory.normals import decode_normals
from spatial_memory.memory.regions import Everywhere, HalfSpace, Selection, Sphere
from spatial_memory.memory.splat import read
from spatial_memory.memory.store import load_tensors, save_tensors

H, W = 48, 80
VIEWS = [
    pose(),
    pose((0.0, 0.0, 1.0)),
    pose((0.05, 0.0, 0.1), (0.0, 0.0, 1.0), 180.0),
    pose((0.1, -0.1, 0.3), (0.0, 1.0, 0.0), 8.0),
]
THING = Sphere((0.0, 0.0, 2.0), 0.3)


def wall(view, distance=2.0):
    c2w = VIEWS[view % len(VIEWS)]
    ones = geometry(torch.ones(1, H, W), c2w=c2w[None])
    v, u = torch.meshgrid(torch.arange(H) + 0.5, torch.arange(W) + 0.5, indexing="ij")
    K = ones.cameras.K[0]
    ray = torch.stack([(u - K[0, 2]) / K[0, 0], (v - K[1, 2]) / K[1, 1], torch.ones(H, W)], -1) @ c2w[:3, :3].T
    return replace(ones, depth=((distance - c2w[2, 3]) / ray[..., 2])[None])


def lifted(kind, view, frame, chunk, distance=2.0):
    seed = torch.Generator().manual_seed(frame + 100)
    if kind == "latent":
        return lift_latents(torch.randn(4, 1, 12, 20, generator=seed), wall(view, distance), [frame], chunk)
    return lift_pixels(torch.rand(1, 3, H, W, generator=seed), wall(view, distance), [frame], chunk, 0.02)


def begun(kind):
    return memory_of(lifted(kind, 0, 0, -1), 4 if kind == "latent" else 3, kind)


def updated(memory, chunk, policy=keep_newest, distance=2.0, bound=0):
    """One chunk on: a view of the same place, merged, carved, evicted."""
    memory, _ = merge(memory, lifted(memory.kind, chunk, 4 * chunk + 4, chunk, distance), policy)
    memory, _ = carve(memory, wall(chunk, distance), (4 * chunk + 4,), chunk)
    return evict(memory, bound)[0] if bound else memory


def saved_and_loaded(memory, folder):
    parts, record = memory_to_tensors(memory, "m.")
    save_tensors(folder / "world", parts, {"memory": record})
    tensors, header = load_tensors(folder / "world")
    return memory_from_tensors(tensors, header["memory"], "m.")


@pytest.mark.parametrize("kind", ["latent", "rgb"])
@pytest.mark.parametrize("edit", [Delete, Hide])
@pytest.mark.parametrize("policy", [keep_first, keep_finest, keep_newest])
def test_what_was_deleted_does_not_come_back(kind, edit, policy, tmp_path):
    original = begun(kind)
    there = int(THING.contains(original.points).sum())
    memory = original.edited(edit(Selection(THING), -1))
    assert there >= 4 and len(memory.points) == len(original.points) - there
    for chunk in range(2):
        memory = updated(memory, chunk, policy)
    memory = saved_and_loaded(memory, tmp_path)
    for chunk in range(2, 4):
        memory = updated(memory, chunk, policy)
        assert not THING.contains(memory.points).any() and len(memory.points) > there
    back = memory.undone()
    assert int(THING.contains(back.points).sum()) == there  # the very points, and no others
    assert torch.equal(back.points[: len(original.points)], original.points)
    assert torch.equal(back.features[: len(original.points)], original.features)


@pytest.mark.parametrize("kind", ["latent", "rgb"])
def test_without_the_edit_the_thing_does_come_back(kind):
    memory = begun(kind).select(lambda o: ~THING.contains(o.points))
    assert not THING.contains(memory.points).any() and THING.contains(updated(memory, 0).points).any()


@pytest.mark.parametrize("kind", ["latent", "rgb"])
def test_what_was_inserted_stays_through_updates_that_see_past_it(kind, tmp_path):
    ones = geometry(torch.full((1, H, W), 1.2))
    only = torch.zeros(1, H, W, dtype=torch.bool)
    only[:, 16:32, 32:48] = True
    near = replace(ones, keep=only)
    seed = torch.Generator().manual_seed(9)
    if kind == "latent":
        thing = lift_latents(torch.randn(4, 1, 12, 20, generator=seed), near, [-1], -1)
    else:
        thing = lift_pixels(torch.rand(1, 3, H, W, generator=seed), near, [-1], -1, 0.02)
    assert len(thing[0]) > 5
    memory = begun(kind).edited(Insert(-1, thing))
    for chunk in range(5):
        memory = updated(memory, chunk, bound=300)
    for some in (memory, saved_and_loaded(memory, tmp_path)):
        assert torch.equal(some.drawn[-1].points, thing[0].points)
        assert torch.equal(some.drawn[-1].features, thing[0].features)
    assert memory.revert(2).drawn[-1] is thing[0] and memory.undone().num_points == memory.num_points
    assert memory.get_ram_usage() == memory.undone().get_ram_usage() + thing[0].get_ram_usage()


@pytest.mark.parametrize("kind", ["latent", "rgb"])
def test_what_was_moved_is_read_by_a_moved_camera_as_before(kind):
    turn = pose((0.5, -0.25, 1.0), (0.2, 1.0, 0.3), 40.0)
    slope = torch.linspace(0.0, 0.2, H * W).view(1, H, W)  # no two pixels are as far away
    slanted = replace(wall(0), depth=2 + slope)
    if kind == "latent":
        memory = memory_of(lift_latents(torch.randn(4, 1, 12, 20), slanted, [0], -1))
    else:
        memory = memory_of(lift_pixels(torch.rand(1, 3, H, W), slanted, [0], -1, None), 3, kind)
    moved = memory.edited(Move(Selection(Everywhere()), -1, turn))
    camera = memory.observations[0].camera
    before, after = read(memory, camera[None]), read(moved, camera.moved(turn)[None])
    assert torch.equal(before.winner, after.winner)
    assert torch.allclose(before.features, after.features, atol=1e-5 if kind == "latent" else 2e-3)  # discs are soft
    assert torch.allclose(before.depth, after.depth, rtol=1e-5)
    (o,) = moved.drawn
    assert torch.allclose(o.spacing, memory.drawn[0].spacing, rtol=1e-4)
    if kind == "latent":
        n = decode_normals(memory.drawn[0].normals) @ turn[:3, :3].T
        assert ((decode_normals(o.normals) * n).sum(1) > 0.999).all()
    shift = torch.eye(4)
    shift[:3, 3] = torch.tensor([0.5, -0.25, 1.0])  # dyadic, and so exact
    there = memory.edited(Move(Selection(HalfSpace((0.0, 0.0, 0.0), (1.0, 0.0, 0.0))), -1, shift))
    right = memory.points[:, 0] >= 0
    assert torch.equal(there.points, torch.cat([memory.points[~right], memory.points[right] + shift[:3, 3]]))
    assert torch.equal(there.features, torch.cat([memory.features[~right], memory.features[right]]))


@pytest.mark.parametrize("kind", ["latent", "rgb"])
def test_points_of_an_edited_frame_that_no_edit_changed_are_replaced_as_ever(kind):
    memory = memory_of(lifted(kind, 0, 0, 0), 4 if kind == "latent" else 3, kind)
    whole = memory.observations[0]
    painted, moved_there = whole.cells[:7].sort().values, HalfSpace((0.4, 0.0, 0.0), (1.0, 0.0, 0.0))
    colours = torch.ones(7, memory.channels).to(whole.features.dtype)
    aside = torch.eye(4)
    aside[0, 3] = 0.001
    for edit in (
        Delete(Selection(THING), 0),
        Paint(0, (Patch(0, 0, painted, colours),)),
        Move(Selection(moved_there), 0, aside),
    ):
        memory = memory.edited(edit)
    spared = THING.contains(whole.points) | moved_there.contains(whole.points) | torch.isin(whole.cells, painted)
    after, tally = merge(memory, lifted(kind, 0, 4, 1), keep_newest)
    retired = after.observations[0].retired == 1
    assert tally["replaced"] == int(retired.sum()) and spared.any() and (~spared).sum() > 100
    assert torch.equal(retired, ~spared)


def test_moving_and_locking_hold_for_what_was_there_and_deleting_for_ever():
    later = lifted("latent", 0, 12, 2)[0]
    shift = torch.eye(4)
    shift[2, 3] = 5.0
    for edit, changed in ((Move(Selection(Everywhere()), 1, shift), False), (Delete(Selection(Everywhere()), 1), True)):
        assert (edit.replay((later,)) != (later,)) == changed
    assert (
        not Lock(Selection(Everywhere()), 1).holds(later).any() and Lock(Selection(Everywhere()), 2).holds(later).all()
    )
    assert (
        Hide(Selection(Everywhere()), 1).holds(later).all()
        and not Delete(Selection(Everywhere()), 1).holds(later).any()
    )


def test_edits_are_replayed_in_their_order():
    memory, shift = begun("latent"), torch.eye(4)
    shift[0, 3] = 10.0
    gone = Delete(Selection(THING), -1)
    away = Move(Selection(THING), -1, shift)
    kept_elsewhere = memory.edited(away).edited(gone)
    assert len(kept_elsewhere.points) == len(memory.points)
    assert len(memory.edited(gone).edited(away).points) < len(memory.points)
    there = Delete(Selection(Sphere((10.0, 0.0, 2.0), 0.3)), -1)
    assert len(memory.edited(away).edited(there).points) == len(memory.edited(gone).points)


def test_paint_changes_the_features_of_its_cells_alone():
    memory = updated(begun("latent"), 0, keep_first, distance=3.0)
    first, second = memory.drawn
    new = torch.full((10, 4), 7.0).half()
    paint = Paint(0, (Patch(4, 0, second.cells[5:25:2].contiguous(), new), Patch(99, 0, second.cells[:3], new[:3])))
    painted = memory.edited(paint)
    assert painted.drawn[0] is first and torch.equal(painted.points, memory.points)
    changed = (painted.drawn[1].features != second.features).any(1).nonzero()[:, 0].tolist()
    assert changed == list(range(5, 25, 2)) and (painted.drawn[1].features[5:25:2] == 7).all()


def test_the_time_of_an_edit_is_the_last_chunk_that_wrote_even_if_it_added_nothing():
    memory = begun("latent")
    assert last_chunk(memory) == -1
    memory = replace(updated(memory, 0, keep_first), ledger=({"chunk": -1}, {"chunk": 0}, {"chunk": 1}))
    assert max(o.chunk for o in memory.observations) <= 0 and last_chunk(memory) == 1
    edited = memory.edited(Delete(Selection(THING), last_chunk(memory)))
    assert edited.revert(0).edits == () and len(edited.revert(1).edits) == 1


@pytest.mark.parametrize("transform", [2 * torch.eye(4), torch.diag(torch.tensor([1.0, 1.0, -1.0, 1.0])), torch.eye(3)])
def test_a_move_is_rigid(transform):
    with pytest.raises(ValueError, match="transform"):
        Move(Selection(Everywhere()), 0, transform)


def test_an_edit_reads_an_empty_memory_and_undo_needs_an_edit():
    empty = memory_of([])
    for edit in (Delete(Selection(THING), -1), Move(Selection(THING), -1, torch.eye(4)), Lock(Selection(THING), -1)):
        assert empty.edited(edit).drawn == ()
    with pytest.raises(ValueError, match="no edit to undo"):
        empty.undone()
    camera = Cameras(torch.eye(4)[None], torch.eye(3)[None], 2, 2)
    assert not read(empty.edited(Delete(Selection(THING), -1)), camera).known.any()
