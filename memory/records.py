"""JSON from users' files: parsed with limits, and numbers that are numbers."""

import json

MAX_TEXT = 8_000_000  # characters


def load_record(text: str, what: str, version: int) -> dict:
    """Parse a versioned JSON object.

    Raises:
        ValueError: it is too long, too deep, no JSON object, holds NaN, or is newer than ``version``.
    """
    if len(text) > MAX_TEXT:
        raise ValueError(f"the {what} is {len(text)} characters long, at most {MAX_TEXT} are read")

    def refuse(constant: str) -> float:
        raise ValueError(f"the {what} holds {constant}; expected finite numbers")

    try:
        record = json.loads(text, parse_constant=refuse)
    except ValueError as error:
        raise ValueError(f"the {what} is no JSON: {error}") from error
    except RecursionError as error:
        raise ValueError(f"the {what} is nested too deeply to be one") from error
    if not isinstance(record, dict):
        raise ValueError(f"the {what} is a JSON {type(record).__name__}, expected an object")
    found = record.get("version")
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise ValueError(f"the {what} has version {found!r}, expected {version}")
    if found > version:
        raise ValueError(f"the {what} has version {found}, this pack reads up to {version}: update the pack")
    return record


def numbers(values: object, count: int, what: str) -> tuple[float, ...]:
    """A JSON list of ``count`` finite numbers, named ``what`` in the error.

    Raises:
        ValueError: it is anything else.
    """
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"{what} is {_short(values)}, expected {count} numbers")
    return tuple(number(value, what) for value in values)


def number(value: object, what: str) -> float:
    """A finite JSON number, named ``what`` in the error.

    Raises:
        ValueError: it is anything else.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < 1e300:
        raise ValueError(f"{what} is {_short(value)}, expected a finite number")
    return float(value)


def _short(value: object) -> str:
    """What a value looks like, cut to a length that fits a message."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
