"""Schema, node base class and node output of the stand-in for ComfyUI's V3 API."""

import inspect
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Hidden(StrEnum):
    """What a node may ask the host for without a socket."""

    unique_id = "UNIQUE_ID"
    prompt = "PROMPT"
    extra_pnginfo = "EXTRA_PNGINFO"
    dynprompt = "DYNPROMPT"


@dataclass(frozen=True)
class HiddenHolder:
    """The hidden values of one execution; those that the schema did not ask for are None."""

    unique_id: str | None = None
    prompt: dict | None = None
    extra_pnginfo: dict | None = None
    dynprompt: Any = None


@dataclass
class Schema:
    """What a node declares. Newer hosts know more fields; the nodes pass only those that they find here."""

    node_id: str
    display_name: str | None = None
    category: str = "sd"
    inputs: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    hidden: list[Hidden] = field(default_factory=list)
    description: str = ""
    is_input_list: bool = False
    is_output_node: bool = False
    is_deprecated: bool = False
    is_experimental: bool = False
    is_api_node: bool = False
    not_idempotent: bool = False
    enable_expand: bool = False

    def finalized(self) -> "Schema":
        """Add the hidden inputs that every output node gets and refuse ids that occur twice.

        Raises:
            ValueError: Two inputs or two outputs share an id.
        """
        if self.is_output_node:
            for extra in (Hidden.prompt, Hidden.extra_pnginfo):
                if extra not in self.hidden:
                    self.hidden.append(extra)
        ids = [one.id for one in [*self.inputs, *self.outputs] if one.id is not None]
        twice = sorted({name for name in ids if ids.count(name) > 1})
        if twice:
            raise ValueError(f"{self.node_id}: ids must be unique, got {twice} more than once: rename them")
        return self

    def input_types(self) -> dict[str, dict[str, tuple]]:
        """List the inputs as the host does: required, optional, hidden -> name -> (type, options)."""
        listed: dict[str, dict[str, tuple]] = {"required": {}}
        for one in self.inputs:
            options = one.as_dict()
            section = "optional" if options.pop("optional", False) else "required"
            listed.setdefault(section, {})[one.id] = (one.get_io_type(), options)
        for one in self.hidden:
            listed.setdefault("hidden", {})[one.name] = (one.value,)
        return listed

    def node_info(self, python_module: str | None) -> dict[str, Any]:
        """Describe the node as the host's ``/object_info`` does."""
        listed = self.input_types()
        return {
            "input": listed,
            "input_order": {section: list(names) for section, names in listed.items()},
            "output": [one.io_type for one in self.outputs],
            "output_is_list": [one.is_output_list for one in self.outputs],
            "output_name": [one.display_name or one.io_type for one in self.outputs],
            "output_tooltips": [one.tooltip or None for one in self.outputs],
            "name": self.node_id,
            "display_name": self.display_name,
            "description": self.description,
            "python_module": python_module,
            "category": self.category,
            "output_node": self.is_output_node,
            "deprecated": self.is_deprecated,
            "experimental": self.is_experimental,
            "api_node": self.is_api_node,
        }


class NodeOutput:
    """What ``execute`` returns: values, a message for the interface, or a graph to run instead."""

    def __init__(self, *args: Any, ui: Any = None, expand: dict | None = None, block_execution: str | None = None):
        self.args = args
        self.ui = ui
        self.expand = expand
        self.block_execution = block_execution

    @property
    def result(self) -> tuple | None:
        return self.args if self.args else None

    def __getitem__(self, index: int) -> Any:
        return self.args[index]


class _Locked(type):
    """The class of the clones that execute: like the host's, they refuse new attributes."""

    def __setattr__(cls, name: str, value: Any) -> None:
        raise AttributeError(f"a node's class cannot be changed while it executes: {cls.__name__}.{name}")


class _OfSchema:
    """A class attribute that the host derives from the schema."""

    def __init__(self, field: str):
        self.field = field

    def __get__(self, instance: Any, owner: type["ComfyNode"]) -> Any:
        return getattr(owner.GET_SCHEMA(), self.field)


class ComfyNode:
    """Base of every node: ``define_schema`` and ``execute`` as classmethods, and what the host derives from them."""

    RELATIVE_PYTHON_MODULE: str | None = None
    OUTPUT_NODE = _OfSchema("is_output_node")
    hidden = HiddenHolder()

    @classmethod
    def GET_SCHEMA(cls) -> Schema:
        return cls.define_schema().finalized()

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, dict[str, tuple]]:
        return cls.GET_SCHEMA().input_types()

    @classmethod
    def GET_NODE_INFO_V1(cls) -> dict[str, Any]:
        return cls.GET_SCHEMA().node_info(cls.RELATIVE_PYTHON_MODULE)

    @classmethod
    def overrides(cls, method: str) -> Any:
        """The node's own ``validate_inputs``, ``fingerprint_inputs`` or ``check_lazy_status``; None if it has none."""
        return getattr(cls, method, None)

    @classmethod
    def prepared(cls, hidden: HiddenHolder) -> type["ComfyNode"]:
        """A locked clone of the class that carries the hidden values of one execution."""
        return _Locked(cls.__name__, (cls,), {"hidden": hidden})

    @classmethod
    def is_async(cls) -> bool:
        return inspect.iscoroutinefunction(cls.execute)
