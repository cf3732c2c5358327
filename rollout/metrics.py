"""How alike two pictures are: PSNR and SSIM of images in [0, 1]."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..memory.shapes import sizes

PSNR_CEILING = 100.0  # dB given to equal pictures, so that means and JSON stay finite


def psnr(a: Tensor, b: Tensor) -> float:
    """Peak signal to noise ratio in dB of two images (3, H, W) in [0, 1]; at most 100 dB.

    Raises:
        ValueError: the shapes differ.
    """
    sizes("C H W | C H W", a=a, b=b)
    error = (a.double() - b.double()).square().mean()
    return min(PSNR_CEILING, -10.0 * torch.log10(error).item()) if error > 0 else PSNR_CEILING


def ssim(a: Tensor, b: Tensor) -> float:
    """Structural similarity (Wang et al. 2004) of two images (3, H, W) in [0, 1]: the mean of ``ssim_map``.

    Raises:
        ValueError: the shapes differ, or a side is shorter than the window.
    """
    return ssim_map(a, b).mean().item()


def ssim_map(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity of every window that lies inside the picture: (3, H - 10, W - 10) float64.

    Gaussian window 11 x 11 with sigma 1.5, K1 = 0.01, K2 = 0.03, population covariances.

    Raises:
        ValueError: the shapes differ, or a side is shorter than the window.
    """
    _, height, width = sizes("C H W | C H W", a=a, b=b)
    if min(height, width) < 11:
        raise ValueError(f"a is {height} x {width}, expected at least 11 x 11 for the window of SSIM")
    offsets = torch.arange(-5, 6, dtype=torch.float64)
    window = torch.exp(-(offsets**2) / (2 * 1.5**2))
    window = window / window.sum()

    def blur(x: Tensor) -> Tensor:
        rows = F.conv2d(x[:, None], window[None, None, :, None])
        return F.conv2d(rows, window[None, None, None, :])[:, 0]

    a, b = a.double(), b.double()
    mean_a, mean_b = blur(a), blur(b)
    var_a, var_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return similarity / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))
