"""``cameras.json`` of Inria's Gaussian splatting: camera-to-world, OpenCV axes, focal lengths in pixels."""

import json

import torch

from ..camera import Cameras
from ..records import number, numbers
from .documents import items, matrix, record, size
from .imported import Imported, collect, evenly, pinholes, rigid
from .source import Source


def read_inria(source: Source) -> Imported:
    """Read the list in its order.

    Raises:
        ValueError: what is no pose; names the entry and the field.
    """
    found = items(source.document, "the file")
    kept, notice = evenly(len(found), "cameras")
    where = [f"camera {i}" for i in kept]
    listed = [record(found[i], place) for i, place in zip(kept, where)]
    R = [matrix(one.get("rotation"), (3,), 3, f"{place} rotation") for one, place in zip(listed, where)]
    t = [numbers(one.get("position"), 3, f"{place} position") for one, place in zip(listed, where)]
    poses = [[[*row, x] for row, x in zip(*one)] for one in zip(R, t)]
    c2w, mended = rigid(torch.tensor(poses, dtype=torch.float64), where)
    sizes = [
        (size(one.get("height"), f"{place} height"), size(one.get("width"), f"{place} width"))
        for one, place in zip(listed, where)
    ]
    height, width = sizes[0]
    rows = []
    for one, (own_height, own_width), place in zip(listed, sizes, where):
        fx, fy = (number(one.get(name), f"{place} {name}") for name in ("fx", "fy"))
        rows.append([fx * width / own_width, fy * height / own_height, width / 2, height / 2])
    assumed = (
        "poses are camera-to-world, OpenCV axes, scale arbitrary",
        "the cameras are taken in the order of the file, one a frame",
        f"focal lengths are in pixels of {height} x {width}, the principal point in the centre",
        *((f"images have {len(set(sizes))} sizes; every K was put on the first one's",) if len(set(sizes)) > 1 else ()),
    )
    K = pinholes(torch.tensor(rows, dtype=torch.float64), where)
    return collect(c2w, K, height, width, (*assumed, *notice, *mended))


def write_inria(cameras: Cameras, name: str, fps: float) -> dict[str, bytes]:
    """One entry a camera."""
    listed = []
    for i, (pose, K) in enumerate(zip(cameras.c2w.double().tolist(), cameras.K.double().tolist())):
        shown = {"id": i, "img_name": f"frame_{i:05d}", "width": cameras.width, "height": cameras.height}
        where = {"position": [row[3] for row in pose[:3]], "rotation": [row[:3] for row in pose[:3]]}
        listed.append({**shown, **where, "fy": K[1][1], "fx": K[0][0]})
    return {name: json.dumps(listed).encode()}
