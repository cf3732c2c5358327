"""All benchmarks, one after another: one JSON object a line on stdout, all else on stderr.

A benchmark that fails does not stop the others; the exit status says that it did.

    python benchmarks/run.py > bench.jsonl
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPTS = (
    "readout",
    "readout_around",
    "readout_visible",
    "stored",
    "second_lap",
    "growth",
    "retrieval",
    "rgbd",
    "save_load",
    "conditioning",
    "editor",
    "rollout",
    "wan_full",
    "wan_options",
)


def run(scripts: list[Path], environment: dict[str, str]) -> list[str]:
    """Run scripts in turn and tell how long each took: the names of those that failed."""
    failed = []
    for script in scripts:
        begun = time.monotonic()
        status = subprocess.run([sys.executable, str(script)], env=environment).returncode
        sys.stderr.write(f"{script.stem}: {time.monotonic() - begun:.0f} s, exit status {status}\n")
        if status:
            failed.append(script.stem)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", metavar="NAME", help="some of them (default: all)")
    parser.add_argument("--data", help="folder of posed RGB-D sequences")
    args = parser.parse_args()
    if unknown := sorted(set(args.only) - set(SCRIPTS)):
        parser.error(f"no benchmark is called {', '.join(unknown)}; expected some of {', '.join(SCRIPTS)}")
    environment = {**os.environ, **({"DATA": args.data} if args.data else {})}
    failed = run([HERE / f"{name}.py" for name in args.only or SCRIPTS], environment)
    if failed:
        sys.stderr.write(f"failed: {', '.join(failed)}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
