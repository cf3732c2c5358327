"""The command ``spatial-memory``. For programs: JSON lines on stdout; for people: stderr; status 0 only when done."""

import argparse
import importlib
import json
import logging
import sys
from collections.abc import Sequence
from types import ModuleType

COMMANDS = {  # name -> (module with add_arguments and run, one line of help)
    "run": (".run", "run a workflow file without ComfyUI, or send it to a server"),
    "batch": (".batch", "run many start images and camera paths, on many processes where accelerate launches it"),
    "camera": (".camera", "convert camera files from one format to another"),
    "warp": (".warp", "lift frames with known depth, look at them from another camera, compare"),
    "eval": ("..training.evaluate", "score closed loops on held-out worlds"),
    "object-info": ("", "print the nodes as a server's /object_info lists them"),
}
EXPECTED = (ValueError, TypeError, OSError, RuntimeError)  # what our own functions raise on purpose
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit status: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        parser, module = _parser(given)
        args = parser.parse_args(given)
        if module is None:
            _print_object_info()
        else:
            module.run(args)
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted: no half-written file was left\n")
        return INTERRUPTED
    except EXPECTED as problem:
        if "--debug" in given:
            raise
        sys.stderr.write(f"spatial-memory {args.command}: {problem}\n")
        return 1
    return 0


def _parser(given: Sequence[str]) -> tuple[argparse.ArgumentParser, ModuleType | None]:
    """The parser; only the module of the subcommand that was given is imported, some of them are heavy."""
    parser = argparse.ArgumentParser(
        prog="spatial-memory",
        description="Send a camera through a place and come back to find the same place.",
        epilog="spatial-memory COMMAND --help explains each command and gives examples",
    )
    parser.add_argument("--debug", action="store_true", help="show where an error came from")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in given if word in COMMANDS), None)
    module = None
    for name, (path, help_text) in COMMANDS.items():
        command = commands.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
        if name == chosen and path:
            module = importlib.import_module(path, __package__)
            module.add_arguments(command)
    return parser, module


def _print_object_info() -> None:
    from . import host

    sys.stdout.write(json.dumps(host.object_info(host.nodes())) + "\n")
