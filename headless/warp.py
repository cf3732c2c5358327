"""``spatial-memory warp``: lift frames with known depth, look from another camera, compare with what is there."""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..memory.cloud import SpatialMemory
from ..memory.geometry import Geometry, check_geometry, start_unit
from ..memory.lift import RESAMPLE, lift_latents, lift_pixels, resample_depth
from ..memory.merge import merge
from ..memory.splat import Readout, read
from ..rollout.metrics import ssim_map
from .sequence import Sequence, load_sequence

KNOWN = 0.5  # coverage from which a cell is compared
KINDS = ("rgb", "latent")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What follows ``spatial-memory warp``."""
    parser.description = (
        "Lift frames of a posed RGB-D sequence with their own depth, read the memory at another frame's camera, and "
        "compare with that frame over the known cells. Colours are divided by their coverage before they are compared; "
        "latents are compared in the mini codec's space, then decoded. seconds: lifting and reading alone."
    )
    parser.epilog = "example: spatial-memory warp tests/data/livingroom --source 0 --target 1 --kind rgb --json"
    parser.add_argument("sequence", metavar="SEQUENCE", type=Path, help="folder with frames.json")
    parser.add_argument("--source", type=int, nargs="+", required=True, metavar="I", help="frames to lift, 0 = first")
    parser.add_argument("--target", type=int, required=True, metavar="J", help="frame to look from")
    parser.add_argument("--kind", choices=KINDS, required=True, help="what a point carries")
    parser.add_argument("--resample", choices=sorted(RESAMPLE), default="bilinear", help="how depth reaches the grid")
    parser.add_argument("--size", metavar="HxW", help="resize frames to this many pixels first (default: as they are)")
    parser.add_argument("--image", type=Path, metavar="OUT.png", help="write target, readout and difference")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def run(args: argparse.Namespace) -> int:
    """Warp, compare, print, and write the picture where one is asked for.

    Raises:
        ValueError: a frame that is not there, a size that does not fit, no depth at all.
        FileNotFoundError: the mini codec's weights are missing.
    """
    seen = load_sequence(args.sequence, [*args.source, args.target])
    height, width = _size(args.size) if args.size else seen.images.shape[2:]
    scored, image = (warp_rgb if args.kind == "rgb" else warp_latent)(seen, height, width, args.resample)
    if args.image:
        _write(args.image, torch.cat([_scaled(seen.images[-1:], height, width)[0], *image], dim=2))
    if args.json:
        sys.stdout.write(json.dumps(scored) + "\n")
    else:
        for name, value in scored.items():
            shown = "-" if value is None else f"{value:.4f}" if isinstance(value, float) else value
            sys.stderr.write(f"{name:14} {shown}\n")
    return 0


def warp_rgb(seen: Sequence, height: int, width: int, resample: str) -> tuple[dict, tuple[Tensor, Tensor]]:
    """Lift pixels of all frames but the last, splat them at the last one's camera.

    Returns:
        the scores, and pictures (3, H, W) of the readout and of its difference from the target.
    """
    from ..rollout.start import RGB_VOXEL

    images = _scaled(seen.images, height, width)
    depth, known = resample_depth(seen.depth, seen.depth > 0, height, width, resample)
    cameras = seen.cameras.resized(height, width)
    geometry = _geometry(depth[:-1], known[:-1], cameras[:-1])
    frames = range(len(geometry.depth))
    begun = time.perf_counter()
    lifted = lift_pixels(images[:-1], geometry, frames, -1, RGB_VOXEL * geometry.scene_unit)
    memory = SpatialMemory("rgb", "", 3, geometry.scene_unit, True)
    memory, _ = merge(memory, lifted)
    readout = read(memory, cameras[-1:])
    seconds = time.perf_counter() - begun
    said = readout.features[0] / readout.known[0].clamp(min=1e-3)
    psnr, ssim, picture = _compare(said.clamp(0, 1), images[-1], readout.known[0] >= KNOWN)
    return _scores(psnr, ssim, None, readout, memory, seconds), picture


def warp_latent(seen: Sequence, height: int, width: int, resample: str) -> tuple[dict, tuple[Tensor, Tensor]]:
    """Lift latent cells of all frames but the last, read them at the last one's camera, decode.

    ``latent_error``: mean squared difference over the known cells, over the variance of the target's latents.

    Returns:
        the scores, and pictures (3, H, W) of the decoded readout and of its difference from the target.

    Raises:
        ValueError: the size does not fit the codec's grid; names the nearest that do.
    """
    from ..models.codec import MiniCodec, as_colours, signed
    from ..models.mini_codec import load_mini_codec

    codec = MiniCodec(load_mini_codec())
    h, w = codec.grid.cells(height, width)
    images = _scaled(seen.images, height, width)
    latents = codec.encode_frames(signed(images))  # (C, V, h, w)
    geometry = _geometry(seen.depth[:-1], seen.depth[:-1] > 0, seen.cameras[:-1])
    begun = time.perf_counter()
    lifted = lift_latents(latents[:, :-1], geometry, range(len(geometry.depth)), -1, resample)
    memory = SpatialMemory("latent", codec.name, codec.grid.channels, geometry.scene_unit, True)
    memory, _ = merge(memory, lifted)
    readout = read(memory, seen.cameras[-1:].resized(h, w))
    seconds = time.perf_counter() - begun
    cells, target = readout.known[0] > 0, latents[:, -1]
    error = None
    if cells.any():
        squared = (readout.features[0] - target)[:, cells].square().mean()
        error = (squared / target.flatten(1).var(dim=1).mean()).item()
    decoded = as_colours(codec.decode(readout.features[0][:, None]))[0]
    pixels = cells.repeat_interleave(codec.grid.spatial, 0).repeat_interleave(codec.grid.spatial, 1)
    psnr, ssim, picture = _compare(decoded.clamp(0, 1), images[-1], pixels)
    return _scores(psnr, ssim, error, readout, memory, seconds), picture


def _geometry(depth: Tensor, known: Tensor, cameras) -> Geometry:
    everything = torch.ones_like(depth)
    unit = start_unit(torch.where(known[0], depth[0], 0.0))
    return check_geometry(Geometry(torch.where(known, depth, 0.0), everything, everything > 0, cameras, True, unit))


def _scores(
    psnr: float | None,
    ssim: float | None,
    latent_error: float | None,
    readout: Readout,
    memory: SpatialMemory,
    seconds: float,
) -> dict:
    return {
        "psnr": psnr,
        "ssim": ssim,
        "latent_error": latent_error,
        "coverage": readout.known.mean().item(),
        "hole_rate": (readout.known < KNOWN).float().mean().item(),
        "points": memory.num_points,
        "bytes": memory.get_ram_usage(),
        "seconds": seconds,
    }


def _compare(said: Tensor, target: Tensor, known: Tensor) -> tuple[float | None, float | None, tuple[Tensor, Tensor]]:
    """PSNR over the known pixels (H, W), SSIM over the windows centred on them, and the two pictures."""
    shown = torch.where(known, said, 0.0)
    difference = torch.where(known, (said - target).abs(), 0.0)
    if not known.any():
        return None, None, (shown, difference)
    error = (said - target)[:, known].double().square().mean().clamp(min=1e-10)
    # unknown pixels of a window are taken as right, so that holes are not judged twice
    windows = ssim_map(torch.where(known, said, target), target)[:, known[5:-5, 5:-5]]
    return -10 * error.log10().item(), windows.mean().item() if windows.numel() else None, (shown, difference)


def _scaled(images: Tensor, height: int, width: int) -> Tensor:
    """Images on another grid by the plain ratio of each side, antialiased."""
    if images.shape[2:] == (height, width):
        return images
    return interpolate(images, (height, width), mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)


def _size(text: str) -> tuple[int, int]:
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and 16 <= int(side) <= 8192 for side in sides):
        raise ValueError(f"--size is {text!r}, expected HEIGHTxWIDTH between 16 and 8192, for instance 192x320")
    return int(sides[0]), int(sides[1])


def _write(path: Path, picture: Tensor) -> None:
    """Write (3, H, W) in [0, 1] as PNG, to a temporary name first."""
    from PIL import Image

    pixels = (picture.permute(1, 2, 0) * 255).round().byte().numpy()
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        Image.fromarray(pixels).save(temporary, format="PNG")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
