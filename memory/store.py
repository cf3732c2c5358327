"""World files: tensors and a JSON header in one safetensors file, exact to the bit.

A file is written under a temporary name beside its own and renamed when it is safely on disk, so an interruption
leaves the old file whole. It is read with plain reads into fresh tensors, never mapped, so it can be replaced while its
content is in use. Every size is checked against the file before anything is allocated.
"""

import json
import math
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, TypeGuard

import torch
from torch import Tensor

from .camera import Cameras, check_cameras
from .cloud import Observation, SpatialMemory

FORMAT = "spatial-memory-world"
VERSION = 1
MAX_HEADER = 32 * 1024 * 1024  # bytes

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
CODES = {dtype: code for code, dtype in DTYPES.items()}


def save_tensors(path: str | os.PathLike, tensors: Mapping[str, Tensor], header: dict) -> None:
    """Write a world file: named tensors of any shape and a JSON header.

    Raises:
        ValueError: a dtype that world files do not hold, or a header that is no JSON or holds NaN.
        OSError: the folder is missing, full or read-only; what stood at ``path`` is untouched.
    """
    path = Path(path)
    for name, tensor in tensors.items():
        if tensor.dtype not in CODES or name == "__metadata__":
            raise ValueError(f"{name} has dtype {tensor.dtype}, expected one of {', '.join(CODES.values())}")
    try:
        text = json.dumps(header, allow_nan=False)
    except TypeError as error:
        raise ValueError(f"the header of {path.name} is no JSON: {error}") from error
    # the widest types first, so that every tensor starts at a multiple of its item size
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    table: dict[str, dict] = {"__metadata__": {"format": FORMAT, "version": str(VERSION), "header": text}}
    end = 0
    for name in names:
        tensor = tensors[name]
        begin, end = end, end + tensor.numel() * tensor.element_size()
        table[name] = {"dtype": CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    head = json.dumps(table, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    if len(head) > MAX_HEADER:
        raise ValueError(f"the header of {path.name} takes {len(head)} bytes, at most {MAX_HEADER} are readable again")
    with replacing(path) as file:
        file.write(len(head).to_bytes(8, "little"))
        file.write(head)
        for name in names:
            file.write(_bytes(tensors[name].detach().cpu().contiguous()))


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of ``path`` once it is complete and on disk, and leaves no trace if it fails."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_tensors(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict]:
    """Read a world file: fresh tensors by name, and the header.

    Raises:
        ValueError: the file is truncated, foreign, damaged or newer than this version; the message names it.
        OSError: it cannot be opened.
    """
    path = Path(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        table, start = _read_table(file, path, size)
        metadata = table.pop("__metadata__", None)
        header = _check_metadata(metadata, path)
        spans = {name: _check_entry(name, entry, path) for name, entry in table.items()}
        _check_layout({name: span for name, (_, _, span) in spans.items()}, size - start, path)
        tensors = {}
        for name, (dtype, shape, (begin, _)) in spans.items():
            tensor = torch.empty(shape, dtype=dtype)
            file.seek(start + begin)
            if tensor.numel() and file.readinto(_bytes(tensor)) != tensor.numel() * tensor.element_size():
                raise ValueError(f"{path} was cut short while {name} was read; save it again")
            if dtype == torch.bool and tensor.numel() and tensor.view(torch.uint8).max() > 1:
                raise ValueError(f"{path} is damaged: {name} is BOOL and holds bytes beyond 1; use another copy")
            tensors[name] = tensor
    return tensors, header


def memory_to_tensors(memory: SpatialMemory, prefix: str) -> tuple[dict[str, Tensor], dict]:
    """A memory as named tensors, each name starting with ``prefix``, and what of it is no tensor, as JSON."""
    tensors: dict[str, Tensor] = {}
    for i, o in enumerate(memory.observations):
        parts = {"points": o.points, "features": o.features, "cells": o.cells, "depth": o.depth}
        tensors |= {f"{prefix}{i:05d}.{name}": tensor for name, tensor in parts.items()}
        tensors |= {f"{prefix}{i:05d}.c2w": o.camera.c2w, f"{prefix}{i:05d}.K": o.camera.K}
    record = {
        "kind": memory.kind,
        "codec": memory.codec,
        "channels": memory.channels,
        "scene_unit": memory.scene_unit,
        "metric": memory.metric,
        "observations": [
            {"frame": o.frame, "chunk": o.chunk, "voxel": o.voxel, "height": o.camera.height, "width": o.camera.width}
            for o in memory.observations
        ],
    }
    return tensors, record


def memory_from_tensors(tensors: Mapping[str, Tensor], record: dict, prefix: str) -> SpatialMemory:
    """The inverse of ``memory_to_tensors``, its observations in their order.

    Raises:
        ValueError: a part is missing, of another shape or dtype, or holds points that are not finite.
    """
    memory_kinds = {
        "kind": str,
        "codec": str,
        "channels": int,
        "scene_unit": float,
        "metric": bool,
        "observations": list,
    }
    kinds = {"frame": int, "chunk": int, "voxel": float, "height": int, "width": int}
    _check_record(record, memory_kinds, prefix)
    observations = []
    for i, row in enumerate(record["observations"]):
        where = f"{prefix}{i:05d}."
        _check_record(row, kinds, where)
        n, grid = _expect(tensors, where + "points", torch.float32, (None, 3)).shape[0], row["height"] * row["width"]
        camera = Cameras(
            _expect(tensors, where + "c2w", torch.float32, (4, 4)),
            _expect(tensors, where + "K", torch.float32, (3, 3)),
            row["height"],
            row["width"],
        )
        check_cameras(camera, where + "camera")
        cells = _expect(tensors, where + "cells", torch.int32, (n,))
        if not tensors[where + "points"].isfinite().all() or (
            n and not 0 <= int(cells.min()) <= int(cells.max()) < grid
        ):
            raise ValueError(f"{where}points or cells hold values outside the world or the grid; use another copy")
        observations.append(
            Observation(
                points=tensors[where + "points"],
                features=_expect(tensors, where + "features", torch.float16, (n, record["channels"])),
                cells=cells,
                depth=_expect(tensors, where + "depth", torch.float32, (n,)),
                camera=camera,
                frame=row["frame"],
                chunk=row["chunk"],
                voxel=float(row["voxel"]),
            )
        )
    return SpatialMemory(
        kind=record["kind"],
        codec=record["codec"],
        channels=record["channels"],
        scene_unit=float(record["scene_unit"]),
        metric=record["metric"],
        observations=tuple(observations),
    )


def _bytes(tensor: Tensor) -> memoryview:
    """The raw bytes of a contiguous tensor, shared with it."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def _read_table(file: BinaryIO, path: Path, size: int) -> tuple[dict, int]:
    """The parsed header and where the tensors' bytes start."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > MAX_HEADER or 8 + length > size:
        raise ValueError(
            f"{path} ({size} bytes) is no world file, or was cut short: expected a safetensors file; use another"
        )
    try:
        table = json.loads(file.read(length).decode())
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(
            f"{path} is no world file: its header is no JSON ({error}); expected a safetensors file"
        ) from error
    if not isinstance(table, dict):
        raise ValueError(f"{path} is no world file: its header is a JSON {type(table).__name__}, expected an object")
    return table, 8 + length


def _check_metadata(metadata: object, path: Path) -> dict:
    if not isinstance(metadata, dict) or metadata.get("format") != FORMAT:
        found = metadata.get("format") if isinstance(metadata, dict) else None
        raise ValueError(f"{path} is a safetensors file of format {found!r}, expected {FORMAT!r}: choose a saved world")
    version = metadata.get("version")
    if not isinstance(version, str) or not version.isdecimal() or len(version) > 9:
        raise ValueError(f"{path} has version {version!r}, expected a number up to {VERSION}")
    if int(version) > VERSION:
        raise ValueError(f"{path} has version {version}, this pack reads up to {VERSION}: update the pack")
    try:
        header = json.loads(metadata.get("header", ""))
    except (TypeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: its world header is no JSON ({error}); use another copy") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path} is damaged: its world header is a {type(header).__name__}, expected an object")
    return header


def _check_entry(name: str, entry: object, path: Path) -> tuple[torch.dtype, list[int], tuple[int, int]]:
    fields: dict = entry if isinstance(entry, dict) else {}
    code, shape, offsets = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    if not isinstance(code, str) or code not in DTYPES:
        raise ValueError(f"{path} holds {name} as {code!r}, expected one of {', '.join(DTYPES)}")
    if not _whole(shape) or not _whole(offsets) or len(offsets) != 2 or len(shape) > 16:
        raise ValueError(f"{path} is damaged: {name} has shape {shape!r} and offsets {offsets!r}; use another copy")
    dtype = DTYPES[code]
    nbytes = math.prod(shape) * dtype.itemsize
    if offsets[1] - offsets[0] != nbytes:
        raise ValueError(f"{path} is damaged: {name} of shape {shape} needs {nbytes} bytes, its offsets say {offsets}")
    return dtype, shape, (offsets[0], offsets[1])


def _check_layout(spans: dict[str, tuple[int, int]], available: int, path: Path) -> None:
    """Every byte after the header belongs to exactly one tensor."""
    expected = 0
    for name, (begin, end) in sorted(spans.items(), key=lambda item: item[1]):
        if begin != expected:
            raise ValueError(f"{path} is damaged: {name} starts at byte {begin}, expected {expected}; use another copy")
        expected = end
    if expected != available:
        raise ValueError(f"{path} holds {available} bytes of tensors, its header says {expected}: cut short or damaged")


def _whole(values: object) -> TypeGuard[list[int]]:
    return isinstance(values, list) and all(type(x) is int and 0 <= x < 2**48 for x in values)


def _check_record(record: object, kinds: dict[str, type], where: str) -> None:
    for key, kind in kinds.items():
        value = record.get(key) if isinstance(record, dict) else None
        if type(value) is not kind and not (kind is float and type(value) is int):
            raise ValueError(f"{where}{key} is {value!r}, expected {kind.__name__}; the world file is damaged")


def _expect(tensors: Mapping[str, Tensor], name: str, dtype: torch.dtype, shape: tuple[int | None, ...]) -> Tensor:
    tensor = tensors.get(name)
    if tensor is None:
        raise ValueError(f"{name} is missing; the world file is damaged")
    fits = len(tensor.shape) == len(shape) and all(want in (None, got) for want, got in zip(shape, tensor.shape))
    if tensor.dtype != dtype or not fits:
        raise ValueError(f"{name} is {tensor.dtype} {tuple(tensor.shape)}, expected {dtype} {shape}")
    return tensor
