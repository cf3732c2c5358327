"""Where views see points of the memory: what a read for the control knows already, and depth is compared with."""

from dataclasses import dataclass

import torch
from torch import Tensor

from ..memory.camera import Cameras
from ..memory.cloud import SpatialMemory
from ..memory.splat import splat_centred, splat_nearest


@dataclass(frozen=True, eq=False)
class Seen:
    """Where V views see points of a memory, at most one in each cell of some grid."""

    memory: SpatialMemory
    depth: Tensor  # (V, h, w) z-depth, 0 where there is none
    offset: Tensor  # (V, 2, h, w) u, v from the middle of the cell, in cells

    def to(self, device: torch.device) -> "Seen":
        """The same, to be worked on there."""
        return Seen(self.memory, self.depth.to(device), self.offset.to(device))

    def get_ram_usage(self) -> int:
        """Bytes that this takes beside the memory."""
        return sum(t.numel() * t.element_size() for t in (self.depth, self.offset))


def look(memory: SpatialMemory, cameras: Cameras, latent: tuple[int, int], cells: tuple[int, int]) -> Seen:
    """Where V views see points: of latents on the latent grid, as a control reads them; of colours in coarser cells."""
    if memory.kind == "latent":
        readout = splat_centred(memory, cameras.resized(*latent))
    else:
        readout = splat_nearest(memory, cameras.resized(*cells))
    return Seen(memory, readout.depth, readout.offset)
