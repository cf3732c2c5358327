"""What the control branch is shown of the memory, one named function a layout, and the codes that two of them need.

Spatia shows the code of the rendered scene and the code of a video of its holes; Mirage the latents read from memory
and the code of plain white; the paper's 49-channel branch the latents and one channel that is 1 at holes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..memory.shapes import sizes
from .codec import Codec


@dataclass(frozen=True, eq=False)
class Coverage:
    """How far the pixel frames of a window are known: made only for a layout that looks at it, since it is large."""

    size: tuple[int, int, int]  # T, H, W
    made: Callable[[], Tensor]  # -> (T, H, W) in [0, 1], 1 = known


@dataclass(frozen=True, eq=False)
class Shown:
    """The memory at a window's cameras, as the network may be shown it."""

    readout: Tensor  # (C, t, h, w) latents, 0 at holes
    known: Tensor  # (t, h, w) in [0, 1]: 1 = known, 0 = hole
    offset: Tensor  # (2, t, h, w) of the points read, in cells from the cells' centres, 0 at holes
    code: Tensor | None = None  # (C, t, h, w) what the layout encodes beside the readout

    def __post_init__(self) -> None:
        sizes("C t h w | t h w | 2 t h w", readout=self.readout, known=self.known, offset=self.offset)
        if self.code is not None and self.code.shape != self.readout.shape:
            raise ValueError(f"code is {tuple(self.code.shape)}, expected {tuple(self.readout.shape)} as the readout")

    def to(self, device: torch.device) -> "Shown":
        """The same there."""
        code = None if self.code is None else self.code.to(device)
        return Shown(self.readout.to(device), self.known.to(device), self.offset.to(device), code)

    def empty(self) -> "Shown":
        """The same window with nothing known. A code stays: it is a constant, or whoever made this makes another."""
        zeros = (torch.zeros_like(part) for part in (self.readout, self.known, self.offset))
        return Shown(*zeros, code=self.code)


def control_with_mask(shown: Shown) -> Tensor:
    """The readout followed by one known-mask channel (1 = known); the offset is not shown: (C + 1, t, h, w)."""
    return torch.cat([shown.readout, shown.known[None].to(shown.readout)])


def control_with_offset(shown: Shown) -> Tensor:
    """``control_with_mask`` followed by the offsets: (C + 3, t, h, w).

    A latent is read at the cell that its point falls into, up to half a cell away from where it belongs. The offsets
    tell the network which cells are exact and which way the others are shifted.
    """
    return torch.cat([control_with_mask(shown), shown.offset.to(shown.readout)])


def control_with_hole(shown: Shown) -> Tensor:
    """The readout followed by one channel that is 1 at holes (Mirage's first release): (C + 1, t, h, w)."""
    return torch.cat([shown.readout, 1 - shown.known[None].to(shown.readout)])


def control_with_code(shown: Shown) -> Tensor:
    """The readout followed by the layout's code of as many channels: (2 C, t, h, w).

    Raises:
        ValueError: no code was made for this window.
    """
    if shown.code is None:
        raise ValueError("this layout shows a code beside the readout; take the control from WarpMemory of this world")
    return torch.cat([shown.readout, shown.code.to(shown.readout)])


def hole_code(codec: Codec, coverage: Coverage) -> Tensor:
    """Spatia's second half: the code of a grey video of the holes, 1 = hole, soft, its values in [0, 1] as they are.

    Returns:
        (C, t, h, w) in model space.
    """
    return codec.encode((1 - coverage.made().clamp(0, 1))[:, None].expand(-1, 3, -1, -1).contiguous())


def white_code(codec: Codec, coverage: Coverage, least: int = 1) -> Tensor:
    """Mirage's second half: the code of plain white, made once for a codec and a size.

    A causal codec's code of a clip begins with the code of any shorter one, so the longest that was made serves all.

    Args:
        coverage: asked for its size alone.
        least: frames that are encoded at least: those of the longest window, so that no later chunk encodes again.

    Returns:
        (C, t, h, w) in model space.
    """
    frames, height, width = coverage.size
    made = _WHITE.setdefault(codec, {})
    count = codec.grid.latent_frames(frames)
    if (height, width) not in made or made[height, width].shape[1] < count:
        made[height, width] = codec.encode(torch.ones(1, 3, 1, 1).expand(max(frames, least), 3, height, width))
    return made[height, width][:, :count]


_WHITE: WeakKeyDictionary[Codec, dict[tuple[int, int], Tensor]] = WeakKeyDictionary()
