"""Unit quaternions, wxyz, two ways.

On plain floats, for the path: one frame is evaluated alone, so its numbers never depend on how many others there are,
and every formula is symmetric under swapping its two ends, so a path run backwards gives the same bits. On tensors, for
whole sequences that become matrices.
"""

import math

import torch
from torch import Tensor

from .shapes import sizes

Vector = tuple[float, ...]
Quaternion = tuple[float, float, float, float]


def normalised(q: Quaternion) -> Quaternion:
    """The unit quaternion of the same rotation, not changed in sign."""
    norm = math.sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
    return (q[0] / norm, q[1] / norm, q[2] / norm, q[3] / norm)


def canonical(q: Quaternion) -> Quaternion:
    """The one of q and -q whose first component that is not zero is positive."""
    sign = next((x for x in q if x != 0), 1.0)
    return q if sign > 0 else (-q[0], -q[1], -q[2], -q[3])


def conjugate(q: Quaternion) -> Quaternion:
    """The inverse of a unit quaternion."""
    return (q[0], -q[1], -q[2], -q[3])


def multiply(a: Quaternion, b: Quaternion) -> Quaternion:
    """The rotation b, then a."""
    return (
        a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
        a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
        a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
        a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
    )


def from_axis(axis: Vector, degrees: float) -> Quaternion:
    """The rotation by ``degrees`` about the unit ``axis`` (3)."""
    half = math.radians(degrees) / 2
    s = math.sin(half)
    return (math.cos(half), s * axis[0], s * axis[1], s * axis[2])


def rotation_vector(q: Quaternion) -> Vector:
    """Axis times angle in radians (3) of a unit quaternion, the short way round."""
    sine = math.sqrt(q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
    sign = -1.0 if q[0] < 0 else 1.0
    factor = sign * (2 * math.atan2(sine, sign * q[0]) / sine if sine > 1e-12 else 2.0)
    return (factor * q[1], factor * q[2], factor * q[3])


def from_rotation_vector(vector: Vector) -> Quaternion:
    """The inverse of ``rotation_vector``."""
    angle = math.sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2])
    factor = math.sin(angle / 2) / angle if angle > 1e-12 else 0.5
    return (math.cos(angle / 2), factor * vector[0], factor * vector[1], factor * vector[2])


def slerp(a: Quaternion, b: Quaternion, u: float, v: float) -> Quaternion:
    """The rotation at ``u`` of the short way from a to b; ``v`` is 1 - u. Up to sign, symmetric in its ends."""
    if a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3] < 0:
        b = (-b[0], -b[1], -b[2], -b[3])
    apart = math.sqrt(sum((x - y) * (x - y) for x, y in zip(a, b)))
    angle = 2 * math.atan2(apart, math.sqrt(sum((x + y) * (x + y) for x, y in zip(a, b))))
    if angle > 1e-7:
        u, v = math.sin(u * angle) / math.sin(angle), math.sin(v * angle) / math.sin(angle)
    return (v * a[0] + u * b[0], v * a[1] + u * b[1], v * a[2] + u * b[2], v * a[3] + u * b[3])


def matrices_from_quaternions(q: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of quaternions wxyz (..., 4) of any positive length, in their dtype."""
    sizes("... 4", q=q)
    w, x, y, z = (q / q.square().sum(-1, keepdim=True).sqrt()).unbind(-1)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def quaternions_from_matrices(R: Tensor) -> Tensor:
    """Quaternions wxyz (..., 4), canonical in sign, of rotation matrices (..., 3, 3), in their dtype."""
    sizes("... 3 3", R=R)
    m00, m11, m22 = R[..., 0, 0], R[..., 1, 1], R[..., 2, 2]
    # four times the outer product q q^T; the row with the largest diagonal entry is well conditioned
    a, b, c = R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]
    d, e, f = R[..., 1, 0] + R[..., 0, 1], R[..., 0, 2] + R[..., 2, 0], R[..., 2, 1] + R[..., 1, 2]
    rows = torch.stack(
        [
            torch.stack([1 + m00 + m11 + m22, a, b, c], dim=-1),
            torch.stack([a, 1 + m00 - m11 - m22, d, e], dim=-1),
            torch.stack([b, d, 1 - m00 + m11 - m22, f], dim=-1),
            torch.stack([c, e, f, 1 - m00 - m11 + m22], dim=-1),
        ],
        dim=-2,
    )
    best = rows.diagonal(dim1=-2, dim2=-1).argmax(-1)
    q = rows.gather(-2, best[..., None, None].expand(*best.shape, 1, 4)).squeeze(-2)
    q = q / q.square().sum(-1, keepdim=True).sqrt()
    first = (q != 0).to(torch.uint8).argmax(-1, keepdim=True)  # the first component that is not zero
    return q * q.gather(-1, first).sign()
