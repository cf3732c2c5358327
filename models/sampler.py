"""Flow matching: from noise to latents. x_sigma = (1 - sigma) x0 + sigma n, velocity = n - x0, sigma from 1 down to 0.

Two solvers, chosen by name. ``euler`` is the plain one that the mini model uses; ``unipc`` is Wan's own (order 2, flow
sigmas), by the weights that diffusers' scheduler has for the sigmas of the released code instead of its own spacing.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

Velocity = Callable[[Tensor, float, float], Tensor]  # (x (C, t, h, w), sigma, timestep in [0, 1000]) -> (C, t, h, w)


@dataclass(frozen=True)
class Sampling:
    """How to denoise one chunk: solver, number of steps, guidance (1 = none, one forward a step) and sigma shift."""

    sampler: str = "euler"
    steps: int = 20
    guidance_scale: float = 1.0
    shift: float = 5.0

    def __post_init__(self) -> None:
        if self.sampler not in SOLVERS:
            raise ValueError(f"sampler is {self.sampler!r}, expected one of {sorted(SOLVERS)}")
        if self.steps < 1:
            raise ValueError(f"steps is {self.steps}, expected at least 1")
        if not self.shift > 0:
            raise ValueError(f"shift is {self.shift}, expected a positive number (1 leaves the sigmas as they are)")
        if not self.guidance_scale >= 0:
            raise ValueError(f"guidance_scale is {self.guidance_scale}, expected 0 or more (1 turns guidance off)")


@dataclass(frozen=True)
class Step:
    """One finished step: its number from 0, how many there are, its sigma, and what the video looks like from there."""

    index: int
    total: int
    sigma: float
    clean: Tensor  # (C, t, h, w) the estimate of x0: x - sigma v, clean frames as given


def noise(shape: Sequence[int], seed: int, chunk: int) -> Tensor:
    """Standard normal float32 noise of ``shape`` on the CPU, the same wherever and whenever it is drawn.

    The generator is seeded with the first 63 bits of SHA-256 of the text ``"{seed}:{chunk}"``, so that neighbouring
    seeds and chunks are unrelated and no chunk depends on how many numbers another one drew.
    """
    digest = hashlib.sha256(f"{seed}:{chunk}".encode()).digest()
    generator = torch.Generator("cpu").manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    return torch.randn(tuple(shape), generator=generator)


def guided(conditional: Velocity, unconditional: Velocity, scale: float) -> Velocity:
    """Classifier-free guidance: u + scale (c - u). At scale 1 that is c, and the second forward is not made."""
    if scale == 1.0:
        return conditional

    def velocity(x: Tensor, sigma: float, timestep: float) -> Tensor:
        without = unconditional(x, sigma, timestep)
        return without + scale * (conditional(x, sigma, timestep) - without)

    return velocity


def ignore(step: Step) -> None:
    """Do nothing: the default ``on_step``."""


@torch.no_grad()
def sample(
    velocity: Velocity,
    noise: Tensor,  # (C, t, h, w)
    sampling: Sampling,
    clean: Tensor | None = None,  # (C, p, h, w)
    clean_frames: Sequence[int] | None = None,  # p frame numbers; the first p if None
    on_step: Callable[[Step], None] = ignore,
) -> Tensor:  # (C, t, h, w)
    """Denoise ``noise``. The ``clean`` frames are imposed before the first step and again after every one.

    ``velocity`` gets the sigma of the step and the timestep that the network was trained to see (for ``unipc`` cut to
    an integer, as Wan does). ``on_step`` may raise to interrupt: nothing outside this call has changed by then.
    Guidance is the caller's, see ``guided``. Works on the device of ``noise``; touches no global generator.

    Raises:
        ValueError: clean frames that do not fit the noise, or are listed twice.
    """
    frames = _check_clean(noise, clean, clean_frames)

    def impose(x: Tensor) -> Tensor:
        return x if clean is None else x.index_copy(1, frames, clean.to(x))

    x = impose(noise)
    solver = SOLVERS[sampling.sampler](sampling)
    for index, (sigma, timestep, advance) in enumerate(solver):
        v = velocity(x, sigma, timestep).to(x)
        estimate = impose(x - sigma * v)
        x = impose(advance(x, v))
        on_step(Step(index, sampling.steps, sigma, estimate))
    return x


def _check_clean(noise: Tensor, clean: Tensor | None, clean_frames: Sequence[int] | None) -> Tensor:
    """The frame numbers of ``clean`` as an index on the device of ``noise``."""
    if clean is None:
        if clean_frames:
            raise ValueError(
                f"clean_frames is {list(clean_frames)} but clean is None; give the latents of those frames"
            )
        return torch.empty(0, dtype=torch.long, device=noise.device)
    numbers = list(range(clean.shape[1]) if clean_frames is None else clean_frames)
    expected = (noise.shape[0], len(numbers), *noise.shape[2:])
    if clean.shape != expected:
        raise ValueError(f"clean has shape {tuple(clean.shape)}, expected {expected} for frames {numbers} of the noise")
    if len(set(numbers)) != len(numbers) or any(not 0 <= frame < noise.shape[1] for frame in numbers):
        raise ValueError(f"clean_frames is {numbers}, expected different numbers from 0 to {noise.shape[1] - 1}")
    return torch.tensor(numbers, dtype=torch.long, device=noise.device)


Advance = Callable[[Tensor, Tensor], Tensor]  # (x, velocity) -> the next x


def euler(sampling: Sampling) -> Iterator[tuple[float, float, Advance]]:
    """x + (next sigma - sigma) v over evenly spaced sigmas, shifted: s / (1 + (s - 1) u) u."""
    even = np.linspace(1.0, 0.0, sampling.steps + 1)
    sigmas = sampling.shift * even / (1 + (sampling.shift - 1) * even)
    for sigma, after in zip(sigmas[:-1].tolist(), sigmas[1:].tolist()):
        yield sigma, 1000.0 * sigma, partial(_euler_step, after - sigma)


def _euler_step(step: float, x: Tensor, v: Tensor) -> Tensor:
    return x + step * v


def unipc(sampling: Sampling) -> Iterator[tuple[float, float, Advance]]:
    """UniPC of order 2 over Wan's sigmas: even from 0.999 towards 0, shifted, the last step to 0."""
    sigmas, timesteps, weights = unipc_weights(sampling.steps, sampling.shift)
    advance = Multistep(weights)
    for sigma, timestep in zip(sigmas, timesteps):
        yield sigma, timestep, advance


Weights = tuple[tuple[float, ...], ...]  # 3 x 5, see ``_weights``


@lru_cache(maxsize=16)
def unipc_weights(steps: int, shift: float) -> tuple[tuple[float, ...], tuple[float, ...], tuple[Weights, ...]]:
    """Sigmas, the last one 0, timesteps and weights of all steps, as diffusers' scheduler gives them.

    A step is linear in what it is given, and its weights do not depend on it. So the scheduler is asked once, on the
    CPU; asked for tensors on a GPU it would make the GPU wait in every step.
    """
    from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)
    scheduler.set_timesteps(sigmas=np.linspace(0.999, 0.0, steps + 1)[:-1])
    scheduler.set_begin_index(0)  # two early steps may share an integer timestep, which is how it would look itself up
    weights = tuple(_weights(scheduler, timestep) for timestep in scheduler.timesteps)
    return tuple(scheduler.sigmas.tolist()), tuple(map(float, scheduler.timesteps.tolist())), weights


def _weights(scheduler: "UniPCMultistepScheduler", timestep: Tensor) -> Weights:
    """What a scheduler of order 2 makes of its next step.

    Rows: the next x, and what the scheduler remembers: x as it was corrected, x0 as it was estimated. Columns: x, the
    velocity, and what it remembered: x as it was corrected, the estimates of x0 of the last step and of the one before.
    """
    x, v, corrected, last, before = torch.eye(5, dtype=torch.float64)[:, None]
    if scheduler.last_sample is not None:
        scheduler.last_sample, scheduler.model_outputs = corrected, [before, last]
    after = scheduler.step(v, timestep, x, return_dict=False)[0]
    rows = torch.cat([after, scheduler.last_sample, scheduler.model_outputs[-1]])
    return tuple(map(tuple, rows.tolist()))


class Multistep:
    """Steps by their weights, one after another. It keeps three tensors of the size of x from step to step."""

    def __init__(self, weights: Sequence[Weights]) -> None:
        self.weights = iter(weights)
        self.remembered: list[Tensor] = []  # x as it was corrected, the last estimates of x0, the newest first

    def __call__(self, x: Tensor, v: Tensor) -> Tensor:
        given = [x, v, *self.remembered]
        after, corrected, clean = (weighted(row, given) for row in next(self.weights))
        self.remembered = [corrected, clean, *self.remembered[1:2]]
        return after


def weighted(weights: Sequence[float], tensors: Sequence[Tensor]) -> Tensor:
    """The sum of some tensors of one shape, each by its weight; those that weigh nothing are left out."""
    heavy = [(weight, tensor) for weight, tensor in zip(weights, tensors) if weight]
    total = heavy[0][1] * heavy[0][0]
    for weight, tensor in heavy[1:]:
        total.add_(tensor, alpha=weight)
    return total


SOLVERS: dict[str, Callable[[Sampling], Iterator[tuple[float, float, Advance]]]] = {"euler": euler, "unipc": unipc}
