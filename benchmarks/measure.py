"""What every benchmark needs: the time of a call, and one JSON object a line on stdout."""

import json
import statistics
import sys
import time
from collections.abc import Callable

import torch


def seconds_of(call: Callable[[], object], repeats: int) -> list[float]:
    """Seconds of each of some calls, after one that warms up."""
    call()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return times


def fastest(call: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of some calls, after one that warms up."""
    return min(seconds_of(call, repeats))


def median(call: Callable[[], object], repeats: int) -> float:
    """Seconds of the call in the middle, after one that warms up."""
    return statistics.median(seconds_of(call, repeats))


def say(bench: str, **keys: object) -> None:
    """Print one row: numbers to five digits, and the threads that torch had."""
    row = {"bench": bench, **{key: _short(value) for key, value in keys.items()}, "threads": torch.get_num_threads()}
    sys.stdout.write(json.dumps(row) + "\n")
    sys.stdout.flush()


def _short(value: object) -> object:
    return float(f"{value:.5g}") if isinstance(value, float) else value
