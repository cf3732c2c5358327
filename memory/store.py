"""World files: tensors and a JSON header in one safetensors file, exact to the bit.

A file is written under a temporary name beside its own and renamed when it is safely on disk, so an interruption
leaves the old file whole. It is read with plain reads into fresh tensors, never mapped, so it can be replaced while its
content is in use. Every size is checked against the file before anything is allocated.
"""

import glob
import json
import math
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeGuard

import torch
from torch import Tensor

FORMAT = "spatial-memory-world"
VERSION = 2  # 1: one set of tensors an observation, no stamps, no edits; still read
MAX_HEADER = 32 * 1024 * 1024  # bytes
JUST_NOW = 5.0  # seconds: a temporary file this young may not be locked yet

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


@dataclass(frozen=True, eq=False)
class Rows:
    """Tensors that are written behind one another as one, and never joined in memory. At least one."""

    parts: tuple[Tensor, ...]  # all (n_i, ...) of one dtype and one shape but for n_i

    def __post_init__(self) -> None:
        kinds = {(part.dtype, part.shape[1:]) for part in self.parts}
        if len(kinds) != 1:
            raise ValueError(f"rows of one tensor are of {len(kinds)} types: {sorted(map(str, kinds))}; expected one")

    @property
    def dtype(self) -> torch.dtype:
        return self.parts[0].dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(len(part) for part in self.parts), *self.parts[0].shape[1:])


def save_tensors(path: str | os.PathLike, tensors: Mapping[str, Tensor | Rows], header: dict) -> None:
    """Write a world file: named tensors of any shape and a JSON header, tensor by tensor.

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
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    table: dict[str, dict] = {"__metadata__": {"format": FORMAT, "version": str(VERSION), "header": text}}
    end = 0
    for name in names:
        tensor = tensors[name]
        begin, end = end, end + math.prod(tensor.shape) * tensor.dtype.itemsize
        table[name] = {"dtype": CODES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    head = json.dumps(table, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    if len(head) > MAX_HEADER:
        raise ValueError(f"the header of {path.name} takes {len(head)} bytes, at most {MAX_HEADER} are readable again")
    with replacing(path) as file:
        file.write(len(head).to_bytes(8, "little"))
        file.write(head)
        for name in names:
            tensor = tensors[name]
            for part in tensor.parts if isinstance(tensor, Rows) else (tensor,):
                file.write(_bytes(part.detach().cpu().contiguous()))


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of ``path`` once it is complete and on disk, and leaves no trace if it fails.

    What a killed process left behind goes with the next save: nobody holds the lock on it any more.
    """
    _sweep(path)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            _lock(file)
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.utime(temporary)  # just now: from here to its new name nothing is locked
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _sweep(path: Path) -> None:
    """Remove the temporary files of ``path`` whose writers are dead."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 32}.tmp"):
        with suppress(OSError):  # another process writes it, or was faster
            old = time.time() - left.stat().st_mtime > JUST_NOW
            with open(left, "rb") as file:
                dead = old and _lock(file)
            if dead:
                left.unlink()


def _lock(file: BinaryIO) -> bool:
    """Hold a file until it is closed or the process dies; False if somebody else does.

    Without ``fcntl`` (Windows) nothing needs to be held: a file that is open there cannot be removed.
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


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


def _bytes(tensor: Tensor) -> memoryview:
    """The raw bytes of a contiguous tensor, shared with it."""
    flat = tensor.as_strided((tensor.numel(),), (1,))  # a single element may have any stride, and then has no view
    return flat.view(torch.uint8).numpy().data


def _read_table(file: BinaryIO, path: Path, size: int) -> tuple[dict, int]:
    """The parsed header and where the tensors' bytes start."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > MAX_HEADER or 8 + length > size:
        raise ValueError(
            f"{path} ({size} bytes) is no world file, or was cut short: expected a safetensors file; use another"
        )
    try:
        table = json.loads(file.read(length).decode())
    except (ValueError, RecursionError) as error:  # also numbers of more digits than Python reads
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
        header = json.loads(metadata.get("header", ""), parse_constant=_refused)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged: its world header is no JSON ({error}); use another copy") from error
    if not isinstance(header, dict):
        raise ValueError(f"{path} is damaged: its world header is a {type(header).__name__}, expected an object")
    return header


def _refused(constant: str) -> float:
    raise ValueError(f"it holds {constant}")


def _check_entry(name: str, entry: object, path: Path) -> tuple[torch.dtype, list[int], tuple[int, int]]:
    fields: dict = entry if isinstance(entry, dict) else {}
    code, shape, offsets = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    if not isinstance(code, str) or code not in DTYPES:
        raise ValueError(f"{path} holds {name} as {code!r}, expected one of {', '.join(DTYPES)}")
    if not _whole(shape) or not _whole(offsets) or len(offsets) != 2 or len(shape) > 16:
        raise ValueError(f"{path} is damaged: {name} has shape {shape!r} and offsets {offsets!r}; use another copy")
    if math.prod(max(1, size) for size in shape) >= 2**60:  # no bytes, but strides that overflow
        raise ValueError(f"{path} is damaged: {name} has shape {shape!r}; use another copy")
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
