"""Where a camera file comes from: its bytes, the files beside it, and what the reader was told.

A file on disk, a folder, a zip of a folder and bytes dropped into a browser look the same to a reader. Names are
confined to the folder or the archive, and every size is known before anything is read.
"""

import io
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath

from .documents import parsed

MAX_BYTES = 512_000_000  # 10^6 poses in the longest of the formats by rows

Beside = Callable[[str], bytes | None]


@dataclass(frozen=True)
class Source:
    """One camera file, or a folder of them (then ``data`` is empty)."""

    name: str
    data: bytes
    height: int  # the grid, for formats that do not say it
    width: int
    fps: float  # frames a second, for formats that keep seconds
    beside: Beside  # the bytes of a file in the same folder, or None

    @cached_property
    def text(self) -> str:
        """The file as UTF-8 text.

        Raises:
            ValueError: it is no text.
        """
        return text_of(self.data, self.name)

    @cached_property
    def document(self) -> object:
        """The file as JSON.

        Raises:
            ValueError: it is no JSON.
        """
        return parsed(self.text, "the file")

    def companion(self, *names: str) -> tuple[str, bytes] | None:
        """The first of these files that lies in the same folder."""
        return next(((name, data) for name in names if (data := self.beside(name)) is not None), None)


def text_of(data: bytes, name: str) -> str:
    """UTF-8 text, with or without a byte order mark.

    Raises:
        ValueError: it is no text.
    """
    try:
        return data.decode("utf-8-sig").strip("\r\n\t ")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is no text: {error}") from error


def source_from_path(path: Path, height: int, width: int, fps: float) -> Source:
    """A file or a folder on disk.

    Raises:
        ValueError: it is too long.
        OSError: it cannot be read.
    """
    if path.is_dir():
        return Source(path.name, b"", height, width, fps, _beside(path))
    return source_from_bytes(_bytes_of(path), path.name, height, width, fps, _beside(path.parent))


def source_from_bytes(
    data: bytes, name: str, height: int, width: int, fps: float, beside: Beside = lambda name: None
) -> Source:
    """A file's bytes; an archive becomes the folder that it holds.

    Raises:
        ValueError: too long, or an archive that is damaged, hostile or a bomb.
    """
    if len(data) > MAX_BYTES:
        raise ValueError(f"{name} has {len(data)} bytes, at most {MAX_BYTES} are read: no camera file")
    source = Source(name, data, height, width, fps, beside)
    if not data.startswith(b"PK\x03\x04"):
        return source
    members = zip_members(data, name)
    if "w2c.npy" in members:  # an .npz is one file
        return source
    return replace(source, data=b"", beside=lambda wanted: _member(data, members, wanted))


def zip_members(data: bytes, name: str) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive by their names below its own top folder, if it has just one.

    Raises:
        ValueError: it is damaged, encrypted, names files outside of itself, or would be too long unpacked.
    """
    try:
        infos = [info for info in zipfile.ZipFile(io.BytesIO(data)).infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise ValueError(f"{name} is a damaged archive: {error}") from error
    for info in infos:
        parts = PurePosixPath(info.filename).parts
        if not parts or parts[0] == "/" or ".." in parts or "\\" in info.filename or ":" in parts[0]:
            raise ValueError(f"{name} holds a file named {info.filename[:80]!r}, which leads out of the archive")
        if info.flag_bits & 1:
            raise ValueError(f"{name} is encrypted; unpack it first")
    tops = {PurePosixPath(info.filename).parts[0] for info in infos}
    shared = len(tops) == 1 and all(len(PurePosixPath(info.filename).parts) > 1 for info in infos)
    return {"/".join(PurePosixPath(info.filename).parts[shared:]): info for info in infos}


def zip_bytes(data: bytes, info: zipfile.ZipInfo, limit: int = MAX_BYTES) -> bytes:
    """The content of one file of an archive, no more than ``limit`` bytes whatever the archive says of itself.

    Raises:
        ValueError: it is longer, or damaged.
    """
    if info.file_size > limit:
        raise ValueError(f"{info.filename} has {info.file_size} bytes unpacked, at most {limit} are read")
    try:
        with zipfile.ZipFile(io.BytesIO(data)).open(info) as file:
            content = file.read(limit + 1)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{info.filename} in the archive is damaged: {error}") from error
    if len(content) > limit:
        raise ValueError(f"{info.filename} has more than {limit} bytes unpacked, at most {limit} are read")
    return content


def _member(data: bytes, members: dict[str, zipfile.ZipInfo], name: str) -> bytes | None:
    return zip_bytes(data, members[name]) if name in members else None


def _beside(folder: Path) -> Beside:
    def read(name: str) -> bytes | None:
        path = (folder / name).resolve()
        return _bytes_of(path) if path.is_relative_to(folder.resolve()) and path.is_file() else None

    return read


def _bytes_of(path: Path) -> bytes:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise ValueError(f"{path} has {size} bytes, at most {MAX_BYTES} are read: no camera file")
    return path.read_bytes()
