"""A scene as bytes: a magic word, a JSON header, arrays. ``docs/editor_api.md`` has the layout for other readers."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..memory.store import replacing

MAGIC = b"SMSCENE1"
VERSION = 1
ALIGNED = 8  # bytes: every array begins at a multiple of it
MAX_HEADER = 8_000_000  # bytes
MAX_FILE = 64_000_000
PER_POINT = ("place", "look")
KEPT, KEPT_BYTES = 64, 512_000_000  # scenes in a folder
ENDING = ".smscene"
KEY = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, eq=False)
class Scene:
    """What the editor draws: the header without its table of arrays, and the arrays."""

    header: dict
    arrays: Mapping[str, np.ndarray]


def framed(magic: bytes, header: dict) -> bytes:
    """Magic, length and JSON, padded so that what follows begins at a multiple of 8 bytes.

    Raises:
        ValueError: the header holds NaN or infinity.
    """
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % ALIGNED)
    return magic + len(text).to_bytes(4, "little") + bytes(4) + text


def scene_bytes(scene: Scene) -> bytes:
    """A scene as one file. Equal scenes give equal bytes."""
    header = {**scene.header, "arrays": {}}
    for _ in range(8):  # the offsets stand in the header, whose length they depend on
        end = len(framed(MAGIC, header))
        table, pieces = {}, []
        for name, array in scene.arrays.items():
            table[name] = {"dtype": array.dtype.name, "shape": list(array.shape), "offset": end}
            pieces += [array.tobytes(), bytes(-array.nbytes % ALIGNED)]
            end += array.nbytes + -array.nbytes % ALIGNED
        if table == header["arrays"]:
            break
        header = {**header, "arrays": table}
    return framed(MAGIC, header) + b"".join(pieces)


def read_scene(content: bytes) -> Scene:
    """Read what ``scene_bytes`` wrote; the arrays share the bytes.

    Raises:
        ValueError: another kind of file, a newer version, or one that was cut short.
    """
    if content[:8] != MAGIC or len(content) < 16:
        raise ValueError(f"it begins with {content[:8]!r}, expected a scene, {MAGIC!r}")
    length = int.from_bytes(content[8:12], "little")
    if length > min(MAX_HEADER, len(content) - 16):
        raise ValueError(f"its header is said to take {length} bytes, the file has {len(content)}: it was cut short")
    header = json.loads(content[16 : 16 + length])
    if header.get("version") != VERSION:
        raise ValueError(f"the scene has version {header.get('version')!r}, expected {VERSION}")
    arrays = {}
    for name, entry in header.pop("arrays").items():
        dtype, shape, offset = np.dtype(entry["dtype"]), tuple(entry["shape"]), entry["offset"]
        count = int(np.prod(shape, dtype=np.int64))
        if min((offset, count)) < 0 or offset + count * dtype.itemsize > len(content):
            raise ValueError(f"the array {name} leaves the file: it was cut short")
        arrays[name] = np.frombuffer(content, dtype, count, offset).reshape(shape)
    return Scene(header, arrays)


def first_points(scene: Scene, count: int) -> Scene:
    """The same scene with its first points alone: a coarser level of detail."""
    arrays = {name: array[:count] if name in PER_POINT else array for name, array in scene.arrays.items()}
    return Scene({**scene.header, "points": len(arrays["place"])}, arrays)


def save_scene(folder: Path, scene: Scene) -> str:
    """Write a scene under the hash of its bytes, which is its key; the oldest ones beyond the bounds go.

    Raises:
        OSError: the folder cannot be written.
    """
    content = scene_bytes(scene)
    key = hashlib.blake2b(content, digest_size=16).hexdigest()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (key + ENDING)
    if path.is_file() and path.stat().st_size == len(content):
        path.touch()  # the newest again
    else:
        with replacing(path) as file:
            file.write(content)
    _thin(folder, key)
    return key


def load_scene(folder: Path, key: str) -> bytes | None:
    """The bytes of a scene, None where there is none of that key.

    Raises:
        ValueError: the key is none.
    """
    if not KEY.fullmatch(key):
        raise ValueError(f"{key[:80]!r} is no scene's key, expected 32 hex digits")
    path = folder / (key + ENDING)
    if not path.is_file() or path.stat().st_size > MAX_FILE:
        return None
    return path.read_bytes()


def _thin(folder: Path, newest: str) -> None:
    found = [file for file in folder.glob("*" + ENDING) if KEY.fullmatch(file.stem) and file.stem != newest]
    ages = sorted(((file.stat().st_mtime_ns, file.stat().st_size, file) for file in found), reverse=True)
    used = (folder / (newest + ENDING)).stat().st_size
    for place, (_, size, file) in enumerate(ages):
        used += size
        if place + 1 >= KEPT or used > KEPT_BYTES:
            file.unlink(missing_ok=True)
