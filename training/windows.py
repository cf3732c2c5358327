"""Training windows: what a rollout would have known, drawn at random from encoded clips.

A window is 9 latents of a clip: the first p are history (1 = a start frame, 3 = the last 9 frames of a chunk), the
rest is the target. Its memory is made as a rollout makes it, by lifting codes of other frames and reading them at the
window's cameras, with the errors that a rollout has: wrong depth, missing regions, nothing at all.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..memory.camera import Cameras, unproject
from ..memory.cloud import SpatialMemory
from ..memory.merge import merge
from ..memory.observation import Observation
from ..memory.splat import splat_centred

WINDOW = 9
EMPTY_SHARE = 0.15  # windows whose memory shows nothing: the baseline, and what guidance subtracts
RENDER_SHARE = 0.5  # of the windows that have one, those that take the encoded RGB render as control
WORN = 0.15  # the most that a remembered latent is wrong by, in latent standard deviations
AUGMENT_TIMESTEP = 50.0  # history is perturbed at a timestep in [0, 50] of 1000 (Spatia, supplement)


@dataclass(frozen=True)
class Window:
    """One training example. C channels, R references."""

    x0: Tensor  # (C, 9, h, w)
    readout: Tensor  # (C, 9, h, w)
    known: Tensor  # (9, h, w)
    offset: Tensor  # (2, 9, h, w)
    references: Tensor  # (C, R, h, w)
    history: int


def uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def integer(generator: torch.Generator, low: int, high: int) -> int:
    """A whole number in [low, high)."""
    return int(torch.randint(low, high, (), generator=generator))


def disturbed(depth: Tensor, generator: torch.Generator) -> Tensor:
    """Depth as an estimator would get it: a wrong scale and a smooth relative error. (h, w)."""
    strength = uniform(generator, 0.0, 0.06)
    coarse = torch.randn(1, 1, 3, 4, generator=generator) * strength
    smooth = torch.nn.functional.interpolate(coarse, size=depth.shape, mode="bicubic", align_corners=True)[0, 0]
    return depth * (1 + uniform(generator, -0.02, 0.02) + smooth)


def blob(height: int, width: int, generator: torch.Generator) -> Tensor:
    """A random ellipse, half-plane or rectangle: True inside. (h, w) bool."""
    y = torch.arange(height)[:, None] / height - uniform(generator, 0, 1)
    x = torch.arange(width)[None] / width - uniform(generator, 0, 1)
    angle = uniform(generator, 0, math.pi)
    a, b = x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)
    shape = integer(generator, 0, 3)
    if shape == 0:
        return (a / uniform(generator, 0.1, 0.5)) ** 2 + (b / uniform(generator, 0.1, 0.5)) ** 2 < 1
    if shape == 1:
        return a > 0
    return (a.abs() < uniform(generator, 0.05, 0.4)) & (b.abs() < uniform(generator, 0.05, 0.4))


def latent_memory(
    clip: dict[str, Tensor], sources: list[int], generator: torch.Generator, exact: bool
) -> SpatialMemory:
    """Lift the latents of the times ``sources``, in that order, and keep what is new, as a rollout does.

    The first is a picture that was given, the others are of the film, and wrong by as much as a rollout's may be.
    """
    height, width = clip["depth"].shape[-2:]
    memory = SpatialMemory("latent", "mini", clip["codes"].shape[1], 1.0, True, ())
    for position, source in enumerate(sources):
        truth = clip["depth"][source]
        depth = truth if exact else disturbed(truth, generator)
        camera = Cameras(clip["c2w"][source], clip["K"][source], height, width)
        kept = truth > 0
        while uniform(generator, 0, 1) < 0.25:
            kept = kept & ~blob(height, width, generator)
        cells = kept.flatten().nonzero()[:, 0]
        latents = clip["codes" if position == 0 else "stream"][source].flatten(1).T[cells].float()
        wrong = uniform(generator, 0.0, WORN) * torch.randn(latents.shape, generator=generator)
        observation = Observation(
            points=unproject(depth, camera).reshape(-1, 3)[cells],
            features=(latents + wrong).half(),
            cells=cells.int(),
            camera=camera,
            frame=source * 4,
            chunk=position - 1,
        )
        memory, _ = merge(memory, (observation,))
    return memory


def draw_sources(first: int, history: int, count: int, generator: torch.Generator) -> list[int]:
    """Latent times that wrote the memory. A first chunk knows its start; a later one the past; a revisit any time."""
    if history == 1 and uniform(generator, 0, 1) < 0.6:
        return [first]
    latest = first + history if uniform(generator, 0, 1) < 0.5 else count
    many = integer(generator, 1, 9)
    return sorted({integer(generator, 0, latest) for _ in range(many)})


def draw_references(first: int, history: int, count: int, many: int, generator: torch.Generator) -> list[int]:
    """Latent times that are referred to: of a camera that comes back the target's own, else any, or none of the window.

    Retrieval prefers what overlaps most, so a film that returns is shown the very views it has to make again.
    """
    kind = uniform(generator, 0, 1)
    if kind < 0.5:
        times = list(range(first + history, first + WINDOW))
    elif kind < 0.75:
        times = list(range(count))
    else:
        times = [i for i in range(count) if not first <= i < first + WINDOW] or list(range(count))
    return [times[integer(generator, 0, len(times))] for _ in range(many)]


def draw_window(clip: dict[str, Tensor], history: int, references: int, generator: torch.Generator) -> Window:
    """One example from one encoded clip (see ``latents.py``), with ``history`` clean latents and so many references."""
    count = len(clip["codes"])
    rendered = "rendered" in clip and uniform(generator, 0, 1) < RENDER_SHARE
    first = int(clip["rendered_start"]) if rendered else integer(generator, 0, count - WINDOW + 1)
    if history == 1 and not rendered and uniform(generator, 0, 1) < 0.5:
        first = 0
    x0 = torch.cat([clip["codes"][first : first + 1], clip["stream"][first + 1 : first + WINDOW]])
    x0 = x0.float().transpose(0, 1)
    readout, known, offset = torch.zeros_like(x0), torch.zeros_like(x0[0]), torch.zeros_like(x0[:2])
    if uniform(generator, 0, 1) < EMPTY_SHARE:
        pass
    elif rendered:
        readout, known = clip["rendered"].float().transpose(0, 1), clip["rendered_known"].float()
    else:
        sources = draw_sources(first, history, count, generator)
        memory = latent_memory(clip, sources, generator, exact=uniform(generator, 0, 1) < 0.5)
        height, width = clip["depth"].shape[-2:]
        cameras = Cameras(clip["c2w"][first : first + WINDOW], clip["K"][first : first + WINDOW], height, width)
        if memory.num_points:
            read = splat_centred(memory, cameras)
            readout, known, offset = read.features.transpose(0, 1), read.known, read.offset.transpose(0, 1)
    chosen = draw_references(first, history, count, references, generator)
    codes = clip["stream"][chosen].float().transpose(0, 1) if chosen else x0[:, :0]
    return Window(x0, readout, known, offset, codes, history)


def perturbed(clean: Tensor, generator: torch.Generator) -> Tensor:
    """Clean latents (B, C, p, h, w) as the network gets them as history, not told to it.

    Each window gets noise of a timestep of its own in [0, 50]. The generator is on the latents' device.
    """
    most = AUGMENT_TIMESTEP / 1000
    sigma = most * torch.rand(len(clean), 1, 1, 1, 1, generator=generator, device=clean.device)
    return (1 - sigma) * clean + sigma * torch.randn(clean.shape, generator=generator, device=clean.device)
