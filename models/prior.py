"""What a network's output means: the step from a transformer's output to the velocity of the flow.

The flow mixes ``x = (1 - sigma) x0 + sigma noise`` and its velocity is ``noise - x0 = (x - x0) / sigma``.
"""

from collections.abc import Callable

import torch
from torch import Tensor

# (output, x, sigma, readout, known) -> velocity, all (..., C, t, h, w) but sigma and known (..., t, h, w)
Parametrisation = Callable[[Tensor, Tensor, Tensor | float, Tensor, Tensor], Tensor]

KNOWN_STD = 0.7  # spread of x0 about the readout in known cells, in latent standard deviations
KNOWN_FROM = 0.95  # a cell whose coverage is below this is no evidence for the prior


def plain_velocity(output: Tensor, x: Tensor, sigma: Tensor | float, readout: Tensor, known: Tensor) -> Tensor:
    """The output is the velocity itself (Wan, Spatia, Mirage)."""
    return output


def memory_posterior(x: Tensor, sigma: Tensor | float, readout: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of x0 given the noisy x, with the memory as the prior.

    A known cell believes ``x0 ~ N(readout, KNOWN_STD^2)``, a hole ``x0 ~ N(0, 1)``. With
    ``x ~ N((1 - sigma) x0, sigma^2)`` the posterior is Gaussian. This is EDM's preconditioning (Karras et al. 2022,
    section 5) with a prior that differs from cell to cell.

    Args:
        x: (..., C, t, h, w) noisy latents; sigma broadcasts against it.
        readout: (..., C, t, h, w); known: (..., t, h, w).

    Returns:
        mean (..., C, t, h, w) and std broadcastable to it.
    """
    trusted = (known >= KNOWN_FROM).to(x).unsqueeze(-4)
    expected = trusted * readout
    variance = trusted * KNOWN_STD**2 + (1 - trusted)
    keep = 1 - sigma
    total = variance * keep**2 + sigma**2
    mean = expected + variance * keep / total * (x - keep * expected)
    return mean, (variance / total) ** 0.5 * sigma


def memory_residual(output: Tensor, x: Tensor, sigma: Tensor | float, readout: Tensor, known: Tensor) -> Tensor:
    """The output is what the posterior mean misses, in units of the posterior's standard deviation.

    So a network that says nothing already keeps what the memory shows, and a small one spends its width on the rest.
    """
    mean, std = memory_posterior(x, sigma, readout, known)
    return (x - mean - std * output) / sigma


def memory_residual_target(x0: Tensor, x: Tensor, sigma: Tensor | float, readout: Tensor, known: Tensor) -> Tensor:
    """The output that ``memory_residual`` turns into the true velocity: the training target, of about unit variance."""
    mean, std = memory_posterior(x, sigma, readout, known)
    return (x0 - mean) / torch.clamp(torch.as_tensor(std), min=1e-4)
