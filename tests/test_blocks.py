"""Maps on a coarser grid: equal to a loop over the pixels that each cell touches."""

import pytest
import torch
from spatial_memory.memory.blocks import least, mean


def touched(maps, height, width):
    """For each cell the pixels that it touches, wholly or in part."""
    _, rows, columns = maps.shape
    for i in range(height):
        for j in range(width):
            top, bottom = i * rows // height, -(-(i + 1) * rows // height)
            left, right = j * columns // width, -(-(j + 1) * columns // width)
            yield i, j, maps[:, top:bottom, left:right].flatten(1)


@pytest.mark.parametrize("grid", [(4, 6), (3, 5), (12, 18), (1, 1), (4, 5), (7, 9)])
@pytest.mark.parametrize("kind", ["depth", "mask"])
def test_each_cell_has_the_least_and_the_mean_of_its_pixels(grid, kind):
    maps = torch.rand(3, 12, 18, generator=torch.Generator().manual_seed(0))
    maps = maps if kind == "depth" else maps > 0.1
    low, middle = least(maps, *grid), mean(maps, *grid)
    assert low.dtype == maps.dtype and middle.dtype == torch.float32
    for i, j, pixels in touched(maps, *grid):
        assert torch.equal(low[:, i, j], pixels.all(1) if kind == "mask" else pixels.amin(1))
        assert torch.allclose(middle[:, i, j], pixels.float().mean(1), atol=1e-6)


def test_tall_cells_are_counted_whole():
    mask = torch.ones(1, 600, 4, dtype=torch.bool)  # more rows a cell than a byte counts
    assert mean(mask, 1, 1).item() == 1.0 and least(mask, 1, 2).all()
    mask[0, 599, 3] = False
    assert mean(mask, 1, 1).item() == pytest.approx(1 - 1 / 2400) and least(mask, 1, 2).tolist() == [[[True, False]]]


def test_a_part_of_a_larger_map_is_read_where_it_lies():
    whole = torch.rand(2, 20, 30, generator=torch.Generator().manual_seed(1))
    assert torch.equal(least(whole[:, :16, :24], 4, 6), least(whole[:, :16, :24].contiguous(), 4, 6))
    assert torch.equal(mean((whole > 0.3)[:, 2:18, 3:27], 4, 6), mean((whole > 0.3)[:, 2:18, 3:27].contiguous(), 4, 6))
