"""The front of a memory: for many views at once, how near the nearest point of each cell is, and which lie there.

One pass. A block of points is projected into the views that may see it; points that lie behind the front so far are
dropped at once, and a minimum over float32 depths of the rest brings it nearer. What is left is compared with the final
front. A minimum knows no order, so the same points give the same bits in any order and on any number of threads.
Features are never touched here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .bounds import TILE, may_see
from .camera import Cameras, bordered_cells, lenses
from .observation import Observation

BLOCK = 1 << 17  # pairs of a point and a view that are worked on at once: they stay in the cache
FIRST = 1 << 13  # pairs of the first step, before which there is no front; each step is twice the one before
MOST_CELLS = 1 << 24  # up to here float32 counts cells exactly
WORD = 8  # bytes that are asked at once whether any is set


@dataclass(frozen=True, eq=False)
class Front:
    """The frontmost points of V views, and how far away they are."""

    depth: Tensor  # (V, h, w) z of the nearest point in each cell, 0 at holes
    view: Tensor  # (H,) int64 of each point at the front ...
    cell: Tensor  # (H,) int64 the flat cell that it falls into
    point: Tensor  # (H,) int64 its index among the points of all observations
    z: Tensor  # (H,) its z-depth there
    place: Tensor  # (3, H) where it lies, world


def front(observations: Sequence[Observation], cameras: Cameras, tolerance: float = 0.0) -> Front:
    """The points within ``tolerance`` (relative) behind the nearest of their cell, in every view (V,).

    A view touches only tiles that it may see.

    Raises:
        ValueError: a grid of more than 2^24 cells.
    """
    views, h, w = len(cameras), cameras.height, cameras.width
    if (h + 2) * (w + 2) > MOST_CELLS:
        raise ValueError(f"the grid is {h} x {w}, expected at most {MOST_CELLS} cells; read a smaller one")
    device = cameras.c2w.device
    best = torch.full((views, (h + 2) * (w + 2)), torch.inf, device=device)
    found: list[tuple[Tensor, ...]] = []  # bordered cell of all views in a row, point, z, place
    every, held, size = lenses(cameras), Scratch(device), FIRST
    for parts, seen in blocks(observations, cameras):
        chosen = seen.nonzero()[:, 0].to(device)
        whole = len(chosen) == views
        some, nearest = (every, best) if whole else (every[chosen], best[chosen])
        first = chosen * best.shape[1]
        planar = torch.cat([observations[o].planar[:, a:b] for o, _, a, b in parts], 1)
        number = torch.cat([torch.arange(begin + a, begin + b, device=device) for _, begin, a, b in parts])
        end = 0
        while end < planar.shape[1]:
            begin, end = end, end + max(1, size // len(chosen))
            points, index, size = planar[:, begin:end], number[begin:end], min(2 * size, BLOCK)
            work, cells, hit = held.sized(len(chosen), points.shape[1])
            z = bordered_cells(points, some, work, cells)
            limit = torch.gather(nearest, 1, cells, out=work[3])
            if tolerance:
                limit.mul_(1 + tolerance)
            row, column = set_places(torch.le(z, limit, out=hit))
            at = row * points.shape[1] + column
            cell, depth = cells.view(-1).index_select(0, at), z.reshape(-1).index_select(0, at)
            nearest.view(-1).scatter_reduce_(0, row * best.shape[1] + cell, depth, "amin")
            found.append((first[row] + cell, index.index_select(0, column), depth, points.index_select(1, column)))
        if not whole:
            best[chosen] = nearest
    if not found:
        nothing = torch.empty(0, dtype=torch.int64, device=device)
        found = [(nothing, nothing, best.new_empty(0), best.new_empty(3, 0))]
    where, point, z, place = (torch.cat(parts, -1) for parts in zip(*found))
    near = (z <= best.view(-1)[where] * (1 + tolerance)) & (z < torch.inf)
    row, column = torch.arange(-1, h + 1, device=device)[:, None], torch.arange(-1, w + 1, device=device)
    inside = (row >= 0) & (row < h) & (column >= 0) & (column < w)
    plain = torch.where(inside, row * w + column, -1).flatten()  # of a bordered cell
    view = torch.bucketize(where, torch.arange(1, views + 1, device=device) * best.shape[1], right=True)
    cell = plain[where - view * best.shape[1]]
    kept = (near & (cell >= 0)).nonzero()[:, 0]
    depth = best.view(views, h + 2, w + 2)[:, 1:-1, 1:-1]
    return Front(
        torch.where(depth < torch.inf, depth, 0.0), view[kept], cell[kept], point[kept], z[kept], place[:, kept]
    )


Part = tuple[int, int, int, int]  # observation, index of its first point among all, run [start, stop) of its points


def blocks(
    observations: Sequence[Observation], cameras: Cameras, margin: float = 0.0
) -> list[tuple[list[Part], Tensor]]:
    """Runs of points to look at together, and which views (V,) bool may see some of them; unseen tiles are left out.

    Args:
        margin: pixels around the image that count as seen.
    """
    if not observations:
        return []
    seen = may_see(torch.cat([o.tiles.corners for o in observations]), cameras, margin)  # (V, M)
    wanted, row = seen.any(0).tolist(), 0
    made: list[tuple[list[Part], list[int]]] = []
    size, first = BLOCK, 0
    for index, o in enumerate(observations):
        for start in range(0, len(o), TILE):
            if wanted[row]:
                stop = min(start + TILE, len(o))
                if size >= BLOCK // 8:
                    made.append(([], []))
                    size = 0
                made[-1][0].append((index, first, start, stop))
                made[-1][1].append(row)
                size += stop - start
            row += 1
        first += len(o)
    return [(parts, seen[:, rows].any(1)) for parts, rows in made]


def visible(
    observations: Sequence[Observation], cameras: Cameras, margin: float = 0.0
) -> Iterator[tuple[Tensor, Tensor]]:
    """For each view (V,) the points of the tiles that it may see: planar (3, n), and their index (n,) among all."""
    parts = blocks(observations, cameras, margin)
    for view in range(len(cameras)):
        runs = [run for some, seen in parts if seen[view] for run in some]
        planar = torch.cat([torch.empty(3, 0), *(observations[o].planar[:, a:b] for o, _, a, b in runs)], 1)
        index = torch.cat([torch.empty(0).long(), *(torch.arange(first + a, first + b) for _, first, a, b in runs)])
        yield planar, index


class Scratch:
    """Tensors that are written over again and again, so that no pass waits for new memory."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.size = device, 0

    def sized(self, views: int, n: int) -> tuple[Tensor, Tensor, Tensor]:
        """work (6, V, N) float32, cells (V, N) int64, hit (V, N) bool; what they held is lost."""
        count = views * n
        if count > self.size:
            self.size = count
            self.work = torch.empty(6 * count, device=self.device)
            self.cells = torch.empty(count, dtype=torch.int64, device=self.device)
            self.hit = torch.empty(count, dtype=torch.bool, device=self.device)
        return (
            self.work[: 6 * count].view(6, views, n),
            self.cells[:count].view(views, n),
            self.hit[:count].view(views, n),
        )


def set_places(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Row and column of what is True (V, N), in order. Where little is, eight at a time are asked first."""
    n = mask.shape[1]
    if n % WORD:
        row, column = mask.nonzero().unbind(1)
        return row, column
    words = mask.view(torch.int64).nonzero()  # (K, 2)
    lanes = mask.view(-1, WORD)[words[:, 0] * (n // WORD) + words[:, 1]].nonzero()  # (H, 2)
    row, column = words[lanes[:, 0]].unbind(1)
    return row, column * WORD + lanes[:, 1]
