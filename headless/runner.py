"""Run a prompt as ComfyUI's executor does: on demand, lazily, with node expansion and the host's cache keys."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch

from .cache import ROOT, Entry, Keys, Results
from .standin.graph import DynamicPrompt, ExecutionBlocker, GraphBuilder, is_link
from .standin.runtime import SESSION, InterruptProcessingException
from .standin.schema import ComfyNode, Hidden, HiddenHolder, NodeOutput
from .validate import Prompt, WorkflowError, check_prompt, describe, literals, needed, options_of, own_validation


class NodeFailed(RuntimeError):
    """A node raised; the message names the node and repeats what it said."""


@dataclass(frozen=True)
class Step:
    """One node starts to execute; ``shown`` is the node of the user's workflow that it belongs to."""

    node: str
    shown: str
    class_type: str


@dataclass(frozen=True)
class Ran:
    """What one run did."""

    executed: tuple[str, ...]  # node ids in order, those of expansions included
    ui: dict[str, dict[str, Any]]  # what each node shows
    outputs: dict[str, tuple]  # values by node id


@dataclass
class _Run:
    """The state of one run."""

    prompt: DynamicPrompt
    keys: Keys
    extra_pnginfo: dict | None
    done: dict[str, Entry] = field(default_factory=dict)
    executed: list[str] = field(default_factory=list)


class Runner:
    """Runs prompts one after the other and keeps results between them by the host's rule.

    A result is reused while class, literals and the same for every ancestor are unchanged; ids do not count, except for
    nodes that ask for theirs. Results of an expansion live as long as the node that expanded.
    """

    def __init__(self, nodes: dict[str, type[ComfyNode]], on_step: Callable[[Step], None] = lambda step: None):
        self.nodes = nodes
        self.on_step = on_step
        self._results = Results()

    def run(self, prompt: Prompt, extra_pnginfo: dict | None = None) -> Ran:
        """Run every output node of ``prompt``.

        Raises:
            WorkflowError: The prompt cannot run; nothing was executed.
            NodeFailed: A node raised.
        """
        # the choices of a combo may be files, which come and go: ask the schemas each time
        info = {name: node.GET_NODE_INFO_V1() for name, node in self.nodes.items()}
        targets = check_prompt(prompt, info)
        prompt = literals(needed(prompt, targets), info)
        complaints = {
            node_id: own_validation(self.nodes[node["class_type"]], node["inputs"]) for node_id, node in prompt.items()
        }
        if any(complaints.values()):
            raise WorkflowError("\n".join(f"{describe(prompt, i)}: {said}" for i, said in complaints.items() if said))
        dynamic = DynamicPrompt(prompt)
        run = _Run(dynamic, Keys(dynamic, self.nodes), extra_pnginfo)
        self._results.keep(ROOT, map(run.keys.of, prompt))
        self._results.keep_owners(prompt)
        with torch.inference_mode():
            for target in targets:
                self._solve(run, target)
        shown = {node_id: entry.ui for node_id, entry in run.done.items() if entry.ui}
        return Ran(tuple(run.executed), shown, {node_id: entry.outputs for node_id, entry in run.done.items()})

    def _solve(self, run: _Run, target: str) -> None:
        """Execute ``target`` and what it needs, depth first, on an explicit stack: expansions can be long."""
        stack: dict[str, Iterator[str]] = {target: self._steps(run, target)}
        while stack:
            current = next(reversed(stack))
            needed = next(stack[current], None)
            if needed is None:
                del stack[current]
            elif needed in stack:
                ring = " -> ".join(describe(run.prompt.original_prompt, node_id) for node_id in [*stack, needed])
                raise WorkflowError(f"these nodes wait for each other in a cycle: {ring}")
            elif needed not in run.done:
                stack[needed] = self._steps(run, needed)

    def _steps(self, run: _Run, node_id: str) -> Iterator[str]:
        """Yield the ids that must be done first, then execute ``node_id`` and file its result."""
        if node_id in run.done:
            return
        owner = run.prompt.get_parent_node_id(node_id) or ROOT
        known = self._results.get(owner, run.keys.of(node_id))
        if known is not None:
            run.done[node_id] = known
            return
        node = run.prompt.get_node(node_id)
        kind = self.nodes[node["class_type"]]
        declared = kind.INPUT_TYPES()
        options = {name: options_of(spec) for part in declared.values() for name, spec in part.items()}
        links = {
            name: value
            for name, value in node["inputs"].items()
            if is_link(value) and not options.get(name, {}).get("rawLink")
        }
        # a lazy link is not followed, raw or not, unless the node asks; a raw link that is not lazy runs its source
        for name, value in node["inputs"].items():
            if is_link(value) and not options.get(name, {}).get("lazy"):
                yield value[0]
        hidden = self._hidden(run, node_id, declared.get("hidden", {}))
        clone = kind.prepared(hidden)
        if clone.overrides("check_lazy_status") is not None:
            while wanted := self._wanted(run, clone, node, links):
                yield from wanted
        inputs = self._values(run, node, links)
        blocked = [value for value in inputs.values() if isinstance(value, ExecutionBlocker)]
        if blocked:
            result = self._blocked(run, node_id, blocked[0], kind)
        else:
            result = self._execute(run, node_id, clone, inputs)
        outputs = result.args
        if result.expand is not None:
            yield from self._expand(run, node_id, result.expand)
            for value in outputs:
                if is_link(value):
                    yield value[0]
            outputs = tuple(run.done[v[0]].outputs[int(v[1])] if is_link(v) else v for v in outputs)
        shown = result.ui if result.ui is None or isinstance(result.ui, dict) else result.ui.as_dict()
        run.done[node_id] = Entry(outputs, shown)
        self._results.put(owner, run.keys.of(node_id), run.done[node_id])

    def _wanted(self, run: _Run, clone: type[ComfyNode], node: dict, links: dict[str, list]) -> list[str]:
        """The sources of the inputs that a lazy node asks for and does not have yet."""
        names = clone.check_lazy_status(**self._values(run, node, links))
        return [links[name][0] for name in names if name in links and links[name][0] not in run.done]

    def _values(self, run: _Run, node: dict, links: dict[str, list]) -> dict[str, Any]:
        """What the node gets: literals and raw links as they are, followed links by value, unasked lazy ones None."""
        values = {}
        for name, value in node["inputs"].items():
            if name in links:
                source, slot = links[name]
                value = run.done[source].outputs[int(slot)] if source in run.done else None
            values[name] = value
        return values

    def _hidden(self, run: _Run, node_id: str, wanted: dict[str, tuple]) -> HiddenHolder:
        available = {
            Hidden.unique_id: node_id,
            Hidden.prompt: run.prompt.original_prompt,
            Hidden.extra_pnginfo: run.extra_pnginfo,
            Hidden.dynprompt: run.prompt,
        }
        return HiddenHolder(**{name: available[Hidden(spec[0])] for name, spec in wanted.items()})

    def _execute(self, run: _Run, node_id: str, clone: type[ComfyNode], inputs: dict[str, Any]) -> NodeOutput:
        shown = run.prompt.get_display_node_id(node_id)
        class_type = run.prompt.get_node(node_id)["class_type"]
        name = describe(run.prompt.original_prompt, shown)
        where = name if shown == node_id else f"{name}, in its part {node_id} ({class_type}),"
        self.on_step(Step(node_id, shown, class_type))
        GraphBuilder.set_default_prefix(node_id)
        try:
            SESSION.throw_exception_if_processing_interrupted()
            given = asyncio.run(clone.execute(**inputs)) if clone.is_async() else clone.execute(**inputs)
        except InterruptProcessingException:
            raise
        except Exception as problem:
            raise NodeFailed(f"{where} failed: {type(problem).__name__}: {problem}") from problem
        run.executed.append(node_id)
        result = _normalized(given, where)
        if result.expand is not None and not clone.GET_SCHEMA().enable_expand:
            raise NodeFailed(f"{where} returned a graph, but its schema does not say enable_expand")
        if result.block_execution is not None:
            blockers = [ExecutionBlocker(result.block_execution)] * len(clone.GET_SCHEMA().outputs)
            return NodeOutput(*blockers, ui=result.ui)
        return result

    def _blocked(self, run: _Run, node_id: str, blocker: ExecutionBlocker, kind: type[ComfyNode]) -> NodeOutput:
        """Hand a silent block on to whoever comes next.

        Raises:
            NodeFailed: The block carries a message.
        """
        if blocker.message is not None:
            name = describe(run.prompt.original_prompt, run.prompt.get_display_node_id(node_id))
            raise NodeFailed(f"{name} was blocked: {blocker.message}")
        return NodeOutput(*[blocker] * len(kind.GET_SCHEMA().outputs))

    def _expand(self, run: _Run, parent: str, graph: dict[str, dict]) -> Iterator[str]:
        """Add the nodes of an expansion to the prompt and yield those that show something."""
        for node_id, node in graph.items():
            if run.prompt.has_node(node_id):
                raise NodeFailed(f"node {parent} expands to node {node_id!r}, which exists already: ids must be unique")
            if node["class_type"] not in self.nodes:
                raise WorkflowError(f"node {parent} expands to {node['class_type']!r}, a class that is not known here")
            links = [(name, value[0]) for name, value in node["inputs"].items() if is_link(value)]
            for name, source in links:
                if source not in graph and not run.prompt.has_node(source):
                    raise WorkflowError(f"node {node_id} links {name!r} to {source!r}, a node that does not exist")
        for node_id, node in graph.items():
            run.prompt.add_ephemeral_node(node_id, node, parent, node.get("override_display_id", parent))
        self._results.keep(parent, map(run.keys.of, graph))
        yield from (i for i, node in graph.items() if self.nodes[node["class_type"]].GET_SCHEMA().is_output_node)


def _normalized(given: Any, where: str) -> NodeOutput:
    """Bring the forms that ``execute`` may return to one."""
    if given is None:
        return NodeOutput()
    if isinstance(given, NodeOutput):
        return given
    if isinstance(given, tuple):
        return NodeOutput(*given)
    if isinstance(given, ExecutionBlocker):
        return NodeOutput(block_execution=given.message)
    if isinstance(given, dict):
        return NodeOutput(*given.get("result", ()), ui=given.get("ui"), expand=given.get("expand"))
    raise NodeFailed(f"{where} returned {type(given).__name__}, expected io.NodeOutput")
