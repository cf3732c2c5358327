"""Run one item of a batch: go on from its world files, and say how it ended and what it wrote."""

import re
import shutil
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from . import host
from .batch_edits import with_inputs
from .batch_jobs import Job
from .batch_log import DONE, FAILED, Record
from .progress import Display
from .runner import Runner
from .validate import Prompt

WORLDS = "checkpoints"  # folder of an item for the world files of its loops, one folder a digest
FAILURES = (ValueError, TypeError, OSError, RuntimeError)  # what a run raises on purpose; NodeFailed holds the rest


def with_worlds(job: Job, output: Path) -> tuple[Prompt, tuple[str, ...]]:
    """The prompt whose loops write world files of this very job and go on from the last one that is there.

    Returns:
        (prompt, world files to go on from, named as the nodes read them)
    """
    prompt, found = job.prompt, []
    for node_id in job.loops:
        folder = f"{job.id}/{WORLDS}/{job.key[:16]}/{re.sub(r'[^0-9A-Za-z]', '_', node_id)}"
        worlds = sorted((output / folder).glob("chunk*.safetensors"), key=lambda file: (len(file.name), file.name))
        last = f"{folder}/{worlds[-1].name}" if worlds else ""
        prompt = with_inputs(prompt, node_id, {"checkpoint": folder, "resume": last})
        found += [last] if last else []
    return prompt, tuple(found)


def run_job(job: Job, runner: Runner, output: Path, process: int) -> Record:
    """Run one job. Whatever a node says is wrong with it is in the record; an interruption passes through."""
    host.use_folders(job.folders)
    before = _stamps(output / job.id)
    prompt, resumed = with_worlds(job, output)
    begun, error = time.monotonic(), None
    try:
        runner.run(prompt, job.extra)
    except FAILURES as problem:
        error = str(problem) or type(problem).__name__
    seconds = round(time.monotonic() - begun, 3)
    after = _stamps(output / job.id)
    files = tuple(file.relative_to(output).as_posix() for file in sorted(after) if after[file] != before.get(file))
    ended = datetime.now(UTC).isoformat(timespec="microseconds")
    return Record(job.id, FAILED if error else DONE, job.key, seconds, files, error, process, resumed, ended)


def remove_worlds(job: Job, output: Path) -> None:
    """Remove the world files of an item that is done, older ones of a changed line included."""
    shutil.rmtree(output / job.id / WORLDS, ignore_errors=True)


def is_done(job: Job, record: Record | None, output: Path) -> bool:
    """Whether the log says that this very job is done and its files are still there."""
    said = record is not None and (record.status, record.key) == (DONE, job.key)
    return said and all((output / file).is_file() for file in record.files)


def has_failed(job: Job, record: Record | None) -> bool:
    """Whether the log says that this very job has failed."""
    return record is not None and (record.status, record.key) == (FAILED, job.key)


class Narrator:
    """Tells a person on stderr which item runs, how it ended and how long the rest will take."""

    def __init__(self, process: int, processes: int, total: int):
        self.before = f"process {process}: " if processes > 1 else ""
        self.shows_nodes = processes == 1 and sys.stderr.isatty()
        self.total = total
        self.seconds: list[float] = []

    def say(self, text: str) -> None:
        """One line."""
        sys.stderr.write(f"{self.before}{text}\n")
        sys.stderr.flush()

    def around(self, job: Job, runner: Runner, run: Callable[[], Record]) -> Record:
        """Run an item with a line before and after it; on a terminal, with the node that runs in between."""
        head = f"[{len(self.seconds) + 1}/{self.total}] {job.id}"
        self.say(f"{head}: begun")
        if self.shows_nodes:
            with Display() as display:
                runner.on_step = display.step
                record = run()
        else:
            record = run()
        self.seconds.append(record.seconds)
        rest = (self.total - len(self.seconds)) * sum(self.seconds) / len(self.seconds)
        left = f", about {rest / 60:.0f} min left" if rest > 60 else ""
        came = f", went on from {', '.join(record.resumed)}" if record.resumed else ""
        self.say(f"{head}: {record.status} in {record.seconds:.1f} s{came}{left}")
        for text in [record.error] if record.error else record.files[:4]:
            self.say(f"    {text}")
        return record


def _stamps(folder: Path) -> dict[Path, tuple[int, int]]:
    """The files of an item with time and size; its world files do not count, nor what is being written."""
    files = (file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    kept = [file for file in files if WORLDS not in file.relative_to(folder).parts[:1]]
    return {file: ((stat := file.stat()).st_mtime_ns, stat.st_size) for file in kept}
