"""The network of the mini geometry provider: completes the depth that the memory renders, given the image.

Everything is inverse depth in units of 1 / scene_unit (1.0 = the median depth of the start frame). Where nothing is
rendered it is a weak monocular estimate, whose scale means little.
"""

import json
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, pixel_shuffle, pixel_unshuffle, silu, softplus

from ..memory.shapes import sizes

STRIDE = 32  # height and width are multiples of it
FOLD = 4  # pixels folded into channels at the entry
WEIGHTS = Path(__file__).parent / "mini" / "geometry.safetensors"


class DepthPrediction(NamedTuple):
    """What the network says about B images."""

    inverse_depth: Tensor  # (B, H, W) positive, in 1 / scene_unit
    relative_error: Tensor  # (B, H, W) positive: how far off the inverse depth is expected to be, as a share of itself
    sky: Tensor  # (B, H, W) logit
    dynamic: Tensor  # (B, H, W) logit: something that moves by itself, as a person or a car

    @property
    def confidence(self) -> Tensor:  # (B, H, W) in (0, 1]: a half at 10 % expected error, a tenth at 30 %
        return 1.0 / (1.0 + (self.relative_error / 0.1) ** 2)


class ResidualBlock(nn.Module):
    """x + conv(silu(conv(silu(x)))), the second convolution zero at first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Conv2d(width, width, 3, padding=1)
        self.outer = nn.Conv2d(width, width, 3, padding=1)
        nn.init.zeros_(self.outer.weight)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.outer(silu(self.inner(silu(x))))


class MiniDepthNetwork(nn.Module):
    """A U-Net over 4 x 4 pixels folded into channels, at strides 4 to 32.

    It multiplies a smooth completion of what is rendered (``completed``), and begins by changing nothing.
    """

    def __init__(self, widths: tuple[int, ...] = (48, 72, 112, 160)) -> None:
        super().__init__()
        self.config = {"widths": list(widths)}
        self.enter = nn.Conv2d(8 * FOLD * FOLD, widths[0], 1)
        self.descend = nn.ModuleList(nn.Conv2d(4 * a, b, 1) for a, b in zip(widths, widths[1:]))
        self.analyse = nn.ModuleList(ResidualBlock(width) for width in widths)
        self.middle = nn.Sequential(
            ResidualBlock(widths[-1]), nn.Conv2d(widths[-1], widths[-1], 5, padding=2, groups=8)
        )
        self.ascend = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in zip(widths, widths[1:]))
        self.synthesise = nn.ModuleList(ResidualBlock(width) for width in widths[:-1])
        self.leave = nn.Conv2d(widths[0], 4 * FOLD * FOLD, 3, padding=1)
        nn.init.zeros_(self.leave.weight)

    def forward(
        self,
        images: Tensor,  # (B, 3, H, W) in [0, 1]
        rendered_inverse: Tensor,  # (B, H, W) inverse depth that the memory renders, in 1 / scene_unit
        known: Tensor,  # (B, H, W) 1 where rendered_inverse is known, 0 elsewhere
        K: Tensor,  # (B, 3, 3) in pixels
    ) -> DepthPrediction:
        """Predict inverse depth, confidence, sky and dynamic things.

        Raises:
            ValueError: shapes do not fit, or a height or width that is no multiple of 32.
        """
        _, height, width = sizes(
            "B 3 H W | B H W | B H W | B 3 3", images=images, rendered=rendered_inverse, known=known, K=K
        )
        if height % STRIDE or width % STRIDE:
            raise ValueError(
                f"images are {height} x {width} pixels, expected multiples of {STRIDE}; resize or pad them"
            )
        known = known.to(images.dtype)[:, None]
        x = (torch.arange(width, device=images.device) + 0.5 - K[:, 0, 2, None]) / K[:, 0, 0, None]  # (B, W)
        y = (torch.arange(height, device=images.device) + 0.5 - K[:, 1, 2, None]) / K[:, 1, 1, None]  # (B, H)
        rays = torch.stack([x[:, None].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)], 1)
        given = torch.where(known > 0, rendered_inverse[:, None], 1.0).clamp(0.02, 20.0)
        base = completed(given, known)
        inputs = torch.cat([images * 2.0 - 1.0, base.log(), base.log() * known, known, rays], 1)

        h, skips = self.enter(pixel_unshuffle(inputs, FOLD)), []
        for level, block in enumerate(self.analyse):
            h = block(h)
            if level < len(self.descend):
                skips.append(h)
                h = self.descend[level](pixel_unshuffle(h, 2))
        h = h + silu(self.middle(h))
        # one number a view that every cell sees: how far away things are on the whole
        h = h + h.mean((2, 3), keepdim=True)
        for level in reversed(range(len(self.descend))):
            h = interpolate(self.ascend[level](h), scale_factor=2.0, mode="nearest") + skips[level]
            h = self.synthesise[level](h)
        value, spread, sky, dynamic = pixel_shuffle(self.leave(h), FOLD).float().unbind(1)
        return DepthPrediction(base[:, 0] * value.clamp(-4, 4).exp(), softplus(spread - 2.0) + 0.02, sky, dynamic)


def completed(values: Tensor, known: Tensor) -> Tensor:
    """Fill holes with the means of ever larger blocks around them; 1.0 where nothing at all is known.

    Args:
        values, known: (B, 1, H, W); H and W multiples of 32; ``known`` 1 or 0.
    """
    weighted, weight = [values * known], [known]
    while min(weight[-1].shape[-2:]) > 1 and not any(side % 2 for side in weight[-1].shape[-2:]):
        weighted.append(avg_pool2d(weighted[-1], 2))
        weight.append(avg_pool2d(weight[-1], 2))
    total = weight[-1].sum((2, 3), keepdim=True)
    filled = torch.where(total > 0, weighted[-1].sum((2, 3), keepdim=True) / total.clamp(min=1e-6), 1.0)
    for w, k in zip(reversed(weighted), reversed(weight)):
        coarse = interpolate(filled, k.shape[2:], mode="bilinear", align_corners=False)
        filled = torch.where(k > 0, w / k.clamp(min=1e-6), coarse)
    return filled


def load_mini_depth(path: Path | None = None) -> MiniDepthNetwork:
    """The geometry network that ships (float32, evaluation mode), or another file of the same kind.

    Raises:
        FileNotFoundError: the weights are missing; names the file and the command that trains them.
    """
    from safetensors import safe_open

    path = Path(path or WEIGHTS)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; restore it from the repository, or train it: "
            "`python -m spatial_memory.training.geometry`"
        )
    with safe_open(path, framework="pt") as file:
        network = MiniDepthNetwork(**json.loads(file.metadata()["config"]))
        network.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()})
    return network.eval().requires_grad_(False)
