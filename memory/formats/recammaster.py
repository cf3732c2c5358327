"""ReCamMaster's ``camera_extrinsics.json``: Unreal's axes in centimetres, one pose for every fourth frame that is used.

Unreal's camera looks along +X, +Y is right, +Z up (left-handed). Poses stand in the file transposed, as texts
"[..] [..] [..] [x y z 1]" under frame and camera. WanVideoWrapper hands the same matrices on, not transposed.
"""

import json
import re

import torch
from torch import Tensor

from ..camera import Cameras
from .documents import matrix, record
from .imported import Imported, collect, evenly, no_intrinsics, rigid
from .rows import row_of
from .source import Source

STRIDE = 4  # frames of film for each pose that the model reads
UNREAL = torch.tensor(  # (x, y, z) in OpenCV axes and metres are (y, -z, x) / 100 of Unreal's
    [[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]], dtype=torch.float64
)


def read_recammaster(source: Source) -> Imported:
    """Read the file, its first camera; or a JSON list of 4x4 matrices as WanVideoWrapper holds them.

    Raises:
        ValueError: frames are missing, or what is no pose; names the frame.
    """
    found = source.document
    said: tuple[str, ...]
    if isinstance(found, list):
        kept, notice = evenly(len(found))
        frames = [STRIDE * i for i in kept]
        where = [f"pose {i}" for i in kept]
        poses = torch.tensor([matrix(found[i], (4,), 4, place) for i, place in zip(kept, where)], dtype=torch.float64)
        said = ("a list of 4x4 matrices, each for every fourth frame", *notice)
    else:
        frames, where, poses, said = _from_document(record(found, "the file"))
    c2w, mended = rigid(poses, where)
    K, sentence = no_intrinsics(len(c2w), source.height, source.width)
    assumed = (
        "poses are camera-to-world in Unreal's axes (+X forward, +Y right, +Z up) and centimetres, made metres",
        *said,
        sentence,
        *mended,
    )
    return collect(from_unreal(c2w), K, source.height, source.width, assumed, [float(x) for x in frames], "frames")


def write_recammaster(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """Every frame, as camera cam01: the model's own reader takes every fourth."""
    poses = to_unreal(cameras.c2w).mT.tolist()
    texts = (" ".join("[" + " ".join(repr(x + 0.0) for x in row) + "]" for row in pose) for pose in poses)
    return {name: json.dumps({f"frame{i}": {"cam01": text} for i, text in enumerate(texts)}, indent=0).encode()}


def from_unreal(c2w: Tensor) -> Tensor:
    """(T, 4, 4) in Unreal's axes and centimetres to OpenCV's and metres."""
    out = c2w.double().clone()
    out[:, :3, :3] = UNREAL @ out[:, :3, :3] @ UNREAL.T
    out[:, :3, 3] = out[:, :3, 3] @ UNREAL.T / 100
    return out


def to_unreal(c2w: Tensor) -> Tensor:
    """The inverse of ``from_unreal``."""
    out = c2w.double().clone()
    out[:, :3, :3] = UNREAL.T @ out[:, :3, :3] @ UNREAL
    out[:, :3, 3] = 100 * out[:, :3, 3] @ UNREAL
    return out


def _from_document(found: dict) -> tuple[list[int], list[str], Tensor, tuple[str, ...]]:
    named = {int(name[5:]): value for name, value in found.items() if re.fullmatch(r"frame\d{1,9}", name)}
    if not named:
        raise ValueError("it has no frames; expected frame0, frame1, ... with cam01 in each")
    numbers = sorted(named)
    step = min((b - a for a, b in zip(numbers, numbers[1:])), default=1)
    for before, frame in zip(numbers, numbers[1:]):
        if frame != before + step:
            raise ValueError(f"frame{before + step} is missing: frame{frame} follows frame{before}")
    camera = min(record(named[numbers[0]], f"frame{numbers[0]}"), default="cam01")
    kept, notice = evenly(len(numbers))
    frames = [numbers[i] for i in kept]
    where = [f"frame{frame}, {camera}" for frame in frames]
    poses = [_matrix(record(named[frame], f"frame{frame}").get(camera), place) for frame, place in zip(frames, where)]
    others = len(named[numbers[0]]) - 1
    said = (f"{camera} was read, {others} other cameras were not" if others else f"the camera is {camera}",)
    return frames, where, torch.tensor(poses, dtype=torch.float64).mT, (*said, *notice)


def _matrix(text: object, where: str) -> list[list[float]]:
    rows = re.findall(r"\[([^\[\]]*)\]", text) if isinstance(text, str) else []
    if len(rows) != 4:
        raise ValueError(f"{where} is no text of four rows in brackets")
    return [row_of(row, 4, f"{where} row {i}", "numbers") for i, row in enumerate(rows)]
