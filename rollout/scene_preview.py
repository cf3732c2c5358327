"""What the sampler will be shown at one frame, for a look before the run, and how much of it is a hole.

A latent memory: the very grid that conditions, read by the function that ``WarpMemory`` reads by, and coloured by the
codec's linear factors. An RGB memory: the render before it is encoded, by the function that a run renders by; smaller
than the film, its discs shrink with it, so that the picture is what the film's render has at those places.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from ..memory.camera import Cameras
from ..memory.cloud import SpatialMemory
from ..memory.discs import Radius
from ..memory.path import CameraPath, cameras_from_slice
from ..memory.splat import Readout, adaptive, splat_centred, splat_discs
from ..models.latent_rgb import show_latents
from .fingerprint import raw
from .scene_film import Film, linear_factors

SIDES = (16, 2048)  # pixels of the longer side of a picture
CONDITIONED, RENDERED = "as conditioned", "before encoding"


@dataclass(frozen=True, eq=False)
class Preview:
    """One frame of the conditioning, as read and as a picture. For an RGB memory h x w are pixels."""

    readout: Readout  # one view
    picture: Tensor  # (3, h, w) in [0, 1], black at holes
    stage: str  # CONDITIONED or RENDERED
    scale: float  # the picture's size over the film's; 1 for a latent memory

    @property
    def known(self) -> Tensor:  # (h, w) in [0, 1]
        return self.readout.known[0]

    @property
    def hole(self) -> float:
        """The share of holes in percent."""
        return hole_percent(self.known)

    @property
    def exact(self) -> bool:
        """Whether this is to the bit what a run gets."""
        return self.scale == 1


def frame_camera(path: CameraPath, frame: int, film: Film, scene_unit: float) -> Cameras:
    """The camera (1,) of a frame on the film's pixels, to the bit the one that a run gets.

    Raises:
        ValueError: the path has no such frame.
    """
    return cameras_from_slice(path.slice(frame, frame + 1), film.height, film.width, scene_unit)[1]


def preview(memory: SpatialMemory, camera: Cameras, film: Film, side: int = 0) -> Preview:
    """Read a memory as a run would at a camera (1,) on the film's pixels.

    Args:
        side: of an RGB memory's picture, the longer side in pixels; 0 = the film's own.

    Raises:
        ValueError: a side that is too small or too large.
    """
    if memory.kind == "latent":
        h, w = film.grid or (film.height, film.width)
        readout = splat_centred(memory, camera.resized(h, w))
        factors = linear_factors(memory)
        assert factors is not None  # a latent memory has some
        picture = show_latents(readout.features[0], factors) * readout.known[0]
        return Preview(readout, picture, CONDITIONED, 1.0)
    longer = max(film.height, film.width)
    if side and not SIDES[0] <= side <= SIDES[1]:
        raise ValueError(f"size is {side}, expected {SIDES[0]} to {SIDES[1]} pixels, or 0 for the film's {longer}")
    if side in (0, longer):
        readout, scale = splat_discs(memory, camera), 1.0
    else:
        scale = side / longer
        height, width = max(1, round(film.height * scale)), max(1, round(film.width * scale))
        readout = splat_discs(memory, camera.resized(height, width), scaled(adaptive(), scale))
    return Preview(readout, readout.features[0].clamp(0, 1), RENDERED, scale)


def scaled(radius: Radius, scale: float) -> Radius:
    """The same discs on a grid of ``scale`` times the size: what they cover there, they cover here."""
    return lambda spacing, short_side: radius(spacing / scale, max(1, round(short_side / scale))) * scale


def hole_percent(known: Tensor) -> float:
    """How much of a mask, 1 = known, is known by less than half, in percent."""
    return 100 * (known < 0.5).float().mean().item()


def conditioning_digest(readout: Readout) -> str:
    """32 hex digits that stand for what conditions: features and where they are known."""
    content = hashlib.blake2b(raw(readout.features), digest_size=16)
    content.update(raw(readout.known))
    return content.hexdigest()


def sampled_frames(path: CameraPath, every: int, after: int = -1) -> list[int]:
    """The frames 0, ``every``, ... of a path and its last one, those behind ``after``.

    Raises:
        ValueError: ``every`` is no positive number.
    """
    if every < 1:
        raise ValueError(f"every is {every}, expected 1 or more")
    frames = [*range(0, path.num_frames - 1, every), path.num_frames - 1]
    return [frame for frame in frames if frame > after]


def holes(
    memory: SpatialMemory, path: CameraPath, film: Film, frames: Sequence[int], side: int
) -> Iterator[tuple[int, float]]:
    """Hole % of some frames, one after another: whoever asks may stop at any time."""
    for frame in frames:
        yield frame, preview(memory, frame_camera(path, frame, film, memory.scene_unit), film, side).hole


def holes_within(
    memory: SpatialMemory, path: CameraPath, film: Film, frames: Sequence[int], side: int, seconds: float
) -> dict[int, float]:
    """Hole % of as many frames, in their order, as can be read in that time; of one at least."""
    begun, found = time.perf_counter(), {}
    for frame, hole in holes(memory, path, film, frames, side):
        found[frame] = hole
        if time.perf_counter() - begun > seconds:
            break
    return found


def chunk_holes(found: dict[int, float], chunks: Sequence[tuple[int, int]]) -> list[dict]:
    """Mean hole % of the frames of each chunk [start, stop), null where none of them was read."""
    rows = []
    for start, stop in chunks:
        inside = [hole for frame, hole in found.items() if start <= frame < stop]
        mean = sum(inside) / len(inside) if inside else None
        rows.append({"start": start, "stop": stop, "frames": len(inside), "hole": mean})
    return rows
