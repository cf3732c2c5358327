"""COLMAP's sparse model, text or binary: a folder (or a zip of one) with cameras and images.

Poses are world-to-camera quaternions wxyz and translations, OpenCV axes; pixel centres lie at +0.5, as here.
"""

import re
from pathlib import PurePosixPath

import torch
from torch import Tensor

from ..quaternion import matrices_from_quaternions
from . import colmap_binary, colmap_text
from .colmap_model import Lens, View
from .imported import Imported, collect, evenly, inverse, pinholes, rigid
from .source import Source

FOLDERS = ("", "sparse/0/", "sparse/", "0/")
# models without fisheye distortion: number of parameters, and which of them are fx fy cx cy
PINHOLES = {
    "SIMPLE_PINHOLE": (3, (0, 0, 1, 2)),
    "PINHOLE": (4, (0, 1, 2, 3)),
    "SIMPLE_RADIAL": (4, (0, 0, 1, 2)),
    "RADIAL": (5, (0, 0, 1, 2)),
    "OPENCV": (8, (0, 1, 2, 3)),
    "FULL_OPENCV": (12, (0, 1, 2, 3)),
}


def find_model(source: Source) -> tuple[str, bytes, bytes] | None:
    """The ending, cameras and images of the model in this folder, whichever of the usual places it lies in."""
    for folder in FOLDERS:
        for ending in (".bin", ".txt"):
            images, cameras = (source.beside(f"{folder}{part}{ending}") for part in ("images", "cameras"))
            if images is not None and cameras is not None:
                return ending, cameras, images
    return None


def read_colmap(source: Source) -> Imported:
    """Read a model, its images in the order of their names.

    Raises:
        ValueError: a file is missing or damaged, or what is no pose; names the file, and the line or image.
    """
    found = find_model(source)
    if found is None:
        raise ValueError("it has no cameras.txt and images.txt (or .bin) side by side; give the folder or a zip of it")
    ending, cameras, images = found
    parts = colmap_binary if ending == ".bin" else colmap_text
    lenses, views = parts.lenses(cameras), sorted(parts.views(images), key=lambda view: view.name)
    kept, notice = evenly(len(views), "images")
    views = [views[i] for i in kept]
    where = [view.where for view in views]
    q = torch.tensor([view.pose[:4] for view in views], dtype=torch.float64)
    for i in ((q.norm(dim=1) - 1).abs() > 1e-2).nonzero()[:1, 0].tolist():
        raise ValueError(f"{where[i]} has a quaternion of length {q[i].norm().item():.3g}, expected 1: no rotation")
    t = torch.tensor([view.pose[4:] for view in views], dtype=torch.float64)
    w2c, mended = rigid(torch.cat([matrices_from_quaternions(q), t[:, :, None]], dim=2), where)
    grid, K, bent = _intrinsics(lenses, views)
    assumed = (
        f"COLMAP {ending}: poses are world-to-camera, OpenCV axes, scale arbitrary",
        "images follow one another by name, one a frame",
        f"K is in pixels of {grid[0]} x {grid[1]}, pixel centres at +0.5",
        *bent,
        *_gaps(views),
    )
    return collect(inverse(w2c), K, *grid, (*assumed, *notice, *mended))


def _intrinsics(lenses: dict[int, Lens], views: list[View]) -> tuple[tuple[int, int], Tensor, tuple[str, ...]]:
    """The grid of the first image, K (T, 3, 3) on it, and what was left out."""
    for view in views:
        if view.camera not in lenses:
            raise ValueError(f"{view.where} has camera {view.camera}, which the list of cameras does not hold")
        lens = lenses[view.camera]
        if lens.model not in PINHOLES or len(lens.params) != PINHOLES[lens.model][0]:
            raise ValueError(
                f"{view.where} has camera {view.camera}, a {lens.model} with {len(lens.params)} parameters; expected "
                f"one of {', '.join(PINHOLES)}: undistort the images first"
            )
        if not (0 < lens.width <= 65536 and 0 < lens.height <= 65536):
            raise ValueError(f"camera {view.camera} images {lens.width} x {lens.height} pixels, expected 1 to 65536")
    first = lenses[views[0].camera]
    rows = []
    for view in views:
        lens = lenses[view.camera]
        fx, fy, cx, cy = (lens.params[i] for i in PINHOLES[lens.model][1])
        x, y = first.width / lens.width, first.height / lens.height
        rows.append([fx * x, fy * y, cx * x, cy * y])
    used = {view.camera for view in views}
    sizes = {(lenses[i].width, lenses[i].height) for i in used}
    bent = any(any(lenses[i].params[len(set(PINHOLES[lenses[i].model][1])) :]) for i in used)
    said = (
        "lens distortion was left out" if bent else "",
        f"images have {len(sizes)} sizes; every K was put on the first one's" if len(sizes) > 1 else "",
    )
    K = pinholes(torch.tensor(rows, dtype=torch.float64), [view.where for view in views])
    return (first.height, first.width), K, tuple(filter(None, said))


def _gaps(views: list[View]) -> tuple[str, ...]:
    """A notice where numbered images are not all there, since COLMAP leaves out what it could not place."""
    numbers = [re.findall(r"\d{1,9}", PurePosixPath(view.name).stem)[-1:] for view in views]
    if len(views) < 3 or not all(numbers):
        return ()
    found = [int(number) for (number,) in numbers]
    steps = {b - a for a, b in zip(found, found[1:])}
    if len(steps) == 1 or min(steps) < 1:
        return ()
    missing = sum((b - a) // min(steps) - 1 for a, b in zip(found, found[1:]))
    return (f"by their numbers {missing} images are missing; those that are there follow one another",)
