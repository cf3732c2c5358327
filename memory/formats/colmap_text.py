"""COLMAP's ``cameras.txt`` and ``images.txt``."""

from ..camera import Cameras
from .colmap_model import Lens, View, folder_of, model_of
from .rows import printed, row_of
from .source import text_of

LENS = "CAMERA_ID MODEL WIDTH HEIGHT PARAMS..."
VIEW = "IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME"


def lenses(data: bytes) -> dict[int, Lens]:
    """The list of cameras.

    Raises:
        ValueError: names the line.
    """
    found = {}
    for number, line in enumerate(text_of(data, "cameras.txt").splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        where = f"cameras.txt, line {number}"
        if len(words) < 5:
            raise ValueError(f"{where} has {len(words)} columns, expected {LENS}")
        values = row_of(" ".join([words[0], *words[2:]]), len(words) - 1, where, LENS)
        if any(x != int(x) for x in values[:3]):
            raise ValueError(f"{where} has no whole numbers for id, width and height; expected {LENS}")
        found[int(values[0])] = Lens(words[1][:40], int(values[1]), int(values[2]), tuple(values[3:]))
    return found


def views(data: bytes) -> list[View]:
    """The list of images. Each takes two lines; the second one, its points, may be empty and is not looked at.

    Raises:
        ValueError: names the line.
    """
    lines = [
        (i, line) for i, line in enumerate(text_of(data, "images.txt").splitlines(), 1) if not line.startswith("#")
    ]
    while lines and not lines[0][1].strip():
        lines.pop(0)
    found = []
    for number, line in lines[::2]:
        where = f"images.txt, line {number}"
        words = line.split(maxsplit=9)
        if len(words) != 10:
            raise ValueError(f"{where} has {len(words)} columns, expected {VIEW} on every other line")
        values = row_of(" ".join(words[:9]), 9, where, VIEW)
        if values[8] != int(values[8]):
            raise ValueError(f"{where} has camera {values[8]}, expected a whole number")
        found.append(View(words[9], int(values[8]), tuple(values[1:8]), where))
    return found


def write_colmap(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """A folder with the model as text."""
    lens, view = model_of(cameras)
    listed = "".join(f"{i} {one.model} {one.width} {one.height} {printed(one.params)}\n" for i, one in lens.items())
    images = "".join(f"{i} {printed(one.pose)} {one.camera} {one.name}\n\n" for i, one in enumerate(view, 1))
    return folder_of(name, ".txt", f"# {LENS}\n{listed}".encode(), f"# {VIEW}\n{images}".encode(), b"# no points\n")
