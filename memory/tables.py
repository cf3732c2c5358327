"""Tables of points: rows of numbers, in bytes or as text, read to the last one or refused; and what their columns mean.

open3d would read such files too, but says nothing where one is cut short or holds what is no number: it skips the line,
or leaves zeros or whatever the memory held.
"""

import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np

MAX_POINTS = 20_000_000  # in one file
MAX_HEADER = 64 * 1024  # bytes
GREY = 128  # of what has no colour
POSITION, NORMAL, COLOUR = ("x", "y", "z"), ("nx", "ny", "nz"), ("red", "green", "blue")

Columns = dict[str, np.ndarray]  # by name, (N,) each


def check_count(count: int) -> None:
    """Refuse more points than are read, before anything is allocated.

    Raises:
        ValueError: says how many are read.
    """
    if count > MAX_POINTS:
        raise ValueError(f"it has {count} points, at most {MAX_POINTS} are read: thin it out first")


def binary_rows(file: BinaryIO, path: Path, row: np.dtype, count: int) -> Columns:
    """``count`` rows of bytes from where the file stands.

    Raises:
        ValueError: too many, or the file ends before.
    """
    check_count(count)
    left = path.stat().st_size - file.tell()
    if count * row.itemsize > left:
        raise ValueError(f"it says {count} points of {row.itemsize} bytes, {left} bytes follow: it was cut short")
    table = np.fromfile(file, row, count)
    return {name: table[name] for name in row.names or ()}


def text_rows(file: BinaryIO, path: Path, row: np.dtype, count: int | None) -> Columns:
    """``count`` rows of text from where the file stands, or all that follow; columns in the types of ``row``.

    Raises:
        ValueError: too many, the file ends before, or a row holds other than numbers, or not as many.
    """
    names, left = row.names or (), path.stat().st_size - file.tell()
    if count is not None:
        check_count(count)
        if count * 2 * len(names) > left + 1:  # a digit and a blank a number
            raise ValueError(f"it says {count} points of {len(names)} numbers, {left} bytes follow: it was cut short")
        if not count:
            return {name: np.empty(0, row[name]) for name in names}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # blank lines, or none
        limit = MAX_POINTS + 1 if count is None else count
        table = np.loadtxt(file, np.float64, comments="#", ndmin=2, max_rows=limit)
    if table.shape[1] != len(names) and len(table):
        raise ValueError(f"its rows have {table.shape[1]} numbers, expected {' '.join(names)}")
    if count is None:
        check_count(len(table))
    elif len(table) != count:
        raise ValueError(f"it says {count} points, {len(table)} follow: it was cut short")
    return {name: _typed(table[:, place], row[name], name) for place, name in enumerate(names)}


def stacked(columns: Columns, names: tuple[str, ...]) -> np.ndarray:
    """Some columns side by side: (N, len(names)).

    Raises:
        ValueError: one is missing.
    """
    if not set(names) <= set(columns):
        raise ValueError(f"it has the columns {' '.join(columns)}, expected {' '.join(names)} among them")
    return np.stack([columns[name] for name in names], -1)


def shades(columns: Columns) -> np.ndarray:
    """The colours of a table: (N, 3) uint8, grey where it has none.

    Whole numbers count to the largest of their type; numbers with a point count to 1, or to 255 where one is above 1.

    Raises:
        ValueError: colours beyond that.
    """
    if not set(COLOUR) <= set(columns):
        return np.full((len(columns["x"]), 3), GREY, np.uint8)
    colours = stacked(columns, COLOUR)
    if colours.dtype == np.uint8:
        return colours
    full = 1 if colours.dtype.kind == "f" else np.iinfo(colours.dtype).max
    if colours.dtype.kind == "f" and (colours > 1).any():
        full = 255
    if not ((colours >= 0) & (colours <= full)).all():
        raise ValueError(f"its colours run from {colours.min():g} to {colours.max():g}, expected 0 to {full}")
    return np.round(colours / full * 255).astype(np.uint8)


def _typed(column: np.ndarray, kind: np.dtype, name: str) -> np.ndarray:
    if kind.kind == "f":
        return column.astype(kind)
    limits = np.iinfo(kind)
    if not ((column >= limits.min) & (column <= limits.max)).all():
        raise ValueError(f"its column {name} holds numbers beyond {limits.min} to {limits.max}")
    return column.astype(kind)
