"""Normals: as two bytes within a degree and a half, and from the depth of a view, wherever the camera stands."""

import math

import pytest
import torch
from scenes import geometry, pose
from spatial_memory.memory.camera import unproject
from spatial_memory.memory.normals import decode_normals, encode_normals, normals_of


def units(count, seed=0):
    vectors = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (vectors / vectors.norm(dim=1, keepdim=True)).float()


def degrees_between(a, b):
    a, b = a.double(), b.double()
    return torch.rad2deg(torch.atan2(torch.linalg.cross(a, b, dim=-1).norm(dim=-1), (a * b).sum(-1)))


def encoded_twin(x, y, z):
    """The octahedral code of one unit vector, face by face."""
    size = abs(x) + abs(y) + abs(z)
    u, v = x / size, y / size
    if z < 0:
        u, v = math.copysign(1 - abs(v), u), math.copysign(1 - abs(u), v)
    return [round(127 * u) + 128, round(127 * v) + 128]


def plane_view(normal, offset, c2w, height=48, width=64):
    """Exact z-depth (1, H, W) of the plane normal . p = offset from a pose, 0 where it is not in front."""
    cameras = geometry(torch.ones(1, height, width), c2w=c2w[None]).cameras
    near, far = unproject(torch.ones(1, height, width), cameras), cameras.position[0]
    rate = ((near - far) * normal).sum(-1)
    depth = (offset - (far * normal).sum()) / rate
    return torch.where(depth > 0, depth, 0.0), cameras


def gentle(depth):
    """Pixels (1, H, W) off the border whose four neighbours lie within a tenth of their depth: no edge."""
    found = torch.zeros_like(depth, dtype=torch.bool)
    middle = depth[:, 1:-1, 1:-1]
    sides = depth[:, :-2, 1:-1], depth[:, 2:, 1:-1], depth[:, 1:-1, :-2], depth[:, 1:-1, 2:]
    found[:, 1:-1, 1:-1] = torch.stack([(side / middle - 1).abs() < 0.09 for side in sides]).all(0)
    return found


def test_a_normal_survives_its_two_bytes_within_a_degree_and_a_half():
    vectors = units(100_000)
    codes = encode_normals(vectors)
    assert codes.dtype == torch.uint8 and codes.shape == (100_000, 2) and codes.min() >= 1
    decoded = decode_normals(codes)
    assert torch.allclose(decoded.norm(dim=1), torch.ones(100_000), atol=1e-6)
    assert degrees_between(vectors, decoded).max() < 1.5
    assert [encoded_twin(*v) for v in vectors[:500].double().tolist()] == codes[:500].tolist()


@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_six_axes_come_back_exactly(axis, sign):
    vector = torch.zeros(3)
    vector[axis] = sign
    assert torch.equal(decode_normals(encode_normals(vector)), vector)


def test_what_is_not_known_stays_not_known_and_nothing_else_becomes_so():
    nothing = torch.zeros(4, 5, 3)
    assert torch.equal(encode_normals(nothing), torch.zeros(4, 5, 2, dtype=torch.uint8))
    assert torch.equal(decode_normals(torch.zeros(4, 5, 2, dtype=torch.uint8)), nothing)
    every = torch.cartesian_prod(*[torch.arange(1, 256, dtype=torch.uint8)] * 2)
    assert torch.allclose(decode_normals(every).norm(dim=1), torch.ones(len(every)), atol=1e-6)


def test_encoding_again_changes_nothing():
    codes = encode_normals(units(20_000, 1))
    assert degrees_between(decode_normals(encode_normals(decode_normals(codes))), decode_normals(codes)).max() < 1e-3


@pytest.mark.parametrize("roll", [0.0, 180.0])
@pytest.mark.parametrize("normal", [(0.0, 0.0, 1.0), (0.6, 0.0, 0.8), (-0.5, 0.7, 0.51), (0.2, -0.9, 0.39)])
def test_a_plane_has_its_normal_in_world_axes_however_the_camera_is_rolled(normal, roll):
    plane = torch.nn.functional.normalize(torch.tensor(normal), dim=0)
    depth, cameras = plane_view(plane, 3.0, pose((0.2, -0.1, 0.4), (0.0, 0.0, 1.0), roll))
    normals, cosine = normals_of(depth, cameras)
    seen = (depth > 0) & (depth < 20)
    ray = torch.nn.functional.normalize(unproject(depth, cameras) - cameras.position[0], dim=-1)
    expected = (ray * plane).sum(-1).abs()
    sure = seen & gentle(depth)
    assert sure.float().mean() > 0.25
    assert degrees_between(normals[sure], -plane.expand(int(sure.sum()), 3)).max() < 0.5  # turned to the camera
    assert (cosine - expected)[sure].abs().max() < 0.01
    assert normals[~(depth > 0)].abs().sum() == 0


def test_a_roll_of_180_degrees_turns_the_picture_of_normals_and_not_the_normals():
    plane = torch.nn.functional.normalize(torch.tensor([0.5, -0.3, 0.8]), dim=0)
    upright, rolled = (
        normals_of(*plane_view(plane, 3.0, pose((0.2, -0.1, 0.4), (0.0, 0.0, 1.0), roll))) for roll in (0.0, 180.0)
    )
    for a, b in zip(upright, rolled):
        assert torch.allclose(a.flip(1, 2), b, atol=2e-3)


def test_two_surfaces_do_not_make_one_normal_and_lone_pixels_have_none():
    depth = torch.full((1, 8, 12), 2.0)
    depth[:, :, 6:] = 4.0  # a step along a column
    depth[:, 2, 2] = 0.0
    depth[:, :, 10:] = 0.0
    depth[:, 5, 11] = 3.0  # nobody beside it
    made = geometry(depth)
    normals, cosine = normals_of(depth, made.cameras)
    known = depth > 0
    known[0, 5, 11] = False
    assert torch.allclose(normals[known], torch.tensor([0.0, 0.0, -1.0]).expand(int(known.sum()), 3), atol=1e-5)
    assert not normals[~known].any() and (cosine[~known] == 1).all()
