"""How much is worked on at once: on a CPU what stays in a cache, on a GPU what keeps all of it busy.

No bit of what is read depends on it.
"""

import torch

BUSY = 1 << 22  # elements that are worth the call of a kernel on a GPU
SHARED = 4  # steps for two threads that more threads share at most: beyond that a step waits for memory


def at_once(device: torch.device, cached: int) -> int:
    """Elements of a step on this device; ``cached`` are those that stay in the caches of two cores."""
    if device.type != "cpu":
        return max(cached, BUSY)
    return cached * min(SHARED, max(1, torch.get_num_threads() // 2))
