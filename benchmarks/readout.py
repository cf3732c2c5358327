"""Time of the latent readout: 9 views at 44 x 80 x 48, against a sort per view. One JSON object a line.

``readout_sorted`` is what a careful implementation without 64-bit keys does: transform, stable argsort by depth, keep
the first of each cell by a second stable sort, write each cell once. Same projection, threads and dtypes.

    python benchmarks/readout.py
"""

import argparse
import json
import sys
import time
from collections.abc import Callable

import torch
from spatial_memory.memory.camera import Cameras, intrinsics_from_fov, project_planar
from spatial_memory.memory.cloud import Observation, SpatialMemory
from spatial_memory.memory.splat import Readout, splat_nearest

HEIGHT, WIDTH, CHANNELS, VIEWS = 44, 80, 48, 9
LATENTS = (9, 72, 288)  # 31,680, 253,440 and 1,013,760 points


def arc(count: int) -> Cameras:
    """Cameras along an arc of a third of a metre that look ahead."""
    c2w = torch.eye(4).repeat(count, 1, 1)
    c2w[:, 0, 3] = torch.linspace(-0.3, 0.3, count)
    return Cameras(c2w, intrinsics_from_fov(50.0, HEIGHT, WIDTH).expand(count, 3, 3), HEIGHT, WIDTH)


def walked(latents: int) -> SpatialMemory:
    """A memory as a walk leaves it: every latent of every view lifted whole, nothing merged."""
    generator = torch.Generator().manual_seed(0)
    cameras, cells = arc(latents), HEIGHT * WIDTH
    rays = torch.randn(latents, cells, 2, generator=generator) * 0.4
    depth = 1 + 4 * torch.rand(latents, cells, generator=generator)
    points = torch.cat([rays * depth[..., None], depth[..., None]], 2) + cameras.position[:, None]
    features = torch.randn(latents, cells, CHANNELS, generator=generator).half()
    index = torch.arange(cells, dtype=torch.int32)
    made = [Observation(points[i], features[i], index, depth[i], cameras[i], 4 * i, i // 8) for i in range(latents)]
    return SpatialMemory("latent", "bench", CHANNELS, 1.0, True, tuple(made))


def readout_sorted(memory: SpatialMemory, cameras: Cameras) -> Readout:
    """The fair baseline: per view, sort the points inside by depth, then by cell, and write the first of each."""
    planar = memory.points.T.contiguous()
    h, w, count = cameras.height, cameras.width, len(cameras)
    features, depth = torch.zeros(count, h * w, memory.channels), torch.zeros(count, h * w)
    winner = torch.full((count, h * w), -1)
    for view in range(count):
        u, v, z = project_planar(planar, cameras[view])
        inside = (z > 0) & (z < torch.inf) & (u >= 0) & (u < w) & (v >= 0) & (v < h)
        index = inside.nonzero()[:, 0]
        cell = (v[index].floor() * w + u[index].floor()).long()
        order = torch.argsort(z[index], stable=True)
        order = order[torch.argsort(cell[order], stable=True)]
        cell, index = cell[order], index[order]
        first = torch.ones_like(cell, dtype=torch.bool)
        first[1:] = cell[1:] != cell[:-1]
        cell, index = cell[first], index[first]
        winner[view, cell], depth[view, cell] = index, z[index]
        features[view, cell] = memory.gather(index).float()
    known = (winner >= 0).float()
    features = features.view(count, h, w, -1).permute(0, 3, 1, 2).contiguous()
    return Readout(
        features, depth.view(-1, h, w), known.view(-1, h, w), winner.view(-1, h, w), torch.zeros(count, 2, h, w)
    )


def fastest(call: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of some calls, after one that warms up."""
    call()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        call()
        times.append(time.perf_counter() - begun)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cameras = arc(VIEWS)
    for latents in LATENTS:
        memory = walked(latents)
        ours, theirs = splat_nearest(memory, cameras), readout_sorted(memory, cameras)
        if not (torch.equal(ours.winner, theirs.winner) and torch.equal(ours.features, theirs.features)):
            raise SystemExit("the readout and its baseline disagree")
        seconds = fastest(lambda: splat_nearest(memory, cameras), args.repeats)  # noqa: B023
        baseline = fastest(lambda: readout_sorted(memory, cameras), args.repeats)  # noqa: B023
        row = {
            "bench": "readout",
            "points": memory.num_points,
            "views": VIEWS,
            "grid": [HEIGHT, WIDTH, CHANNELS],
            "threads": args.threads,
            "seconds": round(seconds, 5),
            "baseline_seconds": round(baseline, 5),
            "ratio": round(baseline / seconds, 2),
        }
        sys.stdout.write(json.dumps(row) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
