"""How a backbone was trained to be driven: chunk length, history, references, control. Frozen, part of the world.

Every branch and LoRA fixes these; changing one without retraining gives noise, so they travel with the weights and no
node offers them as a choice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..memory.shapes import sizes


def control_with_mask(readout: Tensor, known: Tensor) -> Tensor:
    """The readout followed by one known-mask channel.

    Args:
        readout: (C, t, h, w) latents read from memory, 0 at holes.
        known: (t, h, w), 1 = known, 0 = hole.

    Returns:
        (C + 1, t, h, w).
    """
    sizes("C t h w | t h w", readout=readout, known=known)
    return torch.cat([readout, known[None].to(readout)])


@dataclass(frozen=True)
class Layout:
    """What a backbone saw in training.

    ``history``: ``overlap`` re-encodes the last ``history_frames`` frames as a clip of their own at the head of the
    window (Spatia); ``preceding`` repeats the last latent as the first and appends the latents before it behind the
    target (Mirage). ``codes``: references and memory are single-frame codes (``frames``) or latents of the stream.
    """

    name: str
    chunk_frames: int  # pixel frames of a full window
    history: Literal["overlap", "preceding"]
    history_frames: int  # pixel frames of the past that a later window shows
    max_references: int
    codes: Literal["frames", "stream"]
    control_channels: int
    control: Callable[[Tensor, Tensor], Tensor]  # (C, t, h, w), (t, h, w) -> (control_channels, t, h, w)


MINI_LAYOUT = Layout("mini", 33, "overlap", 9, 3, "frames", 25, control_with_mask)
