"""Files that hold one pose for every few frames, as ReCamMaster's do."""

import bisect
from dataclasses import replace

import torch

from ..camera import Cameras
from ..path import MAX_FRAMES
from ..quaternion import matrices_from_quaternions, quaternions_from_matrices, slerp
from .imported import Imported


def every_frame(imported: Imported) -> Imported:
    """The same movement with a camera for every frame, where the file counts frames and leaves some out.

    Between two poses positions and K run straight, rotations the short way round. Anything else comes back as it is.
    """
    times = [round(time) for time in imported.times]
    if imported.clock != "frames" or len(times) < 2 or not len(times) <= times[-1] - times[0] < MAX_FRAMES:
        return imported
    cameras = imported.cameras
    q = [tuple(one) for one in quaternions_from_matrices(cameras.c2w[:, :3, :3].double()).tolist()]
    frames = range(times[0], times[-1] + 1)
    before = [min(bisect.bisect_right(times, frame), len(times) - 1) - 1 for frame in frames]
    parts = [(frame - times[i]) / (times[i + 1] - times[i]) for frame, i in zip(frames, before)]
    turns = [slerp(q[i], q[i + 1], part, 1 - part) for part, i in zip(parts, before)]
    index, u = torch.tensor(before), torch.tensor(parts, dtype=torch.float64)
    c2w = torch.lerp(cameras.c2w[index].double(), cameras.c2w[index + 1].double(), u[:, None, None])
    c2w[:, :3, :3] = matrices_from_quaternions(torch.tensor(turns, dtype=torch.float64))
    K = torch.lerp(cameras.K[index].double(), cameras.K[index + 1].double(), u[:, None, None])
    filled = Cameras(c2w.float(), K.float(), cameras.height, cameras.width)
    said = f"{len(times)} poses stand for {len(frames)} frames; those between were filled in"
    return replace(
        imported, cameras=filled, assumed=(*imported.assumed, said), times=tuple(float(frame) for frame in frames)
    )
