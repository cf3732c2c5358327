"""Batches in the order of their numbers, drawn ahead by many processes, and used again while the next are drawn.

A GPU eats batches faster than one core draws them: a window costs 10 to 40 ms, whatever its size. Process k of n draws
the numbers k, k + n, k + 2 n ... into memory that it shares with the trainer, so the order never depends on n.
"""

import mmap
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count

import torch

from .batches import Batch
from .crew import FORK, start_crew

SLOTS = 3  # batches that a process is ahead at most
SLOT_BYTES = 1 << 27  # of address space: only what is written takes memory
KEPT = 400  # batches that may be used again


def drawn(make: Callable[[int], Batch], first: int) -> Iterator[Batch]:
    """``make(first)``, ``make(first + 1)`` ... one after the other, in this process."""
    return (make(number) for number in count(first))


def drawn_ahead(make: Callable[[int], Batch], first: int, processes: int) -> Iterator[Batch]:
    """The same batches from processes that start at once. A batch lies in shared memory: use it before the next.

    Raises:
        RuntimeError: when a batch is asked for whose process has died; its own message is on stderr.
    """
    slots = [
        [torch.frombuffer(mmap.mmap(-1, SLOT_BYTES), dtype=torch.float16) for _ in range(SLOTS)]
        for _ in range(processes)
    ]
    pipes = [FORK.Pipe() for _ in range(processes)]

    def work(rank: int) -> None:
        for other, (reader, writer) in enumerate(pipes):
            reader.close()
            if other != rank:
                writer.close()
        pipe = pipes[rank][1]
        for turn, number in enumerate(count(first + rank, processes)):
            if turn >= SLOTS:
                pipe.recv()  # the oldest slot is free again
            pipe.send(_write(make(number), slots[rank][turn % SLOTS]))

    crew = start_crew(work, processes)
    for _, writer in pipes:
        writer.close()
    return _received(crew, [reader for reader, _ in pipes], slots)


def _received(crew, readers, slots) -> Iterator[Batch]:
    try:
        for index in count():
            rank, turn = index % len(crew), index // len(crew)
            try:
                shapes, history = readers[rank].recv()
            except (EOFError, ConnectionResetError) as error:
                raise RuntimeError(f"process {rank}, which draws windows, has died; see above") from error
            yield _read(slots[rank][turn % SLOTS], shapes, history)
            with suppress(BrokenPipeError):  # said when its next batch is asked for: what it drew is still good
                readers[rank].send(None)
    finally:
        for member in crew:
            member.terminate()


def _write(batch: Batch, slot: torch.Tensor) -> tuple[list[torch.Size], int]:
    tensors = batch.tensors()
    size = sum(tensor.numel() for tensor in tensors)
    if size > len(slot):
        raise ValueError(f"a batch has {size} numbers, expected at most {len(slot)}: lower --tokens")
    torch.cat([tensor.flatten() for tensor in tensors], out=slot[:size])
    return [tensor.shape for tensor in tensors], batch.history


def _read(slot: torch.Tensor, shapes: list[torch.Size], history: int) -> Batch:
    lengths = [shape.numel() for shape in shapes]
    parts = slot[: sum(lengths)].split(lengths)
    return Batch(*(part.view(shape) for part, shape in zip(parts, shapes)), history)


def reused(fresh: Iterator[Batch], uses: int, device: torch.device, seed: int, step: int = 0) -> Iterator[Batch]:
    """One batch a step on the device: each ``uses``-th is fresh, the others are picked from the last ``KEPT``.

    So each serves about ``uses`` steps, far apart, each time under other noise. What is picked depends on seed and
    step alone (and on the step that the run began with).
    """
    held: deque[Batch] = deque(maxlen=KEPT if uses > 1 else 1)
    for number in count(step):
        if not held or number % uses == 0:
            held.append(next(fresh).on(device))
            yield held[-1]
        else:
            generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
            yield held[int(torch.randint(len(held), (), generator=generator))]
