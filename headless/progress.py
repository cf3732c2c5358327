"""What a person sees while a workflow runs: one line on stderr that redraws itself, or plain lines into a file."""

import sys
import time
from typing import Any, TextIO

from .runner import Step
from .standin.runtime import SESSION

WIDTH = 24  # characters of the bar


class Display:
    """Shows which node runs and how far it is. Use it as a context; it hooks the nodes' progress bars."""

    def __init__(self, stream: TextIO | None = None):
        self.stream = sys.stderr if stream is None else stream
        self.live = self.stream.isatty()
        self.started = time.monotonic()
        self.name = ""
        self.done = 0

    def __enter__(self) -> "Display":
        SESSION.set_progress_bar_global_hook(self.tick)
        return self

    def __exit__(self, *exception: Any) -> None:
        SESSION.set_progress_bar_global_hook(None)
        if self.live:
            self.stream.write("\r\x1b[K")
        self.stream.flush()

    def step(self, step: Step) -> None:
        """A node starts."""
        self.done += 1
        part = "" if step.node == step.shown else f" ({step.node.removeprefix(step.shown).lstrip('.0123456789')})"
        self.name = f"{step.class_type.removeprefix('SpatialMemory_')}{part}"
        self._write(0, 0)

    def tick(self, value: int, total: int, preview: Any = None, node_id: str | None = None) -> None:
        """The node that runs is ``value`` of ``total`` steps far."""
        if self.live:
            self._write(value, total)

    def _write(self, value: int, total: int) -> None:
        seconds = time.monotonic() - self.started
        filled = WIDTH * value // total if total else 0
        bar = f" [{'#' * filled}{'-' * (WIDTH - filled)}] {value}/{total}" if total else ""
        line = f"{seconds:7.1f} s  {self.done:3}  {self.name}{bar}"
        self.stream.write(f"\r\x1b[K{line}" if self.live else f"{line}\n")
        self.stream.flush()
