"""RealEstate10K text: a line with the film's address, then time fx fy cx cy 0 0 and a 3x4 world-to-camera pose."""

from ..camera import Cameras
from . import fractions
from .imported import Imported, collect, inverse, rigid
from .rows import table
from .source import Source

MEANING = "time fx fy cx cy 0 0 and a 3x4 pose"


def read_realestate10k(source: Source) -> Imported:
    """Read RealEstate10K text, with or without its first line.

    Raises:
        ValueError: another number of columns, or what is no pose; names the line.
    """
    text, height, width = source.text, source.height, source.width
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("#")), "")
    try:
        rows, where, notice = table(text, 19, MEANING, header=int(len(first.split()) != 19))
    except ValueError as error:
        hint = "; 4x4 rows are another format, whose poses are camera-to-world" if "23 columns" in str(error) else ""
        raise ValueError(f"{error}{hint}") from error
    K = fractions.pixels(rows[:, 1:5], height, width, where)
    w2c, mended = rigid(rows[:, 7:].reshape(-1, 3, 4), where)
    assumed = (
        "poses are 3x4 world-to-camera, OpenCV axes, scale arbitrary",
        "one row is one frame; the time stamps, in microseconds, are not used to space them",
        f"intrinsics are fractions of width and height, put on {height} x {width} pixels",
    )
    return collect(inverse(w2c), K, height, width, (*assumed, *notice, *mended), (rows[:, 0] / 1e6).tolist(), "seconds")


def write_realestate10k(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """The rows, to nine decimals.

    Raises:
        ValueError: K has skew.
    """
    rows = ["spatial-memory\n"]
    poses = inverse(cameras.c2w)[:, :3].flatten(1).tolist()
    for i, (K, pose) in enumerate(zip(fractions.of(cameras).tolist(), poses)):
        values = " ".join(f"{x:.9f}" for x in (*K, 0.0, 0.0, *pose))
        rows.append(f"{round(1e6 * i / fps)} {values}\n")
    return {name: "".join(rows).encode()}
