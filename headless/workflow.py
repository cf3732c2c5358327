"""Read workflow files: the API form as it is, the interface's form (nodes, links, widgets) turned into it."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .validate import Prompt, WorkflowError, choices_of, inputs_of, options_of

MUTED, BYPASSED = 2, 4
NOTES = ("Note", "MarkdownNote")
VIRTUAL = (*NOTES, "Reroute", "PrimitiveNode")
SUBGRAPH_INPUT, SUBGRAPH_OUTPUT = -10, -20
WIDGET_TYPES = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
AFTER_GENERATE = ("fixed", "increment", "decrement", "randomize", "increment-wrap")
UPLOADS = ("image_upload", "video_upload", "audio_upload")


@dataclass(frozen=True)
class Value:
    """A literal that reaches an input through a primitive node or the front of a subgraph."""

    content: Any


@dataclass(frozen=True)
class Scope:
    """One canvas: the workflow itself or the inside of one subgraph node."""

    prefix: str
    nodes: dict[int, dict]
    links: dict[int, tuple[int, int, int, int]]  # id -> (from node, its output, to node, its input)
    outer: "Scope | None" = None
    instance: dict | None = None  # the subgraph's node on the outer canvas
    inner: dict[int, "Scope"] = field(default_factory=dict)


def read_workflow(path: Path) -> dict[str, Any]:
    """Read a workflow file in either form.

    Raises:
        WorkflowError: The file is no JSON object, or neither form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise WorkflowError(f"there is no workflow file {path}: check the name") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as problem:
        raise WorkflowError(f"{path} is no JSON file ({problem}): save the workflow again") from problem
    if isinstance(content, dict) and (isinstance(content.get("nodes"), list) or _is_api(content)):
        return content
    raise WorkflowError(f"{path} is no ComfyUI workflow: expected a list `nodes`, or nodes by id with `class_type`")


def to_prompt(workflow: dict[str, Any], info: dict[str, Any]) -> Prompt:
    """Turn a workflow of either form into the API form. ``info`` is what ``/object_info`` says of the nodes.

    Raises:
        WorkflowError: A node class is not in ``info``, or the widgets of a node do not fit what it declares.
    """
    if _is_api(workflow):
        return {node_id: {**node, "inputs": dict(node.get("inputs", {}))} for node_id, node in workflow.items()}
    blueprints = {one["id"]: one for one in workflow.get("definitions", {}).get("subgraphs", [])}
    prompt: Prompt = {}
    for scope, node in _placed(_scope(workflow, "", blueprints)):
        if node["type"] not in info:
            raise WorkflowError(
                f'node {scope.prefix}{node["id"]} "{_title(node)}": the node class {node["type"]!r} is not known here'
            )
        inputs = _widget_values(scope, node, info[node["type"]])
        for slot, socket in enumerate(node.get("inputs") or []):
            source = _into(scope, node, slot)
            if isinstance(source, Value):
                inputs[socket["name"]] = source.content
            elif source is not None:
                inputs[socket["name"]] = source
        node_id = f"{scope.prefix}{node['id']}"
        prompt[node_id] = {"class_type": node["type"], "inputs": inputs, "_meta": {"title": _title(node)}}
    return prompt


def _is_api(content: dict) -> bool:
    return bool(content) and all(isinstance(node, dict) and "class_type" in node for node in content.values())


def _title(node: dict) -> str:
    return node.get("title") or node["type"]


def _scope(
    graph: dict, prefix: str, blueprints: dict[str, dict], outer: Scope | None = None, instance: dict | None = None
) -> Scope:
    """Index one canvas and, recursively, the subgraphs on it."""
    links = {}
    for link in graph.get("links", []):
        if isinstance(link, dict):
            links[link["id"]] = (link["origin_id"], link["origin_slot"], link["target_id"], link["target_slot"])
        else:
            links[link[0]] = tuple(link[1:5])
    scope = Scope(prefix, {node["id"]: node for node in graph["nodes"]}, links, outer, instance)
    for node_id, node in scope.nodes.items():
        if node["type"] in blueprints:
            if prefix.count(":") > len(blueprints):
                raise WorkflowError(f"subgraph node {prefix}{node_id} contains itself: take it out of itself")
            inner = _scope(blueprints[node["type"]], f"{prefix}{node_id}:", blueprints, scope, node)
            scope.inner[node_id] = inner
    return scope


def _placed(scope: Scope) -> Iterator[tuple[Scope, dict]]:
    """Every node that will run: not muted, not bypassed, not virtual; subgraphs flattened."""
    for node_id, node in scope.nodes.items():
        if node.get("mode", 0) in (MUTED, BYPASSED) or node["type"] in VIRTUAL:
            continue
        if node_id in scope.inner:
            yield from _placed(scope.inner[node_id])
        else:
            yield scope, node


def _into(scope: Scope, node: dict, slot: int) -> list | Value | None:
    """Follow the link into input ``slot`` to the node that really gives the value."""
    link = scope.links.get(node["inputs"][slot].get("link"))
    return None if link is None else _out_of(scope, link[0], link[1], {(scope.prefix, node["id"])})


def _out_of(scope: Scope, node_id: int, slot: int, seen: set[tuple[str, int]]) -> list | Value | None:
    """Resolve output ``slot`` of a node through reroutes, primitives, bypasses and subgraph borders."""
    if node_id == SUBGRAPH_INPUT:
        return _outer_value(scope, slot, seen)
    node = scope.nodes.get(node_id)
    if node is None:
        raise WorkflowError(f"a link comes from node {scope.prefix}{node_id}, which does not exist: connect it again")
    here = (scope.prefix, node_id)
    if node.get("mode", 0) == MUTED:
        return None
    if node["type"] == "PrimitiveNode":
        return Value(node["widgets_values"][0])
    if node_id in scope.inner and node.get("mode", 0) != BYPASSED:
        inner = scope.inner[node_id]
        ends = [link for link in inner.links.values() if link[2] == SUBGRAPH_OUTPUT and link[3] == slot]
        return _out_of(inner, ends[0][0], ends[0][1], seen) if ends else None
    passed = 0 if node["type"] == "Reroute" else _bypass(node, slot) if node.get("mode", 0) == BYPASSED else None
    if node["type"] != "Reroute" and node.get("mode", 0) != BYPASSED:
        return [f"{scope.prefix}{node_id}", slot]
    if here in seen:
        raise WorkflowError(f"node {scope.prefix}{node_id} only leads back to itself: remove one of the links")
    link = None if passed is None else scope.links.get(node["inputs"][passed].get("link"))
    return None if link is None else _out_of(scope, link[0], link[1], seen | {here})


def _bypass(node: dict, slot: int) -> int | None:
    """The input that a bypassed node passes on to output ``slot``: the same position if it fits, else the first."""
    wanted = node["outputs"][slot]["type"]
    inputs = node.get("inputs") or []
    fitting = [i for i, socket in enumerate(inputs) if socket["type"] == wanted]
    return slot if slot in fitting else fitting[0] if fitting else None


def _outer_value(scope: Scope, slot: int, seen: set[tuple[str, int]]) -> list | Value | None:
    """What enters a subgraph by its input ``slot``: a link of the outer canvas or the node's own widget."""
    assert scope.outer is not None and scope.instance is not None
    sockets = scope.instance.get("inputs") or []
    link = scope.outer.links.get(sockets[slot].get("link")) if slot < len(sockets) else None
    if link is not None:
        return _out_of(scope.outer, link[0], link[1], seen)
    widgets = [i for i, socket in enumerate(sockets) if socket.get("widget")]
    values = scope.instance.get("widgets_values") or []
    return Value(values[widgets.index(slot)]) if slot in widgets and widgets.index(slot) < len(values) else None


def _widget_values(scope: Scope, node: dict, own: dict[str, Any]) -> dict[str, Any]:
    """Give the positional ``widgets_values`` of a node their names; widgets without a value keep their default."""
    values = node.get("widgets_values") or []
    declared = inputs_of(own)
    sockets = {socket["name"]: socket for socket in node.get("inputs") or []}
    names = [name for name, spec in declared.items() if _is_widget(name, spec, sockets)]
    if isinstance(values, dict):
        return {name: values.get(name, _default(declared[name])) for name in names}
    found, rest = {}, list(values)
    for name in names:
        spec = declared[name]
        value = rest.pop(0) if rest else _default(spec)
        if value is not None:
            found[name] = {"__value__": value} if isinstance(value, list) else value
        controlled = options_of(spec).get("control_after_generate") or name in ("seed", "noise_seed")
        if rest and controlled and rest[0] in AFTER_GENERATE:
            rest.pop(0)
        if rest and any(options_of(spec).get(key) for key in UPLOADS) and rest[0] in ("image", "video", "audio", None):
            rest.pop(0)
    if rest:
        where = f'node {scope.prefix}{node["id"]} "{_title(node)}"'
        raise WorkflowError(
            f"{where} carries {len(values)} widget values, its widgets are {names}: {rest} is left over. "
            "Open the workflow in ComfyUI and save it again"
        )
    return found


def _is_widget(name: str, spec: tuple | list, sockets: dict[str, dict]) -> bool:
    """Widgets are edited on the node: the plain types, and own types that have no socket or a widget's one."""
    options = options_of(spec)
    if options.get("forceInput"):
        return False
    if isinstance(spec[0], list) or spec[0] in WIDGET_TYPES or "widgetType" in options:
        return True
    return "default" in options and ("widget" in sockets.get(name, {"widget": True}))


def _default(spec: tuple | list) -> Any:
    """What a widget shows before anyone edits it."""
    options, choices = options_of(spec), choices_of(spec)
    if "default" in options:
        return options["default"]
    if choices is not None:
        return choices[0] if choices else None
    return {"INT": options.get("min", 0), "FLOAT": options.get("min", 0.0), "STRING": "", "BOOLEAN": False}.get(spec[0])
