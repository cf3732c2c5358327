"""``spatial-memory run``: a workflow file from the command line, with the built-in runner or on a server."""

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import client, host
from .edits import inside_name, resume_from, set_input
from .progress import Display
from .runner import Runner
from .standin.folders import Folders
from .validate import Prompt, WorkflowError
from .workflow import read_workflow, to_prompt

EXAMPLES = """examples:
  spatial-memory run workflows/closed_loop.json
  spatial-memory run workflows/closed_loop.json --set EncodeStartFrame.seed=7 --output runs/seed7
  spatial-memory run workflows/one_node.json --set "Camera Path.num_frames=57" --set Rollout.steps=2
  spatial-memory run workflows/closed_loop.json --resume output/ck/chunk002.safetensors
  spatial-memory run workflows/closed_loop.json --server http://127.0.0.1:8188 --json

NODE in --set is a node's id, its title, or its class name (SpatialMemory_ may be left out) where only one node has it.
A value may contain "=": only the first one separates."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of the subcommand."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("workflow", type=Path, metavar="WORKFLOW.json", help="a workflow, interface or API form")
    parser.add_argument("--set", action="append", default=[], metavar="NODE.INPUT=VALUE", help="change a value")
    parser.add_argument(
        "--resume", type=Path, metavar="WORLD", help="go on from a world file; only what is missing runs"
    )
    parser.add_argument("--output", type=Path, default=Path("output"), metavar="DIR", help="default: %(default)s")
    parser.add_argument("--input", type=Path, metavar="DIR", help="images and videos (default: beside the workflow)")
    parser.add_argument(
        "--models", type=Path, metavar="DIR", help="model files (default: $COMFYUI_PATH/models or models)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per output node on stdout")
    parser.add_argument("--server", metavar="URL", help="run on this ComfyUI instead of here")


def run(args: argparse.Namespace) -> None:
    """Run the workflow and report its outputs.

    Raises:
        WorkflowError, NodeFailed, HostPresent, ServerError: See there; nothing is reported then.
    """
    workflow = read_workflow(args.workflow)
    folders = folders_of(args)
    if args.server:
        reports = _on_server(args, workflow, folders)
    else:
        reports = _here(args, workflow, folders)
    for report in reports:
        if args.json:
            sys.stdout.write(json.dumps(report, ensure_ascii=False) + "\n")
        else:
            sys.stderr.write(_readable(report))
    sys.stdout.flush()


def folders_of(args: argparse.Namespace) -> Folders:
    """Where this run reads and writes.

    Raises:
        WorkflowError: ``--input`` is no folder.
    """
    beside = args.workflow.parent
    inputs = [args.input] if args.input else [beside, beside / "inputs", host.EXAMPLES]
    if args.input and not args.input.is_dir():
        raise WorkflowError(f"--input {args.input}: there is no such folder")
    comfyui = os.environ.get("COMFYUI_PATH")
    models = args.models or (Path(comfyui) / "models" if comfyui else Path("models"))
    return Folders(inputs, args.output, models)


def edited(args: argparse.Namespace, workflow: dict[str, Any], info: dict[str, Any], resume: str | None) -> Prompt:
    """The prompt of a workflow with ``--set`` and ``--resume`` applied."""
    prompt = to_prompt(workflow, info)
    for text in args.set:
        prompt = set_input(prompt, text, info)
    return prompt if resume is None else resume_from(prompt, resume, info)


def _here(args: argparse.Namespace, workflow: dict[str, Any], folders: Folders) -> Iterator[dict[str, Any]]:
    nodes = host.nodes()
    host.use_folders(folders)
    resume = None if args.resume is None else _offered(args.resume, folders)
    prompt = edited(args, workflow, host.object_info(nodes), resume)
    extra = {"workflow": workflow} if "nodes" in workflow else None
    with Display() as display:
        ran = Runner(nodes, display.step).run(prompt, extra)
    for node_id in [own for own in prompt if own in ran.ui]:
        files = [str(_path(folders, result)) for result in ran.ui[node_id].get("images", [])]
        yield _report(prompt, node_id, files, ran.ui[node_id])


def _on_server(args: argparse.Namespace, workflow: dict[str, Any], folders: Folders) -> Iterator[dict[str, Any]]:
    server = client.Server(args.server)
    resume = None if args.resume is None else args.resume.as_posix()  # a name in the server's own folders
    prompt = client.with_uploads(server, edited(args, workflow, server.object_info(), resume), folders)
    outputs = server.run(prompt, {"workflow": workflow} if "nodes" in workflow else {})
    for node_id in [own for own in prompt if own in outputs]:
        files = [server.view_url(result) for result in outputs[node_id].get("images", [])]
        yield _report(prompt, node_id, files, outputs[node_id])


def _offered(world: Path, folders: Folders) -> str:
    """The name by which the nodes find a world file; one from elsewhere is copied into the output folder.

    Raises:
        WorkflowError: There is no such file.
    """
    if not world.is_file():
        world_there = folders.output / world
        if not world_there.is_file():
            raise WorkflowError(f"--resume {world}: there is no such file, here or in {folders.output}")
        world = world_there
    name = inside_name(world, [folders.output, folders.inputs[0]])
    if name is not None:
        return name
    copy = folders.output / "resumed" / world.name
    copy.parent.mkdir(parents=True, exist_ok=True)
    unfinished = copy.with_suffix(f".{os.getpid()}.part")
    try:
        shutil.copyfile(world, unfinished)
        os.replace(unfinished, copy)
    finally:
        unfinished.unlink(missing_ok=True)
    sys.stderr.write(f"{world} was copied to {copy}: nodes read only from the input and output folders\n")
    return copy.relative_to(folders.output).as_posix()


def _path(folders: Folders, result: dict[str, str]) -> Path:
    root = Path(folders.get_directory_by_type(result["type"]) or folders.output)
    return root / result["subfolder"] / result["filename"]


def _report(prompt: Prompt, node_id: str, files: list[str], shown: dict[str, Any]) -> dict[str, Any]:
    """What one node of the user's workflow shows; parts of expansions show theirs on the server alone."""
    node = prompt[node_id]
    title = node.get("_meta", {}).get("title", node["class_type"])
    rest = {key: value for key, value in shown.items() if key not in ("images", "animated")}
    return {"node": node_id, "class_type": node["class_type"], "title": title, "files": files, **rest}


def _readable(report: dict[str, Any]) -> str:
    head = f"{report['title']} (node {report['node']})"
    files = report["files"]
    lines = files if len(files) <= 4 else [files[0], f"... {len(files) - 2} more ...", files[-1]]
    texts = [str(text) for text in report.get("text", ())]
    return "\n".join([head, *(f"  {line}" for block in [*lines, *texts] for line in block.splitlines())]) + "\n"
