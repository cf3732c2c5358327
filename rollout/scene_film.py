"""What a scene tells about the film: its size, its frames as frusta with thumbnails, its chunks, its start."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from ..memory.camera import Cameras
from ..memory.cloud import SpatialMemory
from ..memory.exchange import Factors
from ..memory.grid import LatentGrid
from ..models.codec import MINI_GRID
from ..models.latent_rgb import rgb_factors, show_latents
from .look import home
from .state import RolloutState

GRIDS = {"mini": MINI_GRID, "wan2.2": LatentGrid(48, 4, 16)}  # by the codec's name
MOST_FRUSTA, MOST_PICTURES = 256, 64
START_SIDE, THUMB_SIDE = 512, 96  # pixels of the longer side
QUALITY = 82
GREY = 0.5


@dataclass(frozen=True)
class Film:
    """The size of the film that a memory is read for."""

    height: int  # pixels
    width: int
    grid: tuple[int, int] | None  # (h, w) of the latents that a latent memory is read on; None: an RGB memory
    temporal: int = 4


@dataclass(frozen=True, eq=False)
class Frustum:
    """A frame that exists: where it stood, and what it shows."""

    frame: int
    chunk: int  # that made it, -1 = given
    camera: Cameras  # ()
    picture: Tensor | None = None  # (3, H, W) in [0, 1]
    decoded: bool = False  # False: one colour a latent cell


def film_of(memory: SpatialMemory, state: RolloutState | None = None) -> Film:
    """The film's size, by the state or else by the frame that the memory began with.

    A latent memory without a state says its grid alone; the codec's stride makes it pixels. Without a known codec a
    cell counts as a pixel: cameras on a grid do not depend on where it was taken from.

    Raises:
        ValueError: the memory holds nothing, or latents of another size than the state's film.
    """
    start = home(memory)
    latent = memory.kind == "latent"
    grid = GRIDS.get(memory.codec if latent else state.world if state else "")
    stride = grid.spatial if grid and latent else 1
    size = (start.height * stride, start.width * stride)
    if state is not None and size != (state.height, state.width):
        if grid or not latent:
            raise ValueError(
                f"the memory was begun at {size[0]} x {size[1]} pixels, the state's film is {state.height} x "
                f"{state.width}: connect a memory and a state of one film, or the state alone"
            )
        size = (state.height, state.width)
    return Film(*size, (start.height, start.width) if latent else None, grid.temporal if grid else 4)


def linear_factors(memory: SpatialMemory) -> Factors | None:
    """How latents become colours, None for a memory that has colours; grey where the codec has no factors."""
    if memory.kind == "rgb":
        return None
    try:
        return rgb_factors(memory.codec, memory.channels)
    except ValueError:
        return torch.zeros(memory.channels, 3), torch.full((3,), GREY)


def frusta_of(memory: SpatialMemory, state: RolloutState | None, image: Tensor | None) -> list[Frustum]:
    """The start frame first, then what was made, then posed pictures; at most 256, evenly from the film.

    Args:
        image: (3, H, W) in [0, 1] the start frame, where there is no state that holds it.
    """
    if state is None:
        seen = {o.frame: Frustum(o.frame, o.chunk, o.camera) for o in reversed(memory.observations)}
        first = Frustum(0, -1, home(memory), image, image is not None)
        others = [seen[frame] for frame in sorted(seen) if frame > 0] + [seen[f] for f in sorted(seen) if f < 0]
        return [first, *_thinned(others, MOST_FRUSTA - 1)]
    factors = _factors_of(memory, state)
    count = state.latents.shape[1]
    stride = (len(state.cameras) - 1) // max(1, count - 1)
    made = []
    for i in _evenly(1, count, MOST_FRUSTA - 1):
        frame = i * stride
        picture = _shown(state.latents[:, i], factors)
        made.append(Frustum(frame, _chunk_of(state, frame), state.cameras[frame], picture))
    posed = [
        Frustum(frame, -1, state.code_cameras[i], _shown(state.codes[:, i], factors))
        for i, frame in enumerate(state.code_frames)
        if frame < 0
    ]
    return [Frustum(0, -1, state.cameras[0], state.image, True), *_thinned(made + posed, MOST_FRUSTA - 1)]


def chunks_of(state: RolloutState | None) -> list[dict]:
    """The chunks that were made: their frames, what the memory did not show, and what they referred to."""
    rows = []
    for record in () if state is None else state.records[: state.chunk]:
        start, stop = record.get("frames", (None, None))
        hole = record.get("hole_rate")
        references = [row["frame"] for row in record.get("references", [])]
        percent = None if hole is None else 100 * hole
        rows.append({"index": record["chunk"], "start": start, "stop": stop, "hole": percent, "references": references})
    return rows


def pose_row(camera: Cameras) -> dict:
    """A camera () as numbers: c2w row by row, its vertical field of view in degrees, its aspect."""
    fov = 2 * math.degrees(math.atan(camera.height / 2 / camera.K[1, 1].item()))
    aspect = camera.width / camera.K[0, 0].item() * camera.K[1, 1].item() / camera.height
    return {"c2w": camera.c2w.flatten().tolist(), "vertical_fov": fov, "aspect": aspect}


def frusta_rows(frusta: Sequence[Frustum]) -> tuple[list[dict], bytes]:
    """The frusta as JSON, and their pictures as JPEG files behind one another."""
    rows, files = [], bytearray()
    shown = set(_evenly(0, len(frusta), MOST_PICTURES))
    for i, frustum in enumerate(frusta):
        span = None
        if frustum.picture is not None and i in shown:
            file = jpeg(frustum.picture, START_SIDE if i == 0 else THUMB_SIDE)
            span = [len(files), len(file)]
            files += file
        row = {"frame": frustum.frame, "chunk": frustum.chunk, **pose_row(frustum.camera)}
        rows.append({**row, "picture": span, "decoded": frustum.decoded})
    return rows, bytes(files)


def jpeg(picture: Tensor, side: int) -> bytes:
    """A picture (3, H, W) in [0, 1] as JPEG, its longer side at most ``side`` pixels."""
    pixels = (picture.clamp(0, 1).permute(1, 2, 0) * 255).round().to(torch.uint8).cpu().numpy()
    image = Image.fromarray(pixels)
    scale = side / max(image.size)
    if scale < 1:
        image = image.resize([max(1, round(length * scale)) for length in image.size], Image.Resampling.BILINEAR)
    written = io.BytesIO()
    image.save(written, "JPEG", quality=QUALITY)
    return written.getvalue()


def _factors_of(memory: SpatialMemory, state: RolloutState) -> Factors | None:
    """The linear factors of the film's own latents, None where there are none."""
    try:
        return rgb_factors(memory.codec or state.world, state.latents.shape[0])
    except ValueError:
        return None


def _shown(latent: Tensor, factors: Factors | None) -> Tensor | None:
    return None if factors is None else show_latents(latent, factors)


def _chunk_of(state: RolloutState, frame: int) -> int:
    for record in state.records[: state.chunk]:
        start, stop = record.get("frames", (0, 0))
        if start <= frame < stop:
            return record["chunk"]
    return -1


def _evenly(start: int, stop: int, most: int) -> list[int]:
    """At most ``most`` of the numbers from ``start`` to before ``stop``, evenly, the first and last included."""
    count = stop - start
    if count <= most:
        return list(range(start, stop))
    return [start + i * (count - 1) // (most - 1) for i in range(most)]


def _thinned(frusta: list[Frustum], most: int) -> list[Frustum]:
    return [frusta[i] for i in _evenly(0, len(frusta), most)]
