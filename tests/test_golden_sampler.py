"""Parity with the released code's UniPC: its sigmas, its integer timesteps, its trajectory."""

import pytest
import torch
from safetensors.torch import load_file
from spatial_memory.models.sampler import Sampling, sample


@pytest.mark.parametrize("steps", [20, 40])
def test_unipc(golden_dir, steps):
    golden = load_file(golden_dir / "sampler.safetensors")
    start, target, trajectory = (golden[f"unipc{steps}.{name}"] for name in ("x0", "target", "trajectory"))
    visited, sigmas, timesteps = [], [], []

    def velocity(x, sigma, timestep):
        visited.append(x)
        sigmas.append(sigma)
        timesteps.append(timestep)
        return (x - target[0]) * 0.3 + x.sin()

    end = sample(velocity, start[0], Sampling("unipc", steps, shift=5.0))
    assert timesteps == golden[f"unipc{steps}.timesteps"].tolist()
    # a sigma is a float32 of about 1: one unit in the last place
    assert (torch.tensor(sigmas) - golden[f"unipc{steps}.sigmas"][:-1]).abs().max() <= 1.2e-7
    # 20 to 40 steps of float32 on values of about 3
    assert (torch.stack([*visited[1:], end]) - trajectory[:, 0]).abs().max() <= 1e-5
