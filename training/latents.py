"""Encode rendered clips once: the latents, depths and cameras that world-model training samples from.

``python -m spatial_memory.training.latents --clips DIR --out DIR`` (resumable: what exists is skipped).

Each clip becomes one safetensors file. With n = 1 + (frames - 1) / 4 latent times:

    codes   (n, C, h, w)      f16  frame 4 i encoded alone
    stream  (n, C, h, w)      f16  the clip's own latents: what a rollout makes, remembers and refers to
    depth   (n, h, w)         f32  on the latent grid, 0 where unknown, dynamic or sky
    c2w, K  (n, 4, 4), (n, 3, 3)   of the latent grid
    rendered (9, C, h, w)  f16, rendered_known (9, h, w) f16, rendered_start () i64: for every RGB_EVERY-th clip, a
            window of 9 latents whose control is an encoded RGB render of a memory
"""

import argparse
import json
import os
import sys
from pathlib import Path

import torch
from torch import Tensor

from ..memory.camera import Cameras
from ..memory.cloud import SpatialMemory
from ..memory.geometry import Geometry
from ..memory.lift import lift_pixels, resample_depth
from ..memory.merge import merge
from ..memory.splat import splat_discs
from ..models.codec import MiniCodec, signed
from ..models.mini_codec import FRAMES, load_mini_codec
from ..rollout.control import rendered_control
from .clips import Clip, load_clip
from .crew import run_crew
from .precision import fast

RGB_EVERY = 5
WINDOW = 9


def device_of(codec: MiniCodec) -> torch.device:
    return next(codec.network.parameters()).device


def render_window(
    codec: MiniCodec, images: Tensor, cameras: Cameras, depth: Tensor, keep: Tensor, generator: torch.Generator
) -> dict[str, Tensor]:
    """The encoded RGB render of one window, from a memory of one to three frames. images (F, 3, H, W) in [0, 1]."""
    times = range(0, len(images), codec.grid.temporal)
    start = int(torch.randint(0, len(times) - WINDOW + 1, (1,), generator=generator))
    count = int(torch.randint(1, 4, (1,), generator=generator))
    sources = sorted(set(torch.randint(0, len(times), (count,), generator=generator).tolist()))
    remembered = torch.where(keep, depth, torch.zeros_like(depth))
    unit = float(remembered[remembered > 0].median())
    memory = SpatialMemory("rgb", "", 3, unit, True, ())
    for source in sources:
        view = slice(times[source], times[source] + 1)
        confidence = torch.ones_like(depth[view])
        geometry = Geometry(remembered[view], confidence, keep[view], cameras[view], True, unit)
        lifted = lift_pixels(images[view], geometry, [view.start], source, voxel=unit / 300)
        memory, _ = merge(memory, lifted)
    first = times[start]
    readout = splat_discs(memory, cameras[first : first + codec.grid.num_frames(WINDOW)])
    with fast(device_of(codec)):
        control, known = rendered_control(codec, readout)
    return {
        "rendered": control.transpose(0, 1).half(),
        "rendered_known": known.half(),
        "rendered_start": torch.tensor(start),
    }


def varied(clip: Clip, variant: int) -> Clip:
    """The clip itself (0), mirrored (1), backwards (2) or both (3), with its colour channels rotated by ``variant``."""
    images, c2w, K = clip.images.roll(variant, dims=1), clip.cameras.c2w, clip.cameras.K.clone()
    planes = [images, clip.depth, clip.dynamic, clip.sky]
    if variant & 1:
        planes = [plane.flip(-1) for plane in planes]
        mirror = torch.diag(torch.tensor([-1.0, 1.0, 1.0, 1.0]))
        c2w = mirror @ c2w @ mirror
        K[..., 0, 2] = clip.cameras.width - K[..., 0, 2]
    if variant & 2:
        planes = [plane.flip(0) for plane in planes]
        c2w, K = c2w.flip(0), K.flip(0)
    return Clip(*planes, Cameras(c2w.contiguous(), K, clip.cameras.height, clip.cameras.width))


def encode_clip(codec: MiniCodec, clip: Clip, seed: int, with_renders: bool) -> dict[str, Tensor]:
    """One clip to the tensors listed above, on the codec's device and back."""
    device = device_of(codec)
    frames = signed(clip.images.to(device).float() / 255)
    every = slice(None, None, codec.grid.temporal)
    with fast(device), torch.no_grad():  # all groups at once: the codec itself takes one at a time
        codes = codec.network.encode_groups(frames[every, None].expand(-1, FRAMES, -1, -1, -1))
        groups = codec.network.encode_groups(frames[1:].unflatten(0, (-1, FRAMES)))
    codes, stream = codes.cpu(), torch.cat([codes[:1], groups]).cpu()  # (n, C, h, w)
    keep = ~(clip.dynamic | clip.sky) & (clip.depth > 0)
    height, width = stream.shape[-2:]
    depth, known = resample_depth(clip.depth[every], keep[every], height, width, "bilinear")
    cameras = clip.cameras[every].resized(height, width)
    tensors = {
        "codes": codes.half(),
        "stream": stream.half(),
        "depth": torch.where(known, depth, torch.zeros_like(depth)),
        "c2w": cameras.c2w,
        "K": cameras.K,
    }
    if with_renders:
        generator = torch.Generator().manual_seed(seed)
        tensors |= render_window(codec, clip.images.float() / 255, clip.cameras, clip.depth, keep, generator)
    return {name: tensor.contiguous() for name, tensor in tensors.items()}


def save_latents(tensors: dict[str, Tensor], path: Path) -> None:
    """Write an encoded clip under a temporary name and rename it."""
    from safetensors.torch import save_file

    temporary = path.with_suffix(f".{os.getpid()}.partial")
    save_file(tensors, temporary)
    temporary.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, help="folder written by spatial_memory.training.clips")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variants", type=int, default=4, help="1 to 4: also mirrored, backwards, both; see varied()")
    parser.add_argument("--processes", type=int, default=1, help="processes that encode, each on one thread")
    parser.add_argument("--device", default="cpu", help="where the codec runs: cpu or cuda")
    parser.add_argument("--limit", type=int, default=0, help="stop after so many clips (0: all)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    paths = sorted(args.clips.glob("*.safetensors"))[: args.limit or None]
    jobs = [(path, variant) for variant in range(args.variants) for path in paths]

    def work(rank: int) -> None:
        codec = MiniCodec(load_mini_codec().to(args.device))
        for index, (path, variant) in enumerate(jobs):
            target = args.out / f"{variant}_{path.name}"
            if target.exists() or index % args.processes != rank:
                continue
            save_latents(encode_clip(codec, varied(load_clip(path), variant), index, index % RGB_EVERY == 0), target)
            sys.stderr.write(f"\r{index + 1}/{len(jobs)} clips encoded")

    run_crew(work, args.processes)
    sys.stderr.write("\n")
    sys.stdout.write(json.dumps({"clips": len(jobs), "out": str(args.out)}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
