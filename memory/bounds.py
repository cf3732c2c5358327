"""Which views can see which tiles, where and how near: asked before a single point is touched.

A view cannot see a tile whose corners all lie beyond one side of its frustum, nor one that lies behind what is known
to be in front of it all over the image (``Nearest``). Both tests err on the safe side, by more than what float32
rounds, so they change no bit of what is read.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .camera import Cameras

CANCELLED = 4e-6  # of the largest coordinate: what float32 loses on its way from one camera to another
SLACK = 1e-4  # pixels
EDGE = 1e-2  # cells
AT_ONCE = 1 << 20  # corners that are turned at once


@dataclass(frozen=True, eq=False)
class Pairs:
    """P pairs of a view and a block that it may see, and where in the image the block lies at most."""

    view: Tensor  # (P,) int64
    block: Tensor  # (P,) int64
    near: Tensor  # (P,) no point of the block is nearer
    span: Tensor  # (4, P) int32 the first and last column, the first and last row that the block can fall into

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, index: Tensor) -> "Pairs":  # index: (K,) int64
        view, block, near = (t.index_select(0, index) for t in (self.view, self.block, self.near))
        return Pairs(view, block, near, torch.stack([side.index_select(0, index) for side in self.span]))


def may_see(hulls: Tensor, cameras: Cameras, margin: float = 0.0) -> Tensor:
    """Which views can see something in which hull: (V, M) bool. False is certain, True is not.

    Args:
        hulls: (3, 8, M) world.
        margin: pixels around the image that count as seen (discs reach that far).
    """
    return _seen(_turned(hulls, cameras), cameras, margin)


def pairs(hulls: Tensor, cameras: Cameras) -> Pairs:
    """All pairs of a view and a hull (3, 8, M) of which it may see something."""
    some = max(1, AT_ONCE // max(1, hulls[0].numel()))
    parts = [_pairs(hulls, cameras[first : first + some], first) for first in range(0, len(cameras), some)]
    return (
        parts[0]
        if len(parts) == 1
        else Pairs(*(torch.cat([getattr(p, f.name) for p in parts], -1) for f in fields(Pairs)))
    )


def _pairs(hulls: Tensor, cameras: Cameras, first_view: int) -> Pairs:
    turned = _turned(hulls, cameras)
    at = _seen(turned, cameras, 0.0).flatten().nonzero()[:, 0]
    lost = turned.lost[:, 0]
    near = turned.z.amin(1) - lost  # (V, M)
    ahead, depth, sides = near > lost, turned.z.clamp(min=1e-30), []
    for along, axis, size in ((turned.x, 0, cameras.width), (turned.y, 1, cameras.height)):
        f, c = (cameras.K[:, axis, entry, None] for entry in (axis, 2))
        ratio = along / depth
        err = EDGE + lost * (2 * f + c.abs() + size) / near.clamp(min=1e-30)  # in cells
        sides.append(torch.where(ahead, ratio.amin(1) * f + (c - err), 0.0))
        sides.append(torch.where(ahead, ratio.amax(1) * f + (c + err), size - 1.0))
        sides[-2:] = [side.clamp_(0, size - 1).flatten().index_select(0, at).int() for side in sides[-2:]]
    view = at // near.shape[1]
    return Pairs(view + first_view, at - view * near.shape[1], near.flatten().index_select(0, at), torch.stack(sides))


@dataclass(frozen=True, eq=False)
class _Turned:
    """Corners as views see them, each (V, 8, M); ``lost`` (V, 1, 1) is how far off they may be."""

    x: Tensor
    y: Tensor
    z: Tensor
    lost: Tensor


def _turned(hulls: Tensor, cameras: Cameras) -> _Turned:
    px, py, pz = hulls
    w2c = cameras.w2c[:, :3, :, None, None]
    x, y, z = ((w2c[:, i, 0] * px).add_(w2c[:, i, 1] * py).add_(w2c[:, i, 2] * pz).add_(w2c[:, i, 3]) for i in range(3))
    far = hulls.abs().amax() if hulls.numel() else hulls.new_zeros(())
    return _Turned(x, y, z, CANCELLED * (far + cameras.w2c[:, :3, 3].abs().amax(1))[:, None, None])


def _seen(turned: _Turned, cameras: Cameras, margin: float) -> Tensor:
    z, lost = turned.z, turned.lost[:, 0]
    beyond, edge = z.amax(1) < -lost, SLACK + margin
    for along, axis, size in ((turned.x, 0, cameras.width), (turned.y, 1, cameras.height)):
        f, c = cameras.K[:, axis, axis, None, None], cameras.K[:, axis, 2, None, None]
        spare = lost * (f + c.abs() + size)[:, 0]
        at = f * along
        beyond |= torch.addcmul(at, c + edge, z).amax(1) < -spare
        beyond |= torch.addcmul(at, c - edge - size, z).amin(1) > spare
    return ~beyond


class Nearest:
    """How far away the front is at most over any part of an image: a pyramid of maxima, each level half as fine."""

    def __init__(self, depth: Tensor) -> None:  # (V, h, w) of the front, inf where there is none
        self._levels, self._sizes = [depth.flatten(1)], [depth.shape[1:]]
        while max(depth.shape[1:]) > 1:
            odd = (0, depth.shape[2] % 2, 0, depth.shape[1] % 2)
            depth = torch.nn.functional.pad(depth, odd, value=-torch.inf)
            depth = torch.maximum(depth[:, ::2], depth[:, 1::2])
            depth = torch.maximum(depth[:, :, ::2], depth[:, :, 1::2])
            self._levels.append(depth.flatten(1))
            self._sizes.append(depth.shape[1:])

    def over(self, pairs: Pairs) -> Tensor:
        """The farthest of the front, over the cells that each pair can fall into: (P,)."""
        device = pairs.view.device
        flat = torch.cat(self._levels, 1)
        begin = torch.tensor([0, *(level.shape[1] for level in self._levels)], device=device).cumsum(0)
        left, right, top, bottom = pairs.span
        wide = torch.maximum(right - left, bottom - top)
        level = torch.frexp(wide.float()).exponent  # 2^level > wide: two cells of that level hold it
        left, right, top, bottom = (side >> level for side in (left, right, top, bottom))
        level = level.long()
        first = pairs.view * flat.shape[1] + begin.index_select(0, level)
        wide = torch.tensor([size[1] for size in self._sizes], device=device).index_select(0, level)
        top, bottom = first + top * wide, first + bottom * wide
        flat = flat.view(-1)
        corners = [flat.index_select(0, row + side) for row in (top, bottom) for side in (left, right)]
        return torch.maximum(torch.maximum(*corners[:2]), torch.maximum(*corners[2:]))
