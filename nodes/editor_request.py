"""What the editor's requests ask for: bodies read with a bound, and fields that are what they claim to be."""

import json
from functools import lru_cache

from ..memory.path import UNITS, CameraPath, quantised
from ..memory.records import number, numbers
from ..rollout.scene_file import KEY

MAX_JSON = 1_000_000  # bytes of a body
FARTHEST = 1e6  # units of a pose
FOVS = (1.0, 170.0)


def fields(content: bytes) -> dict:
    """A JSON object.

    Raises:
        ValueError: it is anything else, nested too deeply, or holds NaN.
    """
    try:
        record = json.loads(content.decode(), parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the request is no JSON: {error}") from error
    if not isinstance(record, dict):
        raise ValueError(f"the request is a JSON {type(record).__name__}, expected an object")
    return record


def text(record: dict, name: str, default: str | None = None, longest: int = 255) -> str:
    """A text of a request.

    Raises:
        ValueError: missing, no text, or too long.
    """
    value = record.get(name, default)
    if not isinstance(value, str) or len(value) > longest or "\0" in value:
        raise ValueError(f"{name} is {value!r:.80}, expected a text of at most {longest} characters")
    return value


def within(record: dict, name: str, low: float, high: float, default: float | None = None) -> float:
    """A finite number of a request.

    Raises:
        ValueError: missing, no number, or out of bounds.
    """
    value = number(record.get(name, default), name)
    if not low <= value <= high:
        raise ValueError(f"{name} is {value:g}, expected {low:g} to {high:g}")
    return value


def whole(record: dict, name: str, low: int, high: int, default: int | None = None) -> int:
    """A whole number of a request.

    Raises:
        ValueError: missing, no whole number, or out of bounds.
    """
    value = within(record, name, low, high, default)
    if value != int(value):
        raise ValueError(f"{name} is {value:g}, expected a whole number")
    return int(value)


def key_of(record: dict, name: str) -> str:
    """The key of a scene or a memory.

    Raises:
        ValueError: no 32 hex digits.
    """
    value = text(record, name)
    if not KEY.fullmatch(value):
        raise ValueError(f"{name} is {value[:80]!r}, expected 32 hex digits")
    return value


def path_of(record: dict) -> CameraPath:
    """The recipe of a request, an object or its text.

    Raises:
        ValueError: there is none, or it is no path.
    """
    recipe = record.get("path")
    if isinstance(recipe, dict):
        recipe = json.dumps(recipe)
    if not isinstance(recipe, str):
        raise ValueError(f"path is {recipe!r:.80}, expected the recipe of a camera path, an object or its text")
    return _recipe(recipe)


@lru_cache(maxsize=8)
def _recipe(recipe: str) -> CameraPath:
    return CameraPath.from_json(recipe)


def slice_of(record: dict) -> str:
    """The one pose that a request asks for, as the text of a path's slice.

    Raises:
        ValueError: neither a path and a frame nor a pose, or numbers that are none.
    """
    if "pose" not in record:
        path = path_of(record)
        frame = whole(record, "frame", 0, path.num_frames - 1)
        return path.slice(frame, frame + 1)
    x, y, z, qw, qx, qy, qz, fov = numbers(record["pose"], 8, "pose (x y z qw qx qy qz vertical_fov)")
    units = text(record, "units", "scene")
    if units not in UNITS:
        raise ValueError(f"units is {units!r}, expected one of {', '.join(UNITS)}")
    if max(abs(x), abs(y), abs(z)) > FARTHEST or not FOVS[0] <= fov <= FOVS[1]:
        raise ValueError(f"pose is {record['pose']}, expected places up to a million and 1 to 170 degrees")
    if not abs(qw * qw + qx * qx + qy * qy + qz * qz - 1) < 1e-3:
        raise ValueError(f"pose has the quaternion {[qw, qx, qy, qz]}, expected wxyz of length 1")
    pose = quantised((x, y, z, qw, qx, qy, qz, fov))
    return json.dumps({"version": 1, "units": units, "start": 0, "poses": [list(pose)]})


def chunks_of(record: dict) -> list[tuple[int, int]]:
    """The chunks [start, stop) that a request names; none where it names none.

    Raises:
        ValueError: no list of pairs of frames.
    """
    pairs = record.get("chunks", [])
    if not isinstance(pairs, list) or len(pairs) > 4096:
        raise ValueError(f"chunks is {pairs!r:.80}, expected at most 4096 pairs of frames")
    found = [numbers(pair, 2, "a chunk (start, stop)") for pair in pairs]
    return [(int(start), int(stop)) for start, stop in found]


def _refused(constant: str) -> float:
    raise ValueError(f"it holds {constant}")
