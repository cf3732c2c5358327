"""Pinhole cameras: the one place where pixels and the world meet.

OpenCV axes (+X right, +Y down, +Z forward). Pixel centres lie at +0.5: the image spans [0, W] x [0, H], cell i covers
[i, i + 1), and K scales by the plain ratio of two grids. Depth is z-depth; 0 or non-finite means unknown.

Every product here is an elementwise float32 multiply-add in one fixed order: no matmul, whose sums differ with
batching, threads and TF32. A view projected alone equals the same view in a batch, to the bit.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from .shapes import sizes


@dataclass(frozen=True)
class Cameras:
    """Pinhole cameras that image one grid. OpenCV axes; the centre of pixel (0, 0) is (0.5, 0.5).

    Any batch axes, none included, are shared by ``c2w`` and ``K``.
    """

    c2w: Tensor  # (..., 4, 4) camera to world, float32
    K: Tensor  # (..., 3, 3) in pixels of this very grid, float32
    height: int
    width: int

    def __post_init__(self) -> None:
        sizes("... 4 4 | ... 3 3", c2w=self.c2w, K=self.K)
        if self.c2w.shape[:-2] != self.K.shape[:-2]:
            raise ValueError(
                f"c2w has batch {tuple(self.c2w.shape[:-2])}, K has {tuple(self.K.shape[:-2])}: expected the same"
            )

    def __len__(self) -> int:
        return self.c2w.shape[0]

    def __getitem__(self, index) -> "Cameras":
        """Select along the first batch axis: an int drops it, a slice or index tensor keeps it."""
        made = Cameras(self.c2w[index], self.K[index], self.height, self.width)
        return self._knowing(made, lambda w2c: w2c[index])

    @cached_property
    def w2c(self) -> Tensor:  # (..., 4, 4)
        return invert_rigid(self.c2w)

    def to(self, device: torch.device) -> "Cameras":
        """The same cameras there, with the same numbers in ``w2c``; themselves where they lie there already."""
        if self.c2w.device == device and self.K.device == device:
            return self
        made = Cameras(self.c2w.to(device), self.K.to(device), self.height, self.width)
        made.__dict__["w2c"] = self.w2c.to(device)
        return made

    def _knowing(self, made: "Cameras", change: Callable[[Tensor], Tensor]) -> "Cameras":
        """Cameras made of these ones, told their ``w2c`` where it is known here: it has the very same numbers."""
        if "w2c" in self.__dict__:
            made.__dict__["w2c"] = change(self.w2c)
        return made

    @property
    def position(self) -> Tensor:  # (..., 3) world
        return self.c2w[..., :3, 3]

    def resized(self, height: int, width: int) -> "Cameras":
        """The same views on another grid, for instance the latent one."""
        scale = self.K.new_tensor([width / self.width, height / self.height, 1.0])
        return self._knowing(Cameras(self.c2w, scale[:, None] * self.K, height, width), lambda w2c: w2c)

    def each(self) -> list["Cameras"]:
        """The views (V,) one by one, each of which knows its inverse."""
        singles = [self[view] for view in range(len(self))]
        for single, inverse in zip(singles, self.w2c):
            single.__dict__["w2c"] = inverse
        return singles

    def alone(self) -> "Cameras":
        """A single camera as a batch of one."""
        return self._knowing(Cameras(self.c2w[None], self.K[None], self.height, self.width), lambda w2c: w2c[None])

    def moved(self, world: Tensor, scale: float = 1.0) -> "Cameras":
        """The same cameras after the world was scaled about its origin and then moved by ``world`` (4, 4)."""
        scaled = self.c2w.clone()
        scaled[..., :3, 3] *= scale
        return Cameras(compose(world.to(scaled), scaled), self.K, self.height, self.width)


def stack(cameras: Sequence[Cameras]) -> Cameras:
    """Stack single cameras of one grid along a new first axis.

    Raises:
        ValueError: the list is empty or the grids differ.
    """
    height, width = _one_grid(cameras)
    return Cameras(torch.stack([c.c2w for c in cameras]), torch.stack([c.K for c in cameras]), height, width)


def concatenate(cameras: Sequence[Cameras]) -> Cameras:
    """Join camera batches of one grid along their first axis.

    Raises:
        ValueError: the list is empty or the grids differ.
    """
    height, width = _one_grid(cameras)
    return Cameras(torch.cat([c.c2w for c in cameras]), torch.cat([c.K for c in cameras]), height, width)


def _one_grid(cameras: Sequence[Cameras]) -> tuple[int, int]:
    grids = {(c.height, c.width) for c in cameras}
    if len(grids) != 1:
        raise ValueError(f"cameras have grids {sorted(grids)}, expected exactly one (height, width)")
    return grids.pop()


def check_cameras(cameras: Cameras, name: str = "cameras") -> Cameras:
    """Refuse cameras that are no rigid pinholes. The public edge calls this once.

    Raises:
        ValueError: NaN or infinite entries, a rotation that is not orthonormal with determinant +1 (1e-3), a last row
            other than (0, 0, 0, 1), or a focal length that is not positive.
    """
    c2w, K = cameras.c2w.double(), cameras.K.double()
    if not (c2w.isfinite().all() and K.isfinite().all()):
        raise ValueError(f"{name} holds NaN or infinite entries; check the path or the camera file")
    R = c2w[..., :3, :3]
    off = (R.mT @ R - torch.eye(3, dtype=R.dtype, device=R.device)).abs().amax().item() if R.numel() else 0.0
    if off > 1e-3 or (R.numel() and torch.linalg.det(R).amin().item() < 0):
        raise ValueError(
            f"{name} holds a pose that is no rotation (R^T R off by {off:.2g}, or mirrored); expected c2w, OpenCV axes"
        )
    if not torch.equal(c2w[..., 3, :], c2w.new_tensor([0, 0, 0, 1]).expand_as(c2w[..., 3, :])):
        raise ValueError(
            f"{name} holds a pose whose last row is not (0, 0, 0, 1); expected (4, 4) c2w, not its transpose"
        )
    if K.numel() and min(K[..., 0, 0].amin().item(), K[..., 1, 1].amin().item()) <= 0:
        raise ValueError(f"{name} holds a focal length that is not positive")
    return cameras


def check_motion(transform: Tensor, scale: float = 1.0) -> None:
    """Refuse what is no rigid motion with a positive scale.

    Raises:
        ValueError: names what was got.
    """
    T = transform.double()
    if not (0 < scale < float("inf")):
        raise ValueError(f"scale is {scale}, expected a positive number")
    rigid = T.shape == (4, 4) and bool(T.isfinite().all()) and torch.equal(T[3], T.new_tensor([0, 0, 0, 1]))
    if not rigid or (compose(T, invert_rigid(T)) - torch.eye(4).double()).abs().max() > 1e-5:
        raise ValueError("transform is no rigid motion; expected (4, 4): a rotation, a translation, and (0, 0, 0, 1)")
    if torch.linalg.det(T[:3, :3]) < 0:
        raise ValueError("transform mirrors the world; expected a rotation with determinant +1")


def compose(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product of (..., 4, 4) transforms, elementwise in fixed order."""
    return sum((a[..., :, k, None] * b[..., None, k, :] for k in range(1, 4)), a[..., :, 0, None] * b[..., None, 0, :])


def invert_rigid(transform: Tensor) -> Tensor:
    """Inverse of rigid (..., 4, 4) transforms: R^T and -R^T t."""
    R, t = transform[..., :3, :3], transform[..., :3, 3]
    inverse = torch.zeros_like(transform)
    inverse[..., :3, :3] = R.mT
    inverse[..., :3, 3] = -(
        R[..., 0, :] * t[..., 0, None] + R[..., 1, :] * t[..., 1, None] + R[..., 2, :] * t[..., 2, None]
    )
    inverse[..., 3, 3] = 1.0
    return inverse


def transform_points(transform: Tensor, points: Tensor) -> Tensor:
    """Apply (..., 4, 4) transforms to points (N, 3): (..., N, 3)."""
    M, x, y, z = transform[..., None, :, :], points[..., 0:1], points[..., 1:2], points[..., 2:3]
    return M[..., :3, 0] * x + M[..., :3, 1] * y + M[..., :3, 2] * z + M[..., :3, 3]


def project(points: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Project world points into each camera.

    Args:
        points: (N, 3) world.

    Returns:
        uv (..., N, 2) in pixels of the cameras' grid, and z-depth (..., N) in world units. Where z <= 0 the point lies
        behind the camera and uv has no meaning.
    """
    p = transform_points(cameras.w2c, points)
    z = p[..., 2]
    fx, fy = cameras.K[..., 0, 0, None], cameras.K[..., 1, 1, None]
    cx, cy = cameras.K[..., 0, 2, None], cameras.K[..., 1, 2, None]
    return torch.stack([p[..., 0] / z * fx + cx, p[..., 1] / z * fy + cy], dim=-1), z


def project_planar(planar: Tensor, camera: Cameras) -> tuple[Tensor, Tensor, Tensor]:
    """``project`` for one camera and points kept as three rows: the same products in the same order, the same bits.

    Three rows are what a readout over many points wants: every step runs over contiguous numbers.

    Args:
        planar: (3, N) world.
        camera: a single camera, no batch axes.

    Returns:
        u, v, z, each (N,).
    """
    x, y, z = planar
    rows = [x * a + y * b + z * c + d for a, b, c, d in camera.w2c[:3].tolist()]
    (fx, _, cx), (_, fy, cy), _ = camera.K.tolist()
    return rows[0] / rows[2] * fx + cx, rows[1] / rows[2] * fy + cy, rows[2]


def depth_planar(planar: Tensor, camera: Cameras) -> Tensor:
    """The z-depth that ``project_planar`` gives, to the bit: (N,)."""
    x, y, z = planar
    a, b, c, d = camera.w2c[2].tolist()
    return x * a + y * b + z * c + d


@dataclass(frozen=True)
class Lenses:
    """What V views multiply by and add, a row a view: w2c line by line, then fx, _, cx, _, fy, cy."""

    table: Tensor  # (V, 18)
    height: int
    width: int

    def __getitem__(self, index: Tensor) -> "Lenses":
        """Some of the views."""
        return Lenses(self.table.index_select(0, index), self.height, self.width)

    def columns(self, *entries: int) -> Tensor:
        """Entries of all views, to be multiplied with their points: (E, V, 1)."""
        first, step = entries[0], (entries[1] - entries[0] if len(entries) > 1 else 1)
        return self.table[:, first : entries[-1] + 1 : step].T.unsqueeze(-1)


def lenses(cameras: Cameras) -> Lenses:
    """Cameras (V,) as ``bordered_cells`` wants them."""
    table = torch.cat([cameras.w2c[:, :3].flatten(1), cameras.K[:, :2].flatten(1)], 1)
    return Lenses(table, cameras.height, cameras.width)


def bordered_cells(planar: Tensor, views: Lenses, work: Tensor, cells: Tensor) -> Tensor:
    """``project_planar`` of many views at once, and the cell of each point on a grid with a border of one cell.

    The same products in the same order as ``project_planar``, so the same bits, written into ``work``: a pass over
    many points should touch no new memory. What falls beside the image lies in the border; what lies behind the camera
    has z = inf, whatever its u, v and cell.

    Args:
        planar: (3, N) or (3, V, N) world, finite.
        work: (6, V, N) float32, overwritten.
        cells: (V, N) int32, overwritten: (floor(v) + 1) * (width + 2) + floor(u) + 1, within the bordered grid.

    Returns:
        u, v, z (3, V, N), a part of ``work``.
    """
    image, term = work[:3], work[3:]
    torch.mul(planar[0], views.columns(0, 4, 8), out=image)
    for axis in (1, 2):
        image.add_(torch.mul(planar[axis], views.columns(axis, axis + 4, axis + 8), out=term))
    image.add_(views.columns(3, 7, 11))
    torch.threshold_(image[2], 0.0, torch.inf)
    image[:2].div_(image[2]).mul_(views.columns(12, 16)).add_(views.columns(14, 17))
    column, row = torch.floor(image[:2], out=term[:2])
    row.clamp_(-1, views.height)
    cells.copy_(column.clamp_(-1, views.width).add_(row, alpha=views.width + 2).add_(views.width + 3))
    return image


def from_middle(u: Tensor, v: Tensor) -> Tensor:
    """How far points lie from the middle of the cell that they fall into: (N,) in cells."""
    across, down = ((t - t.floor()).sub_(0.5).square_() for t in (u, v))
    return across.add_(down).sqrt_()


def flat_cells(u: Tensor, v: Tensor, z: Tensor, height: int, width: int) -> Tensor:
    """The cell floor(v) * width + floor(u) that each point falls into: (N,) int64, height * width where it is outside.

    Outside is beside the image, behind the camera or at infinity; u, v and z as ``project_planar`` gives them.
    """
    inside = (z > 0) & (z < torch.inf) & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    return torch.where(inside, v.floor() * width + u.floor(), height * width).long()


def unproject(depth: Tensor, cameras: Cameras) -> Tensor:
    """Lift every cell centre to its depth.

    Args:
        depth: (..., H, W) z-depth on the cameras' grid.

    Returns:
        (..., H, W, 3) world points; meaningless where depth is unknown.
    """
    height, width = sizes("... H W", depth=depth)
    if (height, width) != (cameras.height, cameras.width):
        raise ValueError(f"depth is {height} x {width}, the cameras' grid is {cameras.height} x {cameras.width}")
    v = torch.arange(height, dtype=depth.dtype, device=depth.device)[:, None] + 0.5
    u = torch.arange(width, dtype=depth.dtype, device=depth.device)[None, :] + 0.5
    K = cameras.K[..., None, None, :, :]
    x = (u - K[..., 0, 2]) / K[..., 0, 0] * depth
    y = (v - K[..., 1, 2]) / K[..., 1, 1] * depth
    M = cameras.c2w[..., None, None, :, :]
    return (
        M[..., :3, 0] * x[..., None] + M[..., :3, 1] * y[..., None] + M[..., :3, 2] * depth[..., None] + M[..., :3, 3]
    )


def intrinsics_from_fov(vertical_fov: float, height: int, width: int) -> Tensor:
    """K (3, 3) of square pixels and a centred principal point. ``vertical_fov`` in degrees, over the full height."""
    focal = 0.5 * height / math.tan(math.radians(vertical_fov) / 2)
    return torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])


def known_depth(depth: Tensor) -> Tensor:
    """Where depth is known: finite and positive. Boolean, the shape of ``depth``."""
    return (depth > 0).logical_and_(depth < torch.inf)  # NaN is neither
