"""How much is worked on at once: on a CPU what stays in a cache, on a GPU what keeps all of it busy.

No bit of what is read depends on it.
"""

import torch

BUSY = 1 << 22  # elements that are worth the call of a kernel on a GPU


def at_once(device: torch.device, cached: int) -> int:
    """Elements of a step on this device; ``cached`` are those that stay in the cache of one core."""
    return cached if device.type == "cpu" else max(cached, BUSY)
