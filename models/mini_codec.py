"""The network of the mini codec: every latent stands for four frames, or for one frame shown four times.

Four frames x 8 x 8 pixels become 24 channels, of two kinds. The first ``APPEARANCE`` code the last frame alone, by an
image encoder that never sees the others: so a frame that is encoded by itself (what a memory holds, what a reference
shows) agrees with the moving latent that ends at it, to the bit. The ``MOTION`` channels code how the three frames
before differ: they are decoded to a flow that pulls the last frame apart, and to what the flow cannot explain.

Latents do not depend on their neighbours in time, so that joins are exact. The stream around it (which frames belong
to which latent) is ``models/codec.py``.
"""

import json
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate, pixel_shuffle, silu

from ..memory.shapes import sizes

FRAMES = 4  # in a group
STRIDE = 8  # pixels a cell
FOLD = 4  # pixels a side that are folded into channels before the first convolution
APPEARANCE = 18  # channels that code the group's last frame alone
MOTION = 6  # channels that code how the three frames before it differ
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


def folding_encoder(frames: int, fine_width: int, width: int, depth: int, channels: int) -> nn.Sequential:
    """(B, 3 frames, H, W) -> (B, channels, H / 8, W / 8)."""
    return nn.Sequential(
        nn.PixelUnshuffle(FOLD),
        nn.Conv2d(3 * frames * FOLD**2, fine_width, 1),
        ResidualBlock(fine_width),
        nn.PixelUnshuffle(STRIDE // FOLD),
        nn.Conv2d((STRIDE // FOLD) ** 2 * fine_width, width, 1),
        *(ResidualBlock(width) for _ in range(depth)),
        nn.Conv2d(width, channels, 1),
    )


def unfolding_decoder(channels: int, width: int, depth: int, fine_width: int, outputs: int) -> nn.Sequential:
    """(B, channels, h, w) -> (B, outputs, 2 h, 2 w): features at a quarter of the picture's size."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        *(ResidualBlock(width) for _ in range(depth)),
        nn.Conv2d(width, (STRIDE // FOLD) ** 2 * fine_width, 1),
        nn.PixelShuffle(STRIDE // FOLD),
        ResidualBlock(fine_width),
        nn.Conv2d(fine_width, outputs, 3, padding=1),
    )


class MiniCodecNetwork(nn.Module):
    """Encoder and decoder of groups of four frames; the latents have zero mean and unit deviation per channel."""

    latent_mean: Tensor  # (channels,) of what the encoder gives on the training clips
    latent_std: Tensor  # (channels,)

    def __init__(self, width: int = 160, fine_width: int = 96, motion_width: int = 96, depth: int = 3) -> None:
        super().__init__()
        self.config = {"width": width, "fine_width": fine_width, "motion_width": motion_width, "depth": depth}
        channels, small = APPEARANCE + MOTION, max(1, depth - 1)
        self.see = folding_encoder(1, fine_width, width, depth, APPEARANCE)
        self.follow = folding_encoder(FRAMES, motion_width, motion_width, small, MOTION)
        self.draw = unfolding_decoder(APPEARANCE, width, depth, fine_width, 3 * FOLD**2)
        self.move = unfolding_decoder(
            channels, motion_width, small, motion_width // 2, (FRAMES - 1) * (2 + 3 * FOLD**2)
        )
        nn.init.zeros_(self.move[-1].weight)  # begins as a picture that stands still
        nn.init.zeros_(self.move[-1].bias)
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
        raw = torch.cat([self.see(groups[:, -1]), self.follow(groups.flatten(1, 2))], dim=1).float()
        return (raw - self.latent_mean[:, None, None]) / self.latent_std[:, None, None]

    def decode_groups(self, latents: Tensor) -> Tensor:
        """Decode normalised latents (B, channels, h, w) to groups (B, 4, 3, 8 h, 8 w) around [-1, 1], not clamped."""
        batch, h, w = sizes(f"B {APPEARANCE + MOTION} h w", latents=latents)
        raw = latents * self.latent_std[:, None, None] + self.latent_mean[:, None, None]
        last = pixel_shuffle(self.draw(raw[:, :APPEARANCE]), FOLD).float()
        moved = self.move(raw).float().unflatten(1, (FRAMES - 1, -1)).flatten(0, 1)  # (3 B, 50, 2 h, 2 w)
        flow = interpolate(moved[:, :2], scale_factor=FOLD, mode="bilinear", align_corners=False)
        earlier = pulled(last.repeat_interleave(FRAMES - 1, 0), flow) + pixel_shuffle(moved[:, 2:], FOLD)
        return torch.cat([earlier.unflatten(0, (batch, FRAMES - 1)), last[:, None]], dim=1)


def pulled(images: Tensor, flow: Tensor) -> Tensor:
    """Every pixel taken from where ``flow`` (B, 2, H, W), in pixels, x then y, points to in ``images`` (B, 3, H, W)."""
    height, width = images.shape[-2:]
    x = torch.arange(width, device=flow.device) + 0.5 + flow[:, 0]
    y = torch.arange(height, device=flow.device)[:, None] + 0.5 + flow[:, 1]
    grid = torch.stack([x * (2 / width) - 1, y * (2 / height) - 1], dim=-1)
    return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


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
