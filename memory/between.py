"""Points of a memory that lie between two depths in the cells of many views: near a surface, or in front of one.

One pass over the tiles that the views may see, in blocks that stay in a cache. What is found is little, and whoever
asks looks at it closely.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .bounds import may_see
from .camera import Cameras, from_middle, lenses
from .front import BLOCK, Scratch, bordered_size, fallen, slots, unbordered
from .laid import Laid, shown
from .steps import at_once
from .tiles import TILE
from .which import which

WIDER = 1e-5  # relative, far above what float32 rounds: to ask for a little more than what is then looked at closely
ANYWHERE = 1.0  # cells: nothing lies farther from the middle of its cell


@dataclass(frozen=True, eq=False)
class Between:
    """H pairs of a view and a point that it sees, one view after another."""

    view: Tensor  # (H,) int64
    cell: Tensor  # (H,) int64 flat, of the view's grid
    point: Tensor  # (H,) int64 among all points
    image: tuple[Tensor, Tensor, Tensor]  # u, v, z of each (H,), as ``project_planar`` gives them
    place: Tensor  # (3, H) world

    @property
    def z(self) -> Tensor:  # (H,)
        return self.image[2]


def between(laid: Laid, cameras: Cameras, low: Tensor, high: Tensor, near: float) -> Between:
    """All points whose depth in some view is no less than ``low`` and no more than ``high`` of the cell they fall into.

    The depths are those of ``project_planar``, to the bit. A cell of which low is above high asks for nothing.

    Args:
        cameras: (V,) on an h x w grid.
        low, high: (V, h, w) z-depth.
        near: how far from the middle of their cell points may lie, in cells; ``ANYWHERE`` in it leaves none out.

    Raises:
        ValueError: a grid of more than 2^24 cells.
    """
    views, h, w = high.shape
    size, device = bordered_size(views, h, w), laid.begin.device
    cameras = cameras.to(device)
    least, most = (
        torch.full((views, h + 2, w + 2), beyond, device=device) for beyond in (torch.inf, -torch.inf)
    )  # the border, where everything falls that a view does not see, asks for nothing
    least[:, 1:-1, 1:-1], most[:, 1:-1, 1:-1] = low.to(device), high.to(device)
    least, most = least.view(-1), most.view(-1)
    scene = shown(laid, cameras)
    view_of, tile_of = may_see(scene.hulls, cameras).nonzero().unbind(1)
    wanted = torch.zeros(len(scene.owner), dtype=torch.bool, device=device).index_fill_(0, tile_of, True)
    planar, number = scene.points(which(wanted))
    tile_of = (wanted.cumsum(0) - 1).index_select(0, tile_of)
    every, held, found = lenses(cameras), Scratch(device), []
    step = at_once(device, BLOCK * TILE) // TILE
    for view, tile in zip(view_of.split(step), tile_of.split(step)):
        room = held.sized(len(view))
        image = fallen(planar, view, tile, every, size, room)
        cells, z = room.cells.view(-1), image[2].view(-1)
        torch.le(z, torch.index_select(most, 0, cells, out=room.limit), out=room.hit)
        room.hit.logical_and_(z >= torch.index_select(least, 0, cells, out=room.limit))
        at = which(room.hit)
        if near < ANYWHERE:
            u, v = (row.view(-1).index_select(0, at) for row in image[:2])
            at = at.index_select(0, which(from_middle(u, v) <= near))
        found.append(
            (cells.index_select(0, at).long(), slots(tile, at), *(row.view(-1).index_select(0, at) for row in image))
        )
    none, nothing = torch.empty(0, dtype=torch.int64, device=device), planar.new_empty(0)
    where, slot, u, v, z = (torch.cat(parts) for parts in zip((none, none, nothing, nothing, nothing), *found))
    once = which(number.index_select(0, slot) >= 0)  # a tile that is not full repeats a point
    where, slot, u, v, z = (t.index_select(0, once) for t in (where, slot, u, v, z))
    view, cell = unbordered(where, size, w)
    return Between(
        view,
        cell,
        number.index_select(0, slot).long(),
        (u, v, z),
        torch.stack([along.index_select(0, slot) for along in planar.view(3, -1)]),
    )
