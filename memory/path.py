"""Camera paths: a few keyframes, and the one place that turns them into cameras.

The recipe is evaluated on the spline of ``spline.py``, quantised to 1e-6 and handed on as those very numbers: a slice
is their text, so cameras made from a slice equal the baked ones to the bit.
"""

import json
import math
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from .camera import Cameras, intrinsics_from_fov
from .path_text import key_from_record, keys_from_text, record_from_key, text_from_keys
from .quaternion import Vector, canonical, matrices_from_quaternions, normalised
from .records import load_record, number, numbers
from .spline import EASINGS, Keyframe, evaluate

VERSION = 2  # of a recipe; 1 had no holds, no named slopes and no compact text
SLICE_VERSION = 1
MAX_FRAMES = 4096
MAX_KEYS = 256
UNITS = ("scene", "world")


@dataclass(frozen=True)
class BakedPath:
    """One pose a frame, quantised to 1e-6, the quaternions renormalised after that."""

    positions: Tensor  # (T, 3) float64, in the path's units
    quaternions: Tensor  # (T, 4) float64 wxyz, unit, canonical in sign
    vertical_fov: Tensor  # (T,) float64 degrees


@dataclass(frozen=True)
class CameraPath:
    """The recipe of a camera movement; ``bake`` is the only producer of its cameras.

    ``loop`` says that the last key repeats the first pose and that the movement goes through it without a jolt.

    Raises:
        ValueError: what ``keyframes`` and the other fields hold is no path; the message names the key by its index.
    """

    keyframes: tuple[Keyframe, ...]
    num_frames: int
    fps: float = 16.0
    loop: bool = False
    tension: float = 0.0  # 0 = rounded, 1 = straight from key to key
    units: str = "scene"  # "scene": positions are multiplied by the scene unit; "world": taken as they are
    name: str = field(default="path", compare=False)

    def __post_init__(self) -> None:
        check_path(self)

    @cached_property
    def _poses(self) -> tuple[Vector, ...]:  # T times (x, y, z, qw, qx, qy, qz, fov)
        return tuple(quantised(pose) for pose in evaluate(self.keyframes, self.num_frames, self.loop, self.tension))

    def poses(self) -> BakedPath:
        """The numbers that every consumer gets, one pose a frame."""
        table = torch.tensor(self._poses, dtype=torch.float64)
        return BakedPath(table[:, :3], table[:, 3:7], table[:, 7])

    def bake(self, height: int, width: int, scene_unit: float = 1.0) -> Cameras:
        """Cameras (T,) on a ``height`` x ``width`` grid. ``scene_unit`` multiplies positions in scene units."""
        return _cameras(self._poses, height, width, scene_unit if self.units == "scene" else 1.0)

    def slice(self, start: int, stop: int) -> str:
        """The text of the poses of frames [start, stop); ``cameras_from_slice`` makes it ``bake(...)[start:stop]``.

        Raises:
            ValueError: the range is empty or leaves the path.
        """
        if not 0 <= start < stop <= self.num_frames:
            raise ValueError(f"frames [{start}, {stop}) asked of a path with {self.num_frames} frames")
        poses = [list(pose) for pose in self._poses[start:stop]]
        return json.dumps({"version": SLICE_VERSION, "units": self.units, "start": start, "poses": poses})

    def to_json(self) -> str:
        """The recipe, and the bake beside it for readers that have no spline. ``from_json`` needs the recipe alone."""
        recipe = {
            "format": "spatial-memory-path",
            **self._header(),
            "keyframes": [record_from_key(k) for k in self.keyframes],
        }
        bake = {"columns": "x y z qw qx qy qz vertical_fov", "poses": [list(pose) for pose in self._poses]}
        return json.dumps({**recipe, "bake": bake})

    def to_compact(self) -> str:
        """The recipe as the editor's widget keeps it: quantised (``path_text.py``), about 60 bytes a key."""
        return json.dumps({**self._header(), "keys": text_from_keys(self.keyframes)}, separators=(",", ":"))

    def _header(self) -> dict:
        return {
            "version": VERSION,
            "name": self.name,
            "num_frames": self.num_frames,
            "fps": self.fps,
            "loop": self.loop,
            "tension": self.tension,
            "units": self.units,
        }

    @staticmethod
    def from_json(text: str) -> "CameraPath":
        """Read what ``to_json`` or ``to_compact`` wrote, or a recipe written by hand.

        The recipe decides; a bake in the text and fields that this version does not know are not read.

        Raises:
            ValueError: no JSON, another kind of file, a newer version, or a recipe that is no path.
        """
        recipe = load_record(text, "camera path", VERSION)
        if recipe.get("format", "spatial-memory-path") != "spatial-memory-path":
            raise ValueError(f"camera path has format {recipe['format']!r}, expected 'spatial-memory-path'")
        keyframes = _keyframes(recipe)
        num_frames = number(recipe.get("num_frames"), "num_frames")
        if num_frames != int(num_frames):
            raise ValueError(f"num_frames is {num_frames}, expected a whole number")
        loop, units, name = recipe.get("loop", False), recipe.get("units", "scene"), recipe.get("name", "path")
        if not isinstance(loop, bool) or not isinstance(units, str) or not isinstance(name, str):
            raise ValueError(
                f"camera path has loop={loop!r}, units={units!r}, name={name!r}; expected true or false and two texts"
            )
        return CameraPath(
            keyframes=keyframes,
            num_frames=int(num_frames),
            fps=number(recipe.get("fps", 16.0), "fps"),
            loop=loop,
            tension=number(recipe.get("tension", 0.0), "tension"),
            units=units,
            name=name,
        )


def cameras_from_slice(text: str, height: int, width: int, scene_unit: float = 1.0) -> tuple[int, Cameras]:
    """The first frame of a slice and its cameras, to the bit those of ``bake``.

    Raises:
        ValueError: the text is no slice, newer than this version, or holds numbers that are no poses.
    """
    record = load_record(text, "path slice", SLICE_VERSION)
    poses, start, units = record.get("poses"), record.get("start"), record.get("units")
    if not isinstance(poses, list) or not 0 < len(poses) <= MAX_FRAMES:
        raise ValueError(f"path slice has no list of 1 to {MAX_FRAMES} poses")
    if not isinstance(start, int) or start < 0 or units not in UNITS:
        raise ValueError(
            f"path slice has start={start!r}, units={units!r}; expected a frame and one of {', '.join(UNITS)}"
        )
    table = tuple(numbers(pose, 8, f"pose {i}") for i, pose in enumerate(poses))
    for i, pose in enumerate(table):
        if abs(sum(x * x for x in pose[3:7]) - 1) > 1e-3 or not 0 < pose[7] < 180:
            raise ValueError(
                f"pose {i} of the path slice is {list(pose)}, expected x y z, a unit quaternion wxyz and degrees"
            )
    return start, _cameras(table, height, width, scene_unit if units == "scene" else 1.0)


def check_path(path: CameraPath) -> None:
    """Refuse what is no path, before anything is allocated.

    Raises:
        ValueError: names the field or the key, what it holds and what to do.
    """
    keys = path.keyframes
    if not 2 <= path.num_frames <= MAX_FRAMES:
        raise ValueError(f"num_frames is {path.num_frames}, expected 2 to {MAX_FRAMES}")
    if not 2 <= len(keys) <= MAX_KEYS:
        raise ValueError(
            f"the path has {len(keys)} keyframe(s), expected 2 to {MAX_KEYS}; a camera at rest takes two equal keys"
        )
    if not (math.isfinite(path.fps) and path.fps > 0):
        raise ValueError(f"fps is {path.fps}, expected a positive number")
    if not 0 <= path.tension <= 1:
        raise ValueError(f"tension is {path.tension}, expected 0 (rounded) to 1 (straight)")
    if path.units not in UNITS:
        raise ValueError(f"units is {path.units!r}, expected one of {', '.join(UNITS)}")
    for i, key in enumerate(keys):
        if len(key.position) != 3 or len(key.rotation) != 4:
            raise ValueError(
                f"key {i} has {len(key.position)} and {len(key.rotation)} numbers, expected position (3), wxyz (4)"
            )
        slopes = (*(key.velocity or ()), *(key.spin or ()), key.zoom or 0.0)
        held = (key.frame, *key.position, *key.rotation, key.vertical_fov, key.hold, *slopes)
        if not all(math.isfinite(x) for x in held):
            raise ValueError(f"key {i} holds NaN or infinity, expected finite numbers")
        if max(abs(x) for x in held) > 1e6:
            raise ValueError(f"key {i} holds a number beyond a million; scale the path down")
        if len(key.velocity or "xyz") != 3 or len(key.spin or "xyz") != 3:
            raise ValueError(f"key {i} has a velocity or spin that is not 3 numbers")
        if key.hold < 0:
            raise ValueError(f"key {i} has hold {key.hold}, expected 0 or more frames")
        if sum(x * x for x in key.rotation) < 1e-12:
            raise ValueError(f"key {i} has rotation {key.rotation}, expected a quaternion wxyz that is not zero")
        if not 1 <= key.vertical_fov <= 170:
            raise ValueError(f"key {i} has vertical_fov {key.vertical_fov}, expected 1 to 170 degrees")
        if key.easing not in EASINGS:
            raise ValueError(f"key {i} has easing {key.easing!r}, expected one of {', '.join(EASINGS)}")
        if i and key.frame - keys[i - 1].leaves < 1e-3 - 1e-9:
            raise ValueError(
                f"key {i} is at frame {key.frame}, key {i - 1} at {keys[i - 1].leaves}: expected increasing frames"
            )
    if keys[0].frame != 0:
        raise ValueError(f"key 0 is at frame {keys[0].frame}, expected frame 0, where the start image stands")
    end, slack = path.num_frames - 1, 1e-6 if keys[-1].hold else 0.0
    if keys[-1].leaves < end - slack:
        raise ValueError(f"key {len(keys) - 1} is at frame {keys[-1].leaves}, the path ends at frame {end}: add a key")
    if path.loop and not (keys[0].same_pose(keys[-1]) and abs(keys[-1].leaves - end) <= slack):
        raise ValueError(f"loop: key {len(keys) - 1} is not at frame {end} with key 0's pose; close it with close_loop")


def quantised(pose: Vector) -> Vector:
    """A pose to 1e-6, its quaternion canonical in sign and renormalised."""
    x, y, z, qw, qx, qy, qz, fov = (round(number, 6) + 0.0 for number in pose)  # + 0.0: no negative zero
    return (x, y, z, *normalised(canonical((qw, qx, qy, qz))), fov)


def _cameras(poses: tuple[Vector, ...], height: int, width: int, scale: float) -> Cameras:
    if not (math.isfinite(scale) and scale > 0):
        raise ValueError(f"scene_unit is {scale}, expected a positive number of world units")
    table = torch.tensor(poses, dtype=torch.float64)
    c2w = torch.eye(4, dtype=torch.float64).repeat(len(poses), 1, 1)
    c2w[:, :3, :3] = matrices_from_quaternions(table[:, 3:7])
    c2w[:, :3, 3] = table[:, :3] * scale
    K = {fov: intrinsics_from_fov(fov, height, width) for fov in {pose[7] for pose in poses}}
    return Cameras(c2w.float(), torch.stack([K[pose[7]] for pose in poses]), height, width)


def _keyframes(recipe: dict) -> tuple[Keyframe, ...]:
    keys, line = recipe.get("keyframes"), recipe.get("keys")
    count = len(keys) if isinstance(keys, list) else line.count(";") + 1 if isinstance(line, str) else 0
    if not count:
        raise ValueError("camera path has no list 'keyframes'; expected at least 2 keys")
    if count > MAX_KEYS:
        raise ValueError(f"camera path has {count} keyframes, at most {MAX_KEYS} are read; thin the keys out")
    if isinstance(keys, list):
        return tuple(key_from_record(key, i) for i, key in enumerate(keys))
    return keys_from_text(str(line))
