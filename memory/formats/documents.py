"""JSON from users' files: parsed with limits, and fields that are what they should be or are named in the error."""

import json

from ..records import number, numbers

MAX_JSON = 256_000_000  # characters; what they become in memory is five times as much


def parsed(text: str, what: str) -> object:
    """Any JSON value.

    Raises:
        ValueError: too long, nested too deeply, or no JSON; names the line and column.
    """
    if len(text) > MAX_JSON:
        raise ValueError(f"{what} is {len(text)} characters long, at most {MAX_JSON} are read")
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{what} is no JSON: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{what} is no JSON that is read here: it is nested too deeply") from error


def record(value: object, what: str) -> dict:
    """A JSON object.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{what} is {_kind(value)}, expected an object")
    return value


def items(value: object, what: str) -> list:
    """A JSON list.

    Raises:
        ValueError: anything else.
    """
    if not isinstance(value, list):
        raise ValueError(f"{what} is {_kind(value)}, expected a list")
    return value


def matrix(value: object, rows: tuple[int, ...], columns: int, what: str) -> list[list[float]]:
    """Rows of ``columns`` finite numbers each; ``rows`` says how many rows are allowed.

    Raises:
        ValueError: anything else; shows the row or the number.
    """
    if not isinstance(value, list) or len(value) not in rows:
        shapes = " or ".join(f"{count}x{columns}" for count in rows)
        raise ValueError(f"{what} is no {shapes} matrix")
    return [list(numbers(row, columns, what)) for row in value]


def size(value: object, what: str) -> int:
    """A number of pixels.

    Raises:
        ValueError: no whole number from 1 to 65536.
    """
    pixels = number(value, what)
    if pixels != int(pixels) or not 0 < pixels <= 65536:
        raise ValueError(f"{what} is {pixels:g}, expected a whole number from 1 to 65536")
    return int(pixels)


def _kind(value: object) -> str:
    return "missing" if value is None else f"a {type(value).__name__}"
