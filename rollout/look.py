"""What a memory looks like from cameras, as pictures for a person: decoded, or coloured without a network."""

import torch
from torch import Tensor

from ..memory.camera import Cameras, compose
from ..memory.cloud import SpatialMemory
from ..memory.exchange import Factors, rgb_from_latents
from ..memory.quaternion import from_axis, matrices_from_quaternions, multiply
from ..memory.splat import Readout, read
from ..models.codec import as_colours
from ..models.world import WorldModel

RISE = 0.3  # of the swing to the sides: how far an orbit rises


def home(memory: SpatialMemory) -> Cameras:
    """The camera () of the start frame on the grid that the memory is read on, or of the eldest frame in memory.

    Raises:
        ValueError: the memory holds nothing.
    """
    if not memory.observations:
        raise ValueError("the memory holds no points; InitMemory fills it")
    first = next((o for o in memory.observations if o.frame == 0), memory.observations[0])
    return first.camera


def orbit(start: Cameras, distance: float, count: int, degrees: float) -> Cameras:
    """``count`` cameras that swing about the point ``distance`` ahead of a camera () and come back to it.

    The camera goes ``degrees`` to the right and to the left, and rises a little while it is away.

    Raises:
        ValueError: no camera, or a swing of a quarter turn or more.
    """
    if count < 1 or not abs(degrees) < 90:
        raise ValueError(f"{count} cameras over {degrees} degrees: expected at least 1, and less than 90 degrees")
    angle = torch.arange(count, dtype=torch.float64) / count * 2 * torch.pi
    aside, above = angle.sin() * degrees, (1 - angle.cos()) / 2 * RISE * abs(degrees)
    middle = start.position + distance * start.c2w[:3, 2]
    axes = start.c2w[:3, :3].T.tolist()  # right, down, ahead
    poses = []
    for turn, rise in zip(aside.tolist(), above.tolist()):
        # about the camera's own axes: to its right is a negative turn about down, up a negative one about right
        rotation = multiply(from_axis(tuple(axes[1]), -turn), from_axis(tuple(axes[0]), -rise))
        motion = torch.eye(4)
        motion[:3, :3] = matrices_from_quaternions(torch.tensor(rotation))
        motion[:3, 3] = middle - motion[:3, :3] @ middle
        poses.append(compose(motion, start.c2w))
    return Cameras(torch.stack(poses), start.K.expand(count, 3, 3), start.height, start.width)


def decoded(world: WorldModel, memory: SpatialMemory, shown: Readout) -> Tensor:
    """A readout as pictures (V, 3, H, W) in [0, 1]: latents through the codec, colours as they are."""
    if memory.kind == "rgb":
        return (shown.features / shown.known.clamp(min=1e-3)[:, None]).clamp(0, 1)
    views = [as_colours(world.codec.decode(features[:, None]))[0] for features in shown.features]
    return torch.stack(views).clamp(0, 1)


def plainly(memory: SpatialMemory, shown: Readout, factors: Factors, spatial: int) -> Tensor:
    """A readout as pictures without a network: one colour a cell, ``spatial`` pixels a side (1 for an RGB memory)."""
    if memory.kind == "rgb":
        return (shown.features / shown.known.clamp(min=1e-3)[:, None]).clamp(0, 1)
    colours = rgb_from_latents(shown.features.permute(0, 2, 3, 1), factors).permute(0, 3, 1, 2)
    return colours.repeat_interleave(spatial, 2).repeat_interleave(spatial, 3)


def on_pixels(cells: Tensor, height: int, width: int) -> Tensor:
    """A mask of cells (h, w) on the pixels (H, W) that they cover."""
    return cells.repeat_interleave(height // cells.shape[0], 0).repeat_interleave(width // cells.shape[1], 1)


def readout(world: WorldModel, memory: SpatialMemory, cameras: Cameras) -> Readout:
    """Read a memory at cameras (V,) of the pixel grid, on the grid of its kind."""
    if memory.kind == "latent":
        cameras = cameras.resized(*world.codec.grid.cells(cameras.height, cameras.width))
    return read(memory, cameras)
