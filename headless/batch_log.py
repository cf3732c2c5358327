"""The log of a batch: one JSON object for each item that ended, appended, never rewritten.

Every process appends to a file of its own, process 0 to ``batch.jsonl`` and process k to ``batch.k.jsonl``. O_APPEND
alone would not do for all: over a network file system two writers overwrite each other, and machines may share none.
At the end process 0 appends what the others report. Whoever reads takes all files and the last word on each item.
"""

import json
import logging
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

logger = logging.getLogger(__name__)

DONE, FAILED = "done", "failed"


@dataclass(frozen=True)
class Record:
    """How one item ended."""

    id: str
    status: str  # DONE or FAILED
    key: str  # digest of what was run; another one means that the line, the workflow or a file has changed
    seconds: float
    files: tuple[str, ...]  # below the output folder
    error: str | None
    process: int
    resumed: tuple[str, ...]  # world files that it went on from
    ended: str  # UTC, ISO 8601

    def to_line(self) -> str:
        """The record as one line without its end."""
        return json.dumps(asdict(self), ensure_ascii=False)


def log_file(output: Path, process: int) -> Path:
    """Where one process appends."""
    return output / ("batch.jsonl" if process == 0 else f"batch.{process}.jsonl")


def append(file: Path, records: Iterable[Record]) -> None:
    """Append records in a single write and wait until they are on disk. What a crash tore is closed off first.

    Raises:
        OSError: the disk is full or the file cannot be written.
    """
    text = "".join(record.to_line() + "\n" for record in records)
    if not text:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    encoded = (("\n" if _is_torn(file) else "") + text).encode()
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
    try:
        if os.write(handle, encoded) != len(encoded):
            raise OSError(f"{file} took only a part of a line: the disk is full")
        os.fsync(handle)
    finally:
        os.close(handle)


def read_log(file: Path) -> list[Record]:
    """The records of one file in order; lines that are none (a crash may leave half of one) are passed over."""
    if not file.is_file():
        return []
    found = []
    for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        record = _record(line)
        if record is not None:
            found.append(record)
        elif line.strip():
            logger.warning("%s, line %d is no record and was passed over", file, number)
    return found


def read_logs(output: Path) -> list[Record]:
    """The records of all processes of all runs into this folder, oldest first."""
    files = sorted([*output.glob("batch.jsonl"), *output.glob("batch.[0-9]*.jsonl")])
    return sorted((record for file in files for record in read_log(file)), key=lambda record: record.ended)


def latest(records: Iterable[Record]) -> dict[str, Record]:
    """The last word on each item, by id."""
    return {record.id: record for record in records}


def merge(output: Path, records: Iterable[Record]) -> None:
    """Append to process 0's file what other processes reported, here or in files beside it, and it lacks."""
    own = log_file(output, 0)
    known = set(read_log(own))
    others = dict.fromkeys([*read_logs(output), *records])
    append(own, sorted((one for one in others if one not in known), key=lambda record: record.ended))


def _is_torn(file: Path) -> bool:
    try:
        with open(file, "rb") as stream:
            stream.seek(-1, os.SEEK_END)
            return stream.read(1) != b"\n"
    except OSError:  # absent or empty
        return False


def _record(line: str) -> Record | None:
    try:
        found = json.loads(line)
    except json.JSONDecodeError:
        return None
    names = {one.name for one in fields(Record)}
    if not isinstance(found, dict) or not names <= set(found):
        return None
    lists = {name: tuple(found[name]) for name in ("files", "resumed") if isinstance(found[name], list)}
    texts = all(isinstance(found[name], str) for name in ("id", "status", "key", "ended"))
    return Record(**{name: found[name] for name in names} | lists) if texts and len(lists) == 2 else None
