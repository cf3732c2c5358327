"""Which format a file is in, by what it holds."""

import re

from .colmap import find_model
from .source import Source, zip_members

NUMBERS = re.compile(r"[-+.\deEinfaINFA]+(\s+[-+.\deEinfaINFA]+)*")
COLUMNS = {12: "kitti", 23: "wan", 7: "chan"}
KEYS = {  # of a JSON object, and the format that has it; the first one counts
    "asset": "gltf",
    "camera_path": "nerfstudio",
    "format": "json",
    "keyframes": "json",
    "path": "ngp",
    "frames": "transforms",
}


def format_of(source: Source) -> str | None:
    """The name of the format, or None where it is none that is known here."""
    data = source.data
    if not data:
        return _of_folder(source)
    if data.startswith(b"PK\x03\x04"):
        return "lyra" if "w2c.npy" in zip_members(data, source.name) else None
    if data.startswith(b"glTF"):
        return "gltf"
    if re.fullmatch(r"(cameras|images|points3D)\.(bin|txt)", source.name) and find_model(source):
        return "colmap"
    text = source.text
    if text.startswith("{"):
        return _of_object(source)
    if text.startswith("["):
        return _of_list(source)
    return _of_rows(text)


def _of_folder(source: Source) -> str | None:
    if find_model(source):
        return "colmap"
    return "spatia" if source.companion("w2c.txt") else None


def _of_object(source: Source) -> str:
    try:
        found = source.document
    except ValueError:
        return "json"  # whose reader says what is wrong
    keys = set(found) if isinstance(found, dict) else set()
    if any(re.fullmatch(r"frame\d+", key) for key in keys):
        return "recammaster"
    return next((name for key, name in KEYS.items() if key in keys), "json")


def _of_list(source: Source) -> str:
    try:
        found = source.document
    except ValueError:
        return "spatia"  # one list a line is no JSON as a whole
    first = found[0] if isinstance(found, list) and found else None
    if isinstance(first, dict):
        return "inria"
    lengths = {19: "wanvideo", 23: "wan", 12: "matrices"}
    if isinstance(first, list) and len(first) in lengths:
        return lengths[len(first)]
    if isinstance(first, list) and first and isinstance(first[0], list):
        return "matrices"
    return "spatia"  # a single line


def _of_rows(text: str) -> str | None:
    """Rows of numbers, or one line of another kind and then rows."""
    lines = (line.strip() for line in text[:200_000].splitlines())
    head = [line for line in lines if line and not line.startswith("#")][:2]
    rows = [line.split() for line in head if NUMBERS.fullmatch(line)]
    if not rows:
        return None
    columns = len(rows[0])
    if columns == 8 and rows[0] == head[0].split():
        return "tum" if _is_unit(rows[0][4:]) else "chan"
    if columns in COLUMNS and rows[0] == head[0].split():
        return COLUMNS[columns]
    return "realestate10k" if columns >= 19 else None


def _is_unit(words: list[str]) -> bool:
    """Whether four words are a quaternion: angles and a field of view in degrees are never this short."""
    try:
        return abs(sum(float(word) ** 2 for word in words) - 1) < 0.1
    except ValueError:
        return False
