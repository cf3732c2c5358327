"""Space carving, by exact numbers: who contradicts whom, on how many cells, and how often."""

from dataclasses import replace

import pytest
import torch
from scenes import geometry, memory_of, pose
from spatial_memory.memory.camera import unproject
from spatial_memory.memory.carve import carve
from spatial_memory.memory.edits import Delete, Hide, Lock, Move
from spatial_memory.memory.lift import lift_latents, lift_pixels
from spatial_memory.memory.merge import held_by, keep_first, merge
from spatial_memory.memory.observation import NEVER, Observation
from spatial_memory.memory.regions import Box, Everywhere, Selection

H, W = 48, 80
ALL = Selection(Everywhere())


def ghost(chunk=0, frame=0, z=1.0, x=0.0, y=0.0):
    """One point that a frame of another time saw."""
    camera = geometry(torch.ones(1, H, W)).cameras[0]
    return Observation(
        points=torch.tensor([[x, y, z]]),
        features=torch.zeros(1, 4).half(),
        cells=torch.tensor([W * 24 + 40], dtype=torch.int32),
        camera=camera,
        frame=frame,
        chunk=chunk,
    )


def view(depth=2.0, **other):
    return geometry(torch.full((1, H, W), depth), **other)


def stamps(memory, geo, chunk, frames=(100,)):
    after, tally = carve(memory, geo, frames, chunk)
    return after, after.observations[0].doubted.tolist()[0], after.observations[0].retired.tolist()[0], tally


def test_contradicted_twice_a_point_draws_no_more():
    memory = memory_of([ghost()])
    once, doubted, retired, tally = stamps(memory, view(), 1)
    assert (doubted, retired, tally) == (1, NEVER, {"doubted": 1, "retired": 0}) and len(once.drawn) == 1
    twice, doubted, retired, tally = stamps(once, view(), 3)
    assert (doubted, retired, tally) == (1, 3, {"doubted": 0, "retired": 1}) and twice.drawn == ()
    assert stamps(twice, view(), 4)[3] == {"doubted": 0, "retired": 0}
    both, doubted, retired, _ = stamps(memory, geometry(torch.full((2, H, W), 2.0)), 1, (100, 104))
    assert (doubted, retired) == (1, 1)  # two views of one chunk are two
    assert memory.observations[0].doubted.tolist() == [NEVER] == once.observations[0].retired.tolist()
    assert twice.revert(2).observations[0].retired.tolist() == [NEVER]
    assert twice.revert(2).observations[0].doubted.tolist() == [1] and len(twice.revert(2).drawn) == 1


@pytest.mark.parametrize("depth, expected", [(1.09, NEVER), (1.11, 1)])
def test_a_tenth_of_the_depth_is_clearly_behind(depth, expected):
    assert stamps(memory_of([ghost()]), view(depth), 1)[1] == expected


@pytest.mark.parametrize("spoil", ["depth", "near", "keep", "confidence"])
def test_three_by_three_coarse_cells_must_see_past_it(spoil):
    """The point falls into pixel (24, 40), so into coarse cell (3, 5): rows 16 to 39 and columns 32 to 55 count."""
    for (row, column), expected in {
        (16, 32): NEVER, (39, 55): NEVER, (24, 40): NEVER, (15, 40): 1, (40, 40): 1, (24, 31): 1, (24, 56): 1
    }.items():  # fmt: skip
        geo = view()
        depth, keep, confidence = geo.depth.clone(), geo.keep.clone(), geo.confidence.clone()
        if spoil == "keep":
            keep[0, row, column] = False
        elif spoil == "confidence":
            confidence[0, row, column] = 0.49
        else:
            depth[0, row, column] = 0.0 if spoil == "depth" else 1.0
        geo = replace(geo, depth=depth, keep=keep, confidence=confidence)
        assert stamps(memory_of([ghost()]), geo, 1)[1] == expected, (row, column)


def test_half_sure_is_sure_enough_and_the_rim_of_a_view_is_not():
    assert stamps(memory_of([ghost()]), view(confidence=torch.full((1, H, W), 0.5)), 1)[1] == 1
    focal = view().cameras.K[0, 0, 0].item()
    for x, expected in ((-31.0 / focal, 1), (-33.0 / focal, NEVER)):  # columns 9 and 7
        assert stamps(memory_of([ghost(x=x)]), view(), 1)[1] == expected


def test_what_lies_behind_the_camera_is_not_contradicted():
    some = ghost()
    both = replace(
        some,
        points=torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]),
        features=torch.zeros(2, 4).half(),
        cells=torch.tensor([0, 1], dtype=torch.int32),
        **{name: torch.tensor(NEVER, dtype=torch.int16) for name in ("doubted", "retired")},
        confidence=torch.tensor(255, dtype=torch.uint8),
        normals=torch.zeros(2, dtype=torch.uint8),
    )
    after, tally = carve(memory_of([both]), view(), (100,), 1)
    assert after.observations[0].doubted.tolist() == [1, NEVER] and tally["doubted"] == 1


def test_a_made_frame_does_not_contradict_what_a_given_picture_saw():
    given = memory_of([ghost(chunk=-1, frame=0)])
    assert stamps(given, view(), 1)[1] == NEVER
    assert stamps(given, view(), -1, (-1,))[1] == -1  # another given picture does
    assert stamps(given, view(), -1, (0,))[1] == NEVER  # and itself does not
    assert stamps(memory_of([ghost(chunk=1)]), view(), 1)[1] == NEVER  # nor does a made view its own chunk
    assert stamps(memory_of([ghost(chunk=0)]), view(), -1, (-1,))[1] == -1


def test_what_an_edit_holds_or_moved_is_not_carved():
    aside = torch.eye(4)
    aside[0, 3] = 0.01
    for edit in (Lock(ALL, 0), Hide(ALL, 0), Move(ALL, 0, aside)):
        assert stamps(memory_of([ghost()]).edited(edit), view(), 1)[1] == NEVER


def test_what_an_edit_left_alone_is_carved_though_it_touched_others_of_the_same_frame():
    """The ghost's left half is moved away, and its right half goes on being carved."""
    aside = torch.eye(4)
    aside[0, 3] = 5.0
    camera = geometry(torch.ones(1, H, W)).cameras[0]
    points = torch.tensor([[x / 10, 0.0, 1.0] for x in (-3, -2, -1, 1, 2, 3)])
    o = Observation(points, torch.zeros(6, 4).half(), torch.arange(6).int(), camera, 0, 0)
    left = Selection(Box((-50.0, 0.0, 0.0), (100.0, 100.0, 100.0)))
    chosen = left.mask(o)
    assert chosen.tolist() == [True] * 3 + [False] * 3
    for edit in (Move(left, 0, aside), Delete(left, 0)):
        memory = memory_of([o]).edited(edit)
        for chunk in (1, 2):
            memory, _ = carve(memory, view(), (4 * chunk,), chunk)
        (after,) = memory.observations
        assert (after.retired[chosen] == NEVER).all() and (after.doubted[chosen] == NEVER).all()
        assert (after.retired[~chosen] == 2).all()


def test_what_was_moved_and_then_locked_is_held_where_it_stands():
    aside = torch.eye(4)
    aside[0, 3] = 5.0
    o = ghost()
    there, here = (Selection(Box((x, 0.0, 1.0), (1.0, 1.0, 1.0))) for x in (5.0, 0.0))
    memory = memory_of([o]).edited(Move(ALL, 0, aside))
    assert held_by(memory.edited(Lock(there, 0)), o).all() and not held_by(memory.edited(Lock(here, 0)), o).any()
    assert held_by(memory_of([o]).edited(Lock(here, 0)).edited(Move(ALL, 0, aside)), o).all()
    assert not held_by(memory, o).any()


def box_and_wall(c2w, box):
    """A wall at z = 3.2, and before it at z = 2.4, where there is one, a square of side 0.5."""
    ones = geometry(torch.ones(1, H, W), c2w=c2w[None])
    centre = ones.cameras.position[0]
    ray = unproject(ones.depth, ones.cameras) - centre
    wall, front = (3.2 - centre[2]) / ray[..., 2], (2.4 - centre[2]) / ray[..., 2]
    place = centre + front[..., None] * ray
    hit = box & (place[..., :2].abs() < 0.25).all(-1) & (front > 0)
    return torch.where(hit, front, wall)


MOVING = {
    "still": [pose(), pose(), pose()],
    "dolly": [pose(), pose((0.0, 0.0, 0.8)), pose((0.0, 0.0, 1.6))],  # to half the depth
    "roll": [pose(), pose((0.1, 0.0, 0.2), (0.0, 0.0, 1.0), 180.0), pose((0.0, 0.1, 0.1), (0.0, 0.0, 1.0), 90.0)],
}


@pytest.mark.parametrize("kind", ["latent", "rgb"])
@pytest.mark.parametrize("way", MOVING)
def test_the_ghost_of_what_left_is_gone_after_two_views_and_what_stands_still_stays(kind, way):
    def lifted(geo, frame, chunk):
        if kind == "latent":
            return lift_latents(torch.zeros(4, 1, 24, 40), geo, [frame], chunk)
        return lift_pixels(torch.zeros(1, 3, H, W), geo, [frame], chunk, None)

    def near(memory):
        return int((memory.points[:, 2] < 2.5).sum())

    for stays in (False, True):
        memory = memory_of([], 4 if kind == "latent" else 3, kind)
        for chunk, c2w in enumerate(MOVING[way]):
            geo = geometry(box_and_wall(c2w, stays or chunk == 0), c2w=c2w[None])
            memory, _ = merge(memory, lifted(geo, 4 * chunk, chunk), keep_first)
            memory, tally = carve(memory, geo, (4 * chunk,), chunk)
            if chunk == 0:
                whole, wall = near(memory), len(memory.points) - near(memory)
                assert whole > 15 and tally == {"doubted": 0, "retired": 0}
        if stays:
            assert all(bool((o.doubted == NEVER).all()) for o in memory.observations)
        else:
            assert near(memory) == 0
            assert len(memory.points) - near(memory) >= wall  # the wall has lost nothing
