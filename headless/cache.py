"""What decides whether a node runs again: ComfyUI's cache keys, and how long results are kept."""

import hashlib
import itertools
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .standin.graph import DynamicPrompt, is_link
from .standin.schema import ComfyNode, Hidden

ROOT = ""  # the owner of the results of nodes that the user placed
_unique = itertools.count()


@dataclass(frozen=True)
class Entry:
    """The result of one node."""

    outputs: tuple
    ui: dict[str, Any] | None


class Results:
    """Results by owner and key. The owner is the node whose expansion made the node, or ROOT."""

    def __init__(self) -> None:
        self._entries: dict[str, dict[str, Entry]] = {}

    def get(self, owner: str, key: str) -> Entry | None:
        return self._entries.get(owner, {}).get(key)

    def put(self, owner: str, key: str, entry: Entry) -> None:
        self._entries.setdefault(owner, {})[key] = entry

    def keep(self, owner: str, keys: Iterable[str]) -> None:
        """Drop the owner's results whose keys do not occur any more."""
        used = set(keys)
        self._entries[owner] = {key: entry for key, entry in self._entries.get(owner, {}).items() if key in used}

    def keep_owners(self, node_ids: Iterable[str]) -> None:
        """Drop everything that nodes made which are no longer in the workflow, at any depth of expansion."""
        used = {ROOT, *node_ids}  # an expansion's ids begin with the id of the node that expanded and a dot
        self._entries = {owner: kept for owner, kept in self._entries.items() if owner.partition(".")[0] in used}


class Keys:
    """The cache keys of one run: digests of class, fingerprint and inputs, with links replaced by their sources' keys.

    Ids do not count, except for nodes that ask for theirs. A value that JSON cannot hold, such as a tensor, equals
    nothing; so does a fingerprint that is NaN.
    """

    def __init__(self, prompt: DynamicPrompt, nodes: dict[str, type[ComfyNode]]):
        self.prompt = prompt
        self.nodes = nodes
        self._keys: dict[str, str] = {}

    def of(self, node_id: str) -> str:
        """The key of one node. Each node is digested once, after its sources, on an explicit stack."""
        pending, path = [node_id], set()
        while pending:
            current = pending[-1]
            if current in self._keys:
                pending.pop()
                continue
            inputs = self.prompt.get_node(current)["inputs"]
            sources = [value[0] for value in inputs.values() if is_link(value) and value[0] not in self._keys]
            if current not in path and sources:
                path.add(current)
                pending += [source for source in sources if source not in path]
            else:
                self._keys[current] = self._digest(current, inputs)
                pending.pop()
        return self._keys[node_id]

    def _digest(self, node_id: str, inputs: dict[str, Any]) -> str:
        class_type = self.prompt.get_node(node_id)["class_type"]
        schema = self.nodes[class_type].GET_SCHEMA()
        own_id = node_id if schema.not_idempotent or Hidden.unique_id in schema.hidden else None
        parts = [
            (name, ["link", self._keys.get(value[0], "cycle"), value[1]] if is_link(value) else value)
            for name, value in sorted(inputs.items())
        ]
        stamp = self._fingerprint(self.nodes[class_type], inputs)
        text = json.dumps([class_type, stamp, own_id, parts], default=_never_equal, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def _fingerprint(self, kind: type[ComfyNode], inputs: dict[str, Any]) -> Any:
        """What the node says of its literals; linked inputs are None to it, as in ComfyUI."""
        if kind.overrides("fingerprint_inputs") is None:
            return None
        try:
            stamp = kind.fingerprint_inputs(**{n: None if is_link(value) else value for n, value in inputs.items()})
        except (OSError, ValueError):  # the node itself will say what is wrong; until then nothing is reused
            stamp = math.nan
        return _never_equal(stamp) if isinstance(stamp, float) and math.isnan(stamp) else stamp


def _never_equal(value: Any) -> str:
    return f"{type(value).__name__} {next(_unique)}"
