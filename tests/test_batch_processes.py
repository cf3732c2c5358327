"""A batch on two processes, and one that is killed: it goes on after the last chunk, with the same bits."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from spatial_memory.headless import batch_log, host
from spatial_memory.headless.cli import main
from spatial_memory.headless.standin.video import VideoFromFile
from spatial_memory.memory.store import load_tensors

COMMAND = """
import sys
sys.path.insert(0, {tests!r})
import conftest
from spatial_memory.headless.cli import main
sys.exit(main())
"""
FILM = "spatial_memory/one_node_00001_.mp4"


@pytest.fixture
def place(tmp_path):
    """A tiny photograph, one of a size that the model has not, and the command as a script."""
    with Image.open(host.EXAMPLES / "spatial_memory_kitchen.png") as photograph:
        for name, size in (("small", (96, 64)), ("odd", (90, 64))):
            photograph.convert("RGB").resize(size).save(tmp_path / f"{name}.png")
    (tmp_path / "command.py").write_text(COMMAND.format(tests=str(Path(__file__).parent)))
    return tmp_path


def arguments(place, output, *items):
    """The manifest written, and the words after ``spatial-memory``."""
    lines = [{"image": "small.png", "path": "orbit", **item} for item in items]
    (place / "films.jsonl").write_text("\n".join(map(json.dumps, lines)))
    workflow = host.EXAMPLES.parent / "one_node.json"
    return ["batch", str(place / "films.jsonl"), "--workflow", str(workflow), "--output", str(place / output)]


def film(name, frames, **more):
    return {"id": name, "set": {"Rollout.steps": 1, "CameraPath.num_frames": frames}, **more}


def environment():
    return {**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads()), "CUDA_VISIBLE_DEVICES": ""}


def test_two_processes_share_the_items_and_one_failure_ends_no_other(place):
    items = [film("a", 5), film("b", 5, image="odd.png"), film("c", 5, seed=2), film("d", 5, seed=3)]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    command = [*launch, str(place / "command.py"), *arguments(place, "out", *items), "--json"]
    ran = subprocess.run(command, cwd=place, env=environment(), capture_output=True, text=True, timeout=280)
    assert ran.returncode == 1, ran.stderr
    log = batch_log.latest(batch_log.read_log(place / "out" / "batch.jsonl"))
    assert {name: (one.status, one.process) for name, one in log.items()} == {
        "a": ("done", 0),
        "b": ("failed", 1),
        "c": ("done", 0),
        "d": ("done", 1),
    }, ran.stderr
    assert "width is 90, expected a multiple of 16" in log["b"].error
    assert all((place / "out" / name / FILM).is_file() for name in "acd")
    assert [one.id for one in batch_log.read_log(place / "out" / "batch.1.jsonl")] == ["b", "d"]
    printed = [json.loads(line) for line in ran.stdout.splitlines() if line.startswith("{")]
    assert sorted(one["id"] for one in printed if "id" in one) == ["a", "b", "c", "d"]
    (summary,) = [one for one in printed if "items" in one]
    assert (summary["items"], summary["done"], summary["failed"]) == (4, 3, ["b"])
    assert ran.stderr.count("4 items: 3 done, 0 done before, 1 failed (b), ") == 1
    # one process alone finds that nothing is left, and nothing to repeat but what it is asked to
    assert main(arguments(place, "out", *items)) == 1
    assert len(batch_log.read_log(place / "out" / "batch.jsonl")) == 4


def worlds(place, output):
    return sorted((place / output / "a" / "checkpoints").rglob("chunk*.safetensors"))


def wait_for(found, process=None):
    """Wait until something is there, at most four minutes."""
    end = time.monotonic() + 240
    while not found() and time.monotonic() < end and (process is None or process.poll() is None):
        time.sleep(0.005)
    return found()


@pytest.fixture
def interruptible():
    """SIGINT interrupts, as it does at a terminal: a shell starts what it puts into the background deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are killed the POSIX way")
def test_an_item_that_is_killed_and_interrupted_goes_on_with_the_same_bits(place, capsys, interruptible):
    item = film("a", 177)  # seven chunks: the watcher need not be quick
    assert main([*arguments(place, "whole", item), "--keep-worlds"]) == 0
    given = [*arguments(place, "out", item), "--keep-worlds"]
    command = [sys.executable, str(place / "command.py"), *given]
    with subprocess.Popen(command, cwd=place, env=environment(), stderr=subprocess.DEVNULL) as process:
        assert wait_for(lambda: worlds(place, "out"), process)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert len(worlds(place, "out")) < 7 and batch_log.read_logs(place / "out") == []

    second = threading.Event()

    def interrupt():
        before = len(worlds(place, "out"))
        wait_for(lambda: len(worlds(place, "out")) > before or second.is_set())
        if not second.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    watcher = threading.Thread(target=interrupt)
    watcher.start()
    try:
        status = main(given)
    finally:
        second.set()
        watcher.join()
    assert status == 130 and batch_log.read_logs(place / "out") == []

    assert main(given) == 0
    (done,) = batch_log.read_log(place / "out" / "batch.jsonl")
    (resumed,) = done.resumed
    assert 1 <= int(Path(resumed).stem.removeprefix("chunk")) < 6
    names = [file.name for file in worlds(place, "whole")]
    assert names == [f"chunk{k:03d}.safetensors" for k in range(7)] == [file.name for file in worlds(place, "out")]
    (first, _), (second_time, _) = (load_tensors(worlds(place, output)[-1]) for output in ("whole", "out"))
    assert first.keys() == second_time.keys()
    assert all(torch.equal(first[name], second_time[name]) for name in first)
    films = [VideoFromFile(str(place / output / "a" / FILM)).get_components().images for output in ("whole", "out")]
    assert len(films[0]) == 177 and torch.equal(*films)


def test_world_files_of_a_changed_line_are_not_gone_on_from(place):
    assert main([*arguments(place, "out", film("a", 5)), "--keep-worlds"]) == 0
    assert len(worlds(place, "out")) == 1
    (place / "out" / "a" / FILM).unlink()
    assert main([*arguments(place, "out", film("a", 5)), "--keep-worlds"]) == 0
    assert main(arguments(place, "out", film("a", 5, seed=9))) == 0
    log = batch_log.read_log(place / "out" / "batch.jsonl")
    assert [len(one.resumed) for one in log] == [0, 1, 0]
    assert worlds(place, "out") == [], "they are removed when the item is done"
