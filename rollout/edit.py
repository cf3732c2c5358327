"""Editing a film's memory, and what follows from it: the start frame, and which frames no longer tell the truth.

An edit changes what the memory shows. Before the first chunk the start frame is made to agree: where the edit changed
its view it is rendered anew from the memory, and what stays open is inpainted. Frames that were made before, or other
pictures that were given, cannot be mended; those that show the place as it was are no references any more.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..memory.camera import Cameras
from ..memory.cloud import Edit, SpatialMemory
from ..memory.merge import carried_by
from ..memory.splat import Readout, splat_centred, splat_discs, splat_nearest
from ..models.codec import as_colours, signed
from ..models.world import WorldModel
from .look import on_pixels
from .state import RolloutState, check_world

STALE = 0.005  # share of a frame's cells that an edit changed, from which on the frame is no reference
DIFFERS = 1e-3  # of features and relative depth: smaller differences are rounding
RIM = 1  # cells around what changed that are rendered anew too: the codec looks that far
INPAINT_RADIUS = 4  # pixels
BEGUN = (
    "the film has begun: its last frames are the next chunk's history and show the place as it was; to change it from "
    "the start, edit before the first chunk, or revert"
)


@dataclass(frozen=True, eq=False)
class Edited:
    """A state after an edit, and what the user should know."""

    state: RolloutState
    notes: tuple[str, ...]


def apply_edit(world: WorldModel, state: RolloutState, edit: Edit) -> Edited:
    """The state with one more edit of its memory.

    Raises:
        ValueError: no memory, another world model, a chunk that is half made, or an edit that changes nothing.
    """
    memory = _memory(world, state)
    held = (edit.holds(carried_by(memory, o)) for o in memory.observations)
    if edit.replay(memory.drawn) == memory.drawn and not any(bool(mask.any()) for mask in held):
        raise ValueError("the edit changes nothing: no point of the memory is selected")
    return with_memory(world, state, memory.edited(edit))


def undo_edit(world: WorldModel, state: RolloutState) -> Edited:
    """The state without the last edit of its memory.

    Raises:
        ValueError: no memory, no edit, another world model, or a chunk that is half made.
    """
    return with_memory(world, state, _memory(world, state).undone())


def with_memory(world: WorldModel, state: RolloutState, memory: SpatialMemory) -> Edited:
    """The state with an edited memory in place of its own, its start frame and its references to agree with it."""
    plain = replace(memory, edits=())
    stale = stale_frames(memory, state)
    given = state.image if state.given is None else state.given
    if state.chunk:
        undone = state.given is not None and _at_start(state.memory) != _at_start(memory)
        edited = replace(state, memory=memory, stale=stale, outdated=state.outdated or undone)
        notes = [BEGUN] if memory.edits else []
        return Edited(edited, (*notes, *_stale_notes(stale)))
    image, share = start_frame(world, plain, memory, given, state.cameras[:1])
    stale = tuple(frame for frame in stale if frame != 0)
    code = state.codes[:, :1] if torch.equal(image, state.image) else world.codec.encode_frames(signed(image[None]))
    edited = replace(
        state,
        memory=memory,
        image=image,
        given=None if torch.equal(image, given) else given,
        codes=torch.cat([code, state.codes[:, 1:]], dim=1),
        latents=torch.cat([code, state.latents[:, 1:]], dim=1),
        stale=stale,
        outdated=False,
    )
    notes = [f"the start frame was changed to agree, over {share:.1%} of its area"] if share else []
    return Edited(edited, (*notes, *_stale_notes(stale)))


def start_frame(
    world: WorldModel, before: SpatialMemory, after: SpatialMemory, image: Tensor, camera: Cameras
) -> tuple[Tensor, float]:
    """The picture (3, H, W) in [0, 1] as the edited memory shows it, and the share of its area that changed.

    Where the two memories look alike from the camera (1,), it is the picture itself, to the bit.
    """
    changed, shown, known = _changed_pixels(world, before, after, camera)
    if not bool(changed.any()):
        return image, 0.0
    painted = torch.where((changed & known)[None], shown, image)
    hole = changed & ~known
    if bool(hole.any()):
        painted = torch.where(hole[None], inpainted(painted, hole), painted)
    return painted, changed.float().mean().item()


def inpainted(image: Tensor, hole: Tensor) -> Tensor:
    """A picture (3, H, W) in [0, 1] whose hole (H, W) bool is filled from its rim (Telea's method, OpenCV)."""
    import cv2

    pixels = (image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    filled = cv2.inpaint(np.ascontiguousarray(pixels), hole.to(torch.uint8).numpy(), INPAINT_RADIUS, cv2.INPAINT_TELEA)
    return torch.from_numpy(filled).permute(2, 0, 1).float() / 255


def differs(before: Readout, after: Readout) -> Tensor:
    """Where two readouts of the same cameras show something else: (V, h, w) bool."""
    near = (before.depth - after.depth).abs() <= DIFFERS * before.depth.abs()
    same = (before.features - after.features).abs().amax(1) <= DIFFERS
    return ~(near & same & ((before.known - after.known).abs() <= DIFFERS))


def _changed_pixels(
    world: WorldModel, before: SpatialMemory, after: SpatialMemory, camera: Cameras
) -> tuple[Tensor, Tensor, Tensor]:
    """On the pixel grid: what an edit changed (H, W), what the memory then shows (3, H, W), and where it is known."""
    if before.kind == "rgb":
        old, new = splat_discs(before, camera), splat_discs(after, camera)
        colours = new.features[0] / new.known[0].clamp(min=1e-3)
        return _wider(differs(old, new)[0], 1), colours.clamp(0, 1), new.known[0] >= 0.5
    h, w = world.codec.grid.cells(camera.height, camera.width)
    cells = camera.resized(h, w)
    old, new = splat_centred(before, cells), splat_centred(after, cells)
    changed = _wider(differs(old, new)[0], RIM)
    decoded = as_colours(world.codec.decode(new.features[0][:, None]))[0]
    return (
        on_pixels(changed, camera.height, camera.width),
        decoded.clamp(0, 1),
        on_pixels(new.known[0] > 0, camera.height, camera.width),
    )


def stale_frames(memory: SpatialMemory, state: RolloutState) -> tuple[int, ...]:
    """The candidate frames in whose view ``memory`` shows something else than the edits under which they were made.

    A frame was made under the edits of ``state`` that are older than its chunk; a picture that was given, under none.
    """
    edits = () if state.memory is None else state.memory.edits
    share = torch.zeros(len(state.code_frames))
    under = [sum(edit.chunk < _chunk_of(frame, state) for edit in edits) for frame in state.code_frames]
    for count in set(under):
        if edits[:count] == memory.edits:
            continue
        mine = [i for i, some in enumerate(under) if some == count]
        before, cameras = replace(memory, edits=edits[:count]), state.code_cameras[mine]
        changed = differs(splat_nearest(before, cameras), splat_nearest(memory, cameras))
        share[mine] = changed.float().mean((1, 2))
    return tuple(frame for frame, part in zip(state.code_frames, share.tolist()) if part > STALE)


def _chunk_of(frame: int, state: RolloutState) -> int:
    """The chunk that made a frame, -1 where it was given. The start frame agrees with all edits before chunk 0."""
    made = (i for i, record in enumerate(state.records[: state.chunk]) if frame < record["frames"][1])
    return -1 if frame < 0 else next(made, 0)


def _stale_notes(stale: tuple[int, ...]) -> list[str]:
    if not stale:
        return []
    return [f"no references any more, since they show what was edited: frames {', '.join(map(str, stale))}"]


def _at_start(memory: SpatialMemory | None) -> tuple[Edit, ...]:
    """The edits that were made before the first chunk: what the start frame agrees with."""
    return () if memory is None else tuple(edit for edit in memory.edits if edit.chunk < 0)


def _wider(mask: Tensor, by: int) -> Tensor:
    """A mask (H, W) bool grown by so many cells."""
    grown = torch.nn.functional.max_pool2d(mask.float()[None, None], 2 * by + 1, stride=1, padding=by)
    return grown[0, 0] > 0


def _memory(world: WorldModel, state: RolloutState) -> SpatialMemory:
    check_world(world.name, state)
    if state.memory is None:
        raise ValueError("the state has no memory to edit; InitMemory comes first")
    if state.fresh is not None:
        raise ValueError("the state is in the middle of a chunk; edit before ChunkLoopStart or behind ChunkLoopEnd")
    return state.memory
