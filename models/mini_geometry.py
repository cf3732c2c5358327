"""The geometry provider that ships: completes the depth that the memory renders, by a small network of our own.

It sees the picture, its focal length, and the memory's own depth. Where the memory shows nothing it falls back to a
monocular guess, which is weak on photographs.
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..memory.camera import Cameras
from ..memory.rendering import Rendering
from ..memory.shapes import sizes
from .geometry import Estimate
from .mini_depth import MiniDepthNetwork, load_mini_depth

SURE_OF_SKY = 2.0  # logit; a surface taken for sky is forgotten for ever, sky taken for a surface is only far away
FARTHEST = 100.0  # scene units: what the network puts beyond has no depth that could be remembered


@dataclass(frozen=True, eq=False)
class MiniGeometry:
    """Depth, confidence, sky and moving things by the mini network. Never metric: a start is given in its own unit."""

    network: MiniDepthNetwork = field(default_factory=load_mini_depth)
    name: str = "mini"

    @torch.no_grad()
    def estimate(
        self,
        images: Tensor,  # (V, 3, H, W) in [0, 1]
        cameras: Cameras,  # (V,) on the H x W grid
        rendered: Rendering | None,  # what the memory shows at these cameras; None while there is no memory
        scene_unit: float | None,  # None: the answer is in units of its own, about 1 in the middle
    ) -> Estimate:
        """Estimate each view by itself, so that its bits do not depend on how many there are.

        Raises:
            ValueError: shapes that do not fit, or a height or width that is no multiple of 32.
        """
        views, height, width = sizes("V 3 H W", images=images)
        nothing = torch.zeros(views, height, width)
        depth, known = (nothing, nothing > 0) if rendered is None else (rendered.depth, rendered.known)
        sizes("V 3 H W | V H W | V H W", images=images, depth=depth, known=known)
        unit = 1.0 if scene_unit is None else scene_unit
        given = torch.where(known, unit / depth.clamp(min=1e-6 * unit), 0.0)
        found = [
            self.network(images[v : v + 1], given[v : v + 1], known[v : v + 1].float(), cameras.K[v : v + 1])
            for v in range(views)
        ]
        inverse = torch.cat([p.inverse_depth for p in found])
        sky = torch.cat([p.sky for p in found]) > SURE_OF_SKY
        near = (inverse > 1 / FARTHEST) & ~sky
        return Estimate(
            depth=torch.where(near, unit / inverse.clamp(min=1 / FARTHEST), 0.0),
            confidence=torch.cat([p.confidence for p in found]).clamp(0, 1),
            sky=sky,
            metric=False,
            dynamic=torch.cat([p.dynamic for p in found]) > 0,
        )
