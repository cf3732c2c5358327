"""Time to save and to load a million latent points, with the file's bytes checked to be the same memory.

python benchmarks/save_load.py
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from clouds import scattered
from measure import fastest, say
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.memory_file import memory_from_tensors, memory_to_tensors
from spatial_memory.memory.store import load_tensors, save_tensors

PREFIX = "memory."


def save(memory: SpatialMemory, path: Path) -> None:
    tensors, record = memory_to_tensors(memory, PREFIX)
    save_tensors(path, tensors, record)


def load(path: Path) -> SpatialMemory:
    tensors, record = load_tensors(path)
    return memory_from_tensors(tensors, record, PREFIX)


def timed(memory: SpatialMemory, folder: Path, repeats: int) -> dict[str, object]:
    """The row of ``save_load``.

    Raises:
        ValueError: what was loaded is not what was saved.
    """
    path = folder / "memory.safetensors"
    save_s = fastest(lambda: save(memory, path), repeats)
    load_s = fastest(lambda: load(path), repeats)
    again = load(path)
    if not (torch.equal(again.points, memory.points) and torch.equal(again.features, memory.features)):
        raise ValueError("the memory that was loaded differs from the one that was saved")
    return {
        "save_s": save_s,
        "load_s": load_s,
        "points": memory.num_points,
        "channels": memory.channels,
        "bytes": path.stat().st_size,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="on the disk to measure (default: the one of temporary files)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as folder:
        say("save_load", **timed(scattered(285), Path(folder), args.repeats))  # 1,003,200 points
    return 0


if __name__ == "__main__":
    sys.exit(main())
