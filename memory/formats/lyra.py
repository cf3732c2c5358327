"""Lyra's ``trajectory.npz``: world-to-camera, K in pixels, and the image's size.

The archive and the arrays in it are read by their headers, so that nothing is allocated or run before it is known to
be numbers of the right shape.
"""

import io
import math

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from ..camera import Cameras
from .imported import Imported, collect, evenly, inverse, rigid
from .source import Source, zip_bytes, zip_members

KINDS = ("f2", "f4", "f8", "i4", "i8", "u4", "u8", "i2", "u2", "i1", "u1")


def read_lyra(source: Source) -> Imported:
    """Read ``w2c`` (N, 4, 4), ``intrinsics`` (N, 3, 3), ``image_height`` and ``image_width``.

    Raises:
        ValueError: an array is missing, of another shape or no numbers, or what is no pose; names array and index.
    """
    poses, intrinsics = _array(source, "w2c"), _array(source, "intrinsics")
    if poses.ndim != 3 or poses.shape[1:] not in ((4, 4), (3, 4)):
        raise ValueError(f"w2c has shape {tuple(poses.shape)}, expected (N, 4, 4)")
    if intrinsics.ndim == 2:
        intrinsics = intrinsics[None].expand(len(poses), *intrinsics.shape)
    if intrinsics.shape != (len(poses), 3, 3):
        raise ValueError(f"intrinsics has shape {tuple(intrinsics.shape)}, expected ({len(poses)}, 3, 3), one a pose")
    height, width = (_side(source, name) for name in ("image_height", "image_width"))
    kept, notice = evenly(len(poses))
    index = torch.tensor(list(kept))
    where = [f"w2c[{i}]" for i in kept]
    w2c, mended = rigid(poses[index], where)
    K = intrinsics[index]
    for i in (~K.isfinite().flatten(1).all(1) | (K[:, 2] != K.new_tensor([0.0, 0.0, 1.0])).any(1)).nonzero()[:1, 0]:
        raise ValueError(f"intrinsics[{kept[int(i)]}] is {K[int(i)].tolist()}, expected finite rows that end in 0 0 1")
    assumed = (
        "poses are world-to-camera, OpenCV axes, in units of Lyra's depth of frame 0",
        f"K is in pixels of {height} x {width}",
        "one pose is one frame",
    )
    return collect(inverse(w2c), K, height, width, (*assumed, *notice, *mended))


def write_lyra(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """The four arrays."""
    archive = io.BytesIO()
    np.savez(
        archive,
        w2c=inverse(cameras.c2w).float().numpy(),
        intrinsics=cameras.K.float().numpy(),
        image_height=np.int64(cameras.height),
        image_width=np.int64(cameras.width),
    )
    return {name: archive.getvalue()}


def _array(source: Source, name: str) -> Tensor:
    """An array of numbers as float64."""
    member = zip_members(source.data, source.name).get(f"{name}.npy")
    if member is None:
        raise ValueError(f"it has no array {name}; expected w2c, intrinsics, image_height, image_width")
    file = io.BytesIO(zip_bytes(source.data, member))
    try:
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, fortran, dtype = read(file)
    except (ValueError, KeyError, SyntaxError, TypeError, RecursionError, EOFError) as error:
        raise ValueError(f"{name} is no array that is read here: {error}") from error
    if dtype.str.lstrip("<>|=") not in KINDS:
        raise ValueError(f"{name} holds {dtype}, expected numbers")
    content = file.read()
    count = 1
    count = math.prod(shape)
    if min(shape, default=0) < 0 or count * dtype.itemsize != len(content):
        raise ValueError(f"{name} says shape {shape}, which is not what its {len(content)} bytes hold")
    array = np.frombuffer(content, dtype=dtype).reshape(shape, order="F" if fortran else "C")
    return torch.from_numpy(array.astype(np.float64))


def _side(source: Source, name: str) -> int:
    value = _array(source, name)
    if value.numel() != 1 or not 0 < value.item() <= 65536 or value.item() != int(value.item()):
        raise ValueError(f"{name} is {value.flatten()[:4].tolist()}, expected a whole number from 1 to 65536")
    return int(value.item())
