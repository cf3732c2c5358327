"""Camera files: Spatia's ``w2c.txt``, RealEstate10K text, and our JSON.

A reader returns cameras in the pack's conventions and says what it assumed, since no such file states its own. The
format is found by content, never by name.
"""

import json
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from .camera import Cameras, check_cameras, invert_rigid
from .path import MAX_FRAMES, MAX_KEYS, CameraPath
from .quaternion import quaternions_from_matrices
from .records import MAX_TEXT, load_record, numbers
from .spline import Keyframe
from .store import replacing

VERSION = 1


@dataclass(frozen=True)
class Imported:
    """Cameras from a file, and what was taken for granted to read them, one sentence each."""

    cameras: Cameras  # (T,)
    assumed: tuple[str, ...]


def read_cameras(path: str | os.PathLike, height: int = 704, width: int = 1248) -> Imported:
    """Read a camera file of any known format.

    ``height`` x ``width`` is the grid for files that give intrinsics as fractions of the image.

    Raises:
        ValueError: no known format, too long, or a pose that is no rotation; names the file and the line or frame.
        OSError: it cannot be read.
    """
    path = Path(path)
    size = path.stat().st_size
    if size > MAX_TEXT:
        raise ValueError(f"{path} has {size} bytes, at most {MAX_TEXT} are read: no camera file")
    try:
        text = path.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text: {error}") from error
    for name, (begins, read) in READERS.items():
        if begins(text):
            try:
                return read(text, path, height, width)
            except ValueError as error:
                raise ValueError(f"{path}, read as {name}: {error}") from error
    raise ValueError(f"{path} is no camera file known here; expected one of {', '.join(READERS)}")


def write_cameras(
    path: str | os.PathLike, cameras: Cameras, kind: str | None = None, fps: float = 16.0
) -> tuple[Path, ...]:
    """Write a camera file, and return the files written.

    Without ``kind``, the name decides: ``.json`` is our JSON, ``w2c.txt`` Spatia's, any other ``.txt`` RealEstate10K's.

    Raises:
        ValueError: the cameras or the name do not fit the format.
    """
    path = Path(path)
    check_cameras(cameras)
    if cameras.c2w.ndim != 3 or not 0 < len(cameras) <= MAX_FRAMES:
        raise ValueError(f"cameras have batch {tuple(cameras.c2w.shape[:-2])}, expected 1 to {MAX_FRAMES} frames")
    if kind is None:
        named = "spatia" if path.stem.lower().endswith("w2c") else "realestate10k"
        kind = {".json": "json", ".txt": named}.get(path.suffix.lower())
    if kind not in WRITERS:
        raise ValueError(
            f"no format for {path.name} (kind {kind!r}); expected .json, .txt or one of {', '.join(WRITERS)}"
        )
    files = WRITERS[kind](path, cameras, fps)
    for file, text in files.items():
        with replacing(file) as stream:
            stream.write(text.encode())
    return tuple(files)


def path_from_cameras(cameras: Cameras, fps: float = 16.0, units: str = "world", name: str = "imported") -> CameraPath:
    """The few keys whose path follows cameras (T,), one a frame.

    It stays within 0.1 % of the extent (or 1e-5), 0.05 degrees and 0.1 % of the zoom, unless that takes more keys than
    a path holds. A path keeps no principal point and no pixel aspect: ``dropped_by_path`` tells.

    Raises:
        ValueError: fewer than two cameras, or more than a path has frames.
    """
    check_cameras(cameras)
    if cameras.c2w.ndim != 3 or not 2 <= len(cameras) <= MAX_FRAMES:
        raise ValueError(f"cameras have batch {tuple(cameras.c2w.shape[:-2])}, expected 2 to {MAX_FRAMES} frames")
    positions = cameras.c2w[:, :3, 3].double()
    quaternions = quaternions_from_matrices(cameras.c2w[:, :3, :3].double())
    fov = (2 * (cameras.height / (2 * cameras.K[:, 1, 1].double())).atan()).rad2deg()
    reach = max(1e-3 * (positions - positions[0]).norm(dim=-1).max().item(), 1e-5)
    frames = [0, len(cameras) - 1]
    while True:
        keys = tuple(
            Keyframe(float(i), tuple(positions[i].tolist()), tuple(quaternions[i].tolist()), fov[i].item())
            for i in frames
        )
        path = CameraPath(keys, len(cameras), fps, units=units, name=name)
        baked = path.poses()
        apart = (2 - 2 * (baked.quaternions * quaternions).sum(-1).abs()).clamp(min=0).sqrt()
        turn = (4 * (apart / 2).asin()).rad2deg()
        moved = (baked.positions - positions).norm(dim=-1) / reach
        error = torch.maximum(torch.maximum(moved, turn / 0.05), (baked.vertical_fov / fov - 1).abs() / 1e-3)
        worst = [a + 1 + int(error[a + 1 : b].argmax()) for a, b in zip(frames, frames[1:]) if b > a + 1]
        added = [frame for frame in worst if error[frame] > 1]
        added = sorted(added, key=lambda frame: -error[frame])[: MAX_KEYS - len(frames)]
        if not added:
            return path
        frames = sorted([*frames, *added])


def dropped_by_path(cameras: Cameras) -> tuple[str, ...]:
    """What of these cameras a path cannot hold, one sentence each."""
    K = cameras.K.reshape(-1, 3, 3)
    off = (K[:, :2, 2] - K.new_tensor([cameras.width / 2, cameras.height / 2])).abs().max().item()
    aspect = (K[:, 0, 0] / K[:, 1, 1] - 1).abs().max().item()
    return tuple(
        sentence
        for lost, sentence in (
            (off > 0.5, f"the principal point, up to {off:.1f} pixels off the centre, is moved to the centre"),
            (
                aspect > 1e-3,
                f"pixels that are not square (by {100 * aspect:.1f} %) become square; the vertical focal length stays",
            ),
        )
        if lost
    )


def _read_spatia(text: str, path: Path, height: int, width: int) -> Imported:
    lines = [line for line in text.splitlines() if line.strip()]
    _check_count(len(lines))
    w2c = torch.stack([_pose(_parse_row(line, i + 1), f"line {i + 1}") for i, line in enumerate(lines)])
    beside = path.with_name("intrinsics.txt")
    if not beside.is_file():
        raise ValueError(
            "it has no intrinsics.txt beside it; expected one line [fx fy cx cy], fractions of width and height"
        )
    with beside.open(encoding="utf-8-sig") as file:
        found = re.findall(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?", file.read(4096))
    if len(found) != 4:
        raise ValueError(f"{beside.name} holds {len(found)} numbers, expected 4: [fx fy cx cy]")
    K = _intrinsics([float(x) for x in found], height, width, beside.name).expand(len(lines), 3, 3)
    return _imported(
        w2c,
        K,
        height,
        width,
        "poses are world-to-camera, OpenCV axes, one a frame, scale arbitrary",
        f"{beside.name} holds for every frame, as fractions of width and height, put on {height} x {width} pixels",
    )


def _read_realestate10k(text: str, path: Path, height: int, width: int) -> Imported:
    lines = [line.split() for line in text.splitlines() if line.strip()]
    header = len(lines[0]) != 19
    rows = lines[header:]
    _check_count(len(rows))
    w2c, K = [], []
    for i, row in enumerate(rows):
        where = f"line {i + 1 + header}"
        if len(row) != 19:
            hint = "; 4x4 rows are another format, whose poses are camera-to-world" if len(row) == 23 else ""
            raise ValueError(f"{where} has {len(row)} columns, expected 19: time fx fy cx cy 0 0 and a 3x4 pose{hint}")
        try:
            values = [float(x) for x in row]
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from error
        K.append(_intrinsics(values[1:5], height, width, where))
        w2c.append(_pose([values[7 + 4 * r : 11 + 4 * r] for r in range(3)], where))
    return _imported(
        torch.stack(w2c),
        torch.stack(K),
        height,
        width,
        "poses are 3x4 world-to-camera, OpenCV axes, scale arbitrary",
        "one row is one frame; the time stamps are not used",
        f"intrinsics are fractions of width and height, put on {height} x {width} pixels",
    )


def _read_json(text: str, path: Path, height: int, width: int) -> Imported:
    record = load_record(text, "camera file", VERSION)
    if record.get("format") != "spatial-memory-cameras":
        cameras = CameraPath.from_json(text).bake(height, width)
        return Imported(cameras, (f"a path in our JSON, baked at {height} x {width} pixels with a scene unit of 1",))
    frames, grid = record.get("frames"), tuple(record.get(side, 0) for side in ("height", "width"))
    if not isinstance(frames, list) or not all(type(x) is int and 0 < x <= 65536 for x in grid):
        raise ValueError(f"height and width are {grid}, frames {type(frames).__name__}; expected two counts and a list")
    _check_count(len(frames))
    c2w, K = [], []
    for i, frame in enumerate(frames):
        if not isinstance(frame, dict):
            raise ValueError(f"frame {i} is {type(frame).__name__}, expected an object with c2w and K")
        c2w.append(numbers(frame.get("c2w"), 16, f"frame {i} c2w"))
        K.append(numbers(frame.get("K"), 9, f"frame {i} K"))
    poses, intrinsics = torch.tensor(c2w, dtype=torch.float64), torch.tensor(K, dtype=torch.float64)
    cameras = Cameras(poses.reshape(-1, 4, 4).float(), intrinsics.reshape(-1, 3, 3).float(), grid[0], grid[1])
    return Imported(check_cameras(cameras), ("our JSON: camera-to-world, OpenCV axes, K in pixels",))


def _write_spatia(path: Path, cameras: Cameras, fps: float) -> dict[Path, str]:
    fractions = _fractions(cameras)
    if not torch.equal(fractions, fractions[:1].expand_as(fractions)):
        raise ValueError(
            "the cameras zoom, and Spatia's format has one intrinsics.txt for all frames; write realestate10k"
        )
    rows = "".join(json.dumps(pose) + "\n" for pose in invert_rigid(cameras.c2w.double()).tolist())
    intrinsics = " ".join(repr(x) for x in fractions[0].tolist())
    return {path: rows, path.with_name("intrinsics.txt"): f"[{intrinsics}]\n"}


def _write_realestate10k(path: Path, cameras: Cameras, fps: float) -> dict[Path, str]:
    rows = ["spatial-memory\n"]
    for i, (K, pose) in enumerate(
        zip(_fractions(cameras).tolist(), invert_rigid(cameras.c2w.double())[:, :3].tolist())
    ):
        values = [*K, 0.0, 0.0, *(x for row in pose for x in row)]
        rows.append(f"{round(1e6 * i / fps)} " + " ".join(f"{x:.9f}" for x in values) + "\n")
    return {path: "".join(rows)}


def _write_json(path: Path, cameras: Cameras, fps: float) -> dict[Path, str]:
    frames = [{"c2w": c2w, "K": K} for c2w, K in zip(cameras.c2w.flatten(-2).tolist(), cameras.K.flatten(-2).tolist())]
    record = {"format": "spatial-memory-cameras", "version": VERSION, "height": cameras.height, "width": cameras.width}
    return {path: json.dumps({**record, "frames": frames})}


def _write_path(path: Path, cameras: Cameras, fps: float) -> dict[Path, str]:
    return {path: path_from_cameras(cameras, fps, name=path.stem).to_json()}


READERS: dict[str, tuple[Callable[[str], bool], Callable[[str, Path, int, int], Imported]]] = {
    "json": (lambda text: text.startswith("{"), _read_json),
    "spatia": (lambda text: text.startswith("["), _read_spatia),
    "realestate10k": (lambda text: _looks_like_rows(text), _read_realestate10k),
}
WRITERS: dict[str, Callable[[Path, Cameras, float], dict[Path, str]]] = {
    "json": _write_json,
    "spatia": _write_spatia,
    "realestate10k": _write_realestate10k,
    "path": _write_path,
}


def _looks_like_rows(text: str) -> bool:
    """A line of 19 or more numbers stands first, or behind one line of another kind."""
    return any(re.fullmatch(r"[-+.\deE]+(\s+[-+.\deE]+){18,}", line.strip()) for line in text.splitlines()[:2])


def _check_count(count: int) -> None:
    if not 0 < count <= MAX_FRAMES:
        raise ValueError(f"it holds {count} poses, expected 1 to {MAX_FRAMES}")


def _parse_row(line: str, number: int) -> object:
    try:
        return json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"line {number} is no JSON list: {error}") from error


def _pose(rows: object, where: str) -> Tensor:  # (4, 4) float64
    if not isinstance(rows, list) or len(rows) not in (3, 4):
        raise ValueError(f"{where} is no 3x4 or 4x4 matrix")
    pose = torch.tensor([numbers(row, 4, where) for row in rows], dtype=torch.float64)
    last = pose.new_tensor([[0.0, 0.0, 0.0, 1.0]])
    if len(rows) == 4 and not torch.allclose(pose[3:], last, rtol=0, atol=1e-6):
        raise ValueError(f"{where} has last row {pose[3].tolist()}, expected 0 0 0 1: is the matrix transposed?")
    R = pose[:3, :3]
    off = (R.mT @ R - torch.eye(3, dtype=R.dtype)).abs().max().item()
    if off > 1e-3 or torch.linalg.det(R) < 0:
        raise ValueError(f"{where} holds no rotation (R^T R off by {off:.2g}, or mirrored); expected at most 0.001")
    return torch.cat([pose[:3], last])


def _intrinsics(fractions: Sequence[float], height: int, width: int, where: str) -> Tensor:  # (3, 3) float64
    fx, fy, cx, cy = fractions
    if not all(math.isfinite(x) for x in fractions) or min(fx, fy) <= 0 or max(fx, fy, abs(cx), abs(cy)) > 20:
        raise ValueError(
            f"{where} gives fx fy cx cy as {fx} {fy} {cx} {cy}, expected fractions of width and height, not pixels"
        )
    rows = [[fx * width, 0.0, cx * width], [0.0, fy * height, cy * height], [0.0, 0.0, 1.0]]
    return torch.tensor(rows, dtype=torch.float64)


def _imported(w2c: Tensor, K: Tensor, height: int, width: int, *assumed: str) -> Imported:
    """Cameras from (T, 4, 4) float64 poses that are rotations to 1e-3, made orthonormal where they are not yet."""
    R = w2c[:, :3, :3]
    off = (R.mT @ R - torch.eye(3, dtype=R.dtype)).abs().max().item()
    if off > 1e-6:
        U, _, Vh = torch.linalg.svd(R)
        w2c = w2c.clone()
        w2c[:, :3, :3] = U @ Vh
        assumed += (f"rotations were off by up to {off:.1g} and were replaced by the nearest exact ones",)
    return Imported(check_cameras(Cameras(invert_rigid(w2c).float(), K.float(), height, width)), assumed)


def _fractions(cameras: Cameras) -> Tensor:  # (T, 4) float64 fx fy cx cy
    K = cameras.K.double()
    if K[:, 0, 1].any():
        raise ValueError("K has skew, which this format cannot hold; write json")
    scale = K.new_tensor([cameras.width, cameras.height, cameras.width, cameras.height])
    return torch.stack([K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2]], dim=-1) / scale
