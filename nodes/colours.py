"""A memory as a coloured cloud: colours as they are, latents by their codec's linear factors."""

import logging

import torch
from torch import Tensor

from ..memory.cloud import SpatialMemory
from ..memory.exchange import Cloud, Factors, memory_cloud
from ..models.latent_rgb import rgb_factors

logger = logging.getLogger(__name__)


def factors_of(memory: SpatialMemory) -> Factors:
    """The linear factors by which a memory's latents become colours.

    Raises:
        ValueError: the memory's codec has none.
    """
    return rgb_factors(memory.codec, memory.channels)


def cloud_of(memory: SpatialMemory) -> Cloud:
    """The drawn points of a memory with colours; grey, and a line in the log, where its codec has no colours."""
    if memory.kind == "rgb":
        return memory_cloud(memory)
    try:
        factors = factors_of(memory)
    except ValueError as error:
        logger.warning("the memory's points are shown grey: %s", error)
        factors = torch.zeros(memory.channels, 3), torch.full((3,), 0.5)
    return memory_cloud(memory, factors)


def decimated(cloud: Cloud, most: int) -> tuple[Tensor, Tensor]:
    """Points (N, 3) and colours (N, 3) uint8 of at most ``most`` points, spread evenly over the cloud's order."""
    step = max(1, -(-len(cloud) // most))
    return cloud.points[::step].contiguous(), cloud.colours[::step].contiguous()
