"""The depth that a memory shows some cameras, drawn when it is first asked for: not everybody looks at it."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from .camera import Cameras
from .cloud import SpatialMemory
from .splat import render_depth


@dataclass(frozen=True, eq=False)
class Rendering:
    """What ``render_depth`` says of V views. Drawn on ``device``, given where the cameras lie."""

    memory: SpatialMemory
    cameras: Cameras  # (V,)
    device: torch.device | None = None  # to which the memory is brought when it is looked at; None = where it lies

    @cached_property
    def _drawn(self) -> tuple[Tensor, Tensor]:
        memory = self.memory if self.device is None else self.memory.to(self.device)
        depth, known = render_depth(memory, self.cameras)
        home = self.cameras.c2w.device
        return depth.to(home), known.to(home)

    @property
    def depth(self) -> Tensor:
        """(V, H, W) z-depth in world units, 0 where unknown."""
        return self._drawn[0]

    @property
    def known(self) -> Tensor:
        """(V, H, W) bool, True = rendered."""
        return self._drawn[1]

    def resized(self, height: int, width: int) -> "Rendering":
        """The same views drawn on another grid; itself on its own."""
        if (height, width) == (self.cameras.height, self.cameras.width):
            return self
        return replace(self, cameras=self.cameras.resized(height, width))
