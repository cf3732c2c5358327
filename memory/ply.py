"""PLY files in: vertices as a table, faces as triangles. Format: G. Turk, "The PLY Polygon File Format" (1994).

open3d reads PLY too, but crashes on some damaged files and leaves zeros in others.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np

from .tables import MAX_HEADER, Columns, binary_rows, check_count, text_rows

NUMBERS = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}
CODES = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I", "f4": "f", "f8": "d"}  # of struct
CORNERS = ("vertex_indices", "vertex_index")  # two names of one property
MOST_CORNERS = 4096  # of a face

Take = Callable[[str, int], tuple]  # the next so many numbers of a type


@dataclass(frozen=True)
class Element:
    """A part of a PLY file: ``count`` rows of one layout."""

    name: str
    count: int
    properties: tuple[tuple[str, str, str], ...]  # name, type, and the type of a list's length, "" where it is no list

    @property
    def lists(self) -> bool:
        """Whether rows vary in length."""
        return any(length for _, _, length in self.properties)

    def row(self, order: str) -> np.dtype:
        """The layout of a row without lists; ``order`` as in ``ORDERS``."""
        assert not self.lists
        return np.dtype([(name, order + kind) for name, kind, _ in self.properties])


@dataclass(frozen=True)
class PlyHeader:
    """What a PLY file says it holds."""

    elements: tuple[Element, ...]
    order: str  # of bytes, "" = text
    start: int  # byte at which the rows begin

    def count(self, name: str) -> int:
        """Rows of an element, 0 where there is none."""
        return sum(element.count for element in self.elements if element.name == name)


def read_ply_header(path: Path) -> PlyHeader:
    """What a PLY file says it holds.

    Raises:
        ValueError: no PLY file, or a header that says what cannot be.
    """
    with open(path, "rb") as file:
        head = file.read(MAX_HEADER)
    lines = head.splitlines(keepends=True)
    if not lines or lines[0].strip() != b"ply":
        raise ValueError("it does not begin with 'ply': it is another kind of file, or damaged")
    order, start = None, len(lines[0])
    elements: list[Element] = []
    for line in lines[1:]:
        start += len(line)
        match line.decode("latin-1").split():
            case ["end_header"]:
                break
            case ["format", name, "1.0"] if name in ORDERS:
                order = ORDERS[name]
            case ["element", name, count] if count.isdecimal() and len(count) < 16:
                if name in (known.name for known in elements):
                    raise ValueError(f"its header names the element {name} twice: it is damaged")
                elements.append(Element(name, int(count), ()))
            case ["property", "list", length, kind, name] if elements and {length, kind} <= set(NUMBERS):
                elements[-1] = _with(elements[-1], name, NUMBERS[kind], NUMBERS[length])
            case ["property", kind, name] if elements and kind in NUMBERS:
                elements[-1] = _with(elements[-1], name, NUMBERS[kind], "")
            case [] | ["comment" | "obj_info", *_]:
                pass
            case words:
                raise ValueError(f"its header has the line {' '.join(words)[:80]!r}, which PLY 1.0 does not know")
    else:
        raise ValueError("its header has no end: it was cut short")
    if order is None:
        raise ValueError(f"its header names no format, expected one of {', '.join(ORDERS)}")
    return PlyHeader(tuple(elements), order, start)


def read_ply(path: Path) -> Columns:
    """The vertices of a PLY file.

    Raises:
        ValueError: there are none, or the file is damaged or of a build that is not read.
    """
    header = read_ply_header(path)
    with open(path, "rb") as file:
        vertex = _go_to(file, header, "vertex")
        if vertex.lists:
            raise ValueError("its vertices have lists; save it again from another program")
        if header.order:
            return binary_rows(file, path, vertex.row(header.order), vertex.count)
        return text_rows(file, path, vertex.row("="), vertex.count)


def read_ply_triangles(path: Path) -> np.ndarray:
    """The faces of a PLY file as triangles (F, 3) int64; larger ones as fans about their first corner.

    Raises:
        ValueError: there are none, or the file is damaged or of a build that is not read.
    """
    header = read_ply_header(path)
    with open(path, "rb") as file:
        face = _go_to(file, header, "face")
        check_count(face.count)
        found = [p for p in face.properties if p[0] in CORNERS]
        if len(found) != 1 or not found[0][2] or found[0][1].startswith("f"):
            raise ValueError(f"its faces have no whole-numbered list {' or '.join(CORNERS)}; save it anew")
        left = path.stat().st_size - file.tell()
        if face.count > left:
            raise ValueError(f"it says {face.count} faces, {left} bytes follow: it was cut short")
        if not header.order:
            return _fans(_polygons(face, _take_words(file)))
        content = file.read()
    plain = _plain_triangles(face, header.order, content)
    return _fans(_polygons(face, _take_bytes(content, header.order))) if plain is None else plain


def _with(element: Element, name: str, kind: str, length: str) -> Element:
    if name in (known for known, _, _ in element.properties):
        raise ValueError(f"its header names the property {name} of {element.name} twice: it is damaged")
    return Element(element.name, element.count, (*element.properties, (name, kind, length)))


def _go_to(file: BinaryIO, header: PlyHeader, name: str) -> Element:
    """Set the file to where the rows of an element begin."""
    names = [element.name for element in header.elements]
    if name not in names:
        raise ValueError(f"it has no element {name}, only {', '.join(names) or 'a header'}")
    before = header.elements[: names.index(name)]
    if any(element.lists for element in before):
        raise ValueError(f"it has lists before its element {name}; save it again from another program")
    file.seek(header.start)
    if header.order:
        file.seek(sum(element.count * element.row(header.order).itemsize for element in before), 1)
    else:
        rows = sum(element.count for element in before)
        for line in file if rows else ():
            rows -= bool(line.strip())
            if not rows:
                break
    return header.elements[names.index(name)]


def _plain_triangles(face: Element, order: str, content: bytes) -> np.ndarray | None:
    """The corners, where every face is a triangle and nothing else varies; None where that is not so."""
    row: list[tuple] = []
    for name, kind, length in face.properties:
        row += [(f"length of {name}", order + length), (name, order + kind, (3,))] if length else [(name, order + kind)]
    layout = np.dtype(row)
    if len(content) < face.count * layout.itemsize:
        return None
    table = np.frombuffer(content, layout, face.count)
    if any((table[f"length of {name}"] != 3).any() for name, _, length in face.properties if length):
        return None
    return table[next(name for name in CORNERS if name in (layout.names or ()))].astype(np.int64)


def _polygons(face: Element, take: Take) -> Iterator[tuple]:
    """The corners of each face, of whatever number."""
    for _ in range(face.count):
        corners: tuple = ()
        for name, kind, length in face.properties:
            size = int(take(length, 1)[0]) if length else 1
            if not 0 <= size <= MOST_CORNERS:
                raise ValueError(f"a face has {size} {name}, expected at most {MOST_CORNERS}: it is damaged")
            values = take(kind, size)
            corners = values if name in CORNERS else corners
        yield corners


def _fans(polygons: Iterator[tuple]) -> np.ndarray:
    fans = [(p[0], p[i], p[i + 1]) for p in polygons for i in range(1, len(p) - 1)]
    return np.array(fans, np.int64).reshape(-1, 3)


def _take_words(file: BinaryIO) -> Take:
    words = (word for line in file for word in line.split())

    def take(kind: str, count: int) -> tuple:
        taken = tuple(map(float if kind[0] == "f" else int, islice(words, count)))
        if len(taken) < count:
            raise ValueError("its faces end early: it was cut short")
        return taken

    return take


def _take_bytes(content: bytes, order: str) -> Take:
    place = 0

    def take(kind: str, count: int) -> tuple:
        nonlocal place
        layout = f"{order}{count}{CODES[kind]}"
        start, place = place, place + struct.calcsize(layout)
        if place > len(content):
            raise ValueError("its faces end early: it was cut short")
        return struct.unpack_from(layout, content, start)

    return take
