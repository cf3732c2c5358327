"""Edits of a prompt from the command line: ``--set NODE.INPUT=VALUE`` and ``--resume FILE``."""

import json
from pathlib import Path
from typing import Any

from .validate import Prompt, WorkflowError, choices_of, converted, describe, inputs_of

PREFIX = "SpatialMemory_"
TRUTH = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def set_input(prompt: Prompt, text: str, info: dict[str, Any]) -> Prompt:
    """Apply one ``NODE.INPUT=VALUE``. NODE is an id, a title, or a class name (with or without our prefix).

    Raises:
        WorkflowError: The text has another form, or it names no node, several nodes, no input, or a value that does
            not fit.
    """
    name, equals, value = text.partition("=")
    node_name, dot, input_name = name.rpartition(".")
    if not equals or not dot or not node_name:
        raise WorkflowError(f"--set {text!r}: expected NODE.INPUT=VALUE, for instance --set 12.seed=7")
    node_id = find_node(prompt, node_name)
    node = prompt[node_id]
    declared = inputs_of(info[node["class_type"]]) if node["class_type"] in info else {}
    if input_name not in declared:
        raise WorkflowError(
            f"--set {text!r}: {describe(prompt, node_id)} has no input {input_name!r}; its inputs are {list(declared)}"
        )
    return {**prompt, node_id: {**node, "inputs": {**node["inputs"], input_name: _parsed(text, value, declared)}}}


def find_node(prompt: Prompt, name: str) -> str:
    """The id of the node that ``name`` means: by id first, then by title, then by class.

    Raises:
        WorkflowError: No node or several nodes answer to the name.
    """
    if name in prompt:
        return name
    titled = [node_id for node_id, node in prompt.items() if node.get("_meta", {}).get("title") == name]
    classed = [node_id for node_id, node in prompt.items() if node["class_type"] in (name, PREFIX + name)]
    found = titled or classed
    if len(found) == 1:
        return found[0]
    listed = ", ".join(describe(prompt, node_id) for node_id in (found or prompt))
    problem = "means several nodes, use an id" if found else "is no id, title or class of a node"
    raise WorkflowError(f"--set: {name!r} {problem}: {listed}")


def resume_from(prompt: Prompt, name: str, info: dict[str, Any]) -> Prompt:
    """Set the input ``resume`` of the workflow's loop to a world file, named as the nodes read it.

    A loop without memory (the baseline of a report) is passed over where there is another: the file is not its own.

    Raises:
        WorkflowError: No node of the workflow can resume, or several can.
    """
    known = [node_id for node_id, node in prompt.items() if node["class_type"] in info]
    loops = [node_id for node_id in known if "resume" in inputs_of(info[prompt[node_id]["class_type"]])]
    own = [
        node_id for node_id in loops if not str(prompt[node_id]["inputs"].get("memory", "")).startswith("off")
    ] or loops
    if not own:
        raise WorkflowError("--resume: no node of this workflow has an input `resume`; use ChunkLoopEnd or Rollout")
    if len(own) > 1:
        listed = ", ".join(describe(prompt, node_id) for node_id in own)
        raise WorkflowError(f"--resume: several loops could go on from {name}: {listed}. Use --set NODE.resume={name}")
    node = prompt[own[0]]
    return {**prompt, own[0]: {**node, "inputs": {**node["inputs"], "resume": name}}}


def inside_name(file: Path, roots: list[Path]) -> str | None:
    """``file`` relative to the first root that holds it; None if none does."""
    path = file.resolve()
    return next((path.relative_to(root).as_posix() for root in roots if path.is_relative_to(root)), None)


def _parsed(text: str, value: str, declared: dict[str, tuple]) -> Any:
    name = text.partition("=")[0].rpartition(".")[2]
    spec = declared[name]
    choices = choices_of(spec)
    if choices is not None:
        return next((choice for choice in choices if str(choice) == value), value)
    if spec[0] == "BOOLEAN" and value.lower() in TRUTH:
        return TRUTH[value.lower()]
    try:
        if spec[0] in ("INT", "FLOAT", "STRING", "BOOLEAN"):
            return converted(value, spec[0])
        return json.loads(value)
    except ValueError as problem:
        expected = f"a value of type {spec[0]}; if it is only a socket, give the value at the node before it"
        raise WorkflowError(f"--set {text!r}: got {value!r}, expected {expected}") from problem
