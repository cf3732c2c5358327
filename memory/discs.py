"""Soft discs: which of them cover a pixel, the nearest few of each pixel, and the surface that they form."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .camera import Cameras, project_planar
from .order import in_order
from .steps import at_once
from .which import which

BLOCK = 1 << 17  # elements a step: few steps, each in a cache
RANK = (1 << 32) - 1  # the lower half of a key
SHIFT = 1 << 20  # makes small negative numbers positive, so that three of them fit one key
SURFACE = 0.05  # relative: discs this near in depth lie on one surface
SLOPE = 3.5  # rise over run of the steepest surface that is still taken for one ...
STEP = 0.25  # ... unless it rises by more than this share of its depth from one point to the next

Radius = Callable[
    [Tensor, int], Tensor
]  # spacing of the points (N,) in target pixels, short side -> radii (N,) in pixels


def depth_keys(z: Tensor) -> Tensor:
    """Keys (N,) int64 that sort by depth, then by place.

    The upper half holds the bits of a positive float32 depth, the lower half the place.
    """
    return (z.view(torch.int32).long() << 32) | torch.arange(len(z), device=z.device)


@dataclass(frozen=True, eq=False)
class Discs:
    """The n discs that touch an image of P = h x w pixels, and the E pairs of a pixel and a disc over its centre."""

    index: Tensor  # (n,) int64 which point each disc is, ascending
    image: tuple[Tensor, Tensor, Tensor]  # u, v, z of the centre (n,)
    radius: Tensor  # (n,) pixels
    spacing: Tensor  # (n,) world units
    pixels: Tensor  # (E,) int64 flat pixel of each pair
    owners: Tensor  # (E,) int64 disc of each pair
    alpha: Tensor  # (E,) weight 1 - d²/r² in (0, 1]
    height: int
    width: int

    @property
    def depth(self) -> Tensor:  # (n,)
        return self.image[2]

    def alpha_of(self, pixels: Tensor, owners: Tensor) -> Tensor:
        """``alpha`` of pairs wherever they stand: owners (..., K) of pixels (K,), both int64."""
        row = pixels // self.width
        column = pixels - row * self.width
        u, v, r = (taken(t, owners) for t in (*self.image[:2], self.radius))
        return _weights(_off(column, u, r), _off(row, v, r))


def taken(values: Tensor, index: Tensor) -> Tensor:
    """Some of the values (N,), in the shape of their int64 indices."""
    return values.index_select(0, index.flatten()).view_as(index)


def _off(pixel: Tensor, middle: Tensor, radius: Tensor) -> Tensor:
    """How far the centres of columns or rows lie from the middle of a disc, in its radii."""
    return (pixel + 0.5 - middle) / radius


def _weights(du: Tensor, dv: Tensor) -> Tensor:
    """The weights of discs at pixel centres so far from their middle, in radii."""
    return 1 - dv**2 - du**2


@dataclass(frozen=True, eq=False)
class Layers:
    """The nearest L discs of each pixel, front first. Where there is no such disc: -1, 0 and 0."""

    winner: Tensor  # (L, P) int64 index of the point
    alpha: Tensor  # (L, P)
    depth: Tensor  # (L, P)


def discs_of(planar: Tensor, spacing: Tensor, camera: Cameras, radius: Radius) -> Discs:
    """Give every point its disc in one camera.

    Args:
        planar: (3, N) world points; of two at the same depth the first comes before.
        spacing: (N,) how far apart neighbouring points lie, world units.
    """
    h, w, device = camera.height, camera.width, planar.device
    index, u, v, z, r = _footprints(planar, spacing, camera, radius)
    none, block_size = torch.empty(0, device=device), at_once(device, BLOCK)
    pixels, owners, alphas = [none.long()], [none.long()], [none]
    sides = (2 * r).floor().int() + 1  # how many pixel centres a disc can meet along one axis
    for side in sides.unique().tolist():
        offsets = torch.arange(side, dtype=torch.float32, device=device)[:, None]
        for block in which(sides == side).split(max(1, block_size // side**2)):
            centre_u, centre_v, reach = (t.index_select(0, block) for t in (u, v, r))
            column = (centre_u - reach - 0.5).ceil() + offsets  # (side, n)
            row = (centre_v - reach - 0.5).ceil() + offsets
            du = torch.where((column >= 0) & (column < w), _off(column, centre_u, reach), torch.inf)
            dv = torch.where((row >= 0) & (row < h), _off(row, centre_v, reach), torch.inf)
            alpha = _weights(du, dv[:, None])  # (side, side, n)
            pair = which(alpha > 0)
            pixels.append((column + (row * w)[:, None]).view(-1).index_select(0, pair).long())
            owners.append(block.index_select(0, pair % len(block)))
            alphas.append(alpha.view(-1).index_select(0, pair))
    return Discs(index, (u, v, z), r, spacing[index], torch.cat(pixels), torch.cat(owners), torch.cat(alphas), h, w)


def _footprints(planar: Tensor, spacing: Tensor, camera: Cameras, radius: Radius) -> tuple[Tensor, ...]:
    """Index, u, v, z and radius in pixels of the points whose discs touch the image, (n,) each."""
    u, v, z = project_planar(planar, camera)
    focal = max(camera.K[0, 0].item(), camera.K[1, 1].item())
    r = radius(spacing / z * focal, min(camera.height, camera.width))
    touches = (u + r > 0) & (u - r < camera.width) & (v + r > 0) & (v - r < camera.height)
    index = which(touches & (z > 0) & (z < torch.inf))
    return index, u[index], v[index], z[index], r[index]


def representatives(planar: Tensor, spacing: Tensor, camera: Cameras, radius: Radius) -> Tensor:
    """Points that stand for those crowded around them: indices (n,), ascending.

    The image is cut into squares with a side between half a disc's radius and the radius. Of the discs of one size in
    one square the first point on the frontmost surface stays, so what a view costs follows from its size and not from
    how often a surface was written. Planar and spacing as in ``discs_of``.
    """
    index, u, v, z, r = _footprints(planar, spacing, camera, radius)
    level = r.log2().floor()
    side = torch.exp2(level)
    level, row, column = (x.long() + SHIFT for x in (level, (v / side).floor(), (u / side).floor()))
    found, square = ((level << 42) | (row << 21) | column).unique(return_inverse=True)
    front = z.new_full((len(found),), torch.inf).scatter_reduce_(0, square, z, "amin")
    every = torch.arange(len(z), device=z.device)
    first = torch.where(z <= front[square] * (1 + SURFACE), every, len(z))
    chosen = every.new_full((len(found),), len(z)).scatter_reduce_(0, square, first, "amin")
    return index[chosen.sort().values]


def nearest_discs(discs: Discs, layers: int) -> Layers:
    """The nearest ``layers`` discs of every pixel; of two at the same depth the first."""
    device = discs.depth.device
    pixels = torch.arange(discs.height * discs.width, device=device)
    if not len(discs.pixels):
        blank = torch.zeros(layers, len(pixels), device=device)
        return Layers(torch.full_like(blank, -1, dtype=torch.int64), blank, blank.clone())
    order = in_order(depth_keys(discs.depth)) & RANK
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order), device=device))
    bits = len(order).bit_length()
    pairs = in_order((discs.pixels << bits) | rank.index_select(0, discs.owners)) & ((1 << bits) - 1)
    counts = torch.bincount(discs.pixels, minlength=len(pixels))
    layer = torch.arange(layers, device=device)[:, None]
    there = layer < counts
    at = (counts.cumsum(0) - counts + layer).clamp_(max=len(pairs) - 1)
    owner = taken(order, taken(pairs, at))
    return Layers(
        torch.where(there, taken(discs.index, owner), -1),
        torch.where(there, discs.alpha_of(pixels, owner), 0.0),
        torch.where(there, taken(discs.depth, owner), 0.0),
    )


def surface_depth(discs: Discs) -> Tensor:
    """Depth (P,) of the frontmost surface, 0 where there is none: the mean of its discs, weighted by alpha.

    Of the discs over a pixel those count that lie behind the frontmost by at most ``SURFACE`` (relative) or by what a
    slope of ``SLOPE`` rises over their spacing: coarse points of one slanted surface lie far apart in depth.
    """
    size = discs.height * discs.width
    z = discs.depth.index_select(0, discs.owners)
    front = z.new_full((size,), torch.inf).scatter_reduce_(0, discs.pixels, z, "amin")
    rise = torch.minimum(SLOPE * discs.spacing, STEP * discs.depth)
    reach = (discs.depth - rise).index_select(0, discs.owners)
    surface = which(torch.minimum(reach, z / (1 + SURFACE)) <= front.index_select(0, discs.pixels))
    pixels, weight = discs.pixels.index_select(0, surface), discs.alpha.index_select(0, surface).double()
    total, far = sums(pixels, torch.stack([weight, weight * z[surface]]), size)
    return (far / total.clamp(min=1e-30)).float()


def sums(pixels: Tensor, values: Tensor, size: int) -> Tensor:
    """What falls on each pixel, added in the order of the pairs on every device: (K, size).

    On a GPU additions come in any order, and so do the last bits of a sum of floats: there the first pair of every
    pixel is added, then the second, until there are no more.

    Args:
        pixels: (E,) int64 below ``size``.
        values: (K, E) float64.
    """
    if pixels.device.type == "cpu":
        return torch.stack([torch.bincount(pixels, row, minlength=size) for row in values])
    order = torch.argsort(pixels, stable=True)
    values, counts = values.index_select(1, order), torch.bincount(pixels, minlength=size)
    begin, total = counts.cumsum(0) - counts, values.new_zeros(len(values), size)
    left, done = which(counts > 0), 0
    while len(left):
        total[:, left] += values.index_select(1, begin.index_select(0, left) + done)
        done += 1
        left = left[which(counts.index_select(0, left) > done)]
    return total
