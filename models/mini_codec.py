"""The network of the mini codec: every latent stands for four frames, or for one frame shown four times.

Four frames x 8 x 8 pixels become 24 channels. Latents do not depend on their neighbours in time, so that joins are
exact. The stream around it (which frames belong to which latent) is ``models/codec.py``.
"""

import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_shuffle, pixel_unshuffle, silu

from ..memory.shapes import sizes

FRAMES = 4  # in a group
STRIDE = 8  # pixels a cell
WEIGHTS = Path(__file__).parent / "mini" / "codec.safetensors"


class ResidualBlock(nn.Module):
    """x + conv(silu(conv(silu(x)))); begins as the identity. No norm: a crop is coded as in the whole."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(width, width, 3, padding=1)
        self.outer = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.outer.weight)

    def forward(self, x: Tensor) -> Tensor:  # (B, width, h, w)
        return x + self.outer(silu(self.inner(silu(x))))


class MiniCodecNetwork(nn.Module):
    """Encoder and decoder of groups of four frames; the latents have zero mean and unit deviation per channel."""

    latent_mean: Tensor  # (channels,) of what the encoder gives on the training clips
    latent_std: Tensor  # (channels,)

    def __init__(self, channels: int = 24, width: int = 160, fine_width: int = 96, depth: int = 3) -> None:
        super().__init__()
        self.config = {"channels": channels, "width": width, "fine_width": fine_width, "depth": depth}
        folded = 3 * FRAMES * 16  # 4 x 4 pixels
        self.enter = nn.Conv2d(folded, fine_width, 1)
        self.enter_fine = ResidualBlock(fine_width)
        self.down = nn.Conv2d(4 * fine_width, width, 1)
        self.encoder = nn.Sequential(*(ResidualBlock(width) for _ in range(depth)))
        self.to_latent = nn.Conv2d(width, channels, 1)
        self.from_latent = nn.Conv2d(channels, width, 3, padding=1)
        self.decoder = nn.Sequential(*(ResidualBlock(width) for _ in range(depth)))
        self.up = nn.Conv2d(width, 4 * fine_width, 1)
        self.leave_fine = ResidualBlock(fine_width)
        self.leave = nn.Conv2d(fine_width, folded, 3, padding=1)
        self.register_buffer("latent_mean", torch.zeros(channels))
        self.register_buffer("latent_std", torch.ones(channels))

    def encode_groups(self, groups: Tensor) -> Tensor:
        """Encode groups (B, 4, 3, H, W) in [-1, 1] to normalised latents (B, channels, H / 8, W / 8).

        Raises:
            ValueError: another shape, or a height or width that is no multiple of 8.
        """
        batch, height, width = sizes(f"B {FRAMES} 3 H W", groups=groups)
        if height % STRIDE or width % STRIDE:
            low = [max(1, side // STRIDE) * STRIDE for side in (height, width)]
            raise ValueError(
                f"groups are {height} x {width} pixels, expected multiples of {STRIDE}; the nearest below are "
                f"{low[0]} x {low[1]}: resize or crop"
            )
        x = self.enter_fine(self.enter(pixel_unshuffle(groups.reshape(batch, FRAMES * 3, height, width), 4)))
        raw = self.to_latent(self.encoder(self.down(pixel_unshuffle(x, 2))))
        return (raw.float() - self.latent_mean[:, None, None]) / self.latent_std[:, None, None]

    def decode_groups(self, latents: Tensor) -> Tensor:
        """Decode normalised latents (B, channels, h, w) to groups (B, 4, 3, 8 h, 8 w) around [-1, 1], not clamped."""
        batch, _, h, w = sizes("B C h w", latents=latents)
        raw = latents * self.latent_std[:, None, None] + self.latent_mean[:, None, None]
        x = pixel_shuffle(self.up(self.decoder(self.from_latent(raw))), 2)
        pixels = pixel_shuffle(self.leave(self.leave_fine(x)), 4)
        return pixels.float().reshape(batch, FRAMES, 3, h * STRIDE, w * STRIDE)


def load_mini_codec(path: Path | None = None) -> MiniCodecNetwork:
    """The codec that ships (float32, evaluation mode), or another file of the same kind.

    Raises:
        FileNotFoundError: the weights are missing; names the file and the command that trains them.
    """
    from safetensors import safe_open

    path = Path(path or WEIGHTS)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; restore it from the repository, or train it: `python -m spatial_memory.training.codec`"
        )
    with safe_open(path, framework="pt") as file:
        network = MiniCodecNetwork(**json.loads(file.metadata()["config"]))
        network.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()})
    return network.eval().requires_grad_(False)
