"""What the camera path editor waits for: a preview of one frame, and the snapshot of the scene.

``editor_preview``: a latent memory of a million points read on its grid of 44 x 80 x 48, to the bit what conditions,
and an RGB memory of 200,000 points at 256 pixels. ``ms`` is the median of previews along an arc, the frame's camera,
the picture, the hole rate and the bytes included; ``ms_most`` the slowest. ``scene_snapshot``: all points of those
memories, ordered, coloured and as bytes; ``ms_again`` where the memory's name is known already.

    python benchmarks/editor.py
"""

import argparse
import statistics
import sys
import time

import torch
from clouds import CELLS, arc, frames, memory_of
from measure import say
from spatial_memory.memory.camera import Cameras, intrinsics_from_fov, unproject
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.observation import Observation
from spatial_memory.memory.presets import PRESETS
from spatial_memory.rollout.scene import scene_of
from spatial_memory.rollout.scene_file import scene_bytes
from spatial_memory.rollout.scene_film import film_of
from spatial_memory.rollout.scene_preview import conditioning_digest, frame_camera, preview

LATENTS = 288  # x 3520 = 1,013,760 points
HEIGHT, WIDTH, COLOURED = 704, 1280, 200_000
SIZE = 256  # pixels of the longer side, as the editor asks


def latent_memory() -> SpatialMemory:
    """A million latent points as frames leave them: each observation is one view along an arc."""
    generator = torch.Generator().manual_seed(0)
    cameras = arc(LATENTS)
    return memory_of(frames(cameras, generator), cameras, generator)


def rgb_memory() -> SpatialMemory:
    """200,000 coloured points of eight views of a wavy wall, on the pixels of the film."""
    generator, step = torch.Generator().manual_seed(0), 6
    made = []
    for view in range(8):
        c2w = torch.eye(4)
        c2w[0, 3] = 0.1 * view
        camera = Cameras(c2w, intrinsics_from_fov(50.0, HEIGHT, WIDTH), HEIGHT, WIDTH)
        u = torch.linspace(0, 40, WIDTH)
        points = unproject((3 + 0.3 * u.sin()).expand(HEIGHT, WIDTH), camera)[::step, ::step].reshape(-1, 3)
        points = points[: COLOURED // 8]
        colours = torch.randint(256, (len(points), 3), generator=generator, dtype=torch.uint8)
        cells = torch.arange(len(points), dtype=torch.int32)
        made.append(Observation(points, colours, cells, camera, 4 * view, 0, voxel=0.012))
    return SpatialMemory("rgb", "", 3, 3.0, True, tuple(made))


def previews(memory: SpatialMemory, count: int) -> dict[str, object]:
    """Milliseconds of previews of some frames of a path, the first one left out."""
    path, film = PRESETS["out_and_back"](81), film_of(memory)
    times, holes = [], []
    for place in range(count + 1):
        begun = time.perf_counter()
        frame = 80 * place // count
        shown = preview(memory, frame_camera(path, frame, film, memory.scene_unit), film, SIZE)
        pixels = (shown.picture * 255).round().to(torch.uint8).numpy().tobytes()
        conditioning_digest(shown.readout)
        holes.append(shown.hole)
        times.append(1000 * (time.perf_counter() - begun))
    assert pixels
    return {
        "kind": memory.kind,
        "points": memory.num_points,
        "size": list(shown.known.shape),
        "stage": shown.stage,
        "hole": statistics.mean(holes),
        "ms": statistics.median(times[1:]),
        "ms_most": max(times[1:]),
    }


def snapshot(memory: SpatialMemory) -> dict[str, object]:
    """Milliseconds of the scene and its bytes, the first time and again."""
    times = []
    for _ in range(3):
        begun = time.perf_counter()
        content = scene_bytes(scene_of(memory))
        times.append(1000 * (time.perf_counter() - begun))
    count = memory.num_points
    return {"kind": memory.kind, "points": count, "bytes": len(content), "ms": times[0], "ms_again": min(times[1:])}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=12)
    args = parser.parse_args()
    assert CELLS * LATENTS > 1_000_000
    for make in (latent_memory, rgb_memory):
        memory = make()
        say("editor_preview", **previews(memory, args.repeats))
        say("scene_snapshot", **snapshot(memory))
    return 0


if __name__ == "__main__":
    sys.exit(main())
