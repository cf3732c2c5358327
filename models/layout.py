"""How a backbone was trained to be driven: chunk length, history, references, control. Frozen, part of the world.

Every branch and LoRA fixes these; changing one without retraining gives noise, so they travel with the weights. The
control itself is a named function in ``control_layout.py``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor

from .codec import Codec
from .control_layout import (
    Coverage,
    Shown,
    control_with_code,
    control_with_hole,
    control_with_offset,
    hole_code,
    white_code,
)


@dataclass(frozen=True)
class Layout:
    """What a backbone saw in training.

    ``history``: ``overlap`` re-encodes the last ``history_frames`` frames as a clip of their own at the head of the
    window (Spatia); ``preceding`` repeats the last latent as the first and appends the latents before it behind the
    target (Mirage). ``codes``: references and memory are single-frame codes (``frames``) or latents of the stream.
    ``references``: the policy by which the release chooses them (``rollout/retrieval.py``).
    """

    name: str
    first_frames: int  # pixel frames of the first window
    chunk_frames: int  # pixel frames of every later window
    history: Literal["overlap", "preceding"]
    history_frames: int  # pixel frames of the past that a later window shows
    max_references: int
    codes: Literal["frames", "stream"]
    control_channels: int
    control: Callable[[Shown], Tensor]  # -> (control_channels, t, h, w)
    code: Callable[[Codec, Coverage], Tensor] | None = None  # -> (C, t, h, w) of the window's pixel frames
    trained_with: tuple[str, ...] = ("latent", "rgb")  # kinds of memory; any other is an experiment
    references: str = "algorithm1"


MINI_LAYOUT = Layout("mini", 33, 33, "overlap", 9, 3, "stream", 27, control_with_offset)
SPATIA_LAYOUT = Layout("spatia", 121, 81, "overlap", 9, 7, "frames", 96, control_with_code, hole_code, ("rgb",))
MIRAGE_LAYOUT = Layout(
    "mirage", 33, 33, "preceding", 8, 4, "stream", 96, control_with_code, partial(white_code, least=41), ("latent",),
    "union_overlap",
)  # fmt: skip
MASK_LAYOUT = Layout(
    "mask", 33, 33, "preceding", 8, 4, "stream", 49, control_with_hole, None, ("latent",), "union_overlap"
)

WAN_LAYOUTS = {layout.name: layout for layout in (SPATIA_LAYOUT, MIRAGE_LAYOUT, MASK_LAYOUT)}
