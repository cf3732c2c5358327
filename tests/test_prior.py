"""What the mini network's output means: the posterior against a Monte Carlo twin, and the residual's round trip."""

import math

import torch
from spatial_memory.models.mini_codec import APPEARANCE
from spatial_memory.models.prior import (
    AGREEMENT,
    SLIP,
    Evidence,
    memory_posterior,
    memory_residual,
    memory_residual_target,
)

CHANNELS = APPEARANCE + 2


def drawn(seed=0, sigma=0.6):
    """A window of 3 latents of 2 x 3 cells: the left column is known and exact, the middle one half a cell off."""
    generator = torch.Generator().manual_seed(seed)
    x0, readout, noise = torch.randn(3, CHANNELS, 3, 2, 3, generator=generator)
    known = torch.tensor([1.0, 1.0, 0.0]).expand(3, 2, 3)
    offset = torch.zeros(2, 3, 2, 3)
    offset[0, ..., 1], offset[1, ..., 1] = 0.3, -0.4
    return x0, (1 - sigma) * x0 + sigma * noise, Evidence(readout * known, known, offset)


def test_the_target_is_the_output_that_gives_the_true_velocity():
    for sigma in (0.05, 0.6, 1.0):
        x0, x, shown = drawn(sigma=sigma)
        output = memory_residual_target(x0, x, sigma, shown)
        velocity = memory_residual(output, x, sigma, shown)
        assert torch.allclose(velocity, (x - x0) / sigma, atol=1e-4)


def test_the_memory_speaks_of_places_and_not_of_motion():
    _, x, shown = drawn(sigma=1.0)
    mean, std = memory_posterior(x, 1.0, shown)  # pure noise: nothing but the prior
    for column, r in ((0, AGREEMENT), (1, AGREEMENT * math.exp(-0.5 / SLIP)), (2, 0.0)):
        expected = r * shown.readout[:APPEARANCE, ..., column]
        assert torch.allclose(mean[:APPEARANCE, ..., column], expected, atol=1e-6)
        assert torch.allclose(std[:APPEARANCE, ..., column], torch.tensor((1 - r * r) ** 0.5))
    assert not mean[APPEARANCE:].any() and torch.all(std[APPEARANCE:] == 1)


def test_the_posterior_is_that_of_a_million_draws():
    generator = torch.Generator().manual_seed(1)
    sigma, readout, seen = 0.5, 0.8, 0.35
    x0 = AGREEMENT * readout + (1 - AGREEMENT**2) ** 0.5 * torch.randn(1_000_000, generator=generator)
    x = (1 - sigma) * x0 + sigma * torch.randn(1_000_000, generator=generator)
    near = x0[(x - seen).abs() < 0.01]
    one = torch.full((1, 1, 1, 1), 1.0)
    mean, std = memory_posterior(seen * one, sigma, Evidence(readout * one, one[0], torch.zeros(2, 1, 1, 1)))
    assert abs(near.mean() - mean.item()) < 0.02 and abs(near.std() - std.item()) < 0.02
