"""From pictures to the first state: the start frame, more posed pictures, their geometry and the first memory."""

import logging
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..memory.budget import evict
from ..memory.camera import Cameras, check_cameras, known_depth
from ..memory.carve import carve
from ..memory.cloud import SpatialMemory
from ..memory.geometry import Geometry, check_geometry, start_unit
from ..memory.lift import CONFIDENT, at_centres, lift_latents, lift_pixels
from ..memory.merge import POLICIES, merge
from ..memory.rendering import Rendering
from ..memory.shapes import sizes
from ..models.codec import signed
from ..models.geometry import GeometryProvider, may_be_remembered
from ..models.masks import given
from ..models.world import WorldModel
from .align import COMPARED, brought, compared_size, fitted, trust
from .state import RolloutState, check_world

logger = logging.getLogger(__name__)

RGB_VOXEL = 1 / 300  # scene units: the side to which an RGB memory is thinned


def start(
    world: WorldModel,
    images: Tensor,  # (N, 3, H, W) in [0, 1]; the first is the start frame
    cameras: Cameras,  # (N,) on the H x W grid; the first is the path's first camera
    prompts: tuple[str, ...] = ("",),
    seed: int = 0,
) -> RolloutState:
    """Begin a film at one picture, frame 0. Further posed pictures (frames -1, -2, ...) may be referred to and lifted.

    Raises:
        ValueError: no picture, values outside [0, 1], a size that the codec's grid has not, or cameras that do not fit.
    """
    count, height, width = sizes("N 3 H W", images=images)
    if not count:
        raise ValueError("images is empty, expected at least the start frame")
    h, w = world.codec.grid.cells(height, width)
    if not (images.isfinite().all() and images.amin() >= 0 and images.amax() <= 1):
        raise ValueError("images hold values outside [0, 1] or NaN; expected colours in [0, 1]")
    if (cameras.c2w.shape[0], cameras.height, cameras.width) != (count, height, width):
        raise ValueError(
            f"{cameras.c2w.shape[0]} cameras on {cameras.height} x {cameras.width}, expected one for each of the "
            f"{count} images of {height} x {width}"
        )
    check_cameras(cameras)
    if any(prompts) and not world.reads_text:
        logger.warning("the world model %r reads no text: the prompt is ignored", world.name)
    codes = world.codec.encode_frames(signed(images))
    return RolloutState(
        world=world.name,
        image=images[0],
        memory=None,
        latents=codes[:, :1],
        codes=codes,
        code_frames=tuple(-i for i in range(count)),
        code_cameras=cameras.resized(h, w),
        cameras=cameras[:1],
        prompts=tuple(prompts),
        seed=seed,
    )


def start_geometry(
    provider: GeometryProvider,
    images: Tensor,  # (N, 3, H, W) in [0, 1]
    cameras: Cameras,  # (N,)
    dynamic: Tensor | None = None,  # (N, H, W) or (1, H, W), 1 = moves
    sky: Tensor | None = None,  # the same, 1 = sky; what the provider says where a mask is None
) -> Geometry:
    """Geometry of the pictures that a film begins with. The first one sets the scale, the others are aligned to it.

    A given picture is remembered wherever it has any depth, however unsure: without it that part of the place is lost.

    Raises:
        ValueError: masks or depth that do not fit the images, or no depth in the start frame.
    """
    count, height, width = sizes("N 3 H W", images=images)
    found = provider.estimate(images, cameras, None, None)
    moves = None if dynamic is None else given(dynamic, "dynamic", count, height, width)
    skies = None if sky is None else given(sky, "sky", count, height, width)
    keep = may_be_remembered(found, moves, skies)
    unit = start_unit(torch.where(keep[0], found.depth[0], 0.0))
    confidence = torch.where(known_depth(found.depth), found.confidence.clamp(min=CONFIDENT), found.confidence)
    geometry = Geometry(found.depth, confidence, keep, cameras, found.metric, unit)
    memory, size = SpatialMemory("rgb", "", 3, unit, found.metric), compared_size(height, width, COMPARED)
    for view in range(1, count):  # the views before it show what this one's depth is to agree with
        memory = memory.insert(
            lift_pixels(images[view - 1 : view], _view(geometry, view - 1), [0], -1, unit * RGB_VOXEL)
        )
        shown = Rendering(memory, cameras[view : view + 1].resized(*size))
        given_depth, kept, sure = (at_centres(t[view], *size) for t in (geometry.depth, keep, confidence))
        weights = trust(given_depth[None], sure[None], shown.cameras)[0]
        way, _ = fitted(given_depth, shown.depth[0], shown.known[0] & kept, weights)
        depth = torch.cat([geometry.depth[:view], brought(geometry.depth[view], way)[None], geometry.depth[view + 1 :]])
        geometry = replace(geometry, depth=depth)
    return check_geometry(geometry)


def init_memory(
    world: WorldModel,
    state: RolloutState,
    images: Tensor,  # (N, 3, H, W) in [0, 1], those that ``start`` got
    geometry: Geometry,  # of the same N
    kind: str,  # "latent" or "rgb"
) -> RolloutState:
    """Write the first pictures into a new memory; dynamic things and sky stay out.

    Raises:
        ValueError: another kind, another number of pictures than the state began with, or geometry that does not fit.
    """
    check_world(world.name, state)
    check_geometry(geometry)
    count, height, width = sizes("N 3 H W", images=images)
    if (count, height, width) != (len(state.code_frames), state.height, state.width) or len(geometry.depth) != count:
        raise ValueError(
            f"{count} images of {height} x {width} and geometry of {len(geometry.depth)}, expected the "
            f"{len(state.code_frames)} of {state.height} x {state.width} that the state began with"
        )
    if state.chunk:
        raise ValueError(f"the state has made {state.chunk} chunk(s); a memory is begun before the first")
    codec, channels = (world.codec.name, world.codec.grid.channels) if kind == "latent" else ("", 3)
    memory = SpatialMemory(kind, codec, channels, geometry.scene_unit, geometry.metric)
    return replace(state, memory=write(memory, state.codes, images, geometry, state.code_frames, -1))


@dataclass(frozen=True)
class Writing:
    """How a chunk is written into the memory."""

    policy: str = "keep_first"  # who stays where a surface is seen again: a name in ``POLICIES``
    carving: bool = True  # whether a view that sees through an old point contradicts it
    max_points: int = 0  # a bound on what is stored, 0 = none

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            raise ValueError(f"policy is {self.policy!r}, expected one of {sorted(POLICIES)}")
        if self.max_points < 0:
            raise ValueError(f"max_points is {self.max_points}, expected 0 (no bound) or more")


def write(
    memory: SpatialMemory,
    codes: Tensor,  # (C, V, h, w)
    images: Tensor,  # (V, 3, H, W) in [0, 1]
    geometry: Geometry,  # of the V views
    frames: tuple[int, ...],
    chunk: int,
    writing: Writing = Writing(),  # noqa: B008
) -> SpatialMemory:
    """Lift V views, merge them with what the memory shows already, carve what they see through, keep to the bound.

    What happened is the last row of the memory's ``ledger``.
    """
    if memory.kind == "latent":
        lifted = lift_latents(codes, geometry, frames, chunk)
    else:
        lifted = lift_pixels(images, geometry, frames, chunk, memory.scene_unit * RGB_VOXEL)
    written, row = merge(memory, lifted, POLICIES[writing.policy])
    tally = {"chunk": chunk, "policy": writing.policy, **row}
    if writing.carving:
        written, row = carve(written, geometry, frames, chunk)
        tally |= row
    if writing.max_points:
        written, row = evict(written, writing.max_points)
        tally |= row
    tally["points"] = written.num_points
    return written.noted(tally)


def _view(geometry: Geometry, view: int) -> Geometry:
    one = slice(view, view + 1)
    return replace(
        geometry,
        depth=geometry.depth[one],
        confidence=geometry.confidence[one],
        keep=geometry.keep[one],
        cameras=geometry.cameras[one],
    )
