"""The manifest of a batch: one JSON object a line, one film a line, checked as a whole before anything runs."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{i}" for port in ("com", "lpt") for i in range(10))}  # of Windows
KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "id": ((str,), "a text"),
    "workflow": ((str,), "the name of a workflow file"),
    "image": ((str,), "the name of an image file"),
    "path": ((str, dict), "a preset, the name of a camera file, or a camera path as an object"),
    "prompt": ((str,), "a text"),
    "seed": ((int,), "a whole number"),
    "set": ((dict,), 'an object such as {"Rollout.steps": 4}'),
}
SHOWN = 20  # problems of one manifest


class ManifestError(ValueError):
    """A manifest that cannot run; the message names line and field of every problem, up to twenty."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a line."""

    line: int
    name: str  # of the field, "" for the whole line
    text: str

    def __str__(self) -> str:
        return f"line {self.line}, {self.name}: {self.text}" if self.name else f"line {self.line}: {self.text}"


@dataclass(frozen=True)
class Item:
    """One line: what differs from the workflow. None leaves the workflow as it is."""

    line: int  # of the manifest, from 1
    id: str
    workflow: str | None = None
    image: str | None = None
    path: str | dict | None = None
    prompt: str | None = None
    seed: int | None = None
    set: dict[str, Any] = field(default_factory=dict)  # NODE.INPUT -> value


def read_manifest(file: Path) -> tuple[list[Item], list[Problem]]:
    """The lines that are items, in order, and what is wrong with the others. Empty lines are passed over.

    Raises:
        ManifestError: there is no such file, it is no text, or nothing is in it.
    """
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise ManifestError(f"the manifest {file} cannot be read ({problem}): check the name") from problem
    items: list[Item] = []
    problems: list[Problem] = []
    first: dict[str, int] = {}  # line of each id; names of files may not tell capitals apart
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            record = json.loads(text)
        except json.JSONDecodeError as problem:
            problems.append(Problem(number, "", f"this is no JSON ({problem}); one object a line is expected"))
            continue
        found = list(_problems(number, record))
        name = record.get("id") if isinstance(record, dict) else None
        if isinstance(name, str) and first.setdefault(name.lower(), number) != number:
            found.append(Problem(number, "id", f"{name!r} is the id of line {first[name.lower()]} too; ids are unique"))
        problems += found
        if not found:
            items.append(Item(number, **record))
    if not items and not problems:
        raise ManifestError(f"the manifest {file} is empty: write one JSON object a line, one line a film")
    return items, problems


def refuse(file: Path, problems: list[Problem]) -> None:
    """Say everything that is wrong at once.

    Raises:
        ManifestError: there is a problem.
    """
    if not problems:
        return
    lines = [str(problem) for problem in sorted(problems, key=lambda problem: problem.line)]
    more = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    raise ManifestError("\n  ".join([f"{file} was not run:", *lines[:SHOWN], *more]))


def _problems(number: int, record: Any) -> Iterator[Problem]:
    if not isinstance(record, dict):
        yield Problem(number, "", f"got {record!r:.60}, expected a JSON object")
        return
    for name, value in record.items():
        if name not in KINDS:
            yield Problem(number, name, f"there is no such field; the fields are {', '.join(KINDS)}")
            continue
        kinds, expected = KINDS[name]
        if not isinstance(value, kinds) or isinstance(value, bool):
            yield Problem(number, name, f"got {value!r:.60}, expected {expected}")
        elif isinstance(value, str) and name != "prompt" and not value.strip():
            yield Problem(number, name, f"is empty, expected {expected}")
        elif name == "id" and (not WORD.fullmatch(value) or value.lower() in DEVICES):
            yield Problem(
                number,
                name,
                f"{value!r:.120} cannot be the name of a folder; expected up to 100 letters, digits, '-' and '_'",
            )
    if "id" not in record:
        yield Problem(number, "id", "is missing: it names the item's folder")
