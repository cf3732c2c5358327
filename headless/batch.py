"""``spatial-memory batch``: many start images and camera paths through one pipeline, on one process or on many."""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from . import host
from .batch_jobs import Job, Place, Planner
from .batch_log import DONE, FAILED, Record, append, latest, log_file, merge, read_logs
from .batch_manifest import read_manifest, refuse
from .batch_run import Narrator, has_failed, is_done, remove_worlds, run_job
from .batch_share import Process, gathered, join, leave
from .runner import Runner
from .validate import WorkflowError

EXAMPLES = """examples:
  spatial-memory batch films.jsonl --workflow workflows/one_node.json --output films
  spatial-memory batch films.jsonl --workflow workflows/one_node.json --output films --retry-failed
  accelerate launch --multi_gpu --num_processes 8 -m spatial_memory.headless batch films.jsonl --output films

A line of the manifest, of which only "id" must be there:
  {"id": "kitchen", "image": "kitchen.png", "path": "orbit", "prompt": "a kitchen", "seed": 7,
   "workflow": "one_node.json", "set": {"Rollout.steps": 4, "Camera Path.num_frames": 57}}

Files are looked for beside the manifest and in --input. "path" is a preset, a camera file of any format that
`spatial-memory camera` reads, or a path as JSON. Every item writes into OUTPUT/ID, and how it ended is in
OUTPUT/batch.jsonl. The same command again runs what is missing: items that are done stay done while their line,
workflow and files are the same, and one that was interrupted goes on after its last chunk."""


class BatchFailed(RuntimeError):
    """Some items failed; the others are done."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("manifest", type=Path, metavar="MANIFEST.jsonl", help="one JSON object a line, one line a film")
    parser.add_argument("--workflow", type=Path, metavar="WORKFLOW.json", help="for lines that name none")
    parser.add_argument("--output", type=Path, default=Path("output"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--input", type=Path, metavar="DIR", help="images and camera files, besides the manifest's")
    parser.add_argument(
        "--models", type=Path, metavar="DIR", help="model files (default: $COMFYUI_PATH/models or models)"
    )
    parser.add_argument("--retry-failed", action="store_true", help="run items again that failed before")
    parser.add_argument("--keep-worlds", action="store_true", help="keep the world files of items that are done")
    parser.add_argument("--json", action="store_true", help="print one JSON object an item on stdout, and a summary")


def run(args: argparse.Namespace) -> None:
    """Run this process's share of the manifest; the first process says at the end how all of it went.

    Raises:
        ManifestError, HostPresent: nothing was run.
        BatchFailed: an item failed, now or before.
        SystemExit: the same on one of several processes.
    """
    begun = time.monotonic()
    process = join()
    with tempfile.TemporaryDirectory(prefix="spatial_memory_") as previews:
        nodes = host.nodes()
        jobs = _agreed(process, lambda: _planned(args, Planner(_place(args, Path(previews)), nodes)))
        done, failed, skipped = _worked(args, process, jobs, Runner(nodes))
    given = gathered(process, (done, failed, skipped))
    lost = sorted(name for _, share, _ in given for name in share)
    named = ", ".join(lost[:10]) + (f" and {len(lost) - 10} more" if len(lost) > 10 else "")
    if process.index == 0:
        records = [record for share, _, _ in given for record in share]
        merge(args.output, records)
        counts = {"done": sum(one.status == DONE for one in records), "skipped": sum(share for _, _, share in given)}
        log, seconds = log_file(args.output, 0).as_posix(), round(time.monotonic() - begun, 1)
        sys.stderr.write(
            f"{len(jobs)} items: {counts['done']} done, {counts['skipped']} done before, "
            f"{len(lost)} failed{f' ({named})' if lost else ''}, {seconds} s, {log}\n"
        )
        if args.json:
            summary = {"items": len(jobs), **counts, FAILED: lost, "seconds": seconds, "log": log}
            _print(json.dumps(summary, ensure_ascii=False))
    gathered(process, None)  # nobody leaves before that is said: the launcher ends all when one ends with status 1
    leave(process)
    if lost and process.index:
        raise SystemExit(1)
    if lost:
        raise BatchFailed(f"{len(lost)} of {len(jobs)} items failed: {named}. --retry-failed runs them again")


def _agreed(process: Process, plan: Callable[[], list[Job]]) -> list[Job]:
    """The jobs, if every process could plan them: a file may be missing on one machine alone.

    Raises:
        ValueError: what the plan refuses, on a process that is alone.
        SystemExit: one of several processes refuses; the first one has said why.
    """
    try:
        jobs, refused = plan(), None
    except ValueError as problem:
        if process.count == 1:
            raise
        jobs, refused = [], str(problem)
    reasons = [reason for reason in dict.fromkeys(gathered(process, refused)) if reason]
    if process.index == 0:
        sys.stderr.write("".join(f"spatial-memory batch: {reason}\n" for reason in reasons))
        sys.stderr.flush()
    gathered(process, None)
    if reasons:
        leave(process)
        raise SystemExit(1)
    return jobs


def _place(args: argparse.Namespace, previews: Path) -> Place:
    if args.input and not args.input.is_dir():
        raise WorkflowError(f"--input {args.input}: there is no such folder")
    comfyui = os.environ.get("COMFYUI_PATH")
    models = args.models or (Path(comfyui) / "models" if comfyui else Path("models"))
    inputs = (args.input,) if args.input else ()
    return Place(args.manifest.resolve(), args.workflow, inputs, args.output, models, previews)


def _planned(args: argparse.Namespace, planner: Planner) -> list[Job]:
    """Every line as a job.

    Raises:
        ManifestError: a line cannot run.
    """
    items, problems = read_manifest(args.manifest)
    jobs = []
    for item in items:
        job, found = planner.job(item)
        problems += found
        jobs += [] if job is None else [job]
    refuse(args.manifest, problems)
    return jobs


def _worked(
    args: argparse.Namespace, process: Process, jobs: list[Job], runner: Runner
) -> tuple[list[Record], list[str], int]:
    """Run what is missing of this process's share: records, ids that failed now or before, how many were done before.

    One runner runs them all, so that models, and whatever else two items share, are made once.
    """
    ended = latest(read_logs(args.output))
    mine = process.share(jobs)
    skipped = [job for job in mine if is_done(job, ended.get(job.id), args.output)]
    failed = [] if args.retry_failed else [job.id for job in mine if has_failed(job, ended.get(job.id))]
    left = [job for job in mine if job not in skipped and job.id not in failed]
    narrator = Narrator(process.index, process.count, len(left))
    narrator.say(f"{len(mine)} items: {len(skipped)} done before, {len(failed)} failed before, {len(left)} to run")
    records = []
    for job in left:
        record = narrator.around(job, runner, lambda job=job: run_job(job, runner, args.output, process.index))
        append(log_file(args.output, process.index), [record])
        records.append(record)
        if record.status == DONE and not args.keep_worlds:
            remove_worlds(job, args.output)
        if args.json:
            _print(record.to_line())
    return records, [*failed, *(one.id for one in records if one.status == FAILED)], len(skipped)


def _print(line: str) -> None:
    """Write one line in one piece: other processes may write to the same stream."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
