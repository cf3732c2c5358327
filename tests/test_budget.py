"""The bound on a memory: who goes first, who never goes."""

from dataclasses import replace

import pytest
import torch
from scenes import geometry, memory_of, pose
from spatial_memory.memory.budget import evict, worth
from spatial_memory.memory.camera import Cameras
from spatial_memory.memory.edits import Hide, Lock
from spatial_memory.memory.lift import lift_latents
from spatial_memory.memory.observation import Observation
from spatial_memory.memory.regions import Selection, Sphere


def seen(points, frame, chunk, focal=40.0, confidence=255):
    """Points at given places, seen from the origin by a camera of 48 x 80 cells."""
    K = torch.tensor([[focal, 0.0, 40.0], [0.0, focal, 24.0], [0.0, 0.0, 1.0]])
    places = torch.tensor(points)
    return Observation(
        points=places,
        features=torch.zeros(len(places), 4).half(),
        cells=torch.arange(len(places), dtype=torch.int32),
        camera=Cameras(torch.eye(4), K, 48, 80),
        frame=frame,
        chunk=chunk,
        confidence=torch.tensor(confidence, dtype=torch.uint8),
    )


def kept(memory, bound):
    after, tally = evict(memory, bound)
    return [(o.frame, o.cells.tolist()) for o in after.observations], tally


A, B, C = [0.1, 0.0, 2.0], [-0.4, 0.0, 2.0], [0.5, 0.3, 4.0]


def test_worth_is_views_times_confidence_by_footprint_and_distance():
    memory = memory_of([seen([A, C], 4, 0), seen([B], 8, 1, confidence=99)])
    values = [
        (1 + 2) * 256 / (2 / 40 * torch.tensor(A).norm() + 1e-6 * 4),
        (1 + 2) * 256 / (4 / 40 * torch.tensor(C).norm() + 1e-6 * 4),
        (1 + 2) * 100 / (2 / 40 * torch.tensor(B).norm() + 1e-6 * 4),
    ]
    assert torch.allclose(worth(memory), torch.stack(values))
    covered = memory_of([seen([A, [0.2, 0.0, 4.0]], 4, 0)])  # the second lies behind the first: no view sees it
    assert torch.allclose(worth(covered)[1], 256 / (4 / 40 * torch.tensor([0.2, 0.0, 4.0]).norm() + 4e-6))
    gone = replace(covered, observations=(covered.observations[0].marked("retired", torch.tensor([True, False]), 1),))
    assert torch.allclose(worth(gone)[1], 2 * worth(covered)[1])  # what draws no more hides nothing


@pytest.mark.parametrize(
    "other, why",
    [
        (seen([B], 8, 1, confidence=254), "less sure"),
        (seen([B], 8, 1, focal=39.0), "coarser"),
        (seen([[-0.4, 0.0, 2.2]], 8, 1), "farther"),
        (seen([[0.1, 0.0, 4.0]], 8, 1), "seen by none"),
    ],
)
def test_least_worth_goes_first(other, why):
    first = [-0.4, 0.1, 2.0] if why != "seen by none" else A
    for order in ((other, seen([first], 4, 0)), (seen([first], 4, 0), other)):
        assert kept(memory_of(list(order)), 1) == ([(4, [0])], {"purged": 0, "evicted": 1}), why


def test_of_equal_worth_the_older_goes():
    memory = memory_of([seen([A, [-0.1, 0.0, 2.0]], 4, 0), seen([[0.1, 0.0, 2.0]], 8, 1)])
    assert worth(memory).unique().numel() == 1
    assert kept(memory, 2)[0] == [(4, [1]), (8, [0])] and kept(memory, 1)[0] == [(8, [0])]


def test_retired_points_go_before_any_that_draws():
    old, new = seen([A, B, C], 4, 0), seen([[0.0, 0.4, 9.0]], 8, 1, confidence=1)
    old = old.marked("retired", torch.tensor([True, False, True]), 1)
    memory = memory_of([old, new])
    assert kept(memory, 3) == ([(4, [1, 2]), (8, [0])], {"purged": 1, "evicted": 0})  # of the two the older
    assert kept(memory, 2) == ([(4, [1]), (8, [0])], {"purged": 2, "evicted": 0})
    assert kept(memory, 1) == ([(4, [1])], {"purged": 2, "evicted": 1})


def test_the_start_frame_and_what_is_locked_or_hidden_never_go():
    start, posed, made = seen([[0.0, 0.4, 9.0]], 0, -1, confidence=1), seen([A], -1, -1), seen([B, C], 4, 0)
    memory = memory_of([start, posed, made])
    assert kept(memory, 2)[0] == [(0, [0]), (-1, [0])] and kept(memory, 1)[0] == [(0, [0])]
    for kind in (Lock, Hide):
        held = memory.edited(kind(Selection(Sphere((0.5, 0.3, 4.0), 0.1)), 0))
        assert kept(held, 2) == ([(0, [0]), (4, [1])], {"purged": 0, "evicted": 2})
        assert kept(held, 1) == ([(0, [0]), (4, [1])], {"purged": 0, "evicted": 2})  # more than the bound, but held
    retired = replace(start, confidence=torch.tensor(1, dtype=torch.uint8)).marked("retired", torch.tensor([True]), 0)
    assert kept(memory_of([retired, made]), 1)[0] == [(0, [0])]


def test_a_bound_that_holds_changes_nothing_and_one_below_1_is_refused():
    memory = memory_of([seen([A, B], 4, 0)])
    assert evict(memory, 2) == (memory, {"purged": 0, "evicted": 0})
    for bound in (0, -3):
        with pytest.raises(ValueError, match=f"max_points is {bound}, expected at least 1"):
            evict(memory, bound)


def test_a_dolly_and_a_roll_keep_the_finer_views_points():
    views = torch.stack([pose(), pose((0.0, 0.0, 1.0), (0.0, 0.0, 1.0), 180.0)])
    depth = torch.stack([torch.full((24, 40), 2.0), torch.full((24, 40), 1.0)])
    far, near = lift_latents(torch.zeros(4, 2, 6, 10), geometry(depth, c2w=views), [4, 8], 0)
    after, tally = evict(memory_of([far, near]), 60)
    assert tally["evicted"] == 60 and after.num_points == 60
    assert sum(len(o) for o in after.observations if o.frame == 8) > 50  # seen from half as far, by both
    before = memory_of([far, near]).observations
    assert len(before[0]) == len(before[1]) == 60
