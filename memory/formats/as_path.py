"""Dense cameras as a path of few keys, and what a path cannot hold of them."""

import torch

from ..camera import Cameras, check_cameras
from ..path import MAX_FRAMES, MAX_KEYS, CameraPath
from ..quaternion import quaternions_from_matrices
from ..spline import Keyframe


def path_from_cameras(cameras: Cameras, fps: float = 16.0, units: str = "world", name: str = "imported") -> CameraPath:
    """The few keys whose path follows cameras (T,), one a frame.

    It stays within 0.1 % of the extent (or 1e-5), 0.05 degrees and 0.1 % of the zoom, unless that takes more keys than
    a path holds. A path keeps no principal point and no pixel aspect: ``dropped_by_path`` tells.

    Raises:
        ValueError: fewer than two cameras, or more than a path has frames.
    """
    check_cameras(cameras)
    if cameras.c2w.ndim != 3 or not 2 <= len(cameras) <= MAX_FRAMES:
        raise ValueError(f"cameras have batch {tuple(cameras.c2w.shape[:-2])}, expected 2 to {MAX_FRAMES} frames")
    positions = cameras.c2w[:, :3, 3].double()
    quaternions = quaternions_from_matrices(cameras.c2w[:, :3, :3].double())
    fov = (2 * (cameras.height / (2 * cameras.K[:, 1, 1].double())).atan()).rad2deg()
    reach = max(1e-3 * (positions - positions[0]).norm(dim=-1).max().item(), 1e-5)
    frames = [0, len(cameras) - 1]
    while True:
        keys = tuple(
            Keyframe(float(i), tuple(positions[i].tolist()), tuple(quaternions[i].tolist()), fov[i].item())
            for i in frames
        )
        path = CameraPath(keys, len(cameras), fps, units=units, name=name)
        baked = path.poses()
        apart = (2 - 2 * (baked.quaternions * quaternions).sum(-1).abs()).clamp(min=0).sqrt()
        turn = (4 * (apart / 2).asin()).rad2deg()
        moved = (baked.positions - positions).norm(dim=-1) / reach
        error = torch.maximum(torch.maximum(moved, turn / 0.05), (baked.vertical_fov / fov - 1).abs() / 1e-3)
        worst = [a + 1 + int(error[a + 1 : b].argmax()) for a, b in zip(frames, frames[1:]) if b > a + 1]
        added = [frame for frame in worst if error[frame] > 1]
        added = sorted(added, key=lambda frame: -error[frame])[: MAX_KEYS - len(frames)]
        if not added:
            return path
        frames = sorted([*frames, *added])


def dropped_by_path(cameras: Cameras) -> tuple[str, ...]:
    """What of these cameras a path cannot hold, one sentence each."""
    K = cameras.K.reshape(-1, 3, 3)
    off = (K[:, :2, 2] - K.new_tensor([cameras.width / 2, cameras.height / 2])).abs().max().item()
    aspect = (K[:, 0, 0] / K[:, 1, 1] - 1).abs().max().item()
    return tuple(
        sentence
        for lost, sentence in (
            (off > 0.5, f"the principal point, up to {off:.1f} pixels off the centre, is moved to the centre"),
            (
                aspect > 1e-3,
                f"pixels that are not square (by {100 * aspect:.1f} %) become square; the vertical focal length stays",
            ),
        )
        if lost
    )
