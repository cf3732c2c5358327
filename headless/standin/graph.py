"""Links, graph building and the growing prompt of the stand-in for ComfyUI's execution modules."""

from typing import Any

Link = list  # [node id, output index]


def is_link(value: Any) -> bool:
    """Tell a link, ``[node id, output index]``, from a literal value."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], (int, float))
        and not isinstance(value[1], bool)
    )


class ExecutionBlocker:
    """A value that keeps every node that receives it from running; with a message, the run fails with it."""

    def __init__(self, message: str | None):
        self.message = message


class Node:
    """One node of a graph under construction."""

    def __init__(self, id: str, class_type: str, inputs: dict[str, Any]):
        self.id = id
        self.class_type = class_type
        self.inputs = inputs
        self.override_display_id: str | None = None

    def out(self, index: int) -> Link:
        return [self.id, index]

    def set_input(self, key: str, value: Any) -> None:
        """Set an input; None takes it away."""
        if value is None:
            self.inputs.pop(key, None)
        else:
            self.inputs[key] = value

    def get_input(self, key: str) -> Any:
        return self.inputs.get(key)

    def set_override_display_id(self, override_display_id: str) -> None:
        self.override_display_id = override_display_id

    def serialize(self) -> dict[str, Any]:
        made = {"class_type": self.class_type, "inputs": self.inputs}
        if self.override_display_id is not None:
            made["override_display_id"] = self.override_display_id
        return made


class GraphBuilder:
    """Collects the nodes that an expansion returns; ids are prefixed with the id of the node that expands."""

    _root = ""
    _graphs = 0

    def __init__(self, prefix: str | None = None):
        self.prefix = GraphBuilder.alloc_prefix() if prefix is None else prefix
        self.nodes: dict[str, Node] = {}
        self.id_gen = 1

    @classmethod
    def set_default_prefix(cls, prefix_root: str, call_index: int = 0, graph_index: int = 0) -> None:
        """Called before each execution, so that the n-th graph of a node always gets the same prefix."""
        cls._root, cls._graphs = f"{prefix_root}.{call_index}", graph_index

    @classmethod
    def alloc_prefix(cls) -> str:
        prefix = f"{GraphBuilder._root}.{GraphBuilder._graphs}."
        GraphBuilder._graphs += 1
        return prefix

    def node(self, class_type: str, id: str | None = None, **inputs: Any) -> Node:
        """Add a node, or return the one that already has this id."""
        if id is None:
            id, self.id_gen = str(self.id_gen), self.id_gen + 1
        full = self.prefix + id
        if full not in self.nodes:
            self.nodes[full] = Node(full, class_type, inputs)
        return self.nodes[full]

    def lookup_node(self, id: str) -> Node | None:
        return self.nodes.get(self.prefix + id)

    def remove_node(self, id: str) -> None:
        del self.nodes[self.prefix + id]

    def finalize(self) -> dict[str, dict[str, Any]]:
        return {node_id: node.serialize() for node_id, node in self.nodes.items()}


class DynamicPrompt:
    """The prompt of the user and the nodes that expansions have added to it."""

    def __init__(self, original_prompt: dict[str, dict]):
        self.original_prompt = original_prompt
        self.ephemeral_prompt: dict[str, dict] = {}
        self.ephemeral_parents: dict[str, str] = {}
        self.ephemeral_display: dict[str, str] = {}

    def get_node(self, node_id: str) -> dict:
        """Return ``{"class_type": ..., "inputs": ...}``.

        Raises:
            KeyError: No node has this id.
        """
        found = self.ephemeral_prompt.get(node_id, self.original_prompt.get(node_id))
        if found is None:
            raise KeyError(f"there is no node {node_id!r} in this prompt")
        return found

    def has_node(self, node_id: str) -> bool:
        return node_id in self.original_prompt or node_id in self.ephemeral_prompt

    def add_ephemeral_node(self, node_id: str, node: dict, parent_id: str, display_id: str) -> None:
        self.ephemeral_prompt[node_id] = node
        self.ephemeral_parents[node_id] = parent_id
        self.ephemeral_display[node_id] = display_id

    def get_parent_node_id(self, node_id: str) -> str | None:
        return self.ephemeral_parents.get(node_id)

    def get_real_node_id(self, node_id: str) -> str:
        while node_id in self.ephemeral_parents:
            node_id = self.ephemeral_parents[node_id]
        return node_id

    def get_display_node_id(self, node_id: str) -> str:
        while node_id in self.ephemeral_display:
            node_id = self.ephemeral_display[node_id]
        return node_id

    def all_node_ids(self) -> set[str]:
        return {*self.original_prompt, *self.ephemeral_prompt}

    def get_original_prompt(self) -> dict[str, dict]:
        return self.original_prompt
