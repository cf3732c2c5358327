"""Keys as text: JSON records for files, and for the editor's widget one short line with the very same numbers in Python
and JavaScript.

In a line, keys are parted by ";", the words of a key by spaces. Nine words are always there: frame, x y z, qw qx qy qz,
vertical fov. Then follow, where they differ from the defaults, ``e=`` number of the easing, ``h=`` hold, ``v=``
velocity, ``s=`` spin and ``z=`` zoom; other names are skipped. A number is a whole multiple of the unit below, in base
36: one division makes it a float, the same one everywhere.
"""

import math

from .quaternion import canonical, normalised
from .records import number, numbers
from .spline import EASINGS, Keyframe

FRAME, POSE, SLOPE = 1e3, 1e6, 1e8  # units a frame; a unit of distance, a quaternion's component, a degree; a slope
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def text_from_keys(keys: tuple[Keyframe, ...]) -> str:
    """The line of the keys. What it holds is read back to the very same line."""
    return ";".join(_words(key) for key in keys)


def keys_from_text(text: str) -> tuple[Keyframe, ...]:
    """Read a line of keys.

    Raises:
        ValueError: it is no such line; the message names the key by its index.
    """
    return tuple(_key(part.split(" "), i) for i, part in enumerate(text.split(";")))


def key_from_record(record: object, index: int) -> Keyframe:
    """Read a key of the long form.

    Raises:
        ValueError: it is none; the message names it by its index.
    """
    if not isinstance(record, dict):
        raise ValueError(f"key {index} is {record!r}, expected an object with frame, position, rotation")
    easing = record.get("easing", "linear")
    if not isinstance(easing, str):
        raise ValueError(f"key {index} has easing {easing!r}, expected one of {', '.join(EASINGS)}")
    x, y, z = numbers(record.get("position"), 3, f"key {index} position")
    qw, qx, qy, qz = numbers(record.get("rotation", [1, 0, 0, 0]), 4, f"key {index} rotation (wxyz)")
    fov = number(record.get("vertical_fov", 50.0), f"key {index} vertical_fov")
    frame, hold = number(record.get("frame"), f"key {index} frame"), number(record.get("hold", 0), f"key {index} hold")
    velocity, spin = (_vector(record.get(name), f"key {index} {name}") for name in ("velocity", "spin"))
    zoom = None if record.get("zoom") is None else number(record["zoom"], f"key {index} zoom")
    return Keyframe(frame, (x, y, z), (qw, qx, qy, qz), fov, easing, hold, velocity, spin, zoom)


def record_from_key(key: Keyframe) -> dict:
    """The key in the long form; what has its default is left out but for the pose and the easing."""
    record = {
        "frame": key.frame,
        "position": list(key.position),
        "rotation": list(key.rotation),
        "vertical_fov": key.vertical_fov,
        "easing": key.easing,
    }
    extras = {"hold": key.hold or None, "velocity": key.velocity, "spin": key.spin, "zoom": key.zoom}
    return record | {name: extra for name, extra in extras.items() if extra is not None}


def _words(key: Keyframe) -> str:
    norm = sum(x * x for x in key.rotation)
    rotation = canonical(key.rotation if abs(norm - 1) < 1e-5 else normalised(key.rotation))
    words = [_word(key.frame, FRAME), *(_word(x, POSE) for x in (*key.position, *rotation, key.vertical_fov))]
    if key.easing != "linear":
        words.append(f"e={list(EASINGS).index(key.easing)}")
    if key.hold:
        words.append(f"h={_word(key.hold, FRAME)}")
    for name, slope in (("v", key.velocity), ("s", key.spin), ("z", None if key.zoom is None else (key.zoom,))):
        if slope is not None:
            words.append(f"{name}={','.join(_word(x, SLOPE) for x in slope)}")
    return " ".join(words)


def _key(words: list[str], index: int) -> Keyframe:
    if len(words) < 9:
        raise ValueError(f"key {index} has {len(words)} words, expected at least 9: frame, x y z, qw qx qy qz, fov")
    frame = _number(words[0], FRAME, index)
    x, y, z, qw, qx, qy, qz, fov = (_number(word, POSE, index) for word in words[1:9])
    named = {name: word for name, _, word in (word.partition("=") for word in words[9:])}
    easing = _number(named.get("e", "0"), 1, index)
    if easing not in range(len(EASINGS)):
        raise ValueError(f"key {index} has easing number {easing:g}, expected 0 to {len(EASINGS) - 1}")
    hold = _number(named.get("h", "0"), FRAME, index)
    velocity, spin, zoom = _slope(named, "v", 3, index), _slope(named, "s", 3, index), _slope(named, "z", 1, index)
    return Keyframe(
        frame,
        (x, y, z),
        (qw, qx, qy, qz),
        fov,
        list(EASINGS)[int(easing)],
        hold,
        None if velocity is None else (velocity[0], velocity[1], velocity[2]),
        None if spin is None else (spin[0], spin[1], spin[2]),
        None if zoom is None else zoom[0],
    )


def _slope(named: dict[str, str], name: str, count: int, index: int) -> list[float] | None:
    if name not in named:
        return None
    words = named[name].split(",")
    if len(words) != count:
        raise ValueError(f"key {index} has {len(words)} numbers in {name}=, expected {count}")
    return [_number(word, SLOPE, index) for word in words]


def _word(number: float, unit: float) -> str:
    whole = math.floor(number * unit + 0.5)
    digits, rest = "", abs(whole)
    while rest or not digits:
        rest, digit = divmod(rest, 36)
        digits = DIGITS[digit] + digits
    return "-" + digits if whole < 0 else digits


def _number(word: str, unit: float, index: int) -> float:
    digits = word.removeprefix("-")
    if not 0 < len(digits) <= 10 or digits.strip(DIGITS):
        raise ValueError(f"key {index} has the word {word[:20]!r}, expected a whole number in base 36")
    return int(word, 36) / unit + 0.0


def _vector(values: object, what: str) -> tuple[float, float, float] | None:
    if values is None:
        return None
    x, y, z = numbers(values, 3, what)
    return x, y, z
