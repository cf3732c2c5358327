"""Text in rows of numbers, one pose a line."""

import torch
from torch import Tensor

from .imported import evenly


def table(text: str, columns: int, meaning: str, header: int = 0) -> tuple[Tensor, list[str], tuple[str, ...]]:
    """The numbers of a text: (T, columns) float64, what to call each row in an error, and a notice of thinning.

    Empty lines and lines behind # are passed over; the first ``header`` other lines are no rows.

    Raises:
        ValueError: no rows, another number of columns, or what is no finite number; names the line and the column.
    """
    lines = [(i, line) for i, line in enumerate(text.splitlines(), 1) if line.strip() and not line.startswith("#")]
    kept, notice = evenly(len(lines) - header)
    numbers, where = [], []
    for index in kept:
        number, line = lines[index + header]
        numbers.append(row_of(line, columns, f"line {number}", meaning))
        where.append(f"line {number}")
    return torch.tensor(numbers, dtype=torch.float64), where, notice


def row_of(line: str, columns: int, where: str, meaning: str) -> list[float]:
    """The numbers of one line.

    Raises:
        ValueError: another count, or what is no finite number; names the column.
    """
    words = line.split()
    if len(words) != columns:
        raise ValueError(f"{where} has {len(words)} columns, expected {columns}: {meaning}")
    return [_number(word, f"{where}, column {column}") for column, word in enumerate(words, 1)]


def increasing(times: Tensor, where: list[str], what: str) -> None:  # times: (T,)
    """Refuse times that stand still or run backwards.

    Raises:
        ValueError: names the line.
    """
    for i in range(1, len(times)):
        if times[i] <= times[i - 1]:
            raise ValueError(f"{where[i]} has {what} {times[i].item():.17g} behind {times[i - 1].item():.17g}")


def printed(numbers) -> str:
    """Numbers as text that reads back to the same float64, separated by blanks."""
    return " ".join(repr(float(x) + 0.0) for x in numbers)


def _number(word: str, where: str) -> float:
    try:
        number = float(word)
    except ValueError as error:
        raise ValueError(f"{where} is {word[:40]!r}, expected a number") from error
    if not abs(number) < 1e300:
        raise ValueError(f"{where} is {word[:40]}, expected a finite number")
    return number
