"""What the memory shows a chunk: the control latents and where they are known.

A latent memory is read on the latent grid and goes into the control branch as it is: no pixel is touched. An RGB memory
is rendered at every pixel frame of the window and encoded as a clip.
"""

import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..memory.camera import Cameras, concatenate
from ..memory.cloud import SpatialMemory
from ..memory.grid import LatentGrid
from ..memory.splat import Readout, splat_centred, splat_discs
from ..models.codec import Codec, signed
from ..models.control_layout import Coverage
from ..models.world import WorldModel
from .plan import ChunkPlan, window
from .seen import Seen
from .state import RolloutState, check_target


@dataclass(frozen=True, eq=False)
class Warp:
    """The memory at the chunk's cameras: t latents of the window, then those that a layout puts behind the target."""

    control: Tensor  # (C, t, h, w) latents in model space, 0 at holes
    known: Tensor  # (t, h, w) in [0, 1]: 1 = known, 0 = hole; soft for RGB memories
    offset: Tensor  # (2, t, h, w) of the points read, in cells from the cells' centres; 0 at holes and for renders
    readout: Readout | None = None  # what was read; None where nothing was
    images: Tensor | None = None  # (T, 3, H, W) the rendered frames of an RGB memory, for a look
    code: Tensor | None = None  # (C, t, h, w) what the layout encodes beside the readout
    seconds: float = 0.0
    seen: Seen | None = None  # where the new latents' views see points of a latent memory


def rendered_control(codec: Codec, readout: Readout) -> tuple[Tensor, Tensor]:
    """Encode the rendered frames of a window as one clip.

    A latent's cell is known as far as the frame that the latent stands for covers it: the mean coverage of the cell's
    pixels. Cells without any coverage are 0, as in a latent readout.

    Args:
        readout: discs at T = 1 + s n frames on the pixel grid, colours (T, 3, H, W) over black.

    Returns:
        control (C, t, h, w) in model space, known (t, h, w) in [0, 1].
    """
    control = codec.encode(signed(readout.features.clamp(0, 1)))
    coverage = readout.known[:: codec.grid.temporal]  # (t, H, W)
    known = F.avg_pool2d(coverage[:, None], codec.grid.spatial)[:, 0].clamp(0, 1)
    return torch.where(known > 0, control, 0.0), known


def pixel_coverage(grid: LatentGrid, known: Tensor) -> Tensor:
    """The coverage (t, h, w) of latents spread over the pixel frames that they stand for: (1 + s (t - 1), H, W)."""
    side = grid.spatial
    wide = known.repeat_interleave(side, 1).repeat_interleave(side, 2)
    return torch.cat([wide[:1], wide[1:].repeat_interleave(grid.temporal, 0)])


def spread(grid: LatentGrid, known: Tensor) -> Coverage:
    """The coverage of the pixel frames that latents (t, h, w) stand for: ``pixel_coverage``, where it is asked for."""
    frames, h, w = known.shape
    size = (grid.num_frames(frames), h * grid.spatial, w * grid.spatial)
    return Coverage(size, lambda: pixel_coverage(grid, known))


def code_of(world: WorldModel, coverage: Coverage) -> Tensor | None:
    """What the layout encodes beside the readout: (C, t, h, w), None where it encodes nothing.

    Args:
        coverage: of the pixel frames of the window and of what stands behind it.
    """
    return None if world.layout.code is None else world.layout.code(world.codec, coverage)


def chunk_window(world: WorldModel, state: RolloutState) -> ChunkPlan:
    """The model window of the chunk at hand.

    Raises:
        ValueError: the state has no target, belongs to another world, or the chunk does not fit the layout's window.
    """
    target = check_target(world.name, state)
    return window(world.layout, state.chunk, target.start, target.stop, world.codec.grid.temporal)


def window_cameras(world: WorldModel, state: RolloutState) -> Cameras:
    """Cameras of all pixel frames of the window, history included, on the pixel grid."""
    chunk, target = chunk_window(world, state), check_target(world.name, state)
    past = state.cameras[chunk.window_start : chunk.start]
    return concatenate([past, target.cameras]) if len(past) else target.cameras


def clean_latents(world: WorldModel, state: RolloutState) -> int:
    """How many latents at the window's head are history: the start frame, a repeated latent, or an encoded overlap."""
    chunk = chunk_window(world, state)
    if chunk.start == 0 or world.layout.history == "preceding":
        return 1
    return world.codec.grid.latent_frames(chunk.history)


def new_cameras(world: WorldModel, state: RolloutState) -> Cameras:
    """Cameras of the chunk's new latents, on the pixel grid."""
    grid = world.codec.grid
    return window_cameras(world, state)[grid.frame_of(clean_latents(world, state)) :: grid.temporal]


def preceding_latents(world: WorldModel, state: RolloutState) -> range:
    """Which latents of the stream stand behind the target (Mirage): those before the one that is repeated as first."""
    if world.layout.history == "overlap":
        return range(0)
    count = state.latents.shape[1]
    wanted = world.layout.history_frames // world.codec.grid.temporal
    return range(max(0, count - 1 - wanted), count - 1)


def reading_device(world: WorldModel, memory: SpatialMemory) -> torch.device:
    """Where a memory is read: colours beside the network, where that is on a GPU; all else where the memory lies.

    Rendering every pixel of every frame takes a CPU a minute and a GPU a second or two. A latent memory is read on
    some thousand cells, which takes milliseconds anywhere: bringing it over would cost more.
    """
    beside = world.transformer.device
    return beside if memory.kind == "rgb" and beside.type == "cuda" else memory.device


def warp(world: WorldModel, state: RolloutState) -> Warp:
    """Read the state's memory at the window's cameras. What is read lies where the cameras lie.

    Raises:
        ValueError: there is no memory, no target, or the memory holds latents of another codec.
    """
    begun = time.perf_counter()
    grid, memory = world.codec.grid, state.memory
    if memory is None:
        raise ValueError("the state has no memory; give it one with InitMemory, or take a blank control")
    frames = window_cameras(world, state)
    h, w = grid.cells(state.height, state.width)
    behind = state.cameras[[grid.frame_of(i) for i in preceding_latents(world, state)]]
    if memory.kind == "latent":
        if memory.codec != world.codec.name:
            raise ValueError(
                f"the memory holds latents of the codec {memory.codec!r}, the world decodes {world.codec.name!r}; "
                "make the memory with this world, or use an RGB memory, which fits any"
            )
        every = frames[:: grid.temporal]
        cameras = concatenate([every, behind]) if len(behind) else every
        readout = splat_centred(memory, cameras.resized(h, w))
        control = readout.features.transpose(0, 1).contiguous()
        offset = readout.offset.transpose(0, 1).contiguous()
        code = code_of(world, spread(grid, readout.known))
        fresh = slice(clean_latents(world, state), len(every))
        seen = Seen(memory, readout.depth[fresh], readout.offset[fresh])
        return Warp(control, readout.known, offset, readout, None, code, time.perf_counter() - begun, seen)
    home, memory = frames.c2w.device, memory.to(reading_device(world, memory))
    readout = splat_discs(memory, frames).to(home)
    control, known = rendered_control(world.codec, readout)
    coverage = readout.known
    if len(behind):
        first = preceding_latents(world, state).start
        past = state.cameras[grid.frame_of(first) : grid.frame_of(first + len(behind) - 1) + 1]
        more, more_known = rendered_control(world.codec, splat_discs(memory, past).to(home))
        behind_window = torch.cat([known[:1], more_known])  # as latents that follow another: s frames each
        coverage = torch.cat([coverage, pixel_coverage(grid, behind_window)[1:]])
        control, known = torch.cat([control, more], dim=1), torch.cat([known, more_known])
    offset = known.new_zeros(2, *known.shape)
    code = code_of(world, Coverage((len(coverage), *coverage.shape[1:]), lambda: coverage))
    return Warp(control, known, offset, readout, readout.features, code, time.perf_counter() - begun)


def blank(world: WorldModel, state: RolloutState) -> Warp:
    """A control that shows nothing: the baseline without memory.

    Raises:
        ValueError: there is no target, or the chunk does not fit the layout's window.
    """
    frames = chunk_window(world, state).window_frames
    count = world.codec.grid.latent_frames(frames) + len(preceding_latents(world, state))
    h, w = world.codec.grid.cells(state.height, state.width)
    known = torch.zeros(count, h, w)
    code = code_of(world, spread(world.codec.grid, known))
    return Warp(torch.zeros(world.codec.grid.channels, *known.shape), known, torch.zeros(2, *known.shape), code=code)
