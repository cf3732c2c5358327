"""Lifting: latent cells and pixels to points, with depth brought to their grid.

Unknown depth is never averaged into a cell, and a cell lies on one surface: of the depths it looks at, only those near
the one that holds the middle of the weight are averaged.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from .blocks import least, mean
from .camera import known_depth, unproject
from .geometry import Geometry
from .normals import encode_normals, normals_of
from .observation import Observation
from .shapes import sizes
from .voxels import voxel_keys
from .which import which

SURFACE = 0.05  # relative: depths farther apart than this lie on two surfaces
CONFIDENT = 0.1  # depth less sure than this is not remembered


def resample_depth(depth: Tensor, known: Tensor, height: int, width: int, method: str) -> tuple[Tensor, Tensor]:
    """Bring depth (V, H, W) to another grid; a cell is known where any depth that it looks at is known.

    Args:
        depth: z-depth.
        known: bool, True = this depth counts.
        method: a name in ``RESAMPLE``.

    Returns:
        depth (V, height, width), 0 where unknown, and known (V, height, width) bool.

    Raises:
        ValueError: shapes differ, or the method is none of ``RESAMPLE``.
    """
    sizes("V H W | V H W", depth=depth, known=known)
    if method not in RESAMPLE:
        raise ValueError(f"resample is {method!r}, expected one of {sorted(RESAMPLE)}")
    return RESAMPLE[method](depth, known, height, width)


def _sampled(depth: Tensor, known: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Depth (V, R, C) at some rows (R,) and columns (C,), 0 where it is unknown, and where it is known."""
    depth, known = (t.index_select(1, rows).index_select(2, columns) for t in (depth, known))
    known = known & known_depth(depth)
    return torch.where(known, depth, 0.0), known


def _bilinear(depth: Tensor, known: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The four pixels around the cell's centre, weighted by their nearness."""
    rows, columns = (_two(n, size) for n, size in ((height, depth.shape[1]), (width, depth.shape[2])))
    return _one_surface(*_weighed(depth, known, rows, columns))


def _nearest(depth: Tensor, known: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The pixel that holds the cell's centre."""
    return _sampled(depth, known, *(_centres(n, size) for n, size in zip((height, width), depth.shape[1:])))


def at_centres(maps: Tensor, height: int, width: int) -> Tensor:
    """Of maps (..., H, W) the pixels that hold the centres of the cells of another grid: (..., height, width)."""
    if maps.shape[-2:] == (height, width):
        return maps
    for axis, cells in ((-2, height), (-1, width)):
        maps = maps.index_select(axis, _centres(cells, maps.shape[axis]).to(maps.device))
    return maps


def _centres(cells: int, size: int) -> Tensor:
    """Along one axis, the pixel that holds each cell's centre."""
    return (torch.arange(cells) * 2 + 1) * size // (2 * cells)


def _area(depth: Tensor, known: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """All pixels that the cell touches, weighted by how much of each it covers."""
    return _one_surface(*_cells(depth, known, height, width))


def _median(depth: Tensor, known: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """The depth in the middle of those that the cell touches: always one that was measured."""
    samples, weights = _cells(depth, known, height, width)
    return _middle(samples, weights), weights.sum(0) > 0


RESAMPLE: dict[str, Callable[[Tensor, Tensor, int, int], tuple[Tensor, Tensor]]] = {
    "bilinear": _bilinear,
    "nearest": _nearest,
    "area": _area,
    "median": _median,
}


Weights = list[tuple[Tensor, Tensor]]  # along one axis: a pixel for each cell, and what it weighs there


def _two(cells: int, size: int) -> Weights:
    """Along one axis, the two pixels around each cell's centre and their weights."""
    centre = ((torch.arange(cells) + 0.5) * (size / cells) - 0.5).clamp(0, size - 1)
    low = centre.floor().long()
    share = centre - low
    return [(low, 1 - share), ((low + 1).clamp(max=size - 1), share)]


def _cells(depth: Tensor, known: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Every pixel that a cell touches: samples (S, V, h, w) and weights, 0 where unknown or not touched."""
    rows, columns = (_touched(n, size) for n, size in ((height, depth.shape[1]), (width, depth.shape[2])))
    return _weighed(depth, known, rows, columns)


def _weighed(depth: Tensor, known: Tensor, rows: Weights, columns: Weights) -> tuple[Tensor, Tensor]:
    """Samples (S, V, h, w) at every row with every column, and their weights, 0 where unknown."""
    picked = [(_sampled(depth, known, i, j), wi[:, None] * wj) for i, wi in rows for j, wj in columns]
    return torch.stack([d for (d, _), _ in picked]), torch.stack([there * weight for (_, there), weight in picked])


def _touched(cells: int, size: int) -> Weights:
    """Along one axis, the k-th pixel that each cell touches and the length it covers, for each k."""
    low, high = torch.arange(cells) * size / cells, (torch.arange(cells) + 1) * size / cells
    first = torch.arange(cells) * size // cells
    most = int((-(-(torch.arange(cells) + 1) * size // cells) - first).max())
    pixels = [first + k for k in range(most)]
    lengths = [(torch.minimum(high, p + 1.0) - torch.maximum(low, p.float())).clamp(min=0) for p in pixels]
    return [(p.clamp(max=size - 1), length) for p, length in zip(pixels, lengths)]


def _middle(samples: Tensor, weights: Tensor) -> Tensor:
    """Weighted median over the first axis: the first depth, from near to far, that reaches half of the weight."""
    ordered, order = torch.where(weights > 0, samples, torch.inf).sort(dim=0)
    gathered = weights.gather(0, order).cumsum(0)
    first = (gathered < 0.5 * gathered[-1:] - 1e-6).sum(0, keepdim=True)
    middle = ordered.gather(0, first)[0]
    return torch.where(middle.isfinite(), middle, 0.0)


def _one_surface(samples: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Average of the samples (S, V, h, w) that lie on the surface of the weighted median."""
    middle = _middle(samples, weights)
    weights = weights * ((samples - middle).abs() <= SURFACE * middle)
    total = weights.sum(0)
    return torch.where(total > 0, (weights * samples).sum(0) / total.clamp(min=1e-12), 0.0), total > 0


def lift_latents(
    latents: Tensor, geometry: Geometry, frames: Sequence[int], chunk: int, resample: str = "bilinear"
) -> tuple[Observation, ...]:
    """Lift every static, confident latent cell to its depth.

    A cell is kept only if no dynamic or sky pixel touches it. Its confidence is the mean over its pixels, times the
    cosine at which the surface is seen.

    Args:
        latents: (C, V, h, w) in model space.
        geometry: of the same V frames, on any grid.
        frames: the V pixel frames of the whole video that the latents stand for.

    Returns:
        One observation a view; one from which nothing could be lifted is empty.
    """
    _, views, h, w = sizes("C V h w", latents=latents)
    _check_views(views, geometry, frames)
    usable = geometry.known & (geometry.confidence >= CONFIDENT)
    depth, known = resample_depth(geometry.depth, usable, h, w, resample)
    cameras = geometry.cameras.resized(h, w)
    points, keep = unproject(depth, cameras), known & least(geometry.keep, h, w)
    normals, cosine = normals_of(torch.where(known, depth, 0.0), cameras)
    sure = mean(torch.where(usable, geometry.confidence, 0.0), h, w) / mean(usable, h, w).clamp(min=1e-6)
    codes, weights = encode_normals(normals), as_bytes(sure * cosine)
    lifted = []
    for view, (frame, camera) in enumerate(zip(frames, cameras.each())):
        cells = which(keep[view])
        lifted.append(
            Observation(
                points=points[view].reshape(-1, 3)[cells],
                features=latents[:, view].flatten(1).T[cells].half(),
                cells=cells.int(),
                camera=camera,
                frame=frame,
                chunk=chunk,
                confidence=weights[view].flatten()[cells],
                normals=codes[view].flatten(0, 1)[cells],
            )
        )
    return tuple(lifted)


def lift_pixels(
    images: Tensor, geometry: Geometry, frames: Sequence[int], chunk: int, voxel: float | None
) -> tuple[Observation, ...]:
    """Lift every static, confident pixel, then thin each view to one point a voxel.

    A voxel keeps the pixel nearest to the mean of its points, with its place and cell, and the mean of their colours.
    A pixel is so small that its depth alone tells surfaces apart: it keeps no normal, and so 20 bytes.

    Args:
        images: (V, 3, H, W) in [0, 1], on the geometry's grid.
        frames: the V pixel frames of the whole video.
        voxel: side in world units; None keeps every pixel.

    Raises:
        ValueError: counts or grids differ, or the voxel is not positive.
    """
    views, height, width = sizes("V 3 H W", images=images)
    _check_views(views, geometry, frames)
    sizes("V H W | V 3 H W", depth=geometry.depth, images=images)
    if voxel is not None and not voxel > 0:
        raise ValueError(f"voxel is {voxel}, expected a positive side in world units, or None to keep every pixel")
    keep = geometry.known & geometry.keep & (geometry.confidence >= CONFIDENT)
    lifted = []
    for view, (frame, camera) in enumerate(zip(frames, geometry.cameras.each())):  # one by one: a view fits in a cache
        cells = which(keep[view])
        points = unproject(torch.where(keep[view], geometry.depth[view], 1.0), camera)
        cosine = normals_of(torch.where(keep[view], geometry.depth[view], 0.0)[None], camera.alone())[1][0]
        weights = as_bytes(geometry.confidence[view] * cosine)
        place, colours = points.reshape(-1, 3)[cells], images[view].flatten(1).T[cells]
        if voxel is not None:
            chosen, colours = thinned(place, colours, voxel)
            place, cells = place[chosen], cells[chosen]
        lifted.append(
            Observation(
                points=place,
                features=as_bytes(colours),
                cells=cells.int(),
                camera=camera,
                frame=frame,
                chunk=chunk,
                voxel=voxel or 0.0,
                confidence=weights.flatten()[cells],
            )
        )
    return tuple(lifted)


def as_bytes(values: Tensor) -> Tensor:
    """Values in [0, 1] as bytes, rounded to the nearest of 256 steps."""
    return (values.clamp(0, 1) * 255).round().to(torch.uint8)


def thinned(points: Tensor, colours: Tensor, voxel: float) -> tuple[Tensor, Tensor]:
    """The point nearest to the mean of each voxel, in ascending order, and the mean colour beside it."""
    keys, group = voxel_keys(points, voxel).unique(return_inverse=True)
    count = torch.bincount(group, minlength=len(keys))

    def mean(values: Tensor) -> Tensor:  # (N, A) -> (G, A), sums in float64 and in the order of the points
        sums = [torch.bincount(group, column.double(), minlength=len(keys)) for column in values.T]
        return torch.stack(sums, dim=1) / count[:, None]

    off = ((points - mean(points)[group]) ** 2).sum(1).float()
    nearest = torch.full((len(keys),), torch.inf).scatter_reduce(0, group, off, "amin")
    candidates = torch.where(off == nearest[group], torch.arange(len(points)), len(points))
    chosen = torch.full((len(keys),), len(points)).scatter_reduce(0, group, candidates, "amin")
    chosen, order = chosen.sort()
    return chosen, mean(colours)[order].float()


def _check_views(views: int, geometry: Geometry, frames: Sequence[int]) -> None:
    if not (views == geometry.depth.shape[0] == len(frames)):
        raise ValueError(
            f"{views} views, geometry of {geometry.depth.shape[0]} and {len(frames)} frame numbers: expected one count"
        )
