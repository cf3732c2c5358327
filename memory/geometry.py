"""What is known about a few frames: depth, how sure it is, what may be remembered, and where the cameras stood."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .camera import Cameras, check_cameras, known_depth
from .shapes import sizes


@dataclass(frozen=True, eq=False)
class Geometry:
    """Depth and cameras of V frames on one H x W grid."""

    depth: Tensor  # (V, H, W) z-depth in world units, float32; 0 or non-finite = unknown
    confidence: Tensor  # (V, H, W) in [0, 1]
    keep: Tensor  # (V, H, W) bool, True = static and not sky
    cameras: Cameras  # (V,) on the H x W grid
    metric: bool  # world units are metres
    scene_unit: float  # median known depth of the START frame, in world units

    @cached_property
    def known(self) -> Tensor:  # (V, H, W) bool
        """Where depth is known, whatever moves there."""
        return known_depth(self.depth)

    def get_ram_usage(self) -> int:
        """Bytes that this value keeps alive (the host's cache asks), ``known`` among them."""
        return self.depth.numel() + sum(t.numel() * t.element_size() for t in (self.depth, self.confidence, self.keep))


def check_geometry(geometry: Geometry) -> Geometry:
    """Refuse geometry from which nothing could be lifted. The public edge calls this once.

    Raises:
        ValueError: shapes, grids or counts differ; ``confidence`` leaves [0, 1] or is not finite; ``keep`` is no bool;
            ``scene_unit`` is not positive; no depth at all is known; a camera is no rigid pinhole.
    """
    views, height, width = sizes(
        "V H W | V H W | V H W", depth=geometry.depth, confidence=geometry.confidence, keep=geometry.keep
    )
    cameras = geometry.cameras
    if cameras.c2w.ndim != 3 or (len(cameras), cameras.height, cameras.width) != (views, height, width):
        raise ValueError(
            f"cameras are {tuple(cameras.c2w.shape[:-2])} on {cameras.height} x {cameras.width}, "
            f"expected ({views},) on the depth's grid {height} x {width}; resize one of them"
        )
    check_cameras(cameras, "geometry.cameras")
    if geometry.keep.dtype != torch.bool:
        raise ValueError(f"keep is {geometry.keep.dtype}, expected bool with True = static and not sky")
    confidence = geometry.confidence
    if not (confidence.isfinite().all() and (confidence >= 0).all() and (confidence <= 1).all()):
        raise ValueError("confidence holds values outside [0, 1] or NaN; expected 0 = no idea, 1 = sure")
    if not (0 < geometry.scene_unit < float("inf")):
        raise ValueError(f"scene_unit is {geometry.scene_unit}, expected the positive median depth of the start frame")
    if not geometry.known.any():
        raise ValueError(
            "depth is unknown everywhere (0 or non-finite); expected z-depth in world units for some pixels"
        )
    return geometry


def start_unit(depth: Tensor) -> float:
    """The scene unit: the median known z-depth of the start frame (H, W), in world units.

    Raises:
        ValueError: no depth is known.
    """
    known = depth[known_depth(depth)]
    if not known.numel():
        raise ValueError("the start frame's depth is unknown everywhere; a scene unit needs some known depth")
    return known.median().item()
