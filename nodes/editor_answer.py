"""What the editor is shown of a memory and of a photograph: plain functions of a request's fields, run in a thread."""

import io
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ..memory.cloud import SpatialMemory
from ..memory.lift import lift_pixels
from ..memory.path import cameras_from_slice
from ..rollout.scene_file import framed
from ..rollout.scene_points import MOST
from ..rollout.scene_preview import (
    chunk_holes,
    conditioning_digest,
    holes_within,
    preview,
    sampled_frames,
)
from ..rollout.start import RGB_VOXEL, start_geometry
from .editor_live import Live, Shelf, publish
from .editor_request import chunks_of, path_of, slice_of, text, whole, within
from .start import first_camera

VIEW = b"SMVIEW01"
SIZE, HOLE_SIZE = 256, 96  # pixels of the longer side of an RGB memory's preview, and of a count of its holes
MAX_IMAGE_BYTES, MAX_IMAGE_SIDE = 64_000_000, 8192
IMAGE_KINDS = ("PNG", "JPEG", "WEBP")
DROPPED_SIDE, DROPPED_STEP = 512, 32  # a photograph is scaled to at most this, in steps that the networks take


def previewed(live: Live, asked: dict, answer: str) -> tuple[dict, bytes]:
    """The head and the bytes of one frame's preview.

    Raises:
        ValueError: a request for no frame, or a size out of bounds.
    """
    begun = time.perf_counter()
    memory, film = live.memory, live.film
    size = whole(asked, "size", 0, 2048, SIZE)
    _, camera = cameras_from_slice(slice_of(asked), film.height, film.width, memory.scene_unit)
    shown = preview(memory, camera, film, size)
    head = {
        "kind": memory.kind,
        "stage": shown.stage,
        "exact": shown.exact,
        "height": shown.known.shape[0],
        "width": shown.known.shape[1],
        "film": [film.height, film.width],
        "frame": None if "pose" in asked else int(asked["frame"]),
        "hole": shown.hole,
        "scale": shown.scale,
        "bits": conditioning_digest(shown.readout),
    }
    rgb, known = _bytes(shown.picture.permute(1, 2, 0)), _bytes(shown.known)
    content = rgb.tobytes() + known.tobytes()
    head["milliseconds"] = round(1000 * (time.perf_counter() - begun), 1)
    return head, _png(rgb, known) if answer == "png" else framed(VIEW, head) + content


def chunked_holes(live: Live, asked: dict) -> dict:
    """Hole % of as many frames of a path as the request's budget allows.

    Raises:
        ValueError: a request for no path, or numbers out of bounds.
    """
    begun = time.perf_counter()
    path, chunks = path_of(asked), chunks_of(asked)
    every, after = whole(asked, "every", 1, 4096, 4), whole(asked, "after", -1, 4096, -1)
    seconds = within(asked, "budget", 10, 2000, 200) / 1000
    frames = sampled_frames(path, every, after)
    side = min(HOLE_SIZE, max(live.film.height, live.film.width))
    found = holes_within(live.memory, path, live.film, frames, side, seconds)
    done = list(found)
    return {
        "frames": done,
        "hole": list(found.values()),
        "next": done[-1] if len(done) < len(frames) else None,
        "chunks": chunk_holes(found, chunks),
        "milliseconds": round(1000 * (time.perf_counter() - begun), 1),
    }


def dropped_image(shelf: Shelf, folder: Path, find: Callable[[str], Path], asked: dict) -> dict:
    """A photograph in the input folder as points, before anything has run.

    Raises:
        ValueError: a name that leads out of the folder, no image, one too large, or no depth found in it.
        FileNotFoundError: there is no such file.
    """
    from .geometry import PROVIDERS, loaded

    provider, kind = text(asked, "provider", "mini"), text(asked, "type", "input")
    fov, most = within(asked, "vertical_fov", 1, 170, 50.0), whole(asked, "points", 1, MOST, MOST)
    name, below = text(asked, "name"), text(asked, "subfolder", "")
    if provider not in PROVIDERS:
        raise ValueError(f"provider is {provider!r}, expected one of {', '.join(PROVIDERS)}")
    if kind != "input":
        raise ValueError(f"type is {kind!r}, expected 'input': only the input folder is read")
    picture = photograph(find(f"{below}/{name}" if below else name))
    camera = first_camera(fov, *picture.shape[1:])
    with torch.no_grad():
        geometry = start_geometry(loaded(provider), picture[None], camera)
    unit = geometry.scene_unit
    empty = SpatialMemory("rgb", "", 3, unit, geometry.metric)
    memory = empty.insert(lift_pixels(picture[None], geometry, [0], -1, unit * RGB_VOXEL))
    return publish(shelf, folder, memory, image=picture, most=most)


def photograph(file: Path) -> Tensor:
    """An image file as (3, H, W) in [0, 1], scaled down to what networks take.

    Raises:
        ValueError: no PNG, JPEG or WebP, or one too large.
    """
    if file.stat().st_size > MAX_IMAGE_BYTES:
        raise ValueError(f"{file.name} has {file.stat().st_size} bytes, at most {MAX_IMAGE_BYTES} are read")
    try:
        with Image.open(file, formats=IMAGE_KINDS) as image:
            if max(image.size) > MAX_IMAGE_SIDE:
                raise ValueError(f"it is {image.size[0]} x {image.size[1]}, at most {MAX_IMAGE_SIDE} a side are read")
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{file.name} is no image that is read here (PNG, JPEG, WebP): {error}") from error
    scale = min(1.0, DROPPED_SIDE / max(upright.size))
    size = [max(DROPPED_STEP, round(side * scale / DROPPED_STEP) * DROPPED_STEP) for side in upright.size]
    pixels = np.asarray(upright.resize(size, Image.Resampling.LANCZOS), np.float32) / 255
    return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _bytes(values: Tensor) -> np.ndarray:
    return (values.clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def _png(rgb: np.ndarray, known: np.ndarray) -> bytes:
    written = io.BytesIO()
    Image.fromarray(np.concatenate([rgb, known[..., None]], 2), "RGBA").save(written, "PNG", compress_level=1)
    return written.getvalue()
