"""Progress, interruption and devices of the stand-in: what nodes use of ``comfy.utils`` and the model manager."""

from collections.abc import Callable
from typing import Any

import torch

ProgressHook = Callable[..., None]


class InterruptProcessingException(Exception):
    """The user wants the run to stop."""


class Session:
    """What the progress bars and the interruption flag of one process share."""

    def __init__(self) -> None:
        self.interrupted = False
        self.hook: ProgressHook | None = None

    def set_progress_bar_global_hook(self, hook: ProgressHook | None) -> None:
        self.hook = hook

    def interrupt_current_processing(self, value: bool = True) -> None:
        self.interrupted = value

    def processing_interrupted(self) -> bool:
        return self.interrupted

    def throw_exception_if_processing_interrupted(self) -> None:
        """Raise once if the run was interrupted.

        Raises:
            InterruptProcessingException: ``interrupt_current_processing`` was called.
        """
        if self.interrupted:
            self.interrupted = False
            raise InterruptProcessingException()


SESSION = Session()


class ProgressBar:
    """Reports ``value`` of ``total`` to the session's hook, which may raise to interrupt."""

    def __init__(self, total: int, node_id: str | None = None):
        self.total = total
        self.current = 0
        self.node_id = node_id

    def update_absolute(self, value: int, total: int | None = None, preview: Any = None) -> None:
        self.total = self.total if total is None else total
        self.current = min(value, self.total)
        SESSION.throw_exception_if_processing_interrupted()
        if SESSION.hook is not None:
            SESSION.hook(self.current, self.total, preview, node_id=self.node_id)

    def update(self, value: int) -> None:
        self.update_absolute(self.current + value)


def get_torch_device() -> torch.device:
    """The device that computes."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def offload_device() -> torch.device:
    """The device that keeps what waits."""
    return torch.device("cpu")


def soft_empty_cache() -> None:
    """Give cached device memory back."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
