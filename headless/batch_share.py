"""Which of several processes this one is, where accelerate (or torchrun, or MPI) launched it, and the one exchange."""

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")  # as the launchers name them
PATIENCE = timedelta(days=30)  # the quickest process waits at the end for the slowest one

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Process:
    """This process among those that share the work."""

    index: int = 0
    count: int = 1

    def share(self, items: Sequence[Thing]) -> list[Thing]:
        """The items that are this one's: every ``count``-th. The same on every run with as many processes."""
        return list(items[self.index :: self.count])


def join() -> Process:
    """Meet the other processes, if a launcher says that there are any, and take this one's device.

    Raises:
        RuntimeError: the others cannot be reached.
    """
    if all(int(os.environ.get(name) or 1) < 2 for name in SIZES):
        if os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true" and "MASTER_ADDR" in os.environ:
            logger.warning(
                "accelerate started this process alone: its option --cpu needs MPI for several. "
                "Leave --cpu out and give --multi_gpu, which starts them on machines without a GPU too"
            )
        return Process()
    import torch
    from accelerate import PartialState

    cpu = not torch.cuda.is_available() or os.environ.get("ACCELERATE_USE_CPU", "").lower() == "true"
    state = PartialState(cpu=cpu, timeout=PATIENCE, backend="gloo")  # only texts are exchanged: no need for NCCL
    return Process(state.process_index, state.num_processes)


def gathered(process: Process, value: Any) -> list[Any]:
    """What every process gives, in order, at every process. All of them wait here."""
    if process.count == 1:
        return [value]
    from accelerate.utils import gather_object

    return gather_object([value])


def leave(process: Process) -> None:
    """Part from the others. Call it when everything is done."""
    if process.count > 1:
        from accelerate import PartialState

        PartialState().destroy_process_group()
