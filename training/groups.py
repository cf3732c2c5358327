"""Groups of four frames to train and to test the codec on: crops of rendered clips, and photographs that move."""

import math
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from .textures import photographs

FRAMES = 4


def clip_images(folder: Path, limit: int = 0) -> list[Tensor]:
    """The frames of all clips of a folder, (T, 3, H, W) uint8 each."""
    from safetensors import safe_open

    clips = []
    for path in sorted(folder.glob("*.safetensors"))[: limit or None]:
        with safe_open(path, framework="pt") as file:
            clips.append(file.get_tensor("images"))
    return clips


def crops(clips: list[Tensor], size: tuple[int, int], count: int, generator: Generator) -> Tensor:
    """Random groups (count, 4, 3, *size) in [-1, 1]: still or one frame apart, some backwards, some mirrored."""
    groups = []
    for _ in range(count):
        clip = clips[_integer(generator, len(clips))]
        step = (0, 1, 1)[_integer(generator, 3)]
        start = _integer(generator, len(clip) - (FRAMES - 1) * step)
        index = start + step * torch.arange(FRAMES)
        top, left = (_integer(generator, full - part + 1) for full, part in zip(clip.shape[-2:], size))
        group = clip[index, :, top : top + size[0], left : left + size[1]]
        group = group.flip(0) if _integer(generator, 2) else group
        groups.append(group.flip(-1) if _integer(generator, 2) else group)
    return torch.stack(groups).float() / 127.5 - 1.0


def photograph_pyramid(split: str) -> list[Tensor]:
    """The split's photographs at sizes from their own down to 100 pixels high, (1, 3, h, w) in [-1, 1] each."""
    levels = []
    for image in photographs(split):
        level = torch.from_numpy(image).permute(2, 0, 1)[None] * 2.0 - 1.0
        while level.shape[-2] >= 100:
            levels.append(level)
            level = interpolate(level, scale_factor=0.7, mode="bilinear", antialias=True)
    return levels


def moving_photographs(levels: list[Tensor], size: tuple[int, int], count: int, generator: Generator) -> Tensor:
    """Groups (count, 4, 3, *size) in [-1, 1] of photographs under a random pan, zoom and turn; a third stand still."""
    frame = torch.arange(FRAMES) - 1.5
    groups = []
    for _ in range(count):
        level = levels[_integer(generator, len(levels))]
        pan, turn, zoom, at = (torch.randn(2, generator=generator) for _ in range(4))
        moving = float(_integer(generator, 3) > 0)
        full = torch.tensor([level.shape[-1], level.shape[-2]], dtype=torch.float32)
        window = torch.tensor([size[1], size[0]]) / full * (0.75 + 0.35 * torch.rand((), generator=generator))
        room = (1.0 - window).clamp(min=0)
        centre = (torch.tanh(at) * room) + moving * frame[:, None] * pan * 3.0 / full  # (4, 2) in [-1, 1] coordinates
        angle = 0.1 * turn[0] + moving * frame * 0.01 * turn[1]
        scale = (1.0 + moving * frame * 0.01 * zoom[0]) * (1 if turn[0] > 0 else -1)  # mirrored or not
        aspect = full[0] / full[1]
        c, s = angle.cos(), angle.sin()
        row_x = torch.stack([c * window[0] * scale, -s * window[1] / aspect, centre[:, 0]], 1)
        row_y = torch.stack([s * window[0] * aspect, c * window[1], centre[:, 1]], 1)
        grid = affine_grid(torch.stack([row_x, row_y], 1), [FRAMES, 3, *size], align_corners=False)
        sampled = grid_sample(level.expand(FRAMES, -1, -1, -1), grid, padding_mode="reflection", align_corners=False)
        gain = math.exp(0.15 * float(zoom[1]))
        groups.append(((sampled + 1.0) * gain - 1.0).clamp(-1, 1))
    return torch.stack(groups)


def psnr(images: Tensor, truth: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of (..., 3, H, W) images in [-1, 1], one number an image."""
    error = ((images.clamp(-1, 1) - truth) ** 2).flatten(-3).mean(-1) / 4.0
    return -10.0 * torch.log10(error.clamp(min=1e-10))


def _integer(generator: Generator, high: int) -> int:
    return int(torch.randint(high, (), generator=generator))
