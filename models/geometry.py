"""Where depth comes from: the contract of a geometry provider, and the one that hands on what the user brings."""

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..memory.camera import Cameras, known_depth
from ..memory.rendering import Rendering
from ..memory.shapes import sizes


class Estimate(NamedTuple):
    """What a provider says about V views. Depth is z-depth on the pixel grid; 0 = unknown."""

    depth: Tensor  # (V, H, W) float32
    confidence: Tensor  # (V, H, W) in [0, 1]
    sky: Tensor  # (V, H, W) bool, True = sky: no surface, never lifted
    metric: bool  # depth is in metres
    dynamic: Tensor | None = None  # (V, H, W) bool, True = moves by itself; None = the provider does not say


def may_be_remembered(found: Estimate, dynamic: Tensor | None, sky: Tensor | None) -> Tensor:
    """What neither moves nor is sky: by the masks that are given, else by what the provider says.

    Args:
        dynamic, sky: (V, H, W) bool, True = moves, or is sky; None = not given.

    Returns:
        (V, H, W) bool, True = may be remembered.
    """
    moves = found.dynamic if dynamic is None else dynamic
    skies = found.sky if sky is None else sky
    return ~skies if moves is None else ~(skies | moves)


class GeometryProvider(Protocol):
    """Estimates depth for posed images. It may use what the memory itself renders at those cameras."""

    name: str

    def estimate(
        self,
        images: Tensor,  # (V, 3, H, W) in [0, 1]
        cameras: Cameras,  # (V,) on the H x W grid
        rendered: Rendering | None,  # what the memory shows at these cameras; None while there is no memory
        scene_unit: float | None,  # median depth of the start frame; None while there is no memory
    ) -> Estimate: ...


@dataclass(frozen=True)
class GivenGeometry:
    """Depth that the user brings: one map a view, or one for all. Where it is known, it is trusted."""

    depth: Tensor  # (V, H, W) or (1, H, W)
    metric: bool = False
    name: str = "given"

    def estimate(
        self,
        images: Tensor,
        cameras: Cameras,
        rendered: Rendering | None,
        scene_unit: float | None,
    ) -> Estimate:
        """Hand the given depth on.

        Raises:
            ValueError: another number of maps than of images, another size, or nothing known in a map.
        """
        views, height, width = sizes("V 3 H W", images=images)
        given, *size = sizes("G H W", depth=self.depth)
        if size != [height, width] or given not in (1, views):
            raise ValueError(
                f"depth is {given} map(s) of {size[0]} x {size[1]}, expected 1 or {views} of {height} x {width}, "
                "the size and number of the images; resize it, or give one map a frame"
            )
        known = known_depth(self.depth)
        empty = (~known.flatten(1).any(dim=1)).nonzero().flatten().tolist()
        if empty:
            raise ValueError(
                f"depth of view {empty} is nowhere finite and positive; expected z-depth with 0 for unknown"
            )
        depth = torch.where(known, self.depth, 0.0).float().expand(views, -1, -1)
        confidence = known.float().expand(views, -1, -1)
        return Estimate(depth, confidence, torch.zeros_like(depth, dtype=torch.bool), self.metric)
