"""Batches from many processes: the same as from none, in order, used again as often as asked, and loud at a death."""

from functools import partial
from itertools import islice

import pytest
import torch
from spatial_memory.memory.camera import intrinsics_from_fov
from spatial_memory.training.batches import Batch, numbered_batch
from spatial_memory.training.crew import run_crew
from spatial_memory.training.feed import SLOTS, drawn, drawn_ahead, reused

CPU = torch.device("cpu")


def encoded(height, width, seed=0, times=11):
    """An encoded clip of 24 channels before a wall at depth 2, the camera going forward."""
    generator = torch.Generator().manual_seed(seed)
    c2w = torch.eye(4).repeat(times, 1, 1)
    c2w[:, 2, 3] = torch.linspace(0, 1, times)
    codes = torch.randn(times, 24, height, width, generator=generator).half()
    return {
        "codes": codes,
        "stream": codes.clone(),
        "depth": (2 - c2w[:, 2, 3])[:, None, None].expand(times, height, width).contiguous(),
        "c2w": c2w,
        "K": intrinsics_from_fov(60.0, height, width).expand(times, 3, 3).contiguous(),
    }


@pytest.fixture(scope="module")
def folders():
    return [[encoded(4, 6, seed) for seed in range(3)], [encoded(6, 8, 9)]]


def same(a: Batch, b: Batch) -> bool:
    return a.history == b.history and all(torch.equal(x, y) for x, y in zip(a.tensors(), b.tensors()))


@pytest.mark.parametrize("processes", [1, 3])
def test_the_batches_never_depend_on_the_number_of_processes(folders, processes):
    make = partial(numbered_batch, folders, 2, 200, 7)
    ahead = drawn_ahead(make, 1, processes)
    many = 3 * SLOTS + 2  # each slot more than once
    pairs = zip(islice(ahead, many), drawn(make, 1))
    assert all(same(a, b) for a, b in pairs)
    ahead.close()


def test_the_first_folder_comes_alone_and_then_in_turn(folders):
    widths = [numbered_batch(folders, 3, 200, 0, number).x0.shape[-1] for number in range(7)]
    assert widths == [6, 6, 6, 8, 6, 8, 6]


def test_a_batch_fills_its_tokens(folders):
    for number in range(6):
        batch = numbered_batch(folders, 6, 600, 0, number)
        tokens = 2 * 3 * (9 + batch.references.shape[2])
        assert abs(len(batch.x0) * tokens - 600) <= tokens / 2
        assert batch.x0.dtype == torch.float16 and batch.x0.shape == (len(batch.x0), 24, 9, 4, 6)


def test_a_batch_serves_so_many_steps_and_the_order_repeats():
    def make(number):
        return Batch(*(torch.full((1, 1, 1, 1, 1), float(number)).half() for _ in range(5)), 1)

    def numbers():
        return [int(batch.x0) for batch in islice(reused(drawn(make, 0), 3, CPU, 5), 60)]

    first = numbers()
    assert first == numbers() and first[::3] == list(range(20))
    assert all(number <= step // 3 for step, number in enumerate(first))
    assert sum(step // 3 - number > 3 for step, number in enumerate(first)) > 10  # far apart
    assert [int(batch.x0) for batch in islice(reused(drawn(make, 4), 1, CPU, 5, step=4), 3)] == [4, 5, 6]


def test_what_is_kept_outlives_the_slot_that_it_came_in():
    slot = torch.zeros(1, 1, 1, 1, 1).half()

    def make(number):
        return Batch(*(slot.fill_(number) for _ in range(5)), 1)

    kept = list(islice(reused(drawn(make, 0), 1, CPU, 0), 3))
    assert [int(batch.x0) for batch in kept] == [0, 1, 2]


def test_a_process_that_dies_is_told():
    def make(number):
        if number == 2:
            raise ValueError("no window for you")
        return Batch(*(torch.zeros(1, 1, 1, 1, 1).half() for _ in range(5)), 1)

    with pytest.raises(RuntimeError, match="process 0, which draws windows, has died"):
        list(islice(drawn_ahead(make, 0, 2), 6))

    def fail(rank):
        assert torch.get_num_threads() == 1
        if rank == 1:
            raise ValueError("no")

    with pytest.raises(RuntimeError, match=r"1 of 2 processes failed with exit codes \[1\]"):
        run_crew(fail, 2)
