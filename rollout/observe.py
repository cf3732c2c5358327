"""What the new frames of a chunk look like in space: their depth in the memory's units, and what may be remembered."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from ..memory.geometry import Geometry
from ..memory.lift import at_centres
from ..memory.rendering import Rendering
from ..memory.shapes import sizes
from ..models.geometry import Estimate, GeometryProvider, GivenGeometry, may_be_remembered
from ..models.masks import given, moving
from .align import COMPARED, GIVEN, Way, brought, compared_size, fitted, last_good, trust
from .reported import reported
from .seen import look
from .state import ChunkTarget, RolloutState


@dataclass(frozen=True, eq=False)
class ChunkGeometry(Geometry):
    """Geometry of a chunk's new latents, with how each view was aligned and how long it took."""

    alignment: tuple[dict, ...] = ()
    seconds: float = 0.0


def fresh_frames(state: RolloutState) -> tuple[int, ...]:
    """The pixel frames that the chunk's new latents stand for: every s-th, back from the chunk's last.

    Raises:
        ValueError: nothing has been denoised.
    """
    target, count = _denoised(state)
    stride = (target.stop - max(target.start, 1)) // count
    return tuple(target.stop - 1 - stride * i for i in reversed(range(count)))


def pick_fresh(state: RolloutState, images: Tensor, name: str = "images") -> Tensor:
    """Those of the chunk's frames (stop - start, ...) that its new latents stand for: (V, ...).

    Raises:
        ValueError: nothing has been denoised, or the count is not that of the chunk's frames.
    """
    target, _ = _denoised(state)
    if len(images) != target.stop - target.start:
        raise ValueError(
            f"{name} has {len(images)} frames, expected the {target.stop - target.start} that chunk {state.chunk} made"
        )
    picked = _local(state)
    step = picked[1] - picked[0] if len(picked) > 1 else 1
    return images[picked[0] : picked[-1] + 1 : step]  # nothing is copied


def chunk_geometry(
    provider: GeometryProvider,
    state: RolloutState,
    images: Tensor,  # (T, 3, H, W) in [0, 1], the chunk's new frames
    dynamic: Tensor | None = None,  # (T, H, W), (V, H, W) or (1, H, W), 1 = moves
    sky: Tensor | None = None,  # the same, 1 = sky; what the provider says where a mask is None
    device: torch.device | None = None,
) -> ChunkGeometry:
    """Geometry at the frames of the new latents, aligned to the depth that the memory itself renders.

    ``device`` says where depths are rendered and compared for a fit (where the memory lies, if None): at 704 x 1280
    pixels that takes a CPU seconds. The provider is given, and the result lies, where the images lie.

    Metric depth over a metric memory is taken as it is. Where a view cannot be fitted, see ``fallback``.

    Raises:
        ValueError: nothing has been denoised, no memory, or images, masks or depth that do not fit the chunk.
    """
    begun = time.perf_counter()
    if state.memory is None:
        raise ValueError("the state has no memory; give it one with InitMemory before the first chunk")
    pictures = pick_fresh(state, images)
    views, height, width = sizes("V 3 H W", images=pictures)
    cameras = _denoised(state)[0].cameras[_local(state)]
    rendered = Rendering(state.memory, cameras, device)
    moves = None if dynamic is None else _per_view(state, dynamic, "dynamic", views, height, width)
    skies = None if sky is None else _per_view(state, sky, "sky", views, height, width)
    found = provider.estimate(pictures, cameras, rendered, state.memory.scene_unit)
    keep = may_be_remembered(found, moves, skies)
    as_it_is = found.metric and state.memory.metric  # a fit could only add its own error, chunk by chunk
    if as_it_is:
        latent = (state.code_cameras.height, state.code_cameras.width)
        cells = (max(1, latent[0] // 2), max(1, latent[1] // 2))
        seen = state.seen
        if seen is None or seen.memory is not state.memory:
            seen = look(state.memory, cameras, latent, cells)
        depth, rows = found.depth, reported(seen, cameras, found.depth, keep, found.confidence, cells)
    else:
        depth, rows = _fitted(provider, state, found, keep, rendered)
    return ChunkGeometry(
        depth,
        found.confidence,
        keep,
        cameras,
        found.metric,
        state.memory.scene_unit,
        tuple(rows),
        time.perf_counter() - begun,
    )


def _fitted(
    provider: GeometryProvider, state: RolloutState, found: Estimate, keep: Tensor, rendered: Rendering
) -> tuple[Tensor, list[dict]]:
    """Depth (V, H, W) brought into the units of what the memory shows, view by view, and the record of each."""
    height, width = sizes("V H W", depth=found.depth)[1:]
    size = compared_size(height, width, COMPARED)
    shown, place = rendered.resized(*size), rendered.device or rendered.memory.device
    depth, kept, sure = (at_centres(t, *size).to(place) for t in (found.depth, keep, found.confidence))
    target, seen = shown.depth.to(place), shown.known.to(place) & kept
    weights = trust(depth, sure, shown.cameras.to(place))
    depths: list[Tensor] = []
    rows: list[dict] = []
    for v in range(len(depth)):
        way, row = fitted(depth[v], target[v], seen[v], weights[v], fallback(state, provider, found, rows))
        depths.append(brought(found.depth[v], way))
        rows.append(row)
    return torch.stack(depths), rows


def fallback(state: RolloutState, provider: GeometryProvider, found: Estimate, rows: list[dict]) -> Way:
    """What is done with a view that cannot be fitted to the memory.

    The scale that the user gave with the depth, where it is of the memory's kind (both in metres, or neither); else the
    last scale and shift of this film that held, those of the chunk at hand (``rows``) included; else nothing.
    """
    assert state.memory is not None  # chunk_geometry saw it
    if isinstance(provider, GivenGeometry) and found.metric == state.memory.metric:
        return GIVEN
    return last_good([row for record in state.records for row in record.get("alignment", [])] + rows)


def detect_moving(state: RolloutState, images: Tensor) -> Tensor:
    """Mark what moves by itself in a chunk's new frames, by optical flow against the depth that the memory renders.

    Costs a few flows a latent; where the memory shows nothing, nothing is marked.

    Args:
        images: (T, 3, H, W) in [0, 1], the chunk's new frames.

    Returns:
        (T, H, W) bool, True = moves; found at the frame of each new latent, and given to all frames of its group.

    Raises:
        ValueError: nothing has been denoised, no memory, or another number of frames.
    """
    if state.memory is None:
        raise ValueError("the state has no memory; give it one with InitMemory before the first chunk")
    pick_fresh(state, images)
    target, indices = _denoised(state)[0], _local(state)
    marked = moving(images, target.cameras, Rendering(state.memory, target.cameras[indices]).depth, indices)
    ends = torch.tensor(indices)
    return marked[torch.searchsorted(ends, torch.arange(len(images)))]


def _denoised(state: RolloutState) -> tuple[ChunkTarget, int]:
    if state.target is None or state.fresh is None:
        raise ValueError("the state has no new latents; DenoiseChunk comes before geometry and update")
    return state.target, state.fresh.shape[1]


def _local(state: RolloutState) -> list[int]:
    """Indices of ``fresh_frames`` among the frames of the chunk."""
    return [frame - _denoised(state)[0].start for frame in fresh_frames(state)]


def _per_view(state: RolloutState, masks: Tensor, name: str, views: int, height: int, width: int) -> Tensor:
    """Masks of all frames of a chunk, of its new latents only, or one for all: (V, H, W) bool."""
    target = _denoised(state)[0]
    if len(masks) == target.stop - target.start and len(masks) != views:
        masks = pick_fresh(state, masks, name)
    return given(masks, name, views, height, width)
