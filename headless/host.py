"""Make the nodes importable without ComfyUI: register the stand-ins, then import ``..nodes`` and list its nodes."""

import asyncio
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from .standin import graph, io, runtime, ui, video
from .standin.folders import Folders

HOST_MODULES = ("comfy_api", "comfy_execution", "folder_paths", "comfy")
EXAMPLES = Path(__file__).resolve().parent.parent / "workflows" / "inputs"


class HostPresent(RuntimeError):
    """ComfyUI itself is importable, so a stand-in would hide it."""


def is_installed() -> bool:
    """Tell whether the stand-ins are registered in this process."""
    return getattr(sys.modules.get("folder_paths"), "__standin__", False)


def install() -> None:
    """Register the stand-ins under the host's names; a second call changes nothing.

    Raises:
        HostPresent: The real modules are importable.
    """
    if is_installed():
        return
    real = [name for name in HOST_MODULES if name in sys.modules or find_spec(name) is not None]
    if real:
        raise HostPresent(
            f"ComfyUI's own modules {real} are importable here: this runner is for machines without ComfyUI. "
            "Start ComfyUI and use `spatial-memory run WORKFLOW.json --server http://127.0.0.1:8188`, "
            "or leave its folder and its PYTHONPATH"
        )
    types = ModuleType("Types")
    types.VideoComponents, types.VideoContainer = video.VideoComponents, video.VideoContainer
    types.VideoCodec = video.VideoCodec
    implementations = ModuleType("InputImpl")
    implementations.VideoFromComponents, implementations.VideoFromFile = video.VideoFromComponents, video.VideoFromFile
    api = {"io": io, "ui": ui, "ComfyExtension": ComfyExtension, "InputImpl": implementations, "Types": types}
    manager = ("interrupt_current_processing", "processing_interrupted", "throw_exception_if_processing_interrupted")
    execution = {"GraphBuilder": graph.GraphBuilder, "is_link": graph.is_link}
    execution["ExecutionBlocker"] = graph.ExecutionBlocker
    _register("comfy_api", {})
    _register("comfy_api.latest", api)
    _register("comfy_api.v0_0_2", api)
    _register("comfy_execution", {})
    _register("comfy_execution.graph_utils", execution)
    _register(
        "comfy_execution.graph", {"ExecutionBlocker": graph.ExecutionBlocker, "DynamicPrompt": graph.DynamicPrompt}
    )
    _register("comfy", {})
    hook = runtime.SESSION.set_progress_bar_global_hook
    _register("comfy.utils", {"ProgressBar": runtime.ProgressBar, "set_progress_bar_global_hook": hook})
    _register(
        "comfy.model_management",
        {name: getattr(runtime.SESSION, name) for name in manager}
        | {
            "InterruptProcessingException": runtime.InterruptProcessingException,
            "get_torch_device": runtime.get_torch_device,
            "intermediate_device": runtime.offload_device,
            "unet_offload_device": runtime.offload_device,
            "vae_offload_device": runtime.offload_device,
            "soft_empty_cache": runtime.soft_empty_cache,
        },
    )
    _register("folder_paths", {})
    _register("nodes", {"NODE_CLASS_MAPPINGS": {}})
    use_folders(bundled_folders())


def bundled_folders() -> Folders:
    """The example inputs of the pack, and output and models in the current folder."""
    return Folders([EXAMPLES], Path.cwd() / "output", Path.cwd() / "models")


class ComfyExtension:
    """Base of what a pack's ``comfy_entrypoint`` returns."""

    async def on_load(self) -> None:
        """Called by newer hosts when the pack is loaded."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """List the pack's nodes."""
        return []


def use_folders(folders: Folders) -> None:
    """Let ``folder_paths`` speak of these folders from now on."""
    module = sys.modules["folder_paths"]
    for name in dir(folders):
        if not name.startswith("_") and callable(getattr(folders, name)):
            setattr(module, name, getattr(folders, name))
    module.models_dir = str(folders.models)
    module.folder_names_and_paths = folders.model_folders


def nodes() -> dict[str, type[io.ComfyNode]]:
    """Import the pack and list its nodes and the core nodes that this runner knows, by class name.

    Call ``use_folders`` after this: when the pack is loaded it offers its example images to the input folder.

    Raises:
        HostPresent: ComfyUI itself is importable.
    """
    install()
    from .. import comfy_entrypoint
    from .core_nodes import CORE_NODES

    async def listed() -> list[type[io.ComfyNode]]:
        return await (await comfy_entrypoint()).get_node_list()

    pack = asyncio.run(listed())
    for node in pack:
        node.RELATIVE_PYTHON_MODULE = "custom_nodes.ComfyUI-SpatialMemory"
    for node in CORE_NODES:
        node.RELATIVE_PYTHON_MODULE = "nodes"
    found = {node.GET_SCHEMA().node_id: node for node in [*CORE_NODES, *pack]}
    sys.modules["nodes"].NODE_CLASS_MAPPINGS.update(found)
    return found


def object_info(listed: dict[str, type[io.ComfyNode]]) -> dict[str, Any]:
    """Describe nodes as the server's ``/object_info`` does."""
    return {name: node.GET_NODE_INFO_V1() for name, node in listed.items()}


def _register(name: str, content: dict[str, Any]) -> None:
    """Put a module with ``content`` under ``name`` and into its parent."""
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    module.__path__ = []
    module.__standin__ = True
    for key, value in content.items():
        setattr(module, key, value)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], child, module)
