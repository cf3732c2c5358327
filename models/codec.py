"""Codecs: images to latents and back, whole, frame by frame, or as a stream. Images are (T, 3, H, W) in [-1, 1].

Every codec is causal: latent 0 stands for one frame, every other latent for the ``temporal`` frames that end at it.
Latents leave normalised ("model space") as CPU float32; ComfyUI's LATENT is raw, see ``to_raw`` and ``from_raw``.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from ..memory.grid import LatentGrid
from ..memory.pages import roomy

MINI_GRID = LatentGrid(channels=24, temporal=4, spatial=8, patch=2)

LEAD = 2  # latents that warm a causal decoder up before the tail of a stream

OnLatent = Callable[[int], None]  # called with the number of latents done so far; may raise to interrupt


class Codec(Protocol):
    """What the rollout asks of a codec."""

    name: str
    grid: LatentGrid
    independent: bool  # latents do not depend on their neighbours in time

    def encode(self, images: Tensor) -> Tensor:
        """(T, 3, H, W) in [-1, 1], T = 1 + temporal n -> (C, t, h, w) normalised."""

    def decode(self, latents: Tensor) -> Tensor:
        """(C, t, h, w) from the start of a stream -> a new (T, 3, H, W) clamped to [-1, 1]."""

    def encode_frames(self, images: Tensor) -> Tensor:
        """(V, 3, H, W) -> (C, V, h, w): each image as a clip of its own."""

    def encode_stream(self, clips: Iterable[Tensor]) -> Iterator[Tensor]:
        """Clips of any lengths, together 1 + temporal n frames -> pieces (C, m, h, w), equal to one ``encode``."""

    def decode_stream(self, latents: Tensor, on_latent: OnLatent | None = None) -> Iterator[Tensor]:
        """(C, t, h, w) -> pieces (n, 3, H, W), equal to one ``decode``; memory does not grow with t."""

    def to_raw(self, latents: Tensor) -> Tensor:
        """Normalised (C, t, h, w) -> the raw latents that ComfyUI's LATENT holds."""

    def from_raw(self, raw: Tensor) -> Tensor:
        """The inverse of ``to_raw``."""


def appended(stream: Tensor, more: Tensor) -> Tensor:
    """Latents (C, t, h, w) and more behind them, as a new stream: of a long film it is large."""
    channels, frames, h, w = stream.shape
    return torch.cat([stream, more], 1, out=roomy((channels, frames + more.shape[1], h, w), stream.device))


def signed(colours: Tensor) -> Tensor:
    """Colours in [0, 1] as codecs take them, in [-1, 1]: the bits of ``colours * 2 - 1``, in one step."""
    made = roomy(colours.shape, colours.device)
    return torch.add(torch.tensor(-1.0, device=colours.device), colours, alpha=2, out=made)


def as_colours(frames: Tensor) -> Tensor:
    """Frames (T, 3, H, W) just decoded, within [-1, 1], as colours in [0, 1], in place: a film is gigabytes."""
    half = torch.tensor(0.5, device=frames.device)
    for frame in frames:  # in one step, in place
        torch.add(half, frame, alpha=0.5, out=frame)
    return frames


def frame_groups(clips: Iterable[Tensor], temporal: int) -> Iterator[Tensor]:
    """Cut clips of any lengths into what one latent stands for: one frame, then ``temporal`` frames each time.

    Raises:
        ValueError: the last group is not full; names the nearest lengths.
    """
    held: list[Tensor] = []  # what is left over of the clips so far, fewer frames than the next group needs
    done, wanted = 0, 1
    for clip in clips:
        while len(clip):
            take = clip[: wanted - sum(map(len, held))]
            held.append(take)
            clip = clip[len(take) :]
            if sum(map(len, held)) == wanted:
                yield torch.cat(held)
                held, done, wanted = [], done + wanted, temporal
    if held or not done:
        LatentGrid(channels=1, temporal=temporal).latent_frames(done + sum(map(len, held)))


def check_images(images: Tensor, grid: LatentGrid) -> None:
    """Refuse what is not (T, 3, H, W) or not on the grid.

    Raises:
        ValueError: names the nearest sizes that fit.
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ValueError(f"images has shape {tuple(images.shape)}, expected (T, 3, H, W) in [-1, 1]")
    grid.cells(*images.shape[2:])


def check_latents(latents: Tensor, grid: LatentGrid) -> None:
    """Refuse what is not (C, t, h, w) with this grid's channels.

    Raises:
        ValueError: names the shape that was got.
    """
    if latents.ndim != 4 or latents.shape[0] != grid.channels or not latents.shape[1]:
        raise ValueError(f"latents has shape {tuple(latents.shape)}, expected ({grid.channels}, t, h, w) with t >= 1")


def decode_tail(codec: Codec, latents: Tensor, count: int, lead: int = LEAD) -> Tensor:
    """Frames of the last ``count`` latents of a stream (C, t, h, w), without decoding what lies before.

    ``lead`` latents are decoded first and their frames dropped, which warms the causal decoder up; what is left
    deviates from the one-pass decode, less with a longer lead. With independent latents it is exact after one.

    Returns:
        (T, 3, H, W): ``temporal`` frames a latent, one for latent 0 of the stream.

    Raises:
        ValueError: ``count`` is not within the stream, or there is no lead.
    """
    check_latents(latents, codec.grid)
    total = latents.shape[1]
    if not 1 <= count <= total:
        raise ValueError(f"count is {count}, expected 1 to {total}, the length of the stream in latents")
    if lead < 1:
        raise ValueError(
            f"lead is {lead}, expected at least 1: the first latent that a codec decodes gives one frame only"
        )
    start = total - count
    lead = min(start, 1 if codec.independent else lead)
    frames = codec.decode(latents[:, start - lead :])
    return frames[codec.grid.num_frames(lead) :] if lead else frames


class GroupNetwork(Protocol):
    """A network that codes frames four by four, such as ``mini_codec.MiniCodecNetwork``."""

    def encode_groups(self, groups: Tensor) -> Tensor:
        """(B, 4, 3, H, W) -> (B, C, h, w)."""

    def decode_groups(self, latents: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, 4, 3, H, W)."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Its weights, whose device and dtype say where it runs."""


class MiniCodec:
    """The light codec that ships: each latent holds four frames by itself, latent 0 one frame four times.

    Latents are coded one at a time, so that a frame's bits never depend on how much is coded at once. Raw equals model
    space.
    """

    independent = True

    def __init__(self, network: GroupNetwork, grid: LatentGrid = MINI_GRID, name: str = "mini") -> None:
        self.network = network
        self.grid = grid
        self.name = name

    def encode(self, images: Tensor) -> Tensor:
        """(T, 3, H, W) in [-1, 1] -> (C, t, h, w).

        Raises:
            ValueError: T is not 1 + 4n, or the size does not fit the grid.
        """
        self.grid.latent_frames(len(images))
        return torch.cat(list(self.encode_stream([images])), dim=1)

    def decode(self, latents: Tensor) -> Tensor:
        """(C, t, h, w) -> (T, 3, H, W) clamped to [-1, 1]."""
        return torch.cat(list(self.decode_stream(latents)))

    def encode_frames(self, images: Tensor) -> Tensor:
        """(V, 3, H, W) -> (C, V, h, w), each image alone."""
        check_images(images, self.grid)
        return torch.cat([self._encode_group(image[None]) for image in images], dim=1)

    def encode_stream(self, clips: Iterable[Tensor]) -> Iterator[Tensor]:
        """Clips of any lengths -> one (C, 1, h, w) a group of frames, as soon as the group is full."""
        for group in frame_groups(clips, self.grid.temporal):
            check_images(group, self.grid)
            yield self._encode_group(group)

    def decode_stream(self, latents: Tensor, on_latent: OnLatent | None = None) -> Iterator[Tensor]:
        """(C, t, h, w) -> (1, 3, H, W), then (4, 3, H, W) a latent."""
        check_latents(latents, self.grid)
        for index in range(latents.shape[1]):
            frames = self._decode_latent(latents[:, index])
            if on_latent is not None:
                on_latent(index + 1)
            yield frames[-1:] if index == 0 else frames

    def to_raw(self, latents: Tensor) -> Tensor:
        """The mini codec's latents are raw as they are."""
        return latents

    def from_raw(self, raw: Tensor) -> Tensor:
        """The mini codec's latents are raw as they are."""
        return raw

    @torch.no_grad()
    def _encode_group(self, frames: Tensor) -> Tensor:  # (1 or 4, 3, H, W) -> (C, 1, h, w)
        weight = next(self.network.parameters())
        group = frames.expand(self.grid.temporal, -1, -1, -1)[None].to(weight)
        return self.network.encode_groups(group)[0].float().cpu()[:, None]

    @torch.no_grad()
    def _decode_latent(self, latent: Tensor) -> Tensor:  # (C, h, w) -> (4, 3, H, W)
        weight = next(self.network.parameters())
        return self.network.decode_groups(latent[None].to(weight))[0].float().clamp(-1.0, 1.0).cpu()
