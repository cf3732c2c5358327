"""The loss of the mini world model: flow matching on the posterior residual, a batch at once, on the batch's device."""

from collections.abc import Sequence

import torch
from einops import rearrange
from torch import Tensor

from ..models.control_layout import Shown
from ..models.layout import MINI_LAYOUT
from ..models.prior import Evidence, memory_residual_target
from ..models.transformer import SpatialTransformer
from .batches import TENSORS, Batch
from .precision import fast
from .windows import perturbed

SHIFT = 3.0
PURE_NOISE = 0.12  # of the windows are trained at sigma 1, where every sample begins


def noise_of(seed: int, step: int, device: torch.device) -> torch.Generator:
    """The generator of a step's noise and timesteps."""
    return torch.Generator(device).manual_seed(seed * 1_000_003 + step)


def draw_sigmas(count: int, generator: torch.Generator) -> Tensor:
    """(count,) in [0.01, 1], uniform, shifted by ``SHIFT``, and a share at 1."""
    u = torch.rand(count, generator=generator, device=generator.device)
    sigma = (SHIFT * u / (1 + (SHIFT - 1) * u)).clamp(0.01, 1.0)
    pure = torch.rand(count, generator=generator, device=generator.device) < PURE_NOISE
    return torch.where(pure, 1.0, sigma)


def control(readout: Tensor, known: Tensor, offset: Tensor) -> Tensor:
    """The layout's control of a whole batch: (B, Cc, t, h, w). Windows stand one after the other in time meanwhile."""
    batch = len(readout)
    in_a_row = [rearrange(part, "b c t h w -> c (b t) h w") for part in (readout, offset)]
    shown = Shown(in_a_row[0], known.flatten(0, 1), in_a_row[1])
    return rearrange(MINI_LAYOUT.control(shown), "c (b t) h w -> b c t h w", b=batch)


def batch_loss(network: SpatialTransformer, batch: Batch, generator: torch.Generator) -> Tensor:
    """Mean squared residual error over the latents that are not history."""
    x0, readout, known, offset, references = (getattr(batch, name).float() for name in TENSORS)
    history, count = batch.history, references.shape[2]
    sigma = draw_sigmas(len(x0), generator)
    s = sigma[:, None, None, None, None]
    x = (1 - s) * x0 + s * torch.randn(x0.shape, generator=generator, device=x0.device)
    target = memory_residual_target(x0, x, s, Evidence(readout, known, offset))
    x[:, :, :history] = perturbed(x0[:, :, :history], generator)
    times = sigma.new_zeros(len(x0), count + x.shape[2])
    times[:, count + history :] = sigma[:, None] * 1000
    context = x0.new_zeros(len(x0), 0, network.config["text_dim"])
    shown = control(readout, known, offset)
    with fast(x0.device):
        output = network(torch.cat([references, x], dim=2), times, context, shown, num_references=count)
    error = (output.float()[:, :, count + history :] - target[:, :, history:]) ** 2
    return error.mean()


def validation_loss(network: SpatialTransformer, batches: Sequence[Batch]) -> float:
    """The loss on given batches under fixed noise and timesteps. Puts the network back into training mode."""
    generator = noise_of(1, 0, batches[0].x0.device)
    network.eval()
    with torch.no_grad():
        losses = torch.stack([batch_loss(network, batch, generator) for batch in batches])
    network.train()
    return float(losses.mean())
