"""Check a prompt (API form) against what the nodes declare, before anything runs."""

import inspect
from collections.abc import Iterator
from typing import Any

from .standin.graph import is_link

Prompt = dict[str, dict[str, Any]]
NUMBERS: dict[str, type] = {"INT": int, "FLOAT": float}


class WorkflowError(ValueError):
    """A workflow that cannot run; the message names every node and input that is wrong and what to do."""


def describe(prompt: Prompt, node_id: str) -> str:
    """Name a node for a person: id, title and class."""
    node = prompt.get(node_id, {})
    title, kind = node.get("_meta", {}).get("title"), node.get("class_type", "unknown")
    return f"node {node_id} ({kind})" if title in (None, kind) else f'node {node_id} "{title}" ({kind})'


def options_of(declared: tuple | list) -> dict[str, Any]:
    """The options beside an input's type."""
    return declared[1] if len(declared) > 1 else {}


def inputs_of(info: dict[str, Any]) -> dict[str, tuple]:
    """Required and optional inputs of one node's ``object_info``, in the order of its widgets."""
    found: dict[str, tuple] = {}
    for part in ("required", "optional"):
        declared = info["input"].get(part, {})
        order = info.get("input_order", {}).get(part, declared)  # a listing that went through a file may be sorted
        found |= {name: declared[name] for name in order}
    return found


def choices_of(declared: tuple | list) -> list | None:
    """The choices of a combo input, in the host's old and new way of writing them; None for other inputs."""
    if isinstance(declared[0], list):
        return declared[0]
    return options_of(declared).get("options") if declared[0] == "COMBO" else None


def fits(given: Any, wanted: Any) -> bool:
    """Tell whether an output of type ``given`` may enter an input of type ``wanted`` (both may be "A,B" or "*")."""
    if isinstance(given, list) or isinstance(wanted, list):
        return given == wanted or "COMBO" in (given, wanted)
    return "*" in (given, wanted) or bool({*given.split(",")} & {*wanted.split(",")})


def check_prompt(prompt: Prompt, info: dict[str, Any]) -> tuple[str, ...]:
    """Check ``prompt`` and return the ids of its output nodes. Nodes that no output needs may be unfinished.

    Raises:
        WorkflowError: Unknown classes or inputs, missing or ill-typed or out-of-range values, broken links, a cycle,
            or no output node; all of them at once.
    """
    unknown = [node_id for node_id, node in prompt.items() if node.get("class_type") not in info]
    if unknown:
        hint = "is not known here. Known are the nodes of this pack and LoadImage, PreviewImage, SaveVideo and the like"
        lines = [f"{describe(prompt, node_id)}: this node class {hint}; use --server URL" for node_id in unknown]
        raise WorkflowError("\n".join(lines))
    outputs = tuple(node_id for node_id, node in prompt.items() if info[node["class_type"]].get("output_node"))
    if not outputs:
        raise WorkflowError("no node of this workflow shows or saves anything: add PreviewImage, SaveVideo or the like")
    used = needed(prompt, outputs)
    problems = [
        f"{describe(prompt, node_id)}: {problem}"
        for node_id in used
        for problem in _node_problems(prompt, node_id, info)
    ]
    if problems:
        raise WorkflowError("\n".join(problems))
    ring = _cycle(used)
    if ring:
        names = ", ".join(describe(prompt, node_id) for node_id in ring)
        raise WorkflowError(
            f"these nodes wait for each other in a cycle (or for one): {names}. Remove one of their links"
        )
    return outputs


def needed(prompt: Prompt, outputs: tuple[str, ...]) -> Prompt:
    """The output nodes and all their sources, in the order of the prompt."""
    found, pending = set(), list(outputs)
    while pending:
        node_id = pending.pop()
        if node_id in prompt and node_id not in found:
            found.add(node_id)
            pending += [value[0] for value in prompt[node_id]["inputs"].values() if is_link(value)]
    return {node_id: node for node_id, node in prompt.items() if node_id in found}


def converted(value: Any, kind: Any) -> Any:
    """Turn a widget's value into its type, as the host does.

    Raises:
        ValueError, TypeError: It has no such form.
    """
    if isinstance(value, dict) and "__value__" in value:
        value = value["__value__"]
    if kind == "BOOLEAN" and isinstance(value, str):
        raise ValueError("a text is no truth value: use true or false")
    if kind in NUMBERS:
        return NUMBERS[kind](value)
    return {"STRING": str, "BOOLEAN": bool}.get(kind, lambda same: same)(value)


def literals(prompt: Prompt, info: dict[str, Any]) -> Prompt:
    """Copy a checked prompt with every literal turned into its declared type."""
    ready = {}
    for node_id, node in prompt.items():
        declared = inputs_of(info[node["class_type"]])
        values = {
            name: value if is_link(value) or name not in declared else converted(value, declared[name][0])
            for name, value in node["inputs"].items()
        }
        ready[node_id] = {**node, "inputs": values}
    return ready


def _node_problems(prompt: Prompt, node_id: str, info: dict[str, Any]) -> Iterator[str]:
    node = prompt[node_id]
    own = info[node["class_type"]]
    declared = inputs_of(own)
    for name in own["input"].get("required", {}):
        if name not in node["inputs"]:
            yield f"required input {name!r} ({_kind(declared[name])}) is missing: connect it or give it a value"
    for name, value in node["inputs"].items():
        if name not in declared:
            yield f"there is no input {name!r}; its inputs are {list(declared)}"
        elif isinstance(value, list):
            yield from _link_problems(prompt, name, value, declared[name], info)
        else:
            yield from _value_problems(name, value, declared[name])


def _link_problems(prompt: Prompt, name: str, link: list, declared: tuple, info: dict[str, Any]) -> Iterator[str]:
    if not is_link(link) or link[0] not in prompt:
        yield f"input {name!r} is linked to {link!r}, which is no [node id, output] of this workflow"
        return
    source, slot = link[0], int(link[1])
    given = info[prompt[source]["class_type"]]["output"]
    if not 0 <= slot < len(given):
        yield f"input {name!r} wants output {slot} of {describe(prompt, source)}, which has {len(given)}"
    elif not fits(given[slot], declared[0]):
        came = f"{given[slot]} from {describe(prompt, source)}"
        yield f"input {name!r} got {came}, expected {_kind(declared)}: connect an output of that type"


def _value_problems(name: str, value: Any, declared: tuple) -> Iterator[str]:
    kind, options, choices = declared[0], options_of(declared), choices_of(declared)
    try:
        value = converted(value, kind)
    except (TypeError, ValueError) as problem:
        yield f"input {name!r} got {value!r}, expected {kind} ({problem})"
        return
    if kind in NUMBERS and not options.get("min", value) <= value <= options.get("max", value):
        yield f"input {name!r} got {value}, expected {options.get('min', '-inf')} to {options.get('max', 'inf')}"
    if choices is not None and value not in choices and not _is_upload(options):
        listed = choices if len(choices) <= 20 else f"{choices[:20]} and {len(choices) - 20} more"
        yield f"input {name!r} got {value!r}, expected one of {listed}"


def _is_upload(options: dict[str, Any]) -> bool:
    """Files that a user may bring are looked up by the node itself, which says more when one is missing."""
    return any(options.get(key) for key in ("image_upload", "video_upload"))


def _kind(declared: tuple) -> str:
    return "COMBO" if isinstance(declared[0], list) else str(declared[0])


def _cycle(prompt: Prompt) -> list[str]:
    """The nodes that lie on a cycle or behind one, found by taking away nodes that wait for nothing."""
    waits = {
        node_id: {value[0] for value in node["inputs"].values() if is_link(value)} for node_id, node in prompt.items()
    }
    while ready := [node_id for node_id, sources in waits.items() if not sources & waits.keys()]:
        for node_id in ready:
            del waits[node_id]
    return list(waits)


def own_validation(node: Any, inputs: dict[str, Any]) -> str | None:
    """Ask a node's own ``validate_inputs`` about its literals; return its complaint or None."""
    check = node.overrides("validate_inputs")
    if check is None:
        return None
    names = inspect.signature(check).parameters
    takes_all = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in names.values())
    given = {name: value for name, value in inputs.items() if not is_link(value) and (takes_all or name in names)}
    linked = {name: None for name in names if name in inputs and name not in given}
    answer = check(**linked, **given)
    return None if answer is True else str(answer)
