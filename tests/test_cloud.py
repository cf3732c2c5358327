"""The memory: inserting, selecting, reverting, gathering, merging; nothing changes in place."""

from dataclasses import replace

import pytest
import torch
from scenes import geometry, pose
from spatial_memory.memory.camera import Cameras, intrinsics_from_fov
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.edits import Hide
from spatial_memory.memory.lift import lift_latents, lift_pixels
from spatial_memory.memory.merge import looked_through, merge
from spatial_memory.memory.observation import Observation
from spatial_memory.memory.regions import Everywhere, Selection

EMPTY = SpatialMemory("latent", "toy", 4, 1.0, False)


def observation(count, frame=0, chunk=-1, channels=4, seed=0):
    generator = torch.Generator().manual_seed(seed + 31 * frame + 7 * chunk)
    points, features = torch.randn(count, 3, generator=generator), torch.randn(count, channels, generator=generator)
    points[:, 2] += 4
    camera = Cameras(torch.eye(4), intrinsics_from_fov(60.0, 12, 20), 12, 20)
    cells = torch.randperm(240, generator=generator)[:count].sort().values.int()
    return Observation(points, features.half(), cells, camera, frame, chunk)


def contents(memory):
    return [(o.chunk, o.frame, o.cells.tolist(), o.points.tolist()) for o in memory.observations]


def test_inserting_is_associative_and_leaves_the_old_memory_alone():
    a, b, c = observation(5), observation(7, 4, 0), observation(3, 8, 0)
    memory = EMPTY.insert([a])
    assert contents(memory.insert([b]).insert([c])) == contents(memory.insert([b, c]))
    assert memory.num_points == 5 and EMPTY.num_points == 0


def test_inserting_shares_the_tensors_that_were_there():
    a, b = observation(5), observation(7, 4, 0)
    memory = EMPTY.insert([a]).insert([b])
    assert memory.observations[0].points.data_ptr() == a.points.data_ptr()


def test_points_and_features_are_joined_oldest_first():
    a, b = observation(5), observation(7, 4, 0)
    memory = EMPTY.insert([a, b])
    assert torch.equal(memory.points, torch.cat([a.points, b.points]))
    assert torch.equal(memory.features, torch.cat([a.features, b.features]))
    index = torch.tensor([11, 0, 5, 5, 4])
    assert torch.equal(memory.gather(index), memory.features[index].float())


def test_an_empty_memory_has_shapes():
    assert EMPTY.points.shape == (0, 3) and EMPTY.features.shape == (0, 4) and EMPTY.get_ram_usage() == 0
    assert EMPTY.gather(torch.empty(0, dtype=torch.int64)).shape == (0, 4)
    assert EMPTY.insert([observation(0)]).observations == ()


def test_bytes_are_those_of_the_tensors():
    shared = 1 + 2 + 2 + 2  # one value for all: the confidence, the normal, the two stamps
    plain = observation(10)
    assert EMPTY.insert([plain]).get_ram_usage() == 10 * (3 * 4 + 4 * 2 + 4) + shared
    sure = replace(plain, confidence=torch.full((10,), 7, dtype=torch.uint8))
    assert EMPTY.insert([sure]).get_ram_usage() == 10 * (3 * 4 + 4 * 2 + 4 + 1) + shared - 1


def test_selecting_keeps_provenance():
    memory = EMPTY.insert([observation(5), observation(7, 4, 0)])
    chosen = memory.select(lambda o: o.cells % 2 == 0)
    assert [(o.frame, o.chunk) for o in chosen.observations] == [(0, -1), (4, 0)]
    assert all((o.cells % 2 == 0).all() and len(o.points) == len(o.cells) for o in chosen.observations)
    assert memory.select(lambda o: torch.zeros(len(o), dtype=torch.bool)).observations == ()
    assert memory.num_points == 12


def test_reverting_forgets_later_chunks():
    memory = EMPTY.insert([observation(5), observation(7, 4, 0), observation(6, 36, 1)])
    assert [o.chunk for o in memory.revert(0).observations] == [-1, 0]
    assert memory.revert(-1).num_points == 5 and memory.revert(9).num_points == 18


def test_another_codecs_channels_and_another_kind_are_refused():
    with pytest.raises(ValueError, match="3 channels of .*, the memory holds 4.*'toy'"):
        EMPTY.insert([observation(5, channels=3)])
    with pytest.raises(ValueError, match="kind is 'mesh'"):
        SpatialMemory("mesh", "", 3, 1.0, False)


def test_fields_cannot_be_assigned():
    with pytest.raises(AttributeError):
        EMPTY.channels = 3


def test_rank_is_none_in_order_and_sorts_by_chunk_frame_cell():
    a, b = observation(5), observation(7, 4, 0)
    assert EMPTY.insert([a, b]).rank is None
    flipped = b.where(torch.ones(7, dtype=torch.bool))
    flipped = replace(flipped, **{n: getattr(b, n).flip(0) for n in ("points", "features", "cells")})
    memory = EMPTY.insert([flipped, a])
    assert torch.equal(memory.points, EMPTY.insert([a, b]).points[memory.rank])  # each point at its place


@pytest.mark.parametrize("kind", ["latent", "rgb"])
def test_merging_drops_what_the_memory_shows_and_keeps_what_is_new(kind):
    cell = 2.0 / geometry(torch.full((1, 24, 40), 2.0)).cameras.resized(6, 10).K[0, 0, 0].item()
    aside = 2 * cell  # whole cells, so that latents fall on latents
    wall = geometry(torch.full((2, 24, 40), 2.0), c2w=torch.stack([torch.eye(4), pose((aside, 0.0, 0.0))]))
    if kind == "latent":
        empty, lifted = EMPTY, lift_latents(torch.zeros(4, 2, 6, 10), wall, [0, 4], 0)
    else:
        empty, lifted = (
            SpatialMemory("rgb", "", 3, 1.0, False),
            lift_pixels(torch.zeros(2, 3, 24, 40), wall, [0, 4], 0, None),
        )
    whole, _ = merge(empty, lifted)
    once, new = whole.observations
    assert len(once) == len(lifted[0])  # nothing was there
    assert 0 < len(new) < 0.5 * len(lifted[1])
    seen_before = lifted[1].points[:, 0].sort().values[: len(lifted[1]) // 3]
    assert new.points[:, 0].min() > seen_before.max()  # what is left lies where the first view did not reach
    _, again = merge(whole, lifted)
    assert again["added"] == 0 and again["merged"] == again["lifted"]


def test_merging_keeps_a_surface_in_front_of_and_one_behind_what_is_known():
    first = lift_latents(torch.zeros(4, 1, 6, 10), geometry(torch.full((1, 24, 40), 2.0)), [0], 0)
    for z, kept in ((1.0, 60), (3.0, 60), (2.05, 0)):
        other = lift_latents(torch.zeros(4, 1, 6, 10), geometry(torch.full((1, 24, 40), z)), [4], 0)
        assert merge(EMPTY.insert(first), other)[1]["added"] == kept


def test_merging_adds_what_lies_off_the_middle_until_a_surface_is_full():
    focal, memory, added = geometry(torch.ones(1, 24, 40)).cameras.resized(6, 10).K[0, 0, 0].item(), EMPTY, []
    shifts = torch.rand(80, 2, generator=torch.Generator().manual_seed(0)) - 0.5  # of a cell, at a distance of 2
    shifts[0] = 0
    for frame, shift in enumerate([*shifts, *shifts]):
        c2w = pose((*(shift * 2.0 / focal).tolist(), 0.0))[None]
        wall = geometry(torch.full((1, 24, 40), 2.0), c2w=c2w)
        memory, tally = merge(memory, lift_latents(torch.zeros(4, 1, 6, 10), wall, [frame], frame))
        added.append(tally["added"])
    assert added[0] == 60 and max(added[1:8]) > 40  # half a cell aside the wall is written once more
    assert sum(added[60:80]) < 0.6 * sum(added[:20])  # there is less and less to add
    assert sum(added[80:]) == 0  # who comes back adds nothing


def test_nothing_is_written_where_a_given_picture_looked_through():
    upside_down = pose((0.0, 0.0, 0.5), (0.0, 0.0, 1.0), 180.0)
    photograph = geometry(torch.full((1, 24, 40), 2.0), c2w=upside_down[None])  # a wall at z = 2.5
    given = EMPTY.insert(lift_latents(torch.zeros(4, 1, 6, 10), photograph, [0], -1))
    made = EMPTY.insert(lift_latents(torch.zeros(4, 1, 6, 10), photograph, [8], 0))
    points = torch.tensor(
        [[0.1, 0.1, 1.5], [0.1, 0.1, 2.45], [0.1, 0.1, 4.0], [9.0, 0.0, 1.5], [0.1, 0.1, -1.0], [0.1, 0.1, 2.35]]
    )  # before the wall, on it, behind it, beside the view, behind the camera, before it by more than 5 %
    assert looked_through(given, points).tolist() == [True, False, False, False, False, True]
    assert not looked_through(made, points).any()  # a frame that was made is no evidence
    seen_in_part = given.select(lambda o: o.cells % 10 >= 5)  # the right half of the picture, turned: left in space
    aside = torch.tensor([[-0.3, 0.1, 1.5], [0.3, 0.1, 1.5]])
    assert looked_through(seen_in_part, aside).tolist() == [True, False]
    ghost = lift_latents(torch.zeros(4, 1, 6, 10), geometry(torch.full((1, 24, 40), 1.2)), [4], 0)
    left = merge(given, ghost)[0].observations[-1]
    assert 0 < len(left) < len(ghost[0])  # only what the photograph does not overlook is written
    assert not looked_through(given, left.points).any()


def test_a_noted_memory_is_the_same_but_for_its_ledger():
    memory = EMPTY.insert([observation(7, 4, 0), observation(5)])  # the younger first, so that there are ranks
    laid, rank = memory.laid, memory.rank
    noted = memory.noted({"added": 3})
    assert noted.ledger == ({"added": 3},) and noted.observations is memory.observations and memory.ledger == ()
    assert noted.laid is laid and noted.rank is rank is not None and noted.drawn is memory.drawn
    fresh = replace(memory).noted({})
    assert "laid" not in fresh.__dict__ and torch.equal(fresh.points, memory.points)


def test_what_is_stored_is_laid_out_once_where_all_of_it_is_drawn():
    one, other = observation(6), observation(7, 4, 0)
    memory = EMPTY.insert([one, other])
    assert memory.laid_as_stored is memory.laid
    less = replace(memory, observations=(one.marked("retired", torch.arange(6) % 2 == 0, 5), other))
    assert sum(len(o) for o in less.laid_as_stored.observations) == 13 > len(less.points) == 10
    hidden = replace(memory, edits=(Hide(Selection(Everywhere()), 0),))
    assert not hidden.drawn and sum(len(o) for o in hidden.laid_as_stored.observations) == 13


def test_nothing_new_leaves_the_very_memory():
    memory = EMPTY.insert([observation(6)])
    assert memory.insert([observation(0)]) is memory and memory.insert([]) is memory
