"""Readout of real RGB-D sequences: lift frame A, read at frame B, compare with B's own colours and latents.

Ours against the released rules (``released.py``), over the same pairs. ``ours`` and ``released_rules`` are errors: the
mean squared difference from B over the cells or pixels that both know, over the variance of B's own. Each side's holes
are its own. Three kinds: ``cell`` is the mean colour of cells of 16 pixels, the latent grid of Wan2.2, for which the
released rules were written: it shows where things fall. ``latent`` is the mini codec's latents, which say next to
nothing half a cell off, whoever reads them. ``rgb`` is pixels at half the sequence's size, compared as they are handed
on, over black (``ours_divided``, ``released_divided``: divided by their coverage first), against Spatia's rules.

    python benchmarks/rgbd.py --data FOLDER
"""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from measure import say
from released import plain_depth, read_latents, read_pixels
from spatial_memory.headless.sequence import Sequence, load_sequence
from spatial_memory.memory.camera import Cameras
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.geometry import Geometry, start_unit
from spatial_memory.memory.lift import lift_latents, lift_pixels, resample_depth
from spatial_memory.memory.merge import merge
from spatial_memory.memory.splat import read
from spatial_memory.models.codec import MiniCodec, signed
from spatial_memory.models.mini_codec import load_mini_codec
from spatial_memory.rollout.start import RGB_VOXEL
from torch import Tensor
from torch.nn.functional import interpolate

ROOT = Path(__file__).resolve().parent.parent
BUNDLED = ROOT / "tests" / "data"
GAPS = (1, 3, 8)  # places in the list of frames
STARTS = 3  # pairs a gap and direction
CELL = 16  # pixels a side of a latent cell of Wan2.2
COVERED = 0.5  # coverage from which a pixel is known

Said = tuple[Tensor, Tensor]  # what is read (C, H, W), and how far it is known (H, W)


def sequences(folder: Path) -> list[Path]:
    """The posed RGB-D sequences in a folder, by name."""
    return sorted(p.parent for p in folder.glob("*/frames.json") if (p.parent / "depth").is_dir())


def pairs(count: int) -> list[tuple[int, int]]:
    """Which frames are lifted and which are looked from: a few of each gap, forward and back."""
    found = []
    for gap in (gap for gap in GAPS if gap < count):
        last = count - 1 - gap
        for start in sorted({round(last * i / (STARTS - 1)) for i in range(STARTS)}):
            found += [(start, start + gap), (start + gap, start)]
    return found


def latents_read(seen: Sequence, codes: Tensor, a: int, b: int) -> tuple[Said, Said]:
    """The latents of frame ``a`` at the camera of ``b``: ours, released."""
    h, w = codes.shape[2:]
    geometry = _geometry(seen.depth[a : a + 1], seen.cameras[a : a + 1])
    memory = SpatialMemory("latent", "mini", len(codes), geometry.scene_unit, True)
    memory, _ = merge(memory, lift_latents(codes[:, a : a + 1], geometry, (0,), 0))
    ours = read(memory, seen.cameras[b : b + 1].resized(h, w))
    released = read_latents(codes[:, a], seen.depth[a], seen.cameras[a], seen.cameras[b])
    return (ours.features[0], ours.known[0]), (released[0], released[1].float())


def pixels_read(seen: Sequence, images: Tensor, a: int, b: int) -> tuple[Said, Said]:
    """The pixels of frame ``a`` at the camera of ``b``: ours, released."""
    height, width = images.shape[2:]
    cameras = seen.cameras.resized(height, width)
    depth, known = resample_depth(seen.depth[a : a + 1], seen.depth[a : a + 1] > 0, height, width, "bilinear")
    geometry = _geometry(torch.where(known, depth, 0.0), cameras[a : a + 1])
    memory = SpatialMemory("rgb", "", 3, geometry.scene_unit, True)
    memory, _ = merge(memory, lift_pixels(images[a : a + 1], geometry, (0,), 0, RGB_VOXEL * geometry.scene_unit))
    ours = read(memory, cameras[b : b + 1])
    released = read_pixels(images[a], plain_depth(seen.depth[a], height, width), cameras[a], cameras[b])
    return (ours.features[0], ours.known[0]), released


def compared(read_pairs: Iterator[tuple[Tensor, Said, Said]]) -> dict[str, object]:
    """Errors and holes over all pairs: of B's own, ours and the released rules'."""
    squared, divided, holes, variance, count, cells = [0.0, 0.0], [0.0, 0.0], [0.0, 0.0], 0.0, 0, 0
    for truth, *sides in read_pairs:
        both = (sides[0][1] >= COVERED) & (sides[1][1] >= COVERED)
        variance += truth.flatten(1).var(dim=1).mean().item() * int(both.sum())
        count += int(both.sum())
        cells += both.numel()
        for i, (said, known) in enumerate(sides):
            squared[i] += (said - truth)[:, both].double().square().mean(0).sum().item()
            divided[i] += (said / known.clamp(min=1e-3) - truth)[:, both].double().square().mean(0).sum().item()
            holes[i] += int((known < COVERED).sum())
    names = ("ours", "released")
    return {
        "ours": squared[0] / variance,
        "released_rules": squared[1] / variance,
        **{f"{name}_holes": hole / cells for name, hole in zip(names, holes)},
        **{f"{name}_divided": error / variance for name, error in zip(names, divided)},
        "both_known": count / cells,
    }


def rows(folder: Path, codec: MiniCodec) -> list[dict[str, object]]:
    """The three rows of a sequence: its cells, its latents and its pixels."""
    chosen = pairs(len(json.loads((folder / "frames.json").read_text(encoding="utf-8"))["frames"]))
    used = sorted({place for pair in chosen for place in pair})
    seen = load_sequence(folder, used)
    step = codec.grid.spatial * codec.grid.patch
    height, width = (side // step * step for side in seen.images.shape[2:])
    codes = codec.encode_frames(signed(_scaled(seen.images, height, width)))
    images = _scaled(seen.images, *(side // 2 for side in seen.images.shape[2:]))
    local = [(used.index(a), used.index(b)) for a, b in chosen]
    grid = [side // CELL for side in seen.images.shape[2:]]
    means = interpolate(seen.images, grid, mode="area").transpose(0, 1).contiguous()
    cells = compared((means[:, b], *latents_read(seen, means, a, b)) for a, b in local)
    latents = compared((codes[:, b], *latents_read(seen, codes, a, b)) for a, b in local)
    colours = compared((images[b], *pixels_read(seen, images, a, b)) for a, b in local)
    common = {"sequence": folder.name, "pairs": len(local)}
    kinds = {"cell": cells, "latent": latents, "rgb": colours}
    return [{**common, "kind": kind, **scores} for kind, scores in kinds.items()]


def _geometry(depth: Tensor, cameras: Cameras) -> Geometry:
    everything = torch.ones_like(depth)
    return Geometry(depth, everything, everything > 0, cameras, True, start_unit(depth[0]))


def _scaled(images: Tensor, height: int, width: int) -> Tensor:
    """Images on another grid by the plain ratio of each side, antialiased."""
    if images.shape[2:] == (height, width):
        return images
    return interpolate(images, (height, width), mode="bilinear", align_corners=False, antialias=True).clamp(0, 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = Path(os.environ.get("DATA") or ROOT.parent / "shared" / "data")
    parser.add_argument(
        "--data", type=Path, default=default, help="folder of sequences (default: $DATA, ../shared/data)"
    )
    args = parser.parse_args()
    found = sequences(args.data)
    if not found:
        sys.stderr.write(f"no posed RGB-D sequence in {args.data}: four bundled frames instead; give --data or DATA=\n")
        found = sequences(BUNDLED)
    codec = MiniCodec(load_mini_codec())
    for folder in found:
        for row in rows(folder, codec):
            say("rgbd_readout", **row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
