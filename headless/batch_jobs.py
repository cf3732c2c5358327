"""From a manifest line to what the runner runs: the prompt, the folders, and a digest that tells whether it changed."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from ..memory.presets import PRESETS
from . import host
from .batch_edits import PATH, loops_of, read_path, with_image, with_inputs, with_path, with_set, with_start
from .batch_manifest import Item, Problem
from .cache import Keys
from .standin.folders import Folders
from .standin.graph import DynamicPrompt, is_link
from .validate import (
    Prompt,
    WorkflowError,
    check_prompt,
    describe,
    inputs_of,
    literals,
    needed,
    options_of,
    own_validation,
)
from .workflow import read_workflow, to_prompt

NAMES = ("filename_prefix", "filename")  # inputs by which output nodes name their files


class BatchFolders(Folders):
    """Folders of one item; previews, which nobody looks at, go to a folder of this process."""

    def __init__(self, inputs: list[Path], output: Path, models: Path, previews: Path):
        super().__init__(inputs, output, models)
        self.previews = previews

    def get_temp_directory(self) -> str:
        return str(self.previews)


@dataclass(frozen=True)
class Place:
    """Where a batch reads and writes."""

    manifest: Path
    workflow: Path | None  # for lines that name none
    inputs: tuple[Path, ...]  # besides the folders of the manifest and of the workflow
    output: Path
    models: Path
    previews: Path

    def found(self, name: str) -> Path | None:
        """The file or folder ``name`` beside the manifest or in an input folder; None if there is none."""
        candidates = [root / name for root in (self.manifest.parent, *self.inputs)]
        return next((one.resolve() for one in candidates if one.exists()), None)


@dataclass(frozen=True)
class Job:
    """One item, ready to run."""

    id: str
    prompt: Prompt  # as it runs, but for ``checkpoint`` and ``resume`` of its loops
    extra: dict[str, Any] | None  # what goes into the files beside the prompt
    folders: BatchFolders
    key: str
    loops: tuple[str, ...]  # nodes that write world files and go on from one


class Planner:
    """Makes jobs of items. A workflow or camera file that many lines name is read once."""

    def __init__(self, place: Place, nodes: dict[str, Any]):
        self.place = place
        self.nodes = nodes
        self.info = host.object_info(nodes)
        self._workflow = lru_cache(maxsize=None)(read_workflow)
        self._path = lru_cache(maxsize=None)(lambda file, fps: read_path("", file, fps))

    def job(self, item: Item) -> tuple[Job | None, list[Problem]]:
        """The job of an item, or everything that is wrong with its line."""
        problems: list[Problem] = []

        def attempt(name: str, step: Callable[..., Any], *given: Any, otherwise: Any = None) -> Any:
            try:
                return step(*given)
            except (ValueError, TypeError, OSError) as problem:
                problems.append(Problem(item.line, name, str(problem).replace("\n", "\n    ")))
                return otherwise

        found = attempt("workflow", self._begun, item)
        if found is None:
            return None, problems
        file, workflow, prompt = found
        image = attempt("image", self._image, item.image)
        if image is not None:
            prompt = attempt("image", with_image, prompt, image.name, otherwise=prompt)
        if item.path is not None:
            path = attempt("path", self._path_of, item.path, prompt)
            prompt = prompt if path is None else attempt("path", with_path, prompt, path, otherwise=prompt)
        for name in ("prompt", "seed"):
            if getattr(item, name) is not None:
                prompt = attempt(name, with_start, prompt, name, getattr(item, name), otherwise=prompt)
        prompt = attempt("set", with_set, prompt, item.set, self.info, otherwise=prompt)
        folders = self._folders(file, image)
        loops = attempt("workflow", loops_of, prompt, self.info, otherwise=[])
        named = attempt("workflow", with_folder, prompt, item.id, self.info)
        key = "" if problems else attempt("", self._key, prompt, folders, loops)
        if problems:
            return None, problems
        extra = {"workflow": workflow} if "nodes" in workflow else None
        return Job(item.id, named, extra, folders, key, tuple(loops)), []

    def _begun(self, item: Item) -> tuple[Path, dict[str, Any], Prompt]:
        """The workflow's file and content, and the part of its prompt that its output nodes need."""
        file = self.place.workflow if item.workflow is None else self.place.found(item.workflow)
        if item.workflow is not None and file is None:
            file = Path(item.workflow)  # as the current folder has it, or not: then reading says so
        if file is None:
            raise WorkflowError("is missing: name a workflow file here, or one for all lines with --workflow")
        workflow = self._workflow(file)
        prompt = to_prompt(workflow, self.info)
        outputs = tuple(i for i, node in prompt.items() if self.info.get(node["class_type"], {}).get("output_node"))
        if not outputs or any(node["class_type"] not in self.info for node in prompt.values()):
            check_prompt(prompt, self.info)  # which says so
        return file, workflow, needed(prompt, outputs)

    def _image(self, name: str | None) -> Path | None:
        if name is None:
            return None
        found = self.place.found(name)
        if found is None or not found.is_file():
            raise ValueError(
                f"there is no file {name!r} in {self.place.manifest.parent}; give --input DIR if elsewhere"
            )
        return found

    def _path_of(self, path: str | dict, prompt: Prompt) -> Any:
        rates = [node["inputs"].get("fps") for node in prompt.values() if node["class_type"] == PATH]
        fps = next((rate for rate in rates if isinstance(rate, float | int)), 16.0)
        file = None if isinstance(path, dict) else self.place.found(path)
        if file is None or path in PRESETS:
            return read_path(path, None, fps)
        return self._path(file, fps)

    def _folders(self, workflow: Path, image: Path | None) -> BatchFolders:
        beside = [self.place.manifest.parent, *self.place.inputs, workflow.parent, workflow.parent / "inputs"]
        inputs = [*([] if image is None else [image.parent]), *beside, host.EXAMPLES]
        return BatchFolders(inputs, self.place.output, self.place.models, self.place.previews)

    def _key(self, prompt: Prompt, folders: BatchFolders, loops: list[str]) -> str:
        """Check the prompt as the runner will, and digest what it makes, the content of its files included.

        Raises:
            WorkflowError: it cannot run.
        """
        host.use_folders(folders)
        for node_id in loops:
            prompt = with_inputs(prompt, node_id, {"checkpoint": "", "resume": ""})
        targets = check_prompt(prompt, self.info)
        prompt = literals(prompt, self.info)
        said = {i: own_validation(self.nodes[node["class_type"]], node["inputs"]) for i, node in prompt.items()}
        if any(said.values()):
            raise WorkflowError("\n".join(f"{describe(prompt, i)}: {text}" for i, text in said.items() if text))
        keys = Keys(DynamicPrompt(prompt), self.nodes)
        return hashlib.sha256("".join(sorted(map(keys.of, targets))).encode()).hexdigest()


def with_folder(prompt: Prompt, folder: str, info: dict[str, Any]) -> Prompt:
    """The prompt with the files of all its output nodes below ``folder``.

    Two items never share an output node for that reason: the runner would not write the files of the second one.

    Raises:
        WorkflowError: the name of a file comes by a link, or leads out of the folder.
    """
    for node_id, node in prompt.items():
        own = info[node["class_type"]]
        declared = inputs_of(own)
        for name in (name for name in NAMES if own.get("output_node") and name in declared):
            value = node["inputs"].get(name, options_of(declared[name]).get("default", ""))
            where = f"{describe(prompt, node_id)}: {name}"
            if is_link(value):
                raise WorkflowError(f"{where} comes by a link; write it on the node, a batch puts the item's id before")
            plain = PurePosixPath(str(value).replace("\\", "/"))
            if not plain.name or plain.is_absolute() or ".." in plain.parts:
                raise WorkflowError(f"{where} is {value!r}; expected a name inside the item's folder, without '..'")
            prompt = with_inputs(prompt, node_id, {name: f"{folder}/{plain}"})
    return prompt
