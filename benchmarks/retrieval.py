"""Time of choosing references: 100 candidates x 9 target views, a million points. One JSON object a line.

The memory is a room that was walked around two and a half times, every view lifted whole and nothing merged, so that
views share surfaces.
``seconds`` is cold: nothing derived, nothing kept. ``warm_seconds`` is the same question asked again.

The baseline is the set-of-tuples way: for each view a Python set of the voxel triples of the points that it sees past
a z-test by cells, overlap by set operations, and the target sets made anew for every candidate, as the released code of
the latent paper does it. That takes minutes: the target sets are timed for one candidate and counted for all
(``baseline_sampled``), the rest is timed whole. Both ways must choose the same frames.

    python benchmarks/retrieval.py
"""

import argparse
import json
import math
import sys
import time

import torch
from spatial_memory.memory.camera import Cameras, intrinsics_from_fov, project_planar, unproject
from spatial_memory.memory.cloud import SpatialMemory
from spatial_memory.memory.observation import Observation
from spatial_memory.memory.retrieve import algorithm1, overlap_matrix
from spatial_memory.memory.sight import BEHIND, Sights

HEIGHT, WIDTH, CHANNELS = 44, 80, 48
LATENTS, CANDIDATES, TARGETS = 288, 100, 9
ROOM = (4.0, 1.5, 3.0)  # half of its sides, world units
NOISE = 0.01  # relative, of depth
SCENE_UNIT, VOXEL = 2.5, 2.5 / 30
K = 7


def walk(first: int, count: int) -> Cameras:
    """Steps of a walk around the room, 115 a lap, that looks to and fro."""
    angle = torch.arange(first, first + count) * (5 * math.pi / LATENTS)
    yaw = angle + 0.5 * torch.sin(3 * angle)
    c2w = torch.eye(4).repeat(count, 1, 1)
    c2w[:, 0, 0], c2w[:, 0, 2], c2w[:, 2, 0], c2w[:, 2, 2] = yaw.cos(), yaw.sin(), -yaw.sin(), yaw.cos()
    c2w[:, 0, 3], c2w[:, 2, 3] = torch.sin(2 * angle), torch.cos(angle)
    return Cameras(c2w, intrinsics_from_fov(50.0, HEIGHT, WIDTH).expand(count, 3, 3), HEIGHT, WIDTH)


def room_depth(cameras: Cameras) -> torch.Tensor:
    """z-depth (V, h, w) of the walls, the floor and the ceiling."""
    position, half = cameras.position[:, None, None], torch.tensor(ROOM)
    ray = unproject(torch.ones(len(cameras), HEIGHT, WIDTH), cameras) - position
    return torch.where(ray == 0, torch.inf, (half.copysign(ray) - position) / ray).amin(-1)


def walked() -> SpatialMemory:
    """288 views of the room, 3,520 points each."""
    generator = torch.Generator().manual_seed(0)
    cameras, index = walk(0, LATENTS), torch.arange(HEIGHT * WIDTH, dtype=torch.int32)
    depth = room_depth(cameras) * (1 + NOISE * torch.randn(LATENTS, HEIGHT, WIDTH, generator=generator))
    points = unproject(depth, cameras).flatten(1, 2)
    features = torch.randn(LATENTS, len(index), CHANNELS, generator=generator).half()
    made = [Observation(points[i], features[i], index, cameras[i], 4 * i, i // 8) for i in range(LATENTS)]
    return SpatialMemory("latent", "bench", CHANNELS, SCENE_UNIT, True, tuple(made))


def question() -> tuple[Cameras, Cameras]:
    """The next views of the walk, and the candidates: views of the past, evenly spread."""
    past = torch.linspace(0, LATENTS - 1, CANDIDATES).round().long()
    return walk(LATENTS, TARGETS), walk(0, LATENTS)[past]


def choose(memory: SpatialMemory, sights: Sights) -> list[int]:
    targets, candidates = question()
    seen = sights.visible(memory, candidates, VOXEL)
    return algorithm1(overlap_matrix(sights.visible(memory, targets, VOXEL)[::2], seen), K)


def triples(planar: torch.Tensor, camera: Cameras) -> set[tuple[float, ...]]:
    """The voxels of the points that a camera sees."""
    u, v, z = project_planar(planar, camera)
    inside = ((z > 0) & (u >= 0) & (u < WIDTH) & (v >= 0) & (v < HEIGHT)).nonzero()[:, 0]
    cell, z = (v[inside].floor() * WIDTH + u[inside].floor()).long(), z[inside]
    front = torch.full((HEIGHT * WIDTH,), torch.inf).scatter_reduce_(0, cell, z, "amin")
    shown = inside[z <= front[cell] * (1 + BEHIND)]
    return set(map(tuple, (planar[:, shown] / VOXEL).floor().T.tolist()))


def iou(a: set, b: set) -> float:
    return len(a & b) / max(1, len(a | b))


def baseline(planar: torch.Tensor) -> tuple[list[int], float]:
    """What the baseline chooses, and its seconds: those of the target sets count once a candidate."""
    targets, candidates = question()
    begun = time.perf_counter()
    wanted = [triples(planar, targets[t]) for t in range(TARGETS)]
    remade = time.perf_counter() - begun
    begun = time.perf_counter()
    seen = [triples(planar, candidates[i]) for i in range(CANDIDATES)]
    overlap = torch.tensor([[iou(a, b) for b in seen] for a in wanted])
    return algorithm1(overlap[::2], K), time.perf_counter() - begun + remade * CANDIDATES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cold, warm = [], []
    for _ in range(args.repeats):
        memory, sights = walked(), Sights()  # nothing derived
        begun = time.perf_counter()
        chosen = choose(memory, sights)
        cold.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        again = choose(memory, sights)
        warm.append(time.perf_counter() - begun)
    planar = memory.points.T.contiguous()
    expected, theirs = baseline(planar)
    if not chosen == again == expected:
        raise SystemExit(f"the ways disagree: {chosen}, {again}, {expected}")
    seconds = min(cold)
    row = {
        "bench": "retrieval",
        "seconds": round(seconds, 3),
        "ratio": round(theirs / seconds, 1),
        "cold_seconds": round(seconds, 3),
        "warm_seconds": round(min(warm), 3),
        "points": memory.num_points,
        "candidates": CANDIDATES,
        "targets": TARGETS,
        "chosen": chosen,
        "sight_bytes": sights.get_ram_usage(),
        "baseline_seconds": round(theirs, 1),
        "baseline": "Python sets of voxel tuples, target sets made anew for every candidate",
        "baseline_sampled": 1,
        "threads": args.threads,
    }
    sys.stdout.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
