"""The only file that imports ComfyUI. It probes for features, never for versions, and hides what differs between hosts.

Everything else in ``nodes`` speaks to the host through the names defined here.
"""

import inspect
import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import fields
from pathlib import Path

import comfy.model_management
import comfy.utils
import folder_paths
from comfy_execution.graph_utils import GraphBuilder, is_link

try:
    from comfy_execution.utils import get_executing_context
except ImportError:  # the built-in runner

    def get_executing_context():
        return None


try:
    from comfy_api.v0_0_2 import ComfyExtension, Types, io, ui
except ImportError:
    from comfy_api.latest import ComfyExtension, Types, io, ui

__all__ = [
    "ComfyExtension",
    "GraphBuilder",
    "Progress",
    "io",
    "is_link",
    "ui",
]

logger = logging.getLogger(__name__)

PREFIX = "SpatialMemory_"
CATEGORY = "SpatialMemory"
MODEL_FOLDER = "spatial_memory"
EXAMPLES = Path(__file__).parent.parent / "workflows" / "inputs"
PREVIEW_SIZE = 512  # pixels of the longer side of a live preview

World = io.Custom("SPATIAL_WORLD")
PathSocket = io.Custom("SPATIAL_CAMERA_PATH")
GeometrySocket = io.Custom("SPATIAL_GEOMETRY")
MemorySocket = io.Custom("SPATIAL_MEMORY")
ReferencesSocket = io.Custom("SPATIAL_REFERENCES")
State = io.Custom("SPATIAL_STATE")


def known(kind, keywords: dict) -> dict:
    """The keywords that the running host's class takes; ``advanced`` and the like came after 0.3.64."""
    accepted = inspect.signature(kind.__init__).parameters
    return {name: value for name, value in keywords.items() if name in accepted}


def socket(kind, name: str, tooltip: str, **options):
    """An input of a node. Options that the running host does not know are dropped."""
    return kind.Input(name, **known(kind.Input, dict(options, tooltip=tooltip)))


def raw(kind, name: str, tooltip: str, **options):
    """An input that receives the link itself where one is connected: for nodes that expand and only pass it on."""
    return socket(kind, name, tooltip, **options, extra_dict={"rawLink": True})


def result(kind, name: str, tooltip: str):
    """An output of a node."""
    return kind.Output(display_name=name, tooltip=tooltip)


def schema(name: str, title: str, description: str, inputs: list, outputs: list, hidden: tuple = (), **options):
    """A node's schema under its permanent id. Fields that the running host does not know are dropped."""
    accepted = {field.name for field in fields(io.Schema)}
    return io.Schema(
        node_id=PREFIX + name,
        display_name=title,
        category=CATEGORY,
        description=description,
        inputs=inputs,
        outputs=outputs,
        hidden=list(hidden),
        **{key: value for key, value in options.items() if key in accepted},
    )


def check_interrupted() -> None:
    """Raise the host's own exception when the user pressed stop. Call it in every step of a long loop."""
    comfy.model_management.throw_exception_if_processing_interrupted()


class Progress:
    """The bar on the node that runs, with an optional picture. Every tick raises when the user pressed stop."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.bar = comfy.utils.ProgressBar(total)
        check_interrupted()

    def tick(self, done: int, picture=None) -> None:
        """``done`` of ``total`` steps; ``picture`` is a PIL image or None."""
        check_interrupted()
        self.bar.update_absolute(done, self.total, None if picture is None else ("JPEG", picture, PREVIEW_SIZE))


def is_output_node(class_type: str) -> bool:
    """Whether the host runs this class for its own sake (a preview, a save)."""
    known_nodes = getattr(sys.modules.get("nodes"), "NODE_CLASS_MAPPINGS", {})
    return bool(getattr(known_nodes.get(class_type), "OUTPUT_NODE", False))


def inside(root: str, name: str) -> Path:
    """The file ``name`` below the folder ``root``, links resolved.

    Raises:
        ValueError: the name is empty, absolute, or leads out of the folder.
    """
    base = Path(os.path.realpath(root))
    path = Path(os.path.realpath(base / name))
    if not name.strip() or not path.is_relative_to(base) or path == base:
        raise ValueError(
            f"file name {name!r} is empty or leads out of {base}; give a name below that folder, without '..'"
        )
    return path


def output_file(name: str) -> Path:
    """Where a node may write ``name``: below the host's output folder, its folder made."""
    path = inside(folder_paths.get_output_directory(), name)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def user_file(name: str) -> Path:
    """A file that the user names: in the input folder, or else in the output folder.

    Raises:
        ValueError: the name leads out of both.
        FileNotFoundError: no such file in either.
    """
    roots = (folder_paths.get_input_directory(), folder_paths.get_output_directory())
    candidates = [inside(root, name) for root in roots]
    for path in candidates:
        if path.is_file():
            return path
    if not name.endswith("]") and folder_paths.exists_annotated_filepath(name):
        return Path(folder_paths.get_annotated_filepath(name))  # the built-in runner has several input folders
    raise FileNotFoundError(
        f"{name!r} is neither in {roots[0]} nor in {roots[1]}; put the file there, or mend its name"
    )


def point_file_outputs(tooltip: str) -> list:
    """The output that a host with point cloud nodes has besides a file's name: one, or none."""
    kind = getattr(io, "File3DPointCloudAny", None)
    return [result(kind, "points", tooltip)] if kind is not None and hasattr(Types, "File3D") else []


def point_file(path: Path) -> list:
    """The values for ``point_file_outputs``."""
    return [Types.File3D(str(path), "ply") for _ in point_file_outputs("")]


def file_stamp(name: str) -> str:
    """A text that changes when the user's file does, so that the host reads it again; "" for no name."""
    if not name:
        return ""
    stat = user_file(name).stat()
    return f"{stat.st_mtime_ns} {stat.st_size}"


def running_server():
    """The host's web server, None where nodes run without one."""
    return getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)


def serve(routes: Iterable[tuple[str, str, Callable]]) -> None:
    """Let the host's server, where there is one, answer (method, path, handler); the same below ``/api``."""
    server = running_server()
    for method, path, handler in routes if server is not None else ():
        server.routes.route(method, path)(handler)


def executing_node() -> str | None:
    """The id of the node that is executed now, None where the host does not say."""
    context = get_executing_context()
    return None if context is None else str(context.node_id)


def kept_folder(name: str) -> Path:
    """A folder of the pack's own in the host's user folder: it outlives the server, and no page lists it."""
    return Path(folder_paths.get_user_directory()) / "__spatial_memory" / name


def input_file(name: str) -> Path:
    """A file in the input folder, nowhere else.

    Raises:
        ValueError: the name leads out of it.
        FileNotFoundError: there is no such file.
    """
    path = inside(folder_paths.get_input_directory(), name)
    if not path.is_file():
        raise FileNotFoundError(f"{name!r} is not in the input folder; upload it again")
    return path


def offer_examples() -> None:
    """Copy the bundled photographs, masks and things into the host's input folder, so that the templates run at once.

    A file that exists is left alone. A folder that cannot be written is no reason to lose the pack: it is logged.
    """
    folder = Path(folder_paths.get_input_directory())
    for example in sorted(file for kind in ("*.png", "*.ply") for file in EXAMPLES.glob(kind)):
        if folder_paths.exists_annotated_filepath(example.name):
            continue
        target = folder / example.name
        temporary = target.with_suffix(f".{os.getpid()}.part")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(example, temporary)
            os.replace(temporary, target)
        except OSError as error:
            logger.warning("The example %s was not copied to %s: %s", example.name, folder, error)


class Owner:
    """A network in the host's care: loaded before it computes, evicted when something else needs the room.

    The built-in runner has no manager: there it stays where it computes.
    """

    def __init__(self, network, name: str) -> None:
        self.device = compute_device()
        self.network, self.patcher = network, None
        if host_manages_memory():
            from comfy.model_patcher import ModelPatcher

            home = comfy.model_management.unet_offload_device()
            self.patcher = ModelPatcher(_holder(network, name), self.device, home)

    def load(self, activation_bytes: int) -> None:
        """Bring the weights to the device, whole, with room for ``activation_bytes`` beside them.

        Raises:
            RuntimeError: the device has too little memory even when it is empty.
        """
        if self.patcher is None:
            self.network.to(self.device)
            return
        if self.device.type != "cpu":
            total = comfy.model_management.get_total_memory(self.device)
            needed = self.patcher.model_size() + activation_bytes
            if needed > total:
                raise RuntimeError(
                    f"{self.patcher.model.name} needs {needed / 2**30:.1f} GiB, the device has "
                    f"{total / 2**30:.1f} GiB; make smaller pictures, or use ApplySpatialControl, which loads a model "
                    "in parts"
                )
        # not by comfy.ops: such a network is loaded whole or not at all
        comfy.model_management.load_models_gpu([self.patcher], memory_required=activation_bytes, force_full_load=True)


def host_manages_memory() -> bool:
    """Whether a ComfyUI moves weights to and from the device. The built-in runner does not."""
    return hasattr(comfy.model_management, "load_models_gpu")


def _holder(network, name: str):
    """A module that the host's manager can write its own attributes to; a diffusers model has ``device`` of its own."""
    from torch import nn

    class SpatialHolder(nn.Module):  # the host's log says what it loads by this name
        def get_dtype(self):
            return next(self.parameters()).dtype

    holder = SpatialHolder()
    holder.inner, holder.name, holder.device = network, name, None
    return holder


def compute_device():
    """The device that computes, a ``torch.device``."""
    return comfy.model_management.get_torch_device()


def device_bytes() -> int | None:
    """Bytes of memory of the device that computes; None where that is the CPU, or the host does not say."""
    management = comfy.model_management
    device = compute_device()
    if device.type == "cpu" or not hasattr(management, "get_total_memory"):
        return None
    return int(management.get_total_memory(device))


def free_disk() -> int | None:
    """Bytes that are free where nodes write; None if the folder is not there yet."""
    folder = Path(folder_paths.get_output_directory())
    return shutil.disk_usage(folder).free if folder.is_dir() else None


def free_ram() -> int | None:
    """Bytes of memory that are free for weights, None where nobody can say."""
    try:
        import psutil
    except ImportError:
        return None
    return int(psutil.virtual_memory().available)


def model_files(*folders: str) -> list[str]:
    """Names of the safetensors files in the host's model folders, without doubles."""
    names = [name for folder in folders if _is_folder(folder) for name in folder_paths.get_filename_list(folder)]
    return sorted({name for name in names if name.endswith(".safetensors")})


def model_file(name: str, *folders: str) -> Path:
    """Where a model file lies.

    Raises:
        FileNotFoundError: in none of the folders; names them.
    """
    for folder in filter(_is_folder, folders):
        found = folder_paths.get_full_path(folder, name)
        if found is not None:
            return Path(found)
    raise FileNotFoundError(
        f"{name!r} is in none of the model folders {', '.join(folders)} ({folder_paths.models_dir}); put it there, or "
        "choose another file"
    )


def diffusers_folders() -> list[str]:
    """Names of the folders in models/diffusers that hold a transformer and a VAE."""
    roots = [Path(root) for root in _roots("diffusers")]
    return sorted(
        {
            config.parent.parent.relative_to(root).as_posix()
            for root in roots
            if root.is_dir()
            for config in root.glob("*/transformer/config.json")
        }
    )


def diffusers_folder(name: str) -> Path | None:
    """Where a diffusers folder lies, None if there is none of that name."""
    for root in _roots("diffusers"):
        path = Path(root) / name
        if name and (path / "transformer").is_dir() and path.resolve().is_relative_to(Path(root).resolve()):
            return path
    return None


def _roots(folder: str) -> list[str]:
    return folder_paths.get_folder_paths(folder) if _is_folder(folder) else []


def _is_folder(folder: str) -> bool:
    known_folders = getattr(folder_paths, "folder_names_and_paths", {})
    return folder in known_folders or getattr(folder_paths, "__standin__", False)
