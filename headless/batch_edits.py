"""What a manifest line changes in a workflow: each field finds its node by itself, and two candidates are refused."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..memory.formats import every_frame, path_from_cameras, read_cameras
from ..memory.grid import LatentGrid
from ..memory.path import CameraPath
from ..memory.presets import PRESETS
from .edits import PREFIX, set_input
from .standin.graph import is_link
from .validate import Prompt, WorkflowError, describe, inputs_of

START, ROLLOUT, PATH = (PREFIX + name for name in ("EncodeStartFrame", "Rollout", "CameraPath"))
OWN = ("checkpoint", "resume")  # inputs of a loop that the batch fills in itself


def with_inputs(prompt: Prompt, node_id: str, values: dict[str, Any]) -> Prompt:
    """The prompt with these inputs of one node."""
    node = prompt[node_id]
    return {**prompt, node_id: {**node, "inputs": {**node["inputs"], **values}}}


def the_node(prompt: Prompt, name: str, kinds: Iterable[str], passed: Iterable[str] = ()) -> str:
    """The one node of these classes; those in ``passed`` do not count.

    Raises:
        WorkflowError: there is none, or there are several.
    """
    kinds = tuple(kinds)
    found = [i for i, node in prompt.items() if node["class_type"] in kinds and i not in passed]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(describe(prompt, node_id) for node_id in found)
    problem = f"has several nodes that {name} could mean: {listed}" if found else f"has no {' or '.join(kinds)}"
    raise WorkflowError(f'the workflow {problem}; name the input in `set` instead, as {{"NODE.INPUT": value}}')


def baselines(prompt: Prompt) -> list[str]:
    """The films without memory that another one is compared with."""
    return [
        node_id
        for node_id, node in prompt.items()
        if node["class_type"] == ROLLOUT and str(node["inputs"].get("memory", "")).startswith("off")
    ]


def film_node(prompt: Prompt, name: str) -> str:
    """The node at which the film begins; a baseline only where nothing else begins one.

    Raises:
        WorkflowError: there is none, or there are several.
    """
    begins = {i for i, node in prompt.items() if node["class_type"] in (START, ROLLOUT)}
    passed = baselines(prompt)
    return the_node(prompt, name, (START, ROLLOUT), passed if begins - set(passed) else ())


def with_start(prompt: Prompt, name: str, value: str | int) -> Prompt:
    """The prompt with ``seed`` or ``prompt`` of its film, and of the baselines, which are comparable only then.

    Raises:
        WorkflowError: no node begins a film, or several do.
    """
    for node_id in {film_node(prompt, name): None} | dict.fromkeys(baselines(prompt)):
        prompt = with_inputs(prompt, node_id, {name: value})
    return prompt


def with_image(prompt: Prompt, file_name: str) -> Prompt:
    """The prompt with another start photograph.

    Raises:
        WorkflowError: there is no LoadImage, or there are several.
    """
    return with_inputs(prompt, the_node(prompt, "image", ["LoadImage"]), {"image": file_name})


def with_path(prompt: Prompt, path: CameraPath | str) -> Prompt:
    """The prompt with another camera path: a preset's name, or a path of its own.

    A path of its own brings the field of view of the photograph with it, where the workflow has that as a number.

    Raises:
        WorkflowError: there is no Camera Path, or there are several.
    """
    node_id = the_node(prompt, "path", [PATH])
    if isinstance(path, str):
        return with_inputs(prompt, node_id, {"preset": path, "keyframes": ""})
    recipe = {key: value for key, value in json.loads(path.to_json()).items() if key != "bake"}
    prompt = with_inputs(prompt, node_id, {"keyframes": json.dumps(recipe)})
    for start in [i for i, node in prompt.items() if node["class_type"] == START]:
        inputs = prompt[start]["inputs"]
        if not is_link(inputs.get("vertical_fov")) and not is_link(inputs.get("poses")):
            prompt = with_inputs(prompt, start, {"vertical_fov": path.poses().vertical_fov[0].item()})
    return prompt


def with_set(prompt: Prompt, changes: dict[str, Any], info: dict[str, Any]) -> Prompt:
    """The prompt with every NODE.INPUT of ``set``, as the option --set of ``spatial-memory run`` has it.

    Raises:
        WorkflowError: as there; or an input that the batch fills in itself.
    """
    for name, value in changes.items():
        if name.rpartition(".")[2] in OWN:
            raise WorkflowError(f"{name}: a batch keeps its own world files and resumes by itself; leave it out")
        text = value if isinstance(value, str) else json.dumps(value)
        prompt = set_input(prompt, f"{name}={text}", info)
    return prompt


def loops_of(prompt: Prompt, info: dict[str, Any]) -> list[str]:
    """The nodes that write world files and go on from one.

    Raises:
        WorkflowError: one of them is to go on from a world file already.
    """
    loops = [i for i, node in prompt.items() if set(OWN) <= set(inputs_of(info[node["class_type"]]))]
    for node_id in loops:
        if prompt[node_id]["inputs"].get("resume"):
            raise WorkflowError(
                f"{describe(prompt, node_id)} goes on from a world file; a batch begins at start images: "
                "empty its input resume"
            )
    return loops


def read_path(path: str | dict, file: Path | None, fps: float) -> CameraPath | str:
    """What a line's ``path`` means: the name of a preset, or a path from an object or from ``file``.

    Raises:
        ValueError: no camera path, or a length that no film has; says why.
        OSError: the file cannot be read.
    """
    if isinstance(path, str) and file is None:
        if path not in PRESETS:
            raise ValueError(f"{path!r:.120} is no preset ({', '.join(PRESETS)}) and there is no such file")
        return path
    made = CameraPath.from_json(json.dumps(path)) if file is None else _from_file(file, fps)
    LatentGrid(channels=1).latent_frames(made.num_frames)  # refuses lengths that are not 1 + 4 n
    return made


def _from_file(file: Path, fps: float) -> CameraPath:
    """A recipe of our own as it is; other cameras seen from their first, as Import Camera Path has them."""
    from ..nodes.path import GRID, from_the_first  # the nodes need the stand-ins

    if file.suffix == ".json":
        text = file.read_text(encoding="utf-8")
        record = json.loads(text)
        if isinstance(record, dict) and {"keyframes", "keys"} & set(record):
            return CameraPath.from_json(text)
    cameras = every_frame(read_cameras(file, *GRID, None, fps)).cameras
    return path_from_cameras(from_the_first(cameras), fps)
