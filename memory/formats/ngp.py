"""instant-ngp's camera path (``base_cam.json``): poses in its unit cube.

There x, y, z of the NeRF world became y, z, x times 0.33 plus 0.5, and the camera axes are OpenCV's. ``R`` is a
quaternion x y z w, ``fov`` vertical in degrees.
"""

import json

import torch

from ..camera import Cameras
from ..quaternion import matrices_from_quaternions, quaternions_from_matrices
from ..records import number, numbers
from .documents import items, record
from .imported import Imported, collect, evenly, pinholes_from_fov, rigid, vertical_fov
from .source import Source

SCALE, OFFSET = 0.33, 0.5  # instant-ngp's own, where transforms.json does not say otherwise
CYCLE = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], dtype=torch.float64)  # NeRF's x y z to y z x


def read_ngp(source: Source) -> Imported:
    """Read the keys of a path, one a frame.

    Raises:
        ValueError: what is no pose; names the key and the field.
    """
    found = record(source.document, "the file")
    keys = items(found.get("path"), "path")
    kept, notice = evenly(len(keys), "keys")
    where = [f"path[{i}]" for i in kept]
    listed = [record(keys[i], place) for i, place in zip(kept, where)]
    turns = [numbers(key.get("R"), 4, f"{place}.R") for key, place in zip(listed, where)]
    places = [numbers(key.get("T"), 3, f"{place}.T") for key, place in zip(listed, where)]
    angles = [number(key.get("fov"), f"{place}.fov") for key, place in zip(listed, where)]
    q, t, fov = (torch.tensor(values, dtype=torch.float64) for values in (turns, places, angles))
    for i in ((q.norm(dim=1) - 1).abs() > 1e-2).nonzero()[:1, 0].tolist():
        raise ValueError(f"{where[i]}.R is a quaternion of length {q[i].norm().item():.3g}, expected 1: no rotation")
    R = CYCLE.T @ matrices_from_quaternions(q[:, [3, 0, 1, 2]])
    c2w, mended = rigid(torch.cat([R, ((t - OFFSET) @ CYCLE / SCALE)[:, :, None]], dim=2), where)
    K = pinholes_from_fov(fov, source.height, source.width, where)
    assumed = (
        "poses are camera-to-world with OpenCV camera axes in instant-ngp's unit cube, and were put back into the "
        f"world of transforms.json (scale {SCALE}, offset {OFFSET}, axes y z x)",
        f"fields of view are vertical, in degrees, put on {source.height} x {source.width} square pixels",
        "one key is one frame; instant-ngp's spline between the keys is not evaluated",
    )
    more = (*assumed, *notice, *mended)
    timed = all("timestamp" in key for key in listed)
    seconds = [number(key["timestamp"], f"{place}.timestamp") for key, place in zip(listed, where) if timed]
    return collect(c2w, K, source.height, source.width, more, seconds, "seconds" if timed else "")


def write_ngp(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """One key a frame."""
    c2w = cameras.c2w.double()
    q = quaternions_from_matrices(CYCLE @ c2w[:, :3, :3])[:, [1, 2, 3, 0]].tolist()
    t = (SCALE * c2w[:, :3, 3] @ CYCLE.T + OFFSET).tolist()
    same = {"slice": 0.0, "scale": 1.0, "aperture_size": 0.0, "glow_mode": 0, "glow_y_cutoff": 0.0}
    keys = [
        {"R": R, "T": T, "fov": fov, "timestamp": i / fps, **same}
        for i, (R, T, fov) in enumerate(zip(q, t, vertical_fov(cameras).tolist()))
    ]
    return {name: json.dumps({"loop": False, "time": 0.0, "path": keys}).encode()}
