"""One chunk, step by step, as pure functions of a state: what the nodes call, and what the loop calls.

aim -> retrieve -> warp -> denoise -> decode_fresh -> chunk_geometry -> update, or, for the baseline without memory,
aim -> blank -> denoise -> decode_fresh -> forget. Each takes a state and returns a new one, or what comes next needs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..memory.camera import Cameras, concatenate
from ..memory.geometry import Geometry
from ..memory.path import cameras_from_slice
from ..memory.retrieve import References
from ..models.codec import LEAD, appended, as_colours, decode_tail, signed
from ..models.control_layout import Shown
from ..models.forecast import foretold
from ..models.sampler import Sampling, Step, Velocity, guided, ignore, noise, sample
from ..models.world import Conditioning, WorldModel, velocity
from .control import Warp, blank, chunk_window, new_cameras, preceding_latents, warp
from .observe import ChunkGeometry, chunk_geometry, detect_moving, fresh_frames, pick_fresh
from .retrieval import TimedReferences, reference_rows, retrieve
from .start import Writing, init_memory, start, start_geometry, write
from .state import ChunkTarget, RolloutState, check_target, recorded

__all__ = [
    "ChunkGeometry",
    "Text",
    "TimedReferences",
    "Writing",
    "Warp",
    "aim",
    "blank",
    "chunk_geometry",
    "decode_film",
    "decode_fresh",
    "denoise",
    "denoise_chunk",
    "detect_moving",
    "forget",
    "init_memory",
    "retrieve",
    "start",
    "start_geometry",
    "update",
    "warp",
]


@dataclass(frozen=True, eq=False)
class Text:
    """A chunk's prompt, encoded. L tokens of D channels each; None = no text at all."""

    positive: Tensor | None = None  # (L, D)
    negative: Tensor | None = None  # (L, D) what guidance moves away from, where the world is guided by text


NO_TEXT = Text()

SAME_POSE = 1e-4  # entries of the rotation, of the position in scene units, and of K relative to the focal length


def aim(state: RolloutState, slice_text: str) -> RolloutState:
    """Point the state at the frames that the next chunk makes: a slice of the camera path, as text.

    Raises:
        ValueError: no memory yet (it carries the scene's unit), a slice that does not begin where the film ends, or a
            first pose that is not the start frame's.
    """
    if state.memory is None:
        raise ValueError("the state has no memory; InitMemory comes before the first chunk")
    begin, cameras = cameras_from_slice(slice_text, state.height, state.width, state.memory.scene_unit)
    expected = len(state.cameras) if state.chunk else 0
    if begin != expected:
        raise ValueError(f"the slice begins at frame {begin}, expected {expected}, where chunk {state.chunk} begins")
    if not state.chunk:
        _check_first_pose(state, cameras, state.memory.scene_unit)
    return replace(state, target=ChunkTarget(begin, begin + len(cameras), cameras), fresh=None, seen=None)


def denoise(
    world: WorldModel,
    state: RolloutState,
    shown: Warp,
    references: References | None,
    sampling: Sampling,
    on_step: Callable[[Step], None] = ignore,
    text: Text = NO_TEXT,
) -> RolloutState:
    """Denoise the chunk's window; its new latents become ``fresh``. ``on_step`` may raise: the state is what it was.

    Noise comes from (seed, chunk) alone. Coverage, references and timings go into the chunk's record.

    Raises:
        ValueError: a state without target, too many references, or a control that does not cover the window.
    """
    begun = time.perf_counter()
    chunk = chunk_window(world, state)
    clean = history(world, state)
    count, p = world.codec.grid.latent_frames(chunk.window_frames), clean.shape[1]
    behind = preceding_latents(world, state)
    grid = shown.control.shape[1:]
    if grid[0] != count + len(behind) or shown.known.shape != grid or shown.offset.shape != (2, *grid):
        raise ValueError(
            f"control is {tuple(shown.control.shape)} with known {tuple(shown.known.shape)} and offset "
            f"{tuple(shown.offset.shape)}, expected {count + len(behind)} latents for chunk {state.chunk}; take it "
            "from WarpMemory of this very state"
        )
    if (shown.code is None) != (world.layout.code is None):
        raise ValueError(
            f"the control was made for another layout than {world.layout.name!r}; take it from WarpMemory of this world"
        )
    conditioning = Conditioning(
        references=state.codes[:, :0] if references is None else references.latents,
        history=clean,
        shown=Shown(shown.control, shown.known, shown.offset, shown.code),
        preceding=state.latents[:, behind.start : behind.stop] if len(behind) else None,
        context=text.positive,
        negative=text.negative,
    )

    def flow_under(given: Conditioning) -> Velocity:
        return foretold(velocity(world, given, state.chunk), sampling.steps, world.forecast)

    flow = flow_under(conditioning)
    if sampling.guidance_scale != 1.0:
        flow = guided(flow, flow_under(world.unconditional(conditioning)), sampling.guidance_scale)
    beside = world.backbone(state.chunk).device  # no step waits for a copy
    start_noise = noise((clean.shape[0], count, *clean.shape[2:]), state.seed, state.chunk).to(beside)
    latents = sample(flow, start_noise, sampling, clean.to(beside), on_step=on_step).to(clean.device)
    target, seen = check_target(world.name, state), shown.known[p:count]
    seconds = {"warp": shown.seconds, "denoise": time.perf_counter() - begun}
    if isinstance(references, TimedReferences):
        seconds = {"retrieve": references.seconds, **seconds}
    return recorded(
        replace(state, fresh=latents[:, p:], seen=shown.seen),
        frames=[target.start, target.stop],
        coverage=seen.mean().item(),
        hole_rate=(seen < 0.5).float().mean().item(),
        references=reference_rows(references),
        sampling={
            "sampler": sampling.sampler,
            "steps": sampling.steps,
            "guidance_scale": sampling.guidance_scale,
            "shift": sampling.shift,
            "forwards": world.forecast.forwards(sampling.steps),
        },
        seconds=seconds,
    )


def history(world: WorldModel, state: RolloutState) -> Tensor:
    """The clean latents at the head of the chunk's window: (C, p, h, w).

    Chunk 0: the start frame's. Later, ``overlap``: the last frames of the stream, decoded and encoded again as a clip
    of their own, since latents cut from a stream are not those of a clip that begins there; ``preceding``: the last
    latent of the stream.

    Raises:
        ValueError: the state has no target, or the chunk does not fit the window.
    """
    chunk = chunk_window(world, state)
    if chunk.start == 0:
        return state.latents[:, :1]
    if world.layout.history == "preceding":
        return state.latents[:, -1:]
    count = world.codec.grid.latent_frames(chunk.history)
    frames = decode_tail(world.codec, state.latents, count)
    return world.codec.encode(frames[-chunk.history :])


def decode_fresh(world: WorldModel, state: RolloutState) -> Tensor:
    """The chunk's frames, decoded for geometry and memory: (stop - start, 3, H, W) in [0, 1].

    A lead of earlier latents warms a causal decoder up. The film itself is decoded once, by ``decode_film``.

    Raises:
        ValueError: nothing has been denoised.
    """
    target = check_target(world.name, state)
    if state.fresh is None:
        raise ValueError("the state has no new latents; DenoiseChunk comes first")
    count = state.fresh.shape[1] + (target.start == 0)
    frames = decode_tail(world.codec, torch.cat([state.latents[:, -LEAD:], state.fresh], dim=1), count)
    return as_colours(frames)


def denoise_chunk(
    world: WorldModel,
    state: RolloutState,
    shown: Warp,
    references: References | None,
    sampling: Sampling,
    on_step: Callable[[Step], None] = ignore,
    text: Text = NO_TEXT,
) -> tuple[RolloutState, Tensor]:
    """``denoise`` and ``decode_fresh``: the new state, and the chunk's frames (stop - start, 3, H, W) in [0, 1]."""
    denoised = denoise(world, state, shown, references, sampling, on_step, text)
    begun = time.perf_counter()
    images = decode_fresh(world, denoised)
    return recorded(denoised, seconds={"decode": time.perf_counter() - begun}), images


def update(
    world: WorldModel,
    state: RolloutState,
    images: Tensor,
    geometry: Geometry,
    writing: Writing = Writing(),  # noqa: B008
) -> RolloutState:
    """Write the chunk into the memory and end it: its frames become past, its codes candidates for references.

    Args:
        images: (stop - start, 3, H, W) in [0, 1], the chunk's frames.
        geometry: at the frames of the new latents.

    Raises:
        ValueError: nothing has been denoised, or images or geometry are not those of this chunk.
    """
    begun = time.perf_counter()
    pictures, frames = pick_fresh(state, images), fresh_frames(state)
    if len(geometry.depth) != len(frames):
        raise ValueError(f"geometry has {len(geometry.depth)} views, expected {len(frames)}, one a new latent")
    check_target(world.name, state)
    if state.memory is None:
        raise ValueError("the state has no memory; InitMemory comes before the first chunk")
    assert state.fresh is not None  # fresh_frames saw it
    codes = world.codec.encode_frames(signed(pictures)) if world.layout.codes == "frames" else state.fresh
    memory = write(state.memory, codes, pictures, geometry, frames, state.chunk, writing)
    h, w = codes.shape[-2:]
    remembering = replace(
        state,
        memory=memory,
        codes=appended(state.codes, codes),
        code_frames=state.code_frames + frames,
        code_cameras=concatenate([state.code_cameras, new_cameras(world, state).resized(h, w)]),
    )
    seconds, alignment = {"update": time.perf_counter() - begun}, []
    if isinstance(geometry, ChunkGeometry):
        seconds, alignment = {"geometry": geometry.seconds, **seconds}, list(geometry.alignment)
    return _ended(recorded(remembering, alignment=alignment, memory=memory.ledger[-1], seconds=seconds))


def forget(world: WorldModel, state: RolloutState) -> RolloutState:
    """End the chunk and write nothing: the baseline, whose history goes on while its memory stays as it began.

    Raises:
        ValueError: nothing has been denoised.
    """
    check_target(world.name, state)
    fresh_frames(state)
    return _ended(state)


def decode_film(world: WorldModel, state: RolloutState, on_latent: Callable[[int], None] | None = None) -> Tensor:
    """The whole film in one streamed pass, so that joins do not flicker: (T, 3, H, W) in [0, 1]."""
    return as_colours(torch.cat(list(world.codec.decode_stream(state.latents, on_latent))))


def _ended(state: RolloutState) -> RolloutState:
    target, fresh, memory = state.target, state.fresh, state.memory
    assert target is not None and fresh is not None  # fresh_frames saw them
    points, nbytes = (memory.num_points, memory.get_ram_usage()) if memory else (0, 0)
    done = recorded(state, points=points, memory_bytes=nbytes)
    return replace(
        done,
        latents=appended(state.latents, fresh),
        cameras=concatenate([state.cameras, target.cameras]) if target.start else target.cameras,
        chunk=state.chunk + 1,
        target=None,
        fresh=None,
        seen=None,
    )


def _check_first_pose(state: RolloutState, cameras: Cameras, scene_unit: float) -> None:
    ours, theirs = state.cameras[0], cameras[0]
    turned = (ours.c2w[:3, :3] - theirs.c2w[:3, :3]).abs().max().item()
    moved = (ours.position - theirs.position).abs().max().item() / scene_unit
    zoomed = ((ours.K - theirs.K).abs().max() / ours.K[0, 0]).item()
    if max(turned, moved, zoomed) > SAME_POSE:
        raise ValueError(
            f"the path's first pose is not the start frame's camera (rotation off by {turned:.2g}, position by "
            f"{moved:.2g} scene units, K by {zoomed:.2g} of the focal length): give the start frame the first camera "
            "of this path, with the same field of view"
        )
