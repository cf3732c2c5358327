"""The rows that ``make bench`` printed as tables in Markdown: what was asked, what was reached, and on which machine.

make bench > bench.jsonl
python benchmarks/table.py bench.jsonl > docs/results.md
"""

import argparse
import datetime
import json
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

Row = dict[str, object]


@dataclass(frozen=True)
class Asked:
    """One figure to reach."""

    bench: str
    key: str
    what: str
    least: bool  # True = at least ``bound``, False = at most
    bound: float
    unit: str = ""

    def reached(self, value: float) -> bool:
        return value >= self.bound if self.least else value <= self.bound


ASKED = (
    Asked("readout_vs_sorted", "ratio", "readout, all points in view, against a sort a view", True, 20, "x"),
    Asked("readout_around", "ratio", "points all around, no use of bounds, against a sort a view", True, 2, "x"),
    Asked("readout_around", "ratio_bounds", "the same points, observations with bounds", True, 10, "x"),
    Asked("readout_visible", "ratio", "10 M points, 5 % in view, against those alone", False, 3, "x"),
    Asked("bytes_per_point", "bytes", "saved bytes a latent point of 48 channels", False, 120, "B"),
    Asked("bytes_per_point", "index_bytes", "bytes a point of indices that can be dropped", False, 24, "B"),
    Asked("latent_vs_rgb_bytes", "ratio", "RGB over latent bytes after a chunk, before voxels", True, 30, "x"),
    Asked("latent_vs_rgb_bytes", "rgb_bytes_per_point", "saved bytes an RGB point", False, 20, "B"),
    Asked("second_lap", "share", "points that a second lap adds, of the first", False, 0.05),
    Asked(
        "growth",
        "insert_ratio",
        "time of an insert, chunk 100 over the first that finds its way known",
        False,
        1.3,
        "x",
    ),
    Asked(
        "growth",
        "readout_ratio",
        "time of a readout, chunk 100 over the first that finds its way known",
        False,
        1.3,
        "x",
    ),
    Asked("retrieval", "seconds", "choice of references, 100 candidates x 9 views, 1 M points", False, 1, "s"),
    Asked("retrieval", "ratio", "the same against sets of tuples", True, 30, "x"),
    Asked("save_load", "save_s", "save 1 M points", False, 3, "s"),
    Asked("save_load", "load_s", "load 1 M points", False, 3, "s"),
)
BESIDE = (  # figures without a bound that belong to the table
    ("readout_vs_sorted", "ratio_centred", "the same by the readout that films use", "x"),
    ("readout_around", "ratio_frames", "other points, of frames that overlap, with bounds, middle of five draws", "x"),
    ("latent_vs_rgb_bytes", "ratio_voxels", "RGB over latent bytes after a chunk, after voxels", "x"),
    ("latent_vs_rgb_bytes", "latent_bytes_per_point", "saved bytes a latent point", "B"),
    ("latent_vs_rgb_bytes", "cache_ratio_5", "RGB over latent cache after five chunks (the paper: 55)", "x"),
    ("growth", "insert_over_new", "time of an insert, chunk 100 over chunk 2, which knows a seventh", "x"),
    ("growth", "readout_over_new", "time of a readout, chunk 100 over chunk 2, which knows a seventh", "x"),
    ("second_lap", "share_jittered", "points that a lap beside the first adds", ""),
)
OWN = {asked.bench for asked in ASKED} | {"rgbd_readout"}


def figures(rows: list[Row]) -> list[list[str]]:
    """A line for each figure that was asked for or belongs beside one, in the order of the issue; missing ones too."""
    lines = []
    for asked in ASKED:
        sign = "≥" if asked.least else "≤"
        found = [row for row in rows if row["bench"] == asked.bench and asked.key in row]
        for row in found or [{}]:
            value = row.get(asked.key)
            shown = "did not run" if value is None else _shown(value, asked.unit)
            verdict = "no" if value is None or not asked.reached(float(str(value))) else "yes"
            lines.append(
                [f"`{asked.bench}` {asked.key}", asked.what + _kind(row), shown, f"{sign} {asked.bound:g}", verdict]
            )
    for bench, key, what, unit in BESIDE:
        for row in (row for row in rows if row["bench"] == bench and key in row):
            lines.append([f"`{bench}` {key}", what + _kind(row), _shown(row[key], unit), "", ""])
    return lines


def sequences(rows: list[Row]) -> list[list[str]]:
    """A line for each RGB-D sequence and kind."""
    lines = []
    for row in (row for row in rows if row["bench"] == "rgbd_readout"):
        ours, released = (float(str(row[key])) for key in ("ours", "released_rules"))
        numbers = [_shown(row[key], "") for key in ("ours", "released_rules", "ours_divided", "released_divided")]
        holes = [f"{100 * float(str(row[key])):.1f} %" for key in ("ours_holes", "released_holes")]
        verdict = "yes" if ours < released else "no"
        lines.append([str(row["sequence"]), str(row["kind"]), *numbers, *holes, str(row["pairs"]), verdict])
    return lines


def others(rows: list[Row]) -> list[list[str]]:
    """What the other benchmarks printed, a line a row."""
    return [
        [f"`{row['bench']}`", ", ".join(f"{key} {value}" for key, value in row.items() if key != "bench")]
        for row in rows
        if row["bench"] not in OWN
    ]


def table(heads: list[str], lines: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [heads, ["---"] * len(heads), *lines])


def machine() -> str:
    """Processor, cores, memory and versions, in one line."""
    names = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = [int(line.split()[1]) / 2**20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    name = names[0] if names else platform.processor() or platform.machine()
    size = f", {memory[0]:.0f} GiB of memory" if memory else ""
    python = platform.python_version()
    return f"{name}, {os.cpu_count()} cores{size}; {platform.system()}, Python {python}, torch {torch.__version__}"


def document(rows: list[Row], today: datetime.date) -> str:
    """The whole page."""
    threads = sorted({str(row["threads"]) for row in rows if "threads" in row})
    parts = [
        "# Results",
        f"Measured on {today.isoformat()} by `make bench`, {' and '.join(threads) or '?'} threads, on {machine()}.\n"
        "Made by `python benchmarks/table.py`; what each figure means stands at the top of its file in `benchmarks/`.",
        table(["figure", "what", "reached", "asked", "holds"], figures(rows)),
        "## Real RGB-D sequences\n\nFrame A is lifted and read at frame B. Errors are mean squared differences from "
        "B's own latents or colours over what\nboth sides know, over the variance of B's own; holes are each side's. "
        "Divided: by coverage, which is not how either\nmemory hands its colours on (`benchmarks/rgbd.py`).",
        table(
            ["sequence", "kind", "ours", "released", "ours, divided", "released, divided", "holes, ours"]
            + ["holes, released", "pairs", "lower"],
            sequences(rows) or [["did not run", *[""] * 9]],
        ),
        "## Other benchmarks",
        table(["benchmark", "row"], others(rows)),
    ]
    return "\n\n".join(parts) + "\n"


def _kind(row: Row) -> str:
    path = f", {row['path']}" if "path" in row else ""
    return path + (f", {row['kind']} memory" if "kind" in row else "")


def _shown(value: object, unit: str) -> str:
    return f"{float(str(value)):.3g}" + (f" {unit}" if unit not in ("", "x") else unit)


def _lines(path: str) -> list[str]:
    return Path(path).read_text(encoding="utf-8").splitlines() if Path(path).is_file() else []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path, help="what make bench printed")
    args = parser.parse_args()
    rows = [json.loads(line) for line in args.rows.read_text(encoding="utf-8").splitlines() if line.startswith("{")]
    sys.stdout.write(document(rows, datetime.date.today()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
