"""Which views can see which tiles, where and how near: asked before a single point is touched.

A view cannot see a tile whose corners all lie beyond one side of its frustum, nor one that lies behind what is known
to be in front of it all over the image (``Nearest``). Both tests err on the safe side, by more than what float32
rounds, so they change no bit of what is read.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from .camera import Cameras
from .which import which

CANCELLED = 4e-6  # of the largest coordinate: what float32 loses on its way from one camera to another
LEAST = 1e-20  # world units: what is no larger is worked on as if it were
SLACK = 1e-4  # pixels
EDGE = 1e-2  # cells
AT_ONCE = 1 << 20  # corners that are turned at once
WINDOWED = 1 << 14  # cells of all views: of more, every 2 x 2 count as one


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
    return _seen(_turned(hulls, cameras), _lens(cameras), margin)


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
    turned, lens = _turned(hulls, cameras), _lens(cameras)
    x, y, z, lost, count = turned.x, turned.y, turned.z, turned.lost, hulls.shape[2]
    near = z.amin(0) - lost  # (V, M)
    ahead = near > lost
    through = which(~ahead & (z.amax(0) >= -lost))  # hulls that the camera's own plane cuts
    owner = through // count
    x_cut, y_cut, z_cut = (t.view(8, -1).index_select(1, through) for t in (x, y, z))
    cut = _Turned(x_cut, y_cut, z_cut, lost[owner, 0])
    torch.maximum(z, lost, out=z)
    seen, spare, sides = ahead.clone(), lost / torch.maximum(near, lost), []
    for along, (f, c, size) in zip((x.div_(z), y.div_(z)), lens):
        err = spare * (2 * f + c.abs() + size) + EDGE  # in cells
        first, last = along.amin(0) * f + (c - err), along.amax(0) * f + (c + err)
        seen &= (first < size) & (last > 0)
        sides += [torch.where(ahead, first, 0.0), torch.where(ahead, last, size - 1.0)]
    seen.view(-1)[through] = _seen(cut, [(f[owner, 0], c[owner, 0], size) for f, c, size in lens], 0.0)
    at = which(seen)
    view = at // count
    limits = (cameras.width, cameras.width, cameras.height, cameras.height)
    span = [t.flatten().index_select(0, at).clamp_(0, most - 1).int() for t, most in zip(sides, limits)]
    return Pairs(view + first_view, at - view * count, near.flatten().index_select(0, at), torch.stack(span))


@dataclass(frozen=True, eq=False)
class _Turned:
    """Corners as views see them, each (8, V, M); ``lost`` (V, 1) is how far off they may be."""

    x: Tensor
    y: Tensor
    z: Tensor
    lost: Tensor


def _turned(hulls: Tensor, cameras: Cameras) -> _Turned:
    px, py, pz = hulls[:, :, None]
    w2c = cameras.w2c[:, :3, :, None]  # (V, 3, 4, 1)
    x, y, z = (
        (w2c[:, i, 0] * px).addcmul_(w2c[:, i, 1], py).addcmul_(w2c[:, i, 2], pz).add_(w2c[:, i, 3]) for i in range(3)
    )
    far = hulls.abs().amax() if hulls.numel() else hulls.new_zeros(())
    lost = CANCELLED * (far + cameras.w2c[:, :3, 3].abs().amax(1)).clamp(min=LEAST)
    return _Turned(x, y, z, lost[:, None])


Lens = list[tuple[Tensor, Tensor, int]]  # focal length, centre, size in pixels: of the columns, then of the rows


def _lens(cameras: Cameras) -> Lens:
    K = cameras.K[..., None]
    return [(K[:, 0, 0], K[:, 0, 2], cameras.width), (K[:, 1, 1], K[:, 1, 2], cameras.height)]


def _seen(turned: _Turned, lens: Lens, margin: float) -> Tensor:
    z, lost = turned.z, turned.lost
    beyond, edge = z.amax(0) < -lost, SLACK + margin
    for along, (f, c, size) in zip((turned.x, turned.y), lens):
        spare = lost * (f + c.abs() + size)
        at = f * along
        beyond |= (z * (c + edge)).add_(at).amax(0) < -spare
        beyond |= (z * (c - edge - size)).add_(at).amin(0) > spare
    return ~beyond


class Nearest:
    """How far away the front is at most over any rectangle of an image: maxima of all windows of 2^i x 2^j cells.

    Four windows cover a rectangle exactly. Large images are halved first, and rectangles widened to their cells.
    """

    def __init__(self, depth: Tensor) -> None:  # (V, h, w) of the front, inf where there is none
        self._halved = 0
        while depth.numel() > WINDOWED and max(depth.shape[1:]) > 1:
            odd = (0, depth.shape[2] % 2, 0, depth.shape[1] % 2)
            depth = torch.nn.functional.pad(depth, odd, value=-torch.inf)
            depth = torch.maximum(depth[:, ::2], depth[:, 1::2])
            depth = torch.maximum(depth[:, :, ::2], depth[:, :, 1::2])
            self._halved += 1
        views, h, w = depth.shape
        most = depth.new_empty(h.bit_length(), w.bit_length(), views, h, w)  # of the window that begins at each cell
        most[0, 0] = depth
        for j in range(1, most.shape[1]):
            narrow, half = most[0, j - 1], 1 << (j - 1)
            torch.maximum(narrow[..., :-half], narrow[..., half:], out=most[0, j, ..., :-half])
        for i in range(1, most.shape[0]):
            low, half = most[i - 1], 1 << (i - 1)
            torch.maximum(low[..., :-half, :], low[..., half:, :], out=most[i, ..., :-half, :])
        self._most = most  # past the last window that fits lies what nobody asks for

    def over(self, pairs: Pairs) -> Tensor:
        """The farthest of the front, over the cells that each pair can fall into: (P,)."""
        _, levels, views, h, w = self._most.shape
        left, right, top, bottom = (side >> self._halved for side in pairs.span)
        j, i = (torch.frexp((end - begin + 1).float()).exponent - 1 for begin, end in ((left, right), (top, bottom)))
        right, bottom = (end + 1 - torch.ones_like(end).bitwise_left_shift(k) for end, k in ((right, j), (bottom, i)))
        first = ((i.long() * levels + j) * views + pairs.view) * (h * w)
        corners = [first + row * w + column for row in (top, bottom) for column in (left, right)]
        a, b, c, d = (self._most.view(-1).index_select(0, corner) for corner in corners)
        return torch.maximum(torch.maximum(a, b), torch.maximum(c, d))
