"""What the widgets of a selection say, and the selection that they mean."""

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from ..memory.cloud import SpatialMemory
from ..memory.regions import Box, Everywhere, HalfSpace, Region, Selection, Sphere
from ..memory.select import component, lasso
from ..rollout.edit_picture import frame_camera
from ..rollout.state import RolloutState
from .convert import selection_from_socket
from .world_space import motion, turned

CHOICES = ("mask", "component", "box", "sphere", "half-space", "frames")


@dataclass(frozen=True, eq=False)
class Where:
    """What the widgets of a selection say; lengths in scene units."""

    select: str
    mask: Tensor | None  # MASK, 1 = selected
    frame: int
    place: tuple[float, float, float]
    size: tuple[float, float, float]
    radius: float
    yaw: float
    pitch: float
    frames: str


def chosen(state: RolloutState, where: Where) -> Selection:
    """The selection that the widgets describe.

    Raises:
        ValueError: a mask that is missing or of another size, or a region without points.
    """
    memory = state.memory
    if memory is None:
        raise ValueError("the state has no memory to edit; InitMemory comes first")
    frames = frame_list(where.frames) if where.frames.strip() else None
    if where.select == "frames" and frames is None:
        raise ValueError("select of EditMemory is 'frames', but frames is empty; write for instance 0, 12-20")
    return Selection(region_of(state, memory, where), frames)


def region_of(state: RolloutState, memory: SpatialMemory, where: Where) -> Region:
    """The part of space that the widgets describe, in world units."""
    unit = memory.scene_unit
    x, y, z = (unit * value for value in where.place)
    width, height, depth = (unit * value for value in where.size)
    match where.select:
        case "mask":
            return lasso(memory, frame_camera(state, where.frame)[0], drawn_mask(state, where))
        case "component":
            return component(memory, torch.tensor([x, y, z]), Box((x, y, z), (width, height, depth)))
        case "box":
            return Box((x, y, z), (width, height, depth), turned(where.yaw, where.pitch, 0.0))
        case "sphere":
            return Sphere((x, y, z), unit * where.radius)
        case "half-space":
            ahead = motion((0.0, 0.0, 0.0), turned(where.yaw, where.pitch, 0.0))[:3, 2].tolist()
            return HalfSpace((x, y, z), (ahead[0], ahead[1], ahead[2]))
        case "frames":
            return Everywhere()
    raise ValueError(f"select is {where.select!r}, expected one of {CHOICES}")


def drawn_mask(state: RolloutState, where: Where) -> Tensor:
    """The mask (H, W) bool, of the picture's own size.

    Raises:
        ValueError: it is missing, of another size, or several.
    """
    masks = selection_from_socket(where.mask, "selection")
    if masks is None:
        raise ValueError(
            "select of EditMemory is 'mask', but selection is not connected; connect a MASK drawn on the picture of "
            f"frame {where.frame} (1 = selected), or select in another way"
        )
    if tuple(masks.shape) != (1, state.height, state.width):
        count, height, width = masks.shape
        raise ValueError(
            f"selection of EditMemory is {count} mask(s) of {height} x {width}, expected one of {state.height} x "
            f"{state.width}, the film's size: draw it on that very picture, it is not resized (LoadImage gives 64 x 64 "
            "where an image has no transparent part)"
        )
    return masks[0] >= 0.5


def frame_list(text: str) -> tuple[int, ...]:
    """Frame numbers from a text such as ``0, 12-20, -1``.

    Raises:
        ValueError: a part is neither a number nor a range.
    """
    found: list[int] = []
    for part in re.split(r"[,\s]+", text.strip(" ,")):
        parsed = re.fullmatch(r"(-?\d{1,6})(?:-(\d{1,6}))?", part)
        if parsed is None:
            raise ValueError(f"frames holds {part!r}, expected numbers and ranges such as 0, 12-20, -1")
        first = int(parsed[1])
        found += range(first, int(parsed[2] or first) + 1)
    return tuple(sorted(set(found)))
