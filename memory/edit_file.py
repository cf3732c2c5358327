"""Edits inside a world file: a JSON object each, with tensors where it has some."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

import torch
from torch import Tensor

from .cloud import Edit
from .edits import Delete, Hide, Insert, Lock, Move, Paint, Patch
from .observation import Observation
from .records import number, numbers
from .regions import Box, Everywhere, HalfSpace, Region, Selection, Sphere, Voxels
from .store import Rows
from .store_checks import check_record, expect

SELECTING: dict[str, type] = {"delete": Delete, "hide": Hide, "lock": Lock, "move": Move}
SHAPES: dict[str, type] = {"everywhere": Everywhere, "box": Box, "sphere": Sphere, "half_space": HalfSpace}
NAMES = {kind: name for name, kind in {**SELECTING, **SHAPES, "paint": Paint, "insert": Insert}.items()}

ToTensors = Callable[[Sequence[Observation], str], tuple[dict[str, Tensor | Rows], list[dict]]]
FromTensors = Callable[[list, str], tuple[Observation, ...]]


def edit_to_tensors(edit: Edit, prefix: str, observations: ToTensors) -> tuple[dict[str, Tensor | Rows], dict]:
    """An edit as named tensors and JSON."""
    record: dict = {"edit": NAMES[type(edit)], "chunk": edit.chunk}
    tensors: dict[str, Tensor | Rows] = {}
    if isinstance(edit, Insert):
        tensors, record["observations"] = observations(edit.observations, prefix)
    elif isinstance(edit, Paint):
        record["patches"] = [{"frame": p.frame, "at_chunk": p.at_chunk} for p in edit.patches]
        for i, patch in enumerate(edit.patches):
            tensors |= {f"{prefix}{i:05d}.cells": patch.cells, f"{prefix}{i:05d}.features": patch.features}
    elif isinstance(edit, (Delete, Lock, Move)):
        tensors, record["selection"] = _selection_to_tensors(edit.selection, prefix)
        if isinstance(edit, Move):
            tensors[prefix + "transform"] = edit.transform.float()
    return tensors, record


def edit_from_tensors(
    tensors: Mapping[str, Tensor],
    record: object,
    prefix: str,
    observations: FromTensors,
    features: tuple[torch.dtype, int],
) -> Edit:
    """The inverse of ``edit_to_tensors``. ``features``: what the memory's points carry, type and number.

    Raises:
        ValueError: a part is missing or does not fit, or the edit is of a kind that only a newer pack knows.
    """
    check_record(record, {"edit": str, "chunk": int}, prefix)
    assert isinstance(record, dict)
    name, chunk = record["edit"], record["chunk"]
    if name == "insert":
        check_record(record, {"observations": list}, prefix)
        return Insert(chunk, observations(record["observations"], prefix))
    if name == "paint":
        check_record(record, {"patches": list}, prefix)
        rows = enumerate(record["patches"])
        return Paint(chunk, tuple(_patch(tensors, row, f"{prefix}{i:05d}.", features) for i, row in rows))
    if name not in SELECTING:
        raise ValueError(f"{prefix} is the edit {name!r}, which this pack does not know: update the pack")
    selection = _selection_from_tensors(tensors, record.get("selection"), prefix)
    if name == "move":
        return Move(selection, chunk, expect(tensors, prefix + "transform", torch.float32, (4, 4)))
    return SELECTING[name](selection, chunk)


def _selection_to_tensors(selection: Selection, prefix: str) -> tuple[dict[str, Tensor | Rows], dict]:
    region = selection.region
    frames = None if selection.frames is None else list(selection.frames)
    if isinstance(region, Voxels):
        return {prefix + "keys": region.keys}, {"region": "voxels", "voxel": region.voxel, "frames": frames}
    assert isinstance(region, (Everywhere, Box, Sphere, HalfSpace))
    shape = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(region).items()}
    return {}, {"region": NAMES[type(region)], "shape": shape, "frames": frames}


def _selection_from_tensors(tensors: Mapping[str, Tensor], record: object, prefix: str) -> Selection:
    check_record(record, {"region": str}, prefix)
    assert isinstance(record, dict)
    frames = record.get("frames")
    if frames is not None and not (isinstance(frames, list) and all(type(f) is int for f in frames)):
        raise ValueError(f"{prefix}frames is {frames!r:.80}; the world file is damaged")
    return Selection(_region(tensors, record, prefix), None if frames is None else tuple(frames))


def _region(tensors: Mapping[str, Tensor], record: dict, prefix: str) -> Region:
    name, shape = record["region"], record.get("shape")
    if name == "voxels":
        keys = expect(tensors, prefix + "keys", torch.int64, (None,))
        if not bool((keys[1:] > keys[:-1]).all()):
            raise ValueError(f"{prefix}keys do not rise; the world file is damaged")
        voxel = number(record.get("voxel"), f"{prefix}voxel")
        if voxel <= 0:
            raise ValueError(f"{prefix}voxel is {voxel}, expected a positive side in world units")
        return Voxels(keys, voxel)
    if name not in SHAPES:
        raise ValueError(f"{prefix} selects by {name!r}, which this pack does not know: update the pack")
    if not isinstance(shape, dict):
        raise ValueError(f"{prefix}shape is {shape!r:.80}; the world file is damaged")

    def vector(key: str, count: int = 3) -> tuple:
        return numbers(shape.get(key), count, f"{prefix}{key}")

    if name == "box":
        return Box(vector("centre"), vector("size"), vector("rotation", 4))
    if name == "sphere":
        return Sphere(vector("centre"), number(shape.get("radius"), f"{prefix}radius"))
    if name == "half_space":
        return HalfSpace(vector("point"), vector("normal"))
    return Everywhere()


def _patch(tensors: Mapping[str, Tensor], row: object, prefix: str, features: tuple[torch.dtype, int]) -> Patch:
    check_record(row, {"frame": int, "at_chunk": int}, prefix)
    assert isinstance(row, dict)
    cells = expect(tensors, prefix + "cells", torch.int32, (None,))
    if not bool((cells[1:] >= cells[:-1]).all()):
        raise ValueError(f"{prefix}cells do not rise; the world file is damaged")
    dtype, channels = features
    new = expect(tensors, prefix + "features", dtype, (len(cells), channels))
    return Patch(row["frame"], row["at_chunk"], cells, new)
