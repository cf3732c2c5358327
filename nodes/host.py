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
