"""Train the mini world model in the minutes that a borrowed GPU is there: render, encode, train, export.

``python -m spatial_memory.training.hurry --minutes 8.5 --processes 15 --device cuda --out FOLDER`` leaves
``world.safetensors`` (fp16), ``world.json`` and ``log.jsonl`` in FOLDER. Everything is counted, the imports too: it
ends before the minutes do. Latents and state go to a temporary folder in ``--scratch``.
"""

import argparse
import logging
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

IMPORTS = 3.0  # seconds that the interpreter took to get here
ROOM = 8 << 30  # bytes, more than twice what the latents and the state take


Say = Callable[..., None]


def roomy() -> Path | None:
    """RAM where there is enough of it, else the default of ``tempfile``."""
    ram = Path("/dev/shm")
    return ram if ram.is_dir() and shutil.disk_usage(ram).free > ROOM else None


def hurry(args: argparse.Namespace, scratch: Path, begun: float, say: Say) -> int:
    """All stages, in a scratch folder. What needs torch is imported here, so that it is counted."""
    from ..models.world import MINI_FOLDER
    from . import world
    from .harvest import SIZES, harvest, held_back

    say("imported")
    deadline = begun + args.share * args.minutes * 60
    files = harvest(scratch, args.device, args.processes, deadline, lambda counts: say("encoding", **counts))
    say("encoded", **files)
    left = args.minutes - (time.monotonic() - begun) / 60
    return world.main(
        [
            "--latents", *(str(scratch / folder) for folder in SIZES),
            "--minutes", str(left),
            "--device", args.device,
            "--processes", str(args.processes),
            "--tokens", str(args.tokens),
            "--uses", str(args.uses),
            "--rate", str(args.rate),
            "--seed", str(args.seed),
            "--initial", str(args.initial or MINI_FOLDER / "world.safetensors"),
            "--validation", str(held_back(scratch)),
            "--checkpoint", str(scratch / "state"),
            "--out", str(args.out / "world.safetensors"),
            "--log", str(args.out / "log.jsonl"),
        ]
    )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    begun = time.monotonic() - IMPORTS
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, required=True, help="for everything")
    parser.add_argument("--processes", type=int, default=15)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--scratch", type=Path, help="parent of the folder for latents; default: /dev/shm if it has room"
    )
    parser.add_argument("--share", type=float, default=0.3, help="of the time, for rendering and encoding")
    parser.add_argument("--initial", type=Path, help="weights to begin with; default: the ones that ship")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--tokens", type=int, default=22_000, help="of a step")
    parser.add_argument("--uses", type=int, default=3, help="steps that each drawn batch serves")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    # before torch comes: the processes have one core each, and asking for a GPU must not open it before they fork
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}

    def say(stage: str, **facts: object) -> None:
        told = " ".join(f"{name} {value}" for name, value in facts.items())
        sys.stderr.write(f"{time.monotonic() - begun:6.1f} s  {stage}  {told}\n")

    with tempfile.TemporaryDirectory(dir=args.scratch or roomy()) as scratch:
        status = hurry(args, Path(scratch), begun, say)
    say("exported", out=args.out)
    return status


if __name__ == "__main__":
    sys.exit(main())
