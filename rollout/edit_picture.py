"""An edit as a picture: before, what is selected, after."""

import torch
from torch import Tensor

from ..memory.camera import Cameras
from ..memory.cloud import SpatialMemory
from ..memory.edits import Insert
from ..memory.regions import Selection
from ..memory.splat import Readout
from ..models.world import WorldModel
from .edit import differs
from .look import decoded, on_pixels, readout
from .pen import FAINT, TEXT, Pen
from .state import RolloutState

CHOSEN = (0.15, 0.85, 1.0)  # the tint of what is selected
HOLE = (1.0, 0.0, 0.6)
MARGIN, GAP, HEAD, SIDE = 16, 12, 34, 480


def frame_camera(state: RolloutState, frame: int) -> Cameras:
    """The camera (1,) of a frame of the film, or of a picture that was given, on the pixel grid.

    Raises:
        ValueError: there is no such frame.
    """
    if 0 <= frame < len(state.cameras):
        return state.cameras[frame : frame + 1]
    if frame in state.code_frames:
        index = state.code_frames.index(frame)
        return state.code_cameras[index : index + 1].resized(state.height, state.width)
    given = [number for number in state.code_frames if number < 0]
    others = f", or of the pictures that were given {given}" if given else ""
    raise ValueError(f"frame is {frame}, expected 0 to {len(state.cameras) - 1}{others}")


def selected_points(memory: SpatialMemory, selection: Selection) -> Tensor:
    """Which drawn points are selected: (M,) bool, in the order of ``memory.points``."""
    return torch.cat([torch.zeros(0, dtype=torch.bool), *(selection.mask(o) for o in memory.drawn)])


def brought_points(memory: SpatialMemory) -> Tensor:
    """Which drawn points the last edit brought in: (M,) bool, in the order of ``memory.points``."""
    edit = memory.edits[-1]
    assert isinstance(edit, Insert)
    frames = {o.frame for o in edit.observations}  # frame numbers that nothing else has
    parts = [torch.full((len(o),), o.frame in frames) for o in memory.drawn]
    return torch.cat([torch.zeros(0, dtype=torch.bool), *parts])


def edit_picture(
    world: WorldModel, before: RolloutState, after: RolloutState, frame: int, selected: Tensor | None, title: str
) -> Tensor:
    """Before, what is selected, and after, side by side: (height, width, 3) uint8.

    Before the first chunk frame 0 is shown as the photograph that the film begins with; any other view is what the
    memory shows, with its holes tinted.

    Args:
        selected: (M,) bool over the drawn points before the edit, or after it where it only brings points in; None
            marks what changed.
    """
    assert before.memory is not None and after.memory is not None
    camera = frame_camera(before, frame)
    old, new = readout(world, before.memory, camera), readout(world, after.memory, camera)
    photographs = frame == 0 and not before.chunk
    shown = before.image if photographs else _with_holes(world, before.memory, old)
    result = after.image if photographs else _with_holes(world, after.memory, new)
    if selected is None:
        marked, base = differs(old, new)[0], shown
    elif len(selected) == len(before.memory.points):
        marked, base = _where(old, selected), shown
    else:
        marked, base = _where(new, selected), result
    panels = [("before", shown), ("selected", _mixed(base, marked, CHOSEN, 0.6)), ("after", result)]
    return _side_by_side(panels, title, f"frame {frame}")


def _where(shown: Readout, selected: Tensor) -> Tensor:  # -> (h, w) bool
    """The cells of a readout's only view whose point is selected."""
    winner = shown.winner[0]
    return (winner >= 0) & torch.cat([selected, selected.new_zeros(1)])[winner]


def _with_holes(world: WorldModel, memory: SpatialMemory, shown: Readout) -> Tensor:  # -> (3, H, W)
    return _mixed(decoded(world, memory, shown)[0], shown.known[0] < 0.5, HOLE, 0.5)


def _mixed(image: Tensor, cells: Tensor, colour: tuple[float, float, float], strength: float) -> Tensor:
    """A picture (3, H, W) tinted where cells (h, w) bool are set."""
    pixels = on_pixels(cells, *image.shape[1:])
    tint = image.new_tensor(colour)[:, None, None]
    return torch.where(pixels, (1 - strength) * image + strength * tint, image)


def _side_by_side(panels: list[tuple[str, Tensor]], title: str, note: str) -> Tensor:
    height, width = panels[0][1].shape[1:]
    scale = SIDE / max(height, width)
    h, w = round(height * scale), round(width * scale)
    pen = Pen.blank(2 * MARGIN + 3 * w + 2 * GAP, 2 * MARGIN + 2 * HEAD + h)
    pen.text((MARGIN, MARGIN - 4), title, 20, TEXT)
    pen.text((2 * MARGIN + 3 * w + 2 * GAP - MARGIN, MARGIN), note, 15, FAINT, "ra")
    for i, (name, image) in enumerate(panels):
        left = MARGIN + i * (w + GAP)
        pen.text((left, MARGIN + HEAD + 6), name, 15, FAINT)
        pen.image(image, (left, MARGIN + 2 * HEAD, left + w, MARGIN + 2 * HEAD + h))
    return pen.picture()
