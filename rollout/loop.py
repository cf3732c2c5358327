"""The loop over a path's chunks, where no graph runs it. The same steps and numbers as the nodes."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..memory.path import CameraPath
from ..models.geometry import GeometryProvider
from ..models.sampler import Sampling, Step
from ..models.world import WorldModel
from . import chunk as steps
from .plan import ChunkPlan, continued
from .state import RolloutState


@dataclass(frozen=True)
class Settings:
    """How every chunk of a rollout is made."""

    sampling: Sampling
    max_references: int = -1  # as many as the world was trained with
    policy: str = "default"
    threshold: float = 0.04


@dataclass(frozen=True)
class Event:
    """Something happened in a chunk: a stage ended, or (``step`` set) one step of denoising did."""

    stage: str  # "retrieve", "warp", "denoise", "geometry" or "update"
    chunk: int
    chunks: int
    state: RolloutState  # after the stage
    step: Step | None = None


Listener = Callable[[Event], None]  # may raise to interrupt


def ignore(event: Event) -> None:
    """Do nothing: the default listener."""


def remaining(world: WorldModel, state: RolloutState, path: CameraPath) -> tuple[ChunkPlan, ...]:
    """The chunks of the path that the state has not made yet.

    Raises:
        ValueError: the path's length does not fit, or the film so far was not made along its first frames.
    """
    left = continued(world.layout, path.num_frames, state.chunk, len(state.cameras), world.codec.grid.temporal)
    if state.chunk and state.memory:
        made = path.bake(state.height, state.width, state.memory.scene_unit)[: len(state.cameras)]
        if not (torch.equal(made.c2w, state.cameras.c2w) and torch.equal(made.K, state.cameras.K)):
            raise ValueError(
                f"the first {len(state.cameras)} frames of the path {path.name!r} are not those along which the film "
                "was made; continue with the same path, or with one that only adds frames"
            )
    return left


def run(
    world: WorldModel,
    state: RolloutState,
    path: CameraPath,
    settings: Settings,
    provider: GeometryProvider,
    on_event: Listener = ignore,
) -> RolloutState:
    """Make the rest of the path with memory, chunk by chunk. Whatever ``on_event`` raises ends it between two steps.

    Raises:
        ValueError: what the chunk's steps refuse.
    """
    parts = remaining(world, state, path)
    state = replace(state, path=path)
    for part in parts:
        tell = _teller(part.index, parts[-1].index + 1, on_event)
        state = steps.aim(state, path.slice(part.start, part.stop))
        found = steps.retrieve(world, state, settings.policy, settings.max_references, settings.threshold)
        tell("retrieve", state)
        shown = steps.warp(world, state)
        tell("warp", state)
        state, images = _denoised(world, state, shown, found, settings.sampling, tell)
        geometry = steps.chunk_geometry(provider, state, images, device=world.transformer.device)
        tell("geometry", state)
        state = steps.update(world, state, images, geometry)
        tell("update", state)
    return state


def run_baseline(
    world: WorldModel,
    state: RolloutState,
    path: CameraPath,
    sampling: Sampling,
    on_event: Listener = ignore,
) -> RolloutState:
    """The same path, seed and history with an empty control and no references: what memory is measured against.

    Raises:
        ValueError: what the chunk's steps refuse.
    """
    parts = remaining(world, state, path)
    state = replace(state, path=path)
    for part in parts:
        tell = _teller(part.index, parts[-1].index + 1, on_event)
        state = steps.aim(state, path.slice(part.start, part.stop))
        state, _ = _denoised(world, state, steps.blank(world, state), None, sampling, tell)
        state = steps.forget(world, state)
        tell("update", state)
    return state


Tell = Callable[..., None]  # (stage, state, step=None)


def _teller(index: int, total: int, on_event: Listener) -> Tell:
    def tell(stage: str, state: RolloutState, step: Step | None = None) -> None:
        on_event(Event(stage, index, total, state, step))

    return tell


def _denoised(
    world: WorldModel,
    state: RolloutState,
    shown: steps.Warp,
    references: steps.TimedReferences | None,
    sampling: Sampling,
    tell: Tell,
) -> tuple[RolloutState, Tensor]:
    state, images = steps.denoise_chunk(
        world, state, shown, references, sampling, lambda step: tell("denoise", state, step)
    )
    tell("denoise", state)
    return state, images
