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


def control_with_mask(readout: Tensor, known: Tensor, offset: Tensor) -> Tensor:
    """The readout followed by one known-mask channel; ``offset`` is not shown to the network.

    Args:
        readout: (C, t, h, w) latents read from memory, 0 at holes.
        known: (t, h, w), 1 = known, 0 = hole.
        offset: (2, t, h, w) where in its cell the point lies that was read, in cells from the centre, 0 at holes.

    Returns:
        (C + 1, t, h, w).
    """
    sizes("C t h w | t h w | 2 t h w", readout=readout, known=known, offset=offset)
    return torch.cat([readout, known[None].to(readout)])


def control_with_offset(readout: Tensor, known: Tensor, offset: Tensor) -> Tensor:
    """``control_with_mask`` followed by the offsets: (C + 3, t, h, w).

    A latent is read at the cell that its point falls into, up to half a cell away from where it belongs. The offsets
    tell the network which cells are exact and which way the others are shifted.
    """
    return torch.cat([control_with_mask(readout, known, offset), offset.to(readout)])


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
    control: Callable[[Tensor, Tensor, Tensor], Tensor]  # readout, known, offset -> (control_channels, t, h, w)


MINI_LAYOUT = Layout("mini", 33, "overlap", 9, 3, "stream", 27, control_with_offset)
