"""Many processes on one machine, each on one thread: what rendering, encoding and drawing windows share."""

import multiprocessing
from collections.abc import Callable
from multiprocessing.process import BaseProcess

import torch

# Children share what the parent has loaded. The parent must not have used a GPU before, nor may a child use more
# than one thread: neither survives a fork.
FORK = multiprocessing.get_context("fork")


def start_crew(work: Callable[[int], None], processes: int) -> list[BaseProcess]:
    """Start ``work(0)`` to ``work(processes - 1)``, each in a process of its own that ends with this one."""
    crew = [FORK.Process(target=_alone, args=(work, rank), daemon=True) for rank in range(processes)]
    for member in crew:
        member.start()
    return crew


def run_crew(work: Callable[[int], None], processes: int) -> None:
    """``start_crew`` and wait for the end.

    Raises:
        RuntimeError: a process failed; its own message is on stderr.
    """
    crew = start_crew(work, processes)
    for member in crew:
        member.join()
    failed = [member.exitcode for member in crew if member.exitcode]
    if failed:
        raise RuntimeError(f"{len(failed)} of {processes} processes failed with exit codes {failed}; see above")


def _alone(work: Callable[[int], None], rank: int) -> None:
    torch.set_num_threads(1)
    work(rank)
