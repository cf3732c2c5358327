"""Camera files: found by content, read, and written."""

import os
from pathlib import Path

from ..camera import Cameras, check_cameras
from ..path import MAX_FRAMES
from ..store import replacing
from .detect import format_of
from .imported import Imported
from .known import READERS, WRITERS
from .source import Source, source_from_bytes, source_from_path

SIZE = (704, 1248)  # height and width for files that do not say it
NAMES = (  # how a file's name ends, where no format was named
    ("camera_path.json", "nerfstudio"),
    ("transforms.json", "transforms"),
    ("base_cam.json", "ngp"),
    ("camera_extrinsics.json", "recammaster"),
    (".json", "json"),
    ("w2c.txt", "spatia"),
    (".txt", "realestate10k"),
    (".tum", "tum"),
    (".kitti", "kitti"),
    (".npz", "lyra"),
    (".gltf", "gltf"),
    (".glb", "glb"),
    (".chan", "chan"),
)


def read_cameras(
    path: str | os.PathLike, height: int = SIZE[0], width: int = SIZE[1], kind: str | None = None, fps: float = 16.0
) -> Imported:
    """Read a camera file, a COLMAP folder, or a zip of either.

    Args:
        height: with ``width``, the grid for files that give intrinsics as fractions or angles, or none.
        kind: the name of the format, where the content cannot tell.
        fps: frames a second for animations that are sampled.

    Raises:
        ValueError: no known format, too long, or a pose that is no rotation; names the file and the line or frame.
        OSError: it cannot be read.
    """
    path = Path(path)
    return _read(source_from_path(path, height, width, fps), str(path), kind)


def read_camera_bytes(
    data: bytes, name: str, height: int = SIZE[0], width: int = SIZE[1], kind: str | None = None, fps: float = 16.0
) -> Imported:
    """``read_cameras`` for a file that was dropped into a browser. What needs a folder comes as a zip of it.

    Raises:
        ValueError: as ``read_cameras``.
    """
    shown = name.replace("\\", "/").rpartition("/")[2][:200] or "the file"
    return _read(source_from_bytes(data, shown, height, width, fps), shown, kind)


def write_cameras(
    path: str | os.PathLike, cameras: Cameras, kind: str | None = None, fps: float = 16.0
) -> tuple[Path, ...]:
    """Write a camera file (for COLMAP a folder), and return the files written.

    Without ``kind``, the name decides: ``.json`` is our JSON, ``w2c.txt`` Spatia's, any other ``.txt`` RealEstate10K's;
    ``transforms.json``, ``camera_path.json``, ``base_cam.json``, ``.npz``, ``.gltf``, ``.glb``,
    ``.chan``, ``.tum`` and ``.kitti`` are what they say.

    Raises:
        ValueError: the cameras or the name do not fit the format.
    """
    path = Path(path)
    check_cameras(cameras)
    if cameras.c2w.ndim != 3 or not 0 < len(cameras) <= MAX_FRAMES:
        raise ValueError(f"cameras have batch {tuple(cameras.c2w.shape[:-2])}, expected 1 to {MAX_FRAMES} frames")
    if kind is None:
        kind = format_by_name(path.name)
    if kind not in WRITERS:
        raise ValueError(
            f"no format for {path.name} (kind {kind!r}); expected .json, .txt, .npz, .gltf, .glb, .chan or one of "
            f"{', '.join(WRITERS)}"
        )
    files = {path.parent / name: content for name, content in WRITERS[kind](cameras, path.name, fps).items()}
    for file, content in files.items():
        if file.parent != path.parent:
            file.parent.mkdir(exist_ok=True)
        with replacing(file) as stream:
            stream.write(content)
    return tuple(files)


def format_by_name(name: str) -> str | None:
    """The format that a file of this name is written in, or None."""
    return next((kind for ending, kind in NAMES if name.lower().endswith(ending)), None)


def _read(source: Source, shown: str, kind: str | None) -> Imported:
    if kind is not None and kind not in READERS:
        raise ValueError(f"format {kind!r} is not known; expected one of {', '.join(READERS)}")
    if not 0 < source.fps < 1e6:
        raise ValueError(f"fps is {source.fps}, expected a positive number")
    try:
        name = kind or format_of(source)
    except ValueError as error:
        raise ValueError(f"{shown}: {error}") from error
    if name is None:
        raise ValueError(
            f"{shown} is no camera file known here; expected one of {', '.join(READERS)} (name the format, where you "
            "know it)"
        )
    try:
        imported = READERS[name](source)
    except ValueError as error:
        raise ValueError(f"{shown}, read as {name}: {error}") from error
    return Imported(imported.cameras, imported.assumed, imported.times, imported.clock, name)
