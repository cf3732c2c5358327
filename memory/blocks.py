"""Maps brought to a coarser grid, cell by cell over all pixels that a cell touches.

Where the cells are whole blocks of pixels, as those of a latent are, two plain reductions do it, in a tenth of the
time that pooling takes.
"""

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, adaptive_max_pool2d


def least(maps: Tensor, height: int, width: int) -> Tensor:
    """The least value that each cell touches: of bool or float maps (V, H, W), (V, height, width) of the same dtype.

    Of a mask: whether it holds for all pixels of the cell.
    """
    plain = maps.view(torch.uint8) if maps.dtype == torch.bool else maps
    if _whole(maps, height, width):
        found = plain.unflatten(1, (height, -1)).amin(2).unflatten(2, (width, -1)).amin(3)
    else:
        found = -adaptive_max_pool2d(-plain.float()[:, None], (height, width))[:, 0]
    return found > 0 if maps.dtype == torch.bool else found


def mean(maps: Tensor, height: int, width: int) -> Tensor:
    """The mean over the pixels that each cell touches: of bool or float maps (V, H, W), (V, height, width) float32.

    Of a mask: the share of the cell's pixels for which it holds.
    """
    plain = maps.view(torch.uint8) if maps.dtype == torch.bool else maps
    if not _whole(maps, height, width):
        return adaptive_avg_pool2d(plain.float()[:, None], (height, width))[:, 0]
    lines = plain.unflatten(1, (height, -1)).sum(2, dtype=torch.float32)
    pixels = (maps.shape[1] // height) * (maps.shape[2] // width)
    return lines.unflatten(2, (width, -1)).sum(3) / pixels


def _whole(maps: Tensor, height: int, width: int) -> bool:
    """Whether every cell is a block of whole pixels."""
    return maps.shape[1] % height == 0 and maps.shape[2] % width == 0
