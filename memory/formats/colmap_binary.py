"""COLMAP's ``cameras.bin`` and ``images.bin``, little-endian. Every count is checked against the bytes there are."""

import struct

from ..camera import Cameras
from .colmap_model import Lens, View, folder_of, model_of

MODELS = (  # by number: name and count of parameters
    ("SIMPLE_PINHOLE", 3),
    ("PINHOLE", 4),
    ("SIMPLE_RADIAL", 4),
    ("RADIAL", 5),
    ("OPENCV", 8),
    ("OPENCV_FISHEYE", 8),
    ("FULL_OPENCV", 12),
    ("FOV", 5),
    ("SIMPLE_RADIAL_FISHEYE", 4),
    ("RADIAL_FISHEYE", 5),
    ("THIN_PRISM_FISHEYE", 12),
)
COUNT, LENS, VIEW = struct.Struct("<Q"), struct.Struct("<iiQQ"), struct.Struct("<i7di")
POINT = 24  # bytes: x, y, id


def lenses(data: bytes) -> dict[int, Lens]:
    """The list of cameras.

    Raises:
        ValueError: an unknown model, or the file ends too early; names the entry.
    """
    (count,), at = _unpack(COUNT, data, 0, "cameras.bin, count"), COUNT.size
    found = {}
    for i in range(_plausible(count, data, LENS.size, "cameras.bin")):
        where = f"cameras.bin, camera {i}"
        number, model, width, height = _unpack(LENS, data, at, where)
        if not 0 <= model < len(MODELS):
            raise ValueError(f"{where} has model {model}, expected 0 to {len(MODELS) - 1}")
        name, params = MODELS[model]
        values = _unpack(struct.Struct(f"<{params}d"), data, at + LENS.size, where)
        found[number] = Lens(name, width, height, values)
        at += LENS.size + 8 * params
    return found


def views(data: bytes) -> list[View]:
    """The list of images.

    Raises:
        ValueError: the file ends too early, or a name is no text; names the entry.
    """
    (count,), at = _unpack(COUNT, data, 0, "images.bin, count"), COUNT.size
    found = []
    for i in range(_plausible(count, data, VIEW.size, "images.bin")):
        where = f"images.bin, image {i}"
        _, *pose, camera = _unpack(VIEW, data, at, where)
        at += VIEW.size
        end = data.find(b"\0", at, at + 4096)
        if end < 0:
            raise ValueError(f"{where} has a name without an end")
        try:
            name = data[at:end].decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{where} has a name that is no text: {error}") from error
        (points,) = _unpack(COUNT, data, end + 1, where)
        at = end + 1 + COUNT.size + POINT * points
        if at > len(data):
            raise ValueError(f"{where} has {points} points, more than the file holds")
        found.append(View(name, camera, tuple(pose), where))
    return found


def write_colmap_binary(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """A folder with the model in binary."""
    lens, view = model_of(cameras)
    listed = b"".join(
        LENS.pack(i, 1, one.width, one.height) + struct.pack("<4d", *one.params) for i, one in lens.items()
    )
    images = b"".join(
        VIEW.pack(i, *one.pose, one.camera) + one.name.encode() + b"\0" + COUNT.pack(0) for i, one in enumerate(view, 1)
    )
    return folder_of(name, ".bin", COUNT.pack(len(lens)) + listed, COUNT.pack(len(view)) + images, COUNT.pack(0))


def _plausible(count: int, data: bytes, least: int, what: str) -> int:
    if count * least > len(data):
        raise ValueError(f"{what} counts {count} entries, its {len(data)} bytes hold {len(data) // least} at most")
    return count


def _unpack(layout: struct.Struct, data: bytes, at: int, where: str) -> tuple:
    if at + layout.size > len(data):
        raise ValueError(f"{where} ends at byte {len(data)}, expected {at + layout.size} at least")
    return layout.unpack_from(data, at)
