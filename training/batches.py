"""Batches of training windows: drawn from encoded clips by number, packed in half precision, moved to a device."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..models.world import MINI_TRANSFORMER
from .windows import Window, draw_window, integer, uniform

PATCH = MINI_TRANSFORMER["patch_size"][1]
TENSORS = ("x0", "readout", "known", "offset", "references")

Clip = dict[str, Tensor]  # encoded, see ``latents.py``


@dataclass(frozen=True)
class Batch:
    """B windows of one grid that share their counts of history and references. float16: so the clips are stored."""

    x0: Tensor  # (B, C, 9, h, w)
    readout: Tensor  # (B, C, 9, h, w)
    known: Tensor  # (B, 9, h, w)
    offset: Tensor  # (B, 2, 9, h, w)
    references: Tensor  # (B, C, R, h, w)
    history: int

    def tensors(self) -> list[Tensor]:
        """The tensors in the order of ``TENSORS``."""
        return [getattr(self, name) for name in TENSORS]

    def on(self, device: torch.device) -> "Batch":
        """A copy on a device; for a GPU it is under way when this returns, and the source may be overwritten."""
        if device.type == "cuda":
            return Batch(*(t.pin_memory().to(device, non_blocking=True) for t in self.tensors()), self.history)
        return Batch(*(tensor.to(device, copy=True) for tensor in self.tensors()), self.history)


def collate(windows: Sequence[Window]) -> Batch:
    """Windows of one kind to a batch."""
    parts = (torch.stack([getattr(window, name) for window in windows]).half() for name in TENSORS)
    return Batch(*parts, windows[0].history)


def draw_batch(clips: Sequence[Clip], tokens: int, generator: torch.Generator) -> Batch:
    """Windows of one grid that fill a step's tokens, with common counts of history and references."""
    history = 1 if uniform(generator, 0, 1) < 0.35 else 3
    references = integer(generator, 0, 4)
    height, width = clips[0]["depth"].shape[-2:]
    size = max(1, round(tokens / ((height // PATCH) * (width // PATCH) * (9 + references))))
    windows = (
        draw_window(clips[integer(generator, 0, len(clips))], history, references, generator) for _ in range(size)
    )
    return collate(list(windows))


def numbered_batch(folders: Sequence[Sequence[Clip]], alone: int, tokens: int, seed: int, number: int) -> Batch:
    """The batch of a number, the same whoever draws it: the first ``alone`` from the first folder, then in turn."""
    clips = folders[0 if number < alone else number % len(folders)]
    return draw_batch(clips, tokens, torch.Generator().manual_seed(seed * 1_000_003 + number))
