"""What a reader returns, and the checks that every pose from a file goes through once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..camera import Cameras, check_cameras, invert_rigid
from ..path import MAX_FRAMES

DEFAULT_FOV = 50.0  # degrees, for files without intrinsics: the same as a path's
Y_AND_Z = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64))  # OpenGL <-> OpenCV


@dataclass(frozen=True)
class Imported:
    """Cameras from a file, and what was taken for granted to read them, one sentence each."""

    cameras: Cameras  # (T,)
    assumed: tuple[str, ...]
    times: tuple[float, ...] = ()  # where the file says them: one a camera
    clock: str = ""  # what ``times`` count: "seconds" or "frames"
    format: str = ""


def evenly(count: int, what: str = "poses") -> tuple[range | list[int], tuple[str, ...]]:
    """Which of ``count`` poses are read, both ends among them, and a notice where they are too many.

    Raises:
        ValueError: there are none.
    """
    if count < 1:
        raise ValueError(f"it holds {count} {what}, expected 1 to {MAX_FRAMES}")
    if count <= MAX_FRAMES:
        return range(count), ()
    kept = [i * (count - 1) // (MAX_FRAMES - 1) for i in range(MAX_FRAMES)]
    return kept, (f"{count} {what} were thinned out evenly to {MAX_FRAMES}; those between were not looked at",)


def rigid(matrices: Tensor, where: Sequence[str]) -> tuple[Tensor, tuple[str, ...]]:
    """Poses (T, 4, 4) float64 of matrices (T, 3 or 4, 4), made orthonormal where they are so only to 1e-3.

    Args:
        where: what to call each matrix in an error, for instance its line.

    Returns:
        The poses and a sentence where they were mended.

    Raises:
        ValueError: a number is not finite, the last row is no 0 0 0 1, or the 3x3 part is no rotation.
    """
    _refuse(~matrices.isfinite().flatten(1).all(1), where, lambda i: "holds NaN or infinity, expected finite numbers")
    last = matrices.new_tensor([0.0, 0.0, 0.0, 1.0])
    if matrices.shape[1] == 4:
        _refuse(
            ((matrices[:, 3] - last).abs() > 1e-6).any(1),
            where,
            lambda i: f"has last row {matrices[i, 3].tolist()}, expected 0 0 0 1: is the matrix transposed?",
        )
    poses = torch.cat([matrices[:, :3], last.expand(len(matrices), 1, 4)], dim=1)
    R = poses[:, :3, :3]
    off = (R.mT @ R - torch.eye(3, dtype=R.dtype)).abs().amax((1, 2))
    _refuse(
        (off > 1e-3) | (torch.linalg.det(R) < 0),
        where,
        lambda i: f"holds no rotation (R^T R off by {off[i].item():.2g}, or mirrored); expected at most 0.001",
    )
    _refuse((poses[:, :3, 3].abs() > 1e6).any(1), where, lambda i: "stands beyond a million units; scale the file down")
    if off.max() <= 1e-6:
        return poses, ()
    U, _, Vh = torch.linalg.svd(R)
    poses[:, :3, :3] = U @ Vh
    return poses, (f"rotations were off by up to {off.max().item():.1g} and were replaced by the nearest exact ones",)


def pinholes(values: Tensor, where: Sequence[str]) -> Tensor:
    """K (T, 3, 3) of fx fy cx cy (T, 4) in pixels.

    Raises:
        ValueError: not finite, or a focal length that is not positive.
    """
    bad = ~values.isfinite().all(1) | (values[:, :2] <= 0).any(1)
    _refuse(bad, where, lambda i: f"gives fx fy cx cy as {values[i].tolist()} pixels, expected positive focal lengths")
    K = torch.zeros(len(values), 3, 3, dtype=torch.float64)
    K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2] = values.unbind(1)
    K[:, 2, 2] = 1.0
    return K


def pinholes_from_fov(fov: Tensor, height: int, width: int, where: Sequence[str]) -> Tensor:
    """K (T, 3, 3) of vertical fields of view (T,) in degrees: square pixels, the principal point in the centre.

    Raises:
        ValueError: a field of view that is not between 0 and 180 degrees.
    """
    bad = ~((fov > 0) & (fov < 180))
    _refuse(bad, where, lambda i: f"has a field of view of {fov[i].item()} degrees, expected more than 0, below 180")
    focal = 0.5 * height / (torch.deg2rad(fov) / 2).tan()
    centre = fov.new_tensor([width / 2, height / 2]).expand(len(fov), 2)
    return pinholes(torch.cat([focal[:, None], focal[:, None], centre], dim=1), where)


def no_intrinsics(count: int, height: int, width: int) -> tuple[Tensor, str]:
    """K (T, 3, 3) where the file holds none, and the sentence that says so."""
    fov = torch.full((count,), DEFAULT_FOV, dtype=torch.float64)
    sentence = f"there are no intrinsics: {DEFAULT_FOV:g} degrees over the height of {height} x {width} pixels"
    return pinholes_from_fov(fov, height, width, [""] * count), sentence


def vertical_fov(cameras: Cameras) -> Tensor:
    """Degrees over the full height, (T,) float64."""
    return 2 * (cameras.height / (2 * cameras.K[:, 1, 1].double())).atan().rad2deg()


def collect(
    c2w: Tensor,
    K: Tensor,
    height: int,
    width: int,
    assumed: Sequence[str],
    times: Sequence[float] = (),
    clock: str = "",
) -> Imported:
    """The reader's result from (T, 4, 4) and (T, 3, 3) float64.

    Raises:
        ValueError: a pose or K that ``check_cameras`` refuses, or times that are not finite.
    """
    if not all(math.isfinite(time) for time in times):
        raise ValueError("a time is NaN or infinite")
    return Imported(check_cameras(Cameras(c2w.float(), K.float(), height, width)), tuple(assumed), tuple(times), clock)


def inverse(poses: Tensor) -> Tensor:
    """w2c of c2w and the other way round, (..., 4, 4) float64."""
    return invert_rigid(poses.double())


def from_opengl(c2w: Tensor) -> Tensor:
    """Camera axes from OpenGL (+Y up, looking along -Z) to OpenCV and back; the world stays as it is."""
    return c2w.double() @ Y_AND_Z


def from_y_up(c2w: Tensor) -> Tensor:
    """``from_opengl`` in a world whose Y points up as well: (x, y, z) becomes (x, -y, -z), and back."""
    return Y_AND_Z @ c2w.double() @ Y_AND_Z


def _refuse(bad: Tensor, where: Sequence[str], what) -> None:  # bad: (T,) bool
    if bad.any():
        first = int(bad.int().argmax())
        raise ValueError(f"{where[first]} {what(first)}")
