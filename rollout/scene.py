"""A snapshot of a place for the camera path editor: what a memory holds, and what the film has made of it."""

import numpy as np
import torch
from torch import Tensor

from ..memory.cloud import SpatialMemory
from ..memory.splat import splat_nearest
from .fingerprint import memory_key
from .look import home
from .scene_file import VERSION, Scene
from .scene_film import chunks_of, film_of, frusta_of, frusta_rows, linear_factors, pose_row
from .scene_points import MOST, scene_points
from .state import RolloutState

DEPTH_SIDE = 96  # pixels of the longer side at which the depth of the start is looked at
QUANTILES = (0.05, 0.5, 0.95)
UNSURE = 128  # confidence below which depth counts as unsure, of 255


def scene_of(
    memory: SpatialMemory, state: RolloutState | None = None, image: Tensor | None = None, most: int = MOST
) -> Scene:
    """Take the snapshot. The same memory and state give the same one, to the bit.

    Args:
        state: a film that was made with this memory; its frames become frusta.
        image: (3, H, W) in [0, 1] the start frame, where there is no state.
        most: points at most.

    Raises:
        ValueError: the memory holds no points, or more points were asked for than a browser draws.
    """
    start, film = home(memory), film_of(memory, state)
    points = scene_points(memory, linear_factors(memory), most)
    rows, pictures = frusta_rows(frusta_of(memory, state, image))
    frames = 0 if state is None or not state.chunk else len(state.cameras)
    seen = pose_row(start)
    header = {
        "version": VERSION,
        "memory": memory_key(memory),
        "kind": memory.kind,
        "codec": memory.codec,
        "metric": memory.metric,
        "scene_unit": memory.scene_unit,
        "film": {
            "height": film.height,
            "width": film.width,
            "grid": None if film.grid is None else list(film.grid),
            "temporal": film.temporal,
            "frames": frames,
        },
        "points": len(points),
        "total": points.total,
        "far": points.far,
        "spacing": _middle(memory.spacing, memory.scene_unit / 300),
        "box": {"low": list(points.low), "step": list(points.step)},
        "up": (-start.c2w[:3, 1]).tolist(),
        "home": {"c2w": seen["c2w"], "vertical_fov": seen["vertical_fov"]},
        "confidence": _confidence(memory),
        "chunks": chunks_of(state),
        "frusta": rows,
        "stale": [] if state is None else list(state.stale),
    }
    files = np.frombuffer(pictures, np.uint8)
    return Scene(header, {"place": points.place, "look": points.look, "pictures": files})


def _middle(values: Tensor, otherwise: float) -> float:
    return values.median().item() if len(values) else otherwise


def _confidence(memory: SpatialMemory) -> dict:
    """How sure the depth is, and how far away what the start camera sees lies: what parallax may rely on."""
    start = home(memory)
    scale = min(1.0, DEPTH_SIDE / max(start.height, start.width))
    small = start.resized(max(1, round(start.height * scale)), max(1, round(start.width * scale)))
    depth = splat_nearest(memory, small.alone()).depth
    depth = depth[depth > 0]
    near, middle, distant = (
        torch.quantile(depth, torch.tensor(QUANTILES)).tolist() if len(depth) else (None, None, None)
    )
    count = sum(len(o) for o in memory.drawn)
    total = sum(o.confidence.double().sum().item() for o in memory.drawn)
    unsure = sum(int((o.confidence < UNSURE).sum()) for o in memory.drawn)
    return {
        "mean": total / count / 255 if count else None,
        "unsure": unsure / count if count else None,
        "near": near,
        "middle": middle,
        "distant": distant,
    }
