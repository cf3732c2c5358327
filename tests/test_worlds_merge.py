"""Two worlds as one: turned, moved and scaled, a place of the second lies where the transform says."""

from dataclasses import replace

import pytest
import torch
from scenes import geometry, memory_of, pose
from spatial_memory.memory.camera import project, transform_points
from spatial_memory.memory.edits import Delete, Insert, Move
from spatial_memory.memory.lift import lift_latents, lift_pixels
from spatial_memory.memory.merge import keep_newest
from spatial_memory.memory.normals import decode_normals
from spatial_memory.memory.regions import Everywhere, Selection, Sphere
from spatial_memory.memory.splat import read
from spatial_memory.memory.worlds import merge_worlds

T = pose((5.0, -1.0, 0.5), (0.3, 1.0, 0.1), 75.0)


def world(kind="latent", chunk=0, depth=2.0, frames=(0, 4)):
    views = torch.stack([pose((0.0, 0.0, 0.5), (0.0, 0.0, 1.0), 180.0), pose((5.0, 0.1, 0.0), (0.0, 1.0, 0.0), 10.0)])
    slope = torch.linspace(0.0, 0.2, 24 * 40).view(24, 40)  # no two pixels are as far away
    walls = geometry((depth + slope).expand(2, 24, 40), c2w=views)
    features = torch.randn(4, 2, 6, 10, generator=torch.Generator().manual_seed(1))
    if kind == "latent":
        return memory_of(lift_latents(features, walls, frames, chunk))
    colours = torch.rand(2, 3, 24, 40, generator=torch.Generator().manual_seed(1))
    return memory_of(lift_pixels(colours, walls, frames, chunk, 0.05), 3, kind)


@pytest.mark.parametrize("kind", ["latent", "rgb"])
@pytest.mark.parametrize("scale", [1.0, 0.25, 3.0])
def test_a_known_place_falls_on_the_same_pixel(kind, scale):
    home, other = world(kind, depth=30.0), world(kind)
    merged, tally = merge_worlds(home, other, T, scale)
    assert tally["added"] == other.num_points and tally["merged"] == 0
    brought = merged.observations[2:]
    for o, old in zip(brought, other.observations):
        expected = transform_points(T, old.points * scale)
        assert torch.allclose(o.points, expected, atol=1e-5) and torch.equal(o.features, old.features)
        assert torch.allclose(o.depth, scale * old.depth, rtol=1e-4) and o.voxel == old.voxel * scale
        assert torch.allclose(o.spacing, scale * old.spacing, rtol=1e-4)
        uv, z = project(o.points, o.camera)
        theirs, _ = project(old.points, old.camera)
        assert torch.allclose(uv, theirs, atol=2e-3) and (z > 0).all()
    if kind == "latent":
        n = decode_normals(other.observations[0].normals) @ T[:3, :3].T
        assert ((decode_normals(brought[0].normals) * n).sum(1) > 0.999).all()
    camera = other.observations[0].camera
    before = read(other, camera[None])
    after = read(memory_of(brought, other.channels, kind), camera.moved(T, scale)[None])
    assert torch.allclose(before.features, after.features, atol=2e-2)
    assert torch.allclose(before.depth * scale, after.depth, rtol=1e-3, atol=1e-3)
    assert home.num_points == merged.num_points - other.num_points  # the first world is what it was


def test_what_is_brought_counts_as_written_last_under_numbers_of_its_own():
    home = replace(world(chunk=3, depth=30.0), ledger=({"chunk": 3}, {"chunk": 5}))  # chunk 5 added no point
    inserted = replace(world().observations[0], frame=-1)
    home = home.edited(Insert(5, (inserted,)))
    merged, tally = merge_worlds(home, world(), T)
    assert [(o.chunk, o.frame) for o in merged.observations] == [(3, 0), (3, 4), (5, -3), (5, -2)]
    assert merged.ledger[-1] == {"chunk": 5, "merged_world": True, **tally, "points": merged.num_points}
    assert [o.frame for o in merged.revert(4).observations] == [0, 4] and merged.revert(4).edits == ()
    again, _ = merge_worlds(merged, world(), pose((40.0, 0.0, 0.0)))
    assert len({o.frame for o in (*again.observations, inserted)}) == 7


def test_the_edits_of_the_second_world_are_done_first_and_end_there():
    other = world()
    spot = Sphere(tuple(other.points[7].tolist()), 0.5)
    there = torch.eye(4)
    there[0, 3] = 9.0
    other = other.edited(Move(Selection(Everywhere(), (4,)), 0, there)).edited(Delete(Selection(spot), 0))
    merged, tally = merge_worlds(world(depth=30.0), other, T)
    assert merged.edits == () and tally["added"] == len(other.points) < other.num_points
    assert torch.allclose(merged.points[120:], transform_points(T, other.points), atol=1e-5)
    deleted = world(depth=30.0).edited(Delete(Selection(Everywhere()), 0))
    assert merge_worlds(deleted, world(), T)[1]["refused"] == 120


def test_a_world_merged_with_itself_adds_nothing_and_the_newest_replaces_all():
    same = world()
    first, tally = merge_worlds(same, same, torch.eye(4))
    assert tally["added"] == 0 and tally["merged"] == 120 and first.num_points == 120
    newest, tally = merge_worlds(same, same, torch.eye(4), policy=keep_newest)
    assert tally["replaced"] == 120 and len(newest.points) == 120 and newest.num_points == 240


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda: merge_worlds(world(), world("rgb"), T), "a rgb memory of codec '' does not merge into a latent"),
        (lambda: merge_worlds(world(), replace(world(), codec="wan"), T), "'wan' does not merge"),
        (lambda: merge_worlds(world(), world(), T, 0.0), "scale is 0.0"),
        (lambda: merge_worlds(world(), world(), T, float("nan")), "scale is nan"),
        (lambda: merge_worlds(world(), world(), T * 2), "no rigid motion"),
        (lambda: merge_worlds(world(), world(), torch.diag(torch.tensor([1.0, 1.0, -1.0, 1.0]))), "mirrors"),
        (lambda: merge_worlds(world(), world(), T[:3]), "no rigid motion"),
    ],
)
def test_worlds_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        change()
