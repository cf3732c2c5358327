"""Depth that is taken as it is, held against points of the memory: asked point by point, in a loop."""

import pytest
import torch
from scenes import geometry, memory_of, pose
from spatial_memory.memory.camera import Cameras, flat_cells, intrinsics_from_fov, project_planar
from spatial_memory.memory.lift import lift_latents
from spatial_memory.rollout.reported import nearest_in_cells, reported
from spatial_memory.rollout.seen import Seen, look

H, W = 48, 72
CELLS = (4, 6)
FINE = (12, 18)  # on which the memory was written
ROLL = pose(axis=(0.0, 0.0, 1.0), degrees=180.0)
HERE = [torch.eye(4), pose((0.1, 0.0, 0.9)), ROLL, pose((0.2, 0.1, 0.0), degrees=6.0)]


def slanted(c2w, height, width):
    """Depth of the plane z + 0.3 x + 0.4 y = 2 in each view, 60 degrees high."""
    K = intrinsics_from_fov(60.0, height, width).expand(len(c2w), 3, 3)
    cameras = Cameras(torch.stack(list(c2w)), K, height, width)
    v = (torch.arange(height) + 0.5)[:, None].expand(height, width)
    u = (torch.arange(width) + 0.5).expand(height, width)
    rays = torch.stack([(u - width / 2) / K[0, 0, 0], (v - height / 2) / K[0, 1, 1], torch.ones(height, width)], -1)
    normal = torch.tensor([0.3, 0.4, 1.0])
    depth = []
    for pose_of in cameras.c2w:
        rise = (rays @ pose_of[:3, :3].T) @ normal
        depth.append((2 - pose_of[:3, 3] @ normal) / rise)
    return cameras, torch.stack(depth)


def memory():
    """What the first view wrote, on a grid of 12 x 18."""
    _, depth = slanted(HERE[:1], 12, 18)
    return memory_of(lift_latents(torch.zeros(4, 1, 12, 18), geometry(depth, c2w=torch.stack(HERE[:1])), [0], -1))


def expected(place, camera, depth, keep):
    """Overlap and the relative errors, from the nearest point of each cell."""
    small = camera.resized(*CELLS)
    nearest = {}
    u, v, z = project_planar(place.points.T.contiguous(), small)
    for point, cell in enumerate(flat_cells(u, v, z, *CELLS).tolist()):
        if cell < CELLS[0] * CELLS[1] and (cell not in nearest or z[point] < z[nearest[cell]]):
            nearest[cell] = point
    u, v, z = project_planar(place.points.T.contiguous(), camera)
    errors = []
    for point in nearest.values():
        row, column = int(v[point]), int(u[point])
        if keep[row, column] and depth[row, column] > 0:
            errors.append(float((depth[row, column] / z[point] - 1).abs()))
    return len(errors) / (CELLS[0] * CELLS[1]), errors


@pytest.mark.parametrize("scale", [1.0, 1.02, 1.3])
def test_each_record_is_that_of_the_points_themselves(scale):
    place = memory()
    cameras, depth = slanted(HERE, H, W)
    depth = depth * scale
    depth[3, :, :20] = 0  # not known
    keep = torch.ones(4, H, W, dtype=torch.bool)
    keep[1, H // 2 :] = False
    seen = look(place, cameras, FINE, CELLS)
    rows = reported(seen, cameras, depth, keep, torch.ones(4, H, W), CELLS)
    for view, row in enumerate(rows):
        overlap, errors = expected(place, cameras[view], depth[view], keep[view])
        assert row["how"] == "metric" and (row["scale"], row["shift"]) == (1.0, 0.0)
        assert row["overlap"] == pytest.approx(overlap) and 0 < overlap <= 1
        assert row["residual"] == pytest.approx(scale - 1, abs=0.015)  # a pixel off its centre on a slanted plane
        assert max(errors) < abs(scale - 1) + 0.03
        assert row["inlier_share"] > 0.99 if scale < 1.05 else row["inlier_share"] < 0.01
        assert ("warning" in row) == (scale == 1.3)
    assert rows[0]["overlap"] == 1 and rows[1]["overlap"] <= 0.5 < rows[2]["overlap"]


def test_where_the_memory_shows_nothing_nothing_is_compared():
    cameras, depth = slanted(HERE[:1], H, W)
    keep = torch.ones(1, H, W, dtype=torch.bool)
    away = Cameras(pose(axis=(0.0, 1.0, 0.0), degrees=180.0)[None], cameras.K, H, W)
    for place, seen in ((memory_of([]), cameras), (memory(), away)):
        found = look(place, seen, FINE, CELLS)
        (row,) = reported(found, seen, depth, keep, torch.ones(1, H, W), CELLS)
        assert row == {"how": "metric", "scale": 1.0, "shift": 0.0, "overlap": 0.0}


@pytest.mark.parametrize("grid", [(12, 18), (9, 13), (5, 7), (4, 6)])
def test_the_nearest_point_of_a_cell_is_that_of_a_loop_over_all_that_is_seen(grid):
    generator = torch.Generator().manual_seed(sum(grid))
    depth = torch.randint(1, 4, (2, *grid), generator=generator).float()  # ties in plenty
    depth[torch.rand(2, *grid, generator=generator) < 0.6] = 0
    depth[1, : grid[0] // 2] = 0
    offset = torch.rand(2, 2, *grid, generator=generator) - 0.5
    offset[0, :, 0, 0] = torch.tensor([0.5, 0.5])  # on the border of its cell
    least, pixel = nearest_in_cells(Seen(memory(), depth, offset), (H, W), *CELLS)
    expected = {}
    for view, row, column in (depth > 0).nonzero().tolist():
        u, v = (torch.tensor([column, row]) + 0.5 + offset[view, :, row, column]).tolist()
        share = (v / grid[0], u / grid[1])
        cell, at = (tuple(min(int(s * n), n - 1) for s, n in zip(share, size)) for size in (CELLS, (H, W)))
        found = (depth[view, row, column].item(), (view * H + at[0]) * W + at[1])
        expected[(view, *cell)] = min(expected.get((view, *cell), (torch.inf, 0)), found)
    assert 0 < len(expected) < 2 * CELLS[0] * CELLS[1]
    for view, row, column in torch.ones(2, *CELLS).nonzero().tolist():
        cell = (view, row, column)
        if cell not in expected:
            assert least[cell] == 0 and 0 <= pixel[cell] < 2 * H * W
        else:
            assert (least[cell].item(), pixel[cell].item()) == expected[cell]
