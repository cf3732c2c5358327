"""What must never enter memory: things that move, and the sky. Masks are boolean, True = what the name says."""

import numpy as np
import torch
from torch import Tensor

from ..memory.camera import Cameras, known_depth, project, unproject
from ..memory.shapes import sizes

FINE = 2  # flow is sought in pictures so many times larger: small things have few pixels at coarse levels
PIXELS = 1.0  # from one frame to the next; a smaller deviation from the rigid flow is noise of the flow itself
SHARE = 0.35  # of the rigid flow's length: what a depth that is off by as much explains
RETURN = 1.0  # pixels by which going there and back may miss


def given(masks: Tensor | None, name: str, count: int, height: int, width: int) -> Tensor:
    """A mask that the user brings, one a picture or one for all; nothing is marked where none is given.

    Args:
        masks: (count, H, W) or (1, H, W), above 0.5 = ``name``.

    Returns:
        (count, H, W) bool.

    Raises:
        ValueError: another size or number than that of the images.
    """
    if masks is None:
        return torch.zeros(count, height, width, dtype=torch.bool)
    views, *size = sizes("V H W", **{name: masks})
    if size != [height, width] or views not in (1, count):
        raise ValueError(
            f"{name} is {views} mask(s) of {size[0]} x {size[1]}, expected 1 or {count} of {height} x {width}, "
            "the size and number of the images"
        )
    return (masks > 0.5).expand(count, -1, -1)


def moving(
    images: Tensor,  # (T, 3, H, W) in [0, 1], neighbours in time
    cameras: Cameras,  # (T,) on the H x W grid
    depth: Tensor,  # (V, H, W) z-depth of the pictures ``frames``, 0 = unknown
    frames: list[int],  # (V) which of the images each depth belongs to
) -> Tensor:
    """Mark what moves by itself: where optical flow leaves the flow that depth and camera motion explain.

    A pixel counts only where the flow is trusted (there and back within a pixel), the depth is known and the rigid flow
    stays in the picture; single pixels are removed and what remains is widened by two pixels.

    Returns:
        (V, H, W) bool, True = moving.

    Raises:
        ValueError: shapes that do not fit, or a frame outside the images.
    """
    import cv2

    count, height, width, views = sizes("T 3 H W | V H W", images=images, depth=depth)
    if len(frames) != views or any(not 0 <= f < count for f in frames):
        raise ValueError(f"frames is {frames}, expected {views} indices below {count}")
    weights = images.new_tensor([0.299, 0.587, 0.114])[:, None, None]
    grey = ((images * weights).sum(dim=1) * 255).round().clamp(0, 255).to(torch.uint8).numpy()
    kernel = np.ones((3, 3), np.uint8)
    marked = []
    for view, frame in enumerate(frames):
        moves = np.zeros((height, width), bool)
        for other in (frame - 1, frame + 1):
            if not 0 <= other < count:
                continue
            there, back = _flow(grey[frame], grey[other]), _flow(grey[other], grey[frame])
            rigid, valid = _rigid_flow(depth[view], cameras[frame], cameras[other])
            deviation = np.linalg.norm(there - rigid, axis=-1)
            allowed = np.maximum(PIXELS, SHARE * np.linalg.norm(rigid, axis=-1))
            moves |= valid & _returns(there, back) & (deviation > allowed)
        opened = cv2.morphologyEx(moves.astype(np.uint8), cv2.MORPH_OPEN, kernel)
        marked.append(torch.from_numpy(cv2.dilate(opened, kernel, iterations=2) > 0))
    return torch.stack(marked)


def _flow(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Dense optical flow (DIS) between grey pictures (H, W) uint8: (H, W, 2) pixels."""
    import cv2

    height, width = source.shape
    fine = [cv2.resize(x, (FINE * width, FINE * height), interpolation=cv2.INTER_CUBIC) for x in (source, target)]
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(*fine, None)
    return cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA) / FINE


def _rigid_flow(depth: Tensor, source: Cameras, target: Cameras) -> tuple[np.ndarray, np.ndarray]:
    """Flow (H, W, 2) of a static scene from ``source`` to ``target``, and where it is known and ends in the picture."""
    height, width = depth.shape
    uv, z = project(unproject(depth, source).reshape(-1, 3), target)
    v, u = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    uv = uv.reshape(height, width, 2)
    inside = (uv[..., 0] >= 0) & (uv[..., 0] < width) & (uv[..., 1] >= 0) & (uv[..., 1] < height)
    valid = known_depth(depth) & (z.reshape(height, width) > 0) & inside
    flow = torch.where(valid[..., None], uv - torch.stack([u, v], dim=-1), 0.0)
    return flow.numpy(), valid.numpy()


def _returns(there: np.ndarray, back: np.ndarray) -> np.ndarray:
    """Where following ``there`` and then ``back`` ends within RETURN pixels of its start. (H, W) bool."""
    import cv2

    height, width = there.shape[:2]
    v, u = np.mgrid[:height, :width].astype(np.float32)
    landed = cv2.remap(back, u + there[..., 0], v + there[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.linalg.norm(there + landed, axis=-1) <= RETURN
