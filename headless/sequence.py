"""A folder of posed RGB-D frames: ``frames.json`` beside its pictures and depth maps."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..memory.camera import Cameras, check_cameras


@dataclass(frozen=True, eq=False)
class Sequence:
    """V frames with depth and cameras, on one H x W grid."""

    images: Tensor  # (V, 3, H, W) in [0, 1]
    depth: Tensor  # (V, H, W) z-depth in metres, 0 = no measurement
    cameras: Cameras  # (V,)


def load_sequence(folder: Path, frames: list[int]) -> Sequence:
    """Load some frames of a sequence, by their place in ``frames.json`` (0 is the first).

    ``frames.json`` holds a common ``K`` = [fx, fy, cx, cy] that a frame's own overrides, ``depth_scale`` = stored
    integers a metre, and per frame ``rgb``, ``depth`` and ``c2w`` (OpenCV axes). Its K has pixel centres at integers,
    ours at +0.5: half a pixel is added to cx and cy here.

    Raises:
        ValueError: no such file, a frame that is not listed, a file that is missing or of another size, a bad pose.
    """
    from PIL import Image

    listing = folder / "frames.json"
    if not listing.is_file():
        raise ValueError(f"{folder} has no frames.json; expected a folder of posed RGB-D frames")
    try:
        described = json.loads(listing.read_text(encoding="utf-8"))
        height, width, scale = int(described["height"]), int(described["width"]), float(described["depth_scale"])
        entries = described["frames"]
        count = len(entries)
        for place in frames:
            if not 0 <= place < count:
                raise ValueError(f"frame {place} is not in {listing}, which lists {count}: expected 0 to {count - 1}")
        chosen = [entries[place] for place in frames]
        intrinsics = [[float(x) for x in entry.get("K", described["K"])] for entry in chosen]
        poses = torch.tensor([entry["c2w"] for entry in chosen], dtype=torch.float32)
        names = [(entry["rgb"], entry["depth"]) for entry in chosen]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{listing} is not in the format of posed RGB-D frames: {error!r}") from error

    images, depths = [], []
    for rgb, depth in names:
        for name in (rgb, depth):
            if not (folder / name).is_file():
                raise ValueError(f"{listing} names {name}, which is not there")
        with Image.open(folder / rgb) as picture:
            colour = np.asarray(picture.convert("RGB"))
        with Image.open(folder / depth) as picture:
            stored = np.asarray(picture).astype(np.float32)
        for name, array in ((rgb, colour), (depth, stored)):
            if array.shape[:2] != (height, width):
                raise ValueError(
                    f"{folder / name} is {array.shape[:2]}, expected {(height, width)} as frames.json says"
                )
        images.append(torch.from_numpy(colour.copy()).permute(2, 0, 1).float() / 255)
        depths.append(torch.from_numpy(stored / scale))
    K = torch.tensor([[[fx, 0, cx + 0.5], [0, fy, cy + 0.5], [0, 0, 1]] for fx, fy, cx, cy in intrinsics])
    cameras = check_cameras(Cameras(poses, K, height, width), f"{listing} cameras")
    return Sequence(torch.stack(images), torch.stack(depths), cameras)
