"""What a network's output means: the step from a transformer's output to the velocity of the flow.

The flow mixes ``x = (1 - sigma) x0 + sigma noise`` and its velocity is ``noise - x0 = (x - x0) / sigma``.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .mini_codec import APPEARANCE

AGREEMENT = 0.97  # correlation of a remembered latent with the truth where it lies in the middle of its cell
SLIP = 0.42  # cells off the middle at which the correlation has fallen to 1 / e of that
KNOWN_FROM = 0.5  # a cell whose coverage is below this is no evidence for the prior


class Evidence(NamedTuple):
    """What the memory shows a window."""

    readout: Tensor  # (..., C, t, h, w) latents, 0 at holes
    known: Tensor  # (..., t, h, w) coverage in [0, 1]
    offset: Tensor  # (..., 2, t, h, w) of the points read, in cells from the cells' centres


# (output, x, sigma, evidence) -> velocity; output and x are (..., C, t, h, w)
Parametrisation = Callable[[Tensor, Tensor, Tensor | float, Evidence], Tensor]


def plain_velocity(output: Tensor, x: Tensor, sigma: Tensor | float, evidence: Evidence) -> Tensor:
    """The output is the velocity itself (Wan, Spatia, Mirage)."""
    return output


def correlation(evidence: Evidence) -> Tensor:
    """How far each channel of each cell can be told from the memory linearly: (..., C, t, h, w) in [0, 1).

    Measured on held-back training clips (``docs/log.md``): 0.97 where the point lies in the middle of its cell, and
    falling exponentially with the distance from it, since a latent codes its cell's pixels in their places. Only the
    channels that code a frame by itself count: the memory holds places, not motion.
    """
    channels = evidence.readout.shape[-4]
    of_place = (torch.arange(channels, device=evidence.readout.device) < APPEARANCE)[:, None, None, None]
    distance = evidence.offset.square().sum(-4, keepdim=True).sqrt()
    trusted = (evidence.known >= KNOWN_FROM).unsqueeze(-4) & of_place
    return torch.where(trusted, AGREEMENT * torch.exp(-distance / SLIP), 0.0).to(evidence.readout)


def memory_posterior(x: Tensor, sigma: Tensor | float, evidence: Evidence) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of x0 given the noisy x, with the memory as the prior.

    The prior is ``x0 ~ N(r readout, 1 - r^2)`` with the ``correlation`` r, so ``N(0, 1)`` in a hole. With
    ``x ~ N((1 - sigma) x0, sigma^2)`` the posterior is Gaussian. This is EDM's preconditioning (Karras et al. 2022,
    section 5) with a prior that differs from cell to cell.

    Args:
        x: (..., C, t, h, w) noisy latents; sigma broadcasts against it.

    Returns:
        mean and std, (..., C, t, h, w) each.
    """
    r = correlation(evidence)
    expected, variance = r * evidence.readout, 1 - r * r
    keep = 1 - sigma
    total = variance * keep**2 + sigma**2
    mean = expected + variance * keep / total * (x - keep * expected)
    return mean, (variance / total) ** 0.5 * sigma


def memory_residual(output: Tensor, x: Tensor, sigma: Tensor | float, evidence: Evidence) -> Tensor:
    """The output is what the posterior mean misses, in units of the posterior's standard deviation.

    So a network that says nothing already keeps what the memory shows, and a small one spends its width on the rest.
    """
    mean, std = memory_posterior(x, sigma, evidence)
    return (x - mean - std * output) / sigma


def memory_residual_target(x0: Tensor, x: Tensor, sigma: Tensor | float, evidence: Evidence) -> Tensor:
    """The output that ``memory_residual`` turns into the true velocity: the training target, of about unit variance."""
    mean, std = memory_posterior(x, sigma, evidence)
    return (x0 - mean) / torch.clamp(torch.as_tensor(std), min=1e-4)
