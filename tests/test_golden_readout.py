"""Parity with the readout and the visibility of the papers' released code."""

import torch
from safetensors import safe_open
from spatial_memory.memory.camera import Cameras, project
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.observation import Observation
from spatial_memory.memory.splat import splat_nearest

BORDER = 1e-4  # cells: float32 products in another order may put a point this near to a border on its other side


def load(golden_dir):
    with safe_open(str(golden_dir / "readout.safetensors"), "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def memory_of(tensors):
    points, features = tensors["points"], tensors["features"]
    camera = Cameras(torch.eye(4), torch.eye(3), 1, len(points))
    cells = torch.arange(len(points), dtype=torch.int32)
    o = Observation(points, features.half(), cells, camera, 0, -1)
    return SpatialMemory("latent", "golden", features.shape[1], 1.0, False, (o,))


def shaky_cells(points, cameras):
    """(V, h, w) bool: cells that a point within BORDER of their border may enter or leave, or where a tie is near."""
    uv, z = project(points, cameras)
    h, w = cameras.height, cameras.width
    shaky = torch.zeros(len(cameras), h, w, dtype=torch.bool)
    near = ((uv - uv.round()).abs() < BORDER).any(-1) & (z > 0)
    for view, index in near.nonzero().tolist():
        u, v = uv[view, index].tolist()
        for du in (-0.5, 0.5):
            for dv in (-0.5, 0.5):
                for x, y in ((u, v), (u + 2 * BORDER * du, v + 2 * BORDER * dv)):
                    if 0 <= y < h and 0 <= x < w:
                        shaky[view, int(y), int(x)] = True
    return shaky


def test_latent_readout_equals_the_released_projection(golden_dir):
    tensors = load(golden_dir)
    K = tensors["K_integer_centres"].clone()
    K[:2, 2] += 0.5  # its cell centres are integers, ours lie at +0.5
    views, _, h, w = tensors["latents"].shape
    cameras = Cameras(tensors["c2w"], K.expand(views, 3, 3), h, w)
    out = splat_nearest(memory_of(tensors), cameras)
    sure = ~shaky_cells(tensors["points"], cameras)
    assert sure.float().mean() > 0.99
    assert torch.equal((out.winner >= 0)[sure], tensors["mask"].bool()[sure])
    said = torch.where((out.winner >= 0)[..., None], tensors["features"][out.winner.clamp(min=0)], 0.0)
    assert torch.equal(said[sure], tensors["latents"].permute(0, 2, 3, 1)[sure])
    assert tensors["mask"].float().mean() > 0.2


def test_frontmost_points_equal_the_released_visibility(golden_dir):
    tensors = load(golden_dir)
    views, count = tensors["frontmost"].shape
    cameras = Cameras(tensors["c2w"], tensors["K_pixels"].expand(views, 3, 3), 88, 160)
    winner = splat_nearest(memory_of(tensors), cameras).winner
    frontmost = torch.zeros(views, count, dtype=torch.bool)
    for view in range(views):
        frontmost[view, winner[view][winner[view] >= 0]] = True
    uv, z = project(tensors["points"], cameras)
    truncated = ((uv > -1) & (uv < 0)).any(-1)  # it keeps these by truncation, wrongly
    cell = (uv[..., 1].floor() * 160 + uv[..., 0].floor()).clamp(0, 88 * 160 - 1).long()
    sure = ~shaky_cells(tensors["points"], cameras).flatten(1).gather(1, cell) & ~truncated
    # a point that it wrongly keeps may hide another one in row or column 0: those cells are left out too
    sure &= (uv > 1).all(-1) | ~frontmost_conflict(uv, z, truncated)
    assert sure.float().mean() > 0.9
    assert torch.equal(frontmost[sure], tensors["frontmost"].bool()[sure])


def frontmost_conflict(uv, z, truncated):
    """(V, N) bool: points in row or column 0, wherever truncated points can have entered their pixel."""
    return (((uv >= 0) & (uv < 1)).any(-1)) & (z > 0) & truncated.any(-1, keepdim=True)
