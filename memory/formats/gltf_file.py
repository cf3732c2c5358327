"""The container of glTF 2.0: JSON, and buffers inside it, beside it, or in the binary chunk of a ``.glb``."""

import base64
import binascii
import struct
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .documents import items, parsed, record
from .source import MAX_BYTES, Source, text_of

MAGIC, JSON, BIN = b"glTF", b"JSON", b"BIN\0"
WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
KINDS: dict[
    int, tuple[np.dtype, int]
] = {  # component type: the kind of number, and what a normalised integer is divided by
    5120: (np.dtype("<i1"), 127),
    5121: (np.dtype("<u1"), 255),
    5122: (np.dtype("<i2"), 32767),
    5123: (np.dtype("<u2"), 65535),
    5125: (np.dtype("<u4"), 1),
    5126: (np.dtype("<f4"), 1),
}
MAX_KEYS = 4_000_000  # of one curve


@dataclass(frozen=True)
class Document:
    """A glTF file taken apart."""

    tree: dict
    chunk: bytes  # the binary chunk of a .glb, or nothing
    source: Source

    def entries(self, name: str) -> list[dict]:
        """A top-level list of objects; empty where the file has none.

        Raises:
            ValueError: it is no list of objects.
        """
        return [record(one, f"{name}[{i}]") for i, one in enumerate(items(self.tree.get(name, []), name))]

    def entry(self, name: str, index: object, where: str) -> dict:
        """One object of a top-level list.

        Raises:
            ValueError: there is no such entry.
        """
        listed = items(self.tree.get(name, []), name)
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < len(listed):
            raise ValueError(f"{where} asks for {name}[{str(index)[:20]}], the file has {len(listed)}")
        return record(listed[index], f"{name}[{index}]")


def open_gltf(source: Source) -> Document:
    """Take a ``.gltf`` or ``.glb`` apart.

    Raises:
        ValueError: no glTF 2.0; names the chunk or the line.
    """
    data, chunk = source.data, b""
    if data.startswith(MAGIC):
        if len(data) < 20:
            raise ValueError(f"the header ends at byte {len(data)}, expected 20 at least")
        version, length = struct.unpack_from("<II", data, 4)
        if version != 2 or length > len(data):
            raise ValueError(f"the header says version {version}, {length} bytes; expected 2 and up to {len(data)}")
        parts: dict[bytes, bytes] = {}
        at = 12
        while at + 8 <= length:
            (size,), kind = struct.unpack_from("<I", data, at), data[at + 4 : at + 8]
            if at + 8 + size > length:
                raise ValueError(f"the chunk at byte {at} has {size} bytes, more than the file holds")
            parts.setdefault(kind, data[at + 8 : at + 8 + size])
            at += 8 + size
        if JSON not in parts:
            raise ValueError("it has no JSON chunk")
        text, chunk = text_of(parts[JSON], "the JSON chunk"), parts.get(BIN, b"")
        tree = record(parsed(text, "the JSON chunk"), "the JSON chunk")
    else:
        tree = record(source.document, "the file")
    version = record(tree.get("asset"), "asset").get("version")
    if not str(version).startswith("2."):
        raise ValueError(f"asset.version is {str(version)[:20]!r}, expected 2.0")
    return Document(tree, chunk, source)


def accessor(document: Document, index: object, kind: str, where: str) -> Tensor:
    """The numbers of an accessor, (count, width) float64.

    Raises:
        ValueError: another kind, sparse, or it leaves its buffer; names the accessor.
    """
    found = document.entry("accessors", index, where)
    name = f"accessors[{index}]"
    number = found.get("componentType")
    if found.get("type") != kind or not isinstance(number, int) or number not in KINDS or "sparse" in found:
        raise ValueError(
            f"{name} is {str(found.get('type'))[:20]} of component {str(found.get('componentType'))[:20]}, "
            f"expected a plain {kind}"
        )
    component, largest = KINDS[number]
    view = document.entry("bufferViews", found.get("bufferView"), name)
    count = _count(found.get("count"), f"{name}.count")
    start = _count(view.get("byteOffset", 0), f"{name} view offset") + _count(
        found.get("byteOffset", 0), f"{name}.byteOffset"
    )
    width = WIDTHS[kind]
    size = width * component.itemsize
    stride = _count(view.get("byteStride", size), f"{name} stride")
    data = _buffer(document, view.get("buffer"), name)
    if not 0 < count <= MAX_KEYS or stride < size or start + (count - 1) * stride + size > len(data):
        raise ValueError(f"{name} holds {count} entries of {size} bytes from byte {start}; its buffer has {len(data)}")
    values = np.ndarray((count, width), component, data, start, (stride, component.itemsize))
    numbers = torch.from_numpy(values.astype(np.float64))
    return (numbers / largest).clamp(min=-1) if found.get("normalized") is True else numbers


def _buffer(document: Document, index: object, where: str) -> bytes:
    uri = document.entry("buffers", index, where).get("uri")
    if uri is None:
        return document.chunk
    if not isinstance(uri, str):
        raise ValueError(f"buffers[{index}].uri is no text")
    if uri.startswith("data:"):
        head, _, body = uri.partition(",")
        if not head.endswith(";base64") or len(body) > MAX_BYTES:
            raise ValueError(f"buffers[{index}].uri begins {head[:40]!r}, expected base64")
        try:
            return base64.b64decode(body, validate=True)
        except binascii.Error as error:
            raise ValueError(f"buffers[{index}].uri is no base64: {error}") from error
    if "/" in uri or "\\" in uri or ":" in uri or uri in ("", ".", ".."):
        raise ValueError(f"buffers[{index}].uri is {uri[:80]!r}, expected a file beside this one")
    data = document.source.beside(uri)
    if data is None:
        raise ValueError(f"buffers[{index}] is the file {uri[:80]!r}, which is not there; embed it, or write a .glb")
    return data


def _count(value: object, what: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MAX_BYTES:
        raise ValueError(f"{what} is {str(value)[:20]}, expected a count")
    return value


def glb(text: bytes, chunk: bytes) -> bytes:
    """A ``.glb`` of its two chunks."""
    text += b" " * (-len(text) % 4)
    chunk += b"\0" * (-len(chunk) % 4)
    body = struct.pack("<I", len(text)) + JSON + text + struct.pack("<I", len(chunk)) + BIN + chunk
    return MAGIC + struct.pack("<II", 2, 12 + len(body)) + body
