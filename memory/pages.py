"""Room for large tensors that are written once: films, streams of latents, maps of many views."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def roomy(shape: Sequence[int], device: torch.device) -> Tensor:
    """A float32 tensor to be written into; what it holds before is anything.

    On a CPU numpy asks for it in large pages, which are mapped and freed many times faster than what torch asks for: a
    chunk of 33 frames at 704 x 1280 is 0.4 GB.
    """
    if device.type != "cpu":
        return torch.empty(*shape, device=device)
    return torch.from_numpy(np.empty(tuple(shape), np.float32))
