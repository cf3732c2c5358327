"""Render and encode worlds in many processes until a time is up: no clip touches a disk, only its latents do.

Jobs are numbered and taken in turn, so that what is there when time is up has every kind in its share. A finished
variant of a clip is one file, as ``latents.py`` writes it: ``FOLDER/SIZE/VARIANT_NUMBER.safetensors``.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from ..models.codec import MiniCodec
from ..models.mini_codec import load_mini_codec
from .clips import render_clip
from .crew import FORK, start_crew
from .latents import RGB_EVERY, encode_clip, save_latents, varied

logger = logging.getLogger(__name__)

SIZES = {"small": (64, 96), "demo": (192, 320)}  # from the smallest token grid to the largest
CYCLE = ("small", "small", "small", "demo")  # a demo clip takes about four times as long
VARIANTS = {"small": 4, "demo": 3}
FRAMES = 57
HELD_BACK = 8  # validation worlds of each size
LAST = 90_000  # their numbers come last, as ``world.load_latents`` wants them
GRACE = 20.0  # seconds after the deadline until a process is ended in the middle of a job


@dataclass(frozen=True)
class Job:
    """A clip to render, and how many variants of it to encode."""

    folder: str
    number: int  # of the file
    seed: int
    split: str
    variants: int


def job_of(index: int) -> Job:
    """The job of an index: at first one in two is a validation world, then the folders take turns as in ``CYCLE``."""
    if index < 4 * HELD_BACK:
        folder = list(SIZES)[index % 2]
        if index % 4 < 2:
            return Job(folder, LAST + index // 4, index // 4, "validation", 1)
    else:
        folder = CYCLE[index % len(CYCLE)]
    return Job(folder, index, index, "train", VARIANTS[folder])


def open_codec(device: str) -> MiniCodec:
    """The codec on a device; on the CPU, with a warning, where a GPU takes no further process."""
    network = load_mini_codec()
    try:
        return MiniCodec(network.to(device))
    except RuntimeError as error:
        logger.warning("the codec runs on the CPU: %s", error)
        return MiniCodec(load_mini_codec())


def encode_job(codec: MiniCodec, job: Job, out: Path, deadline: float) -> None:
    """Render a job's clip and write its variants, as long as time is left."""
    clip = render_clip(job.seed, job.split, FRAMES, *SIZES[job.folder])
    for variant in range(job.variants):
        if variant and time.monotonic() > deadline:
            return
        index = job.number * job.variants + variant
        tensors = encode_clip(codec, varied(clip, variant), index, index % RGB_EVERY == 0)
        save_latents(tensors, out / job.folder / f"{variant}_{job.number:05d}.safetensors")


def harvest(
    out: Path, device: str, processes: int, deadline: float, report: Callable[[dict[str, int]], None]
) -> dict[str, int]:
    """Take jobs until ``time.monotonic()`` is at the deadline, and report every few seconds how many files there are.

    Returns:
        how many files each folder holds.

    Raises:
        RuntimeError: a folder got no training clip or no validation clip.
    """
    for folder in SIZES:
        (out / folder).mkdir(parents=True, exist_ok=True)
    following = FORK.Value("l", 0)

    def indices() -> Iterator[int]:
        for _ in count():
            with following.get_lock():
                index, following.value = following.value, following.value + 1
            if time.monotonic() > deadline:
                return
            yield index

    def work(rank: int) -> None:
        codec = open_codec(device)
        for index in indices():
            encode_job(codec, job_of(index), out, deadline)

    crew = start_crew(work, processes)
    while any(member.is_alive() for member in crew) and time.monotonic() < deadline + GRACE:
        for member in crew:
            member.join(5.0 / processes)
        report(_counts(out))
    for member in crew:
        member.terminate()
        member.join()
    for folder in SIZES:
        held = len(list((out / folder).glob(f"*_{LAST // 10000}*.safetensors")))
        if not held or held == _counts(out)[folder]:
            raise RuntimeError(f"{folder} got {_counts(out)[folder]} files, {held} to validate: give more time")
    return _counts(out)


def _counts(out: Path) -> dict[str, int]:
    return {folder: len(list((out / folder).glob("*_*.safetensors"))) for folder in SIZES}


def held_back(out: Path) -> int:
    """How many validation clips every size has at least."""
    return min(len(list((out / folder).glob(f"0_{LAST // 10000}????.safetensors"))) for folder in SIZES)
