"""What a memory takes: bytes a point on disk and of indices, and latent against RGB after the same frames.

``bytes_per_point``: a nine-view chunk of 44 x 80 x 48 is lifted and saved, as ``bytes_fresh`` with the stamps that all
points share and as ``bytes`` after some of them were contradicted, so that each point has its own. ``index_bytes`` is
what a readout and the sights of the nine frames leave behind, ``index_bytes_targets`` with nine other cameras looked
from as well; ``copied_bytes`` what a memory holds twice once each of its observations has lost a point.

``latent_vs_rgb_bytes``: files of one 33-frame chunk at 704 x 1280, each as it really writes. ``ratio`` with every pixel
of every fourth frame, ``ratio_voxels`` after the voxel grid; bytes an RGB point leave out the header of its file.
``cache_ratio_5``: bytes that the two memories hold after five chunks, merged, where the paper's figure is
``paper_cache_ratio_5`` (124 and 2.25 MiB).

    python benchmarks/stored.py
"""

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch
from filmed import ROOMS, VIEWS, Film, empty, film, loop, room, written
from measure import say
from spatial_memory.memory.camera import Cameras
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.lift import lift_latents, lift_pixels
from spatial_memory.memory.memory_file import memory_to_tensors
from spatial_memory.memory.sight import SIGHTS, sight_bytes, visible_voxels
from spatial_memory.memory.splat import splat_centred
from spatial_memory.memory.store import save_tensors
from spatial_memory.rollout.retrieval import RETRIEVAL_VOXEL
from spatial_memory.rollout.start import RGB_VOXEL
from torch import Tensor

CHANNELS, STRIDE = 48, 16
CHUNKS = 5
PAPER = 124 / 2.25  # peak cache in MiB after five chunks, Spatia over Mirage (Mirage's figure of cache and time)


def file_bytes(memory: SpatialMemory) -> int:
    """Bytes of the memory's file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory.safetensors"
        tensors, record = memory_to_tensors(memory, "memory.")
        save_tensors(path, tensors, record)
        return path.stat().st_size


def lifted(shown: Film, codes: Tensor) -> SpatialMemory:
    """A latent memory of every cell of every view."""
    memory = empty("latent", len(codes), shown.geometry.scene_unit)
    return memory.insert(lift_latents(codes, shown.geometry, range(0, 4 * len(shown), 4), 0))


def contradicted(memory: SpatialMemory) -> SpatialMemory:
    """The same memory with every third point doubted in chunk 1 and every ninth of them retired in chunk 2."""
    stamped = []
    for o in memory.observations:
        third = torch.arange(len(o)) % 3 == 0
        stamped.append(o.marked("doubted", third, 1).marked("retired", torch.arange(len(o)) % 27 == 0, 2))
    return replace(memory, observations=tuple(stamped))


def bytes_per_point(shown: Film, codes: Tensor, targets: Cameras) -> dict[str, object]:
    """The row of ``bytes_per_point``. ``targets``: cameras (T,) of the next chunk, on the latent grid."""
    fresh = lifted(shown, codes)
    stamped = contradicted(fresh)
    cameras, voxel = shown.geometry.cameras.resized(*codes.shape[2:]), fresh.scene_unit * RETRIEVAL_VOXEL
    SIGHTS.forget()
    splat_centred(fresh, cameras)
    visible_voxels(fresh, cameras, voxel)
    index = fresh.index_bytes() + sight_bytes()
    visible_voxels(fresh, targets, voxel)
    copies = [copy for o, copy in zip(stamped.observations, stamped.living) if copy is not o]
    points = fresh.num_points
    return {
        "bytes": file_bytes(stamped) / points,
        "index_bytes": index / points,
        "bytes_fresh": file_bytes(fresh) / points,
        "index_bytes_targets": (fresh.index_bytes() + sight_bytes()) / points,
        "copied_bytes": sum(copy.get_ram_usage() for copy in copies) / points,
        "points": points,
        "channels": len(codes),
        "views": len(shown),
    }


def one_chunk(shown: Film, codes: Tensor) -> dict[str, object]:
    """Latent against RGB after one chunk, by their files."""
    geometry, frames = shown.geometry, range(0, 4 * len(shown), 4)
    latent, memories = lifted(shown, codes), []
    for voxel in (None, geometry.scene_unit * RGB_VOXEL):
        memory = empty("rgb", 3, geometry.scene_unit)
        memories.append(memory.insert(lift_pixels(shown.images, geometry, frames, 0, voxel)))
    latent_bytes, (whole, thinned) = file_bytes(latent), (file_bytes(memory) for memory in memories)
    return {
        "ratio": whole / latent_bytes,
        "ratio_voxels": thinned / latent_bytes,
        "latent_bytes_per_point": latent_bytes / latent.num_points,
        "rgb_bytes_per_point": memories[0].get_ram_usage() / memories[0].num_points,
        "latent_points": latent.num_points,
        "rgb_points": memories[0].num_points,
        "rgb_points_voxels": memories[1].num_points,
        "size": list(shown.images.shape[2:]),
    }


def chunks(shown: Film, codes: Tensor) -> dict[str, object]:
    """Bytes of both memories after chunks of eight views and one more in the first, written as a film writes them."""
    held = {}
    for kind in ("latent", "rgb"):
        memory, place = empty(kind, len(codes), shown.geometry.scene_unit), 0
        while place < len(shown):
            part = shown.part(slice(place, place + VIEWS + (place == 0)))
            memory = written(memory, part, codes[:, place : place + len(part)], 4 * place, place // VIEWS)
            place += len(part)
        held[kind] = memory.get_ram_usage()
    return {"cache_ratio_5": held["rgb"] / held["latent"], "cache_bytes_5": held, "paper_cache_ratio_5": PAPER}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(704, 1280), metavar=("H", "W"), help="in pixels")
    args = parser.parse_args()
    height, width = args.size
    world = room(ROOMS[0])
    count = 1 + CHUNKS * VIEWS
    shown = film(world, loop(world, 2 * count, height, width)[:count])
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(CHANNELS, count, height // STRIDE, width // STRIDE, generator=generator)
    first, some = shown.part(slice(0, VIEWS + 1)), codes[:, : VIEWS + 1]
    targets = shown.geometry.cameras[VIEWS : 2 * VIEWS + 1].resized(*codes.shape[2:])
    say("bytes_per_point", **bytes_per_point(first, some, targets))
    say("latent_vs_rgb_bytes", **one_chunk(first, some), **chunks(shown, codes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
