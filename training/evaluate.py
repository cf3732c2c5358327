"""Closed loops on held-out worlds: how much memory is worth, as a table.

``spatial-memory eval --size 64x96 --geometry exact`` renders each world's first frame, rolls out along an arc that
ends at its first pose, once with memory and once without (the same seed, history kept, memory and references off), and
prints one JSON object a world and one with the means.
"""

import argparse
import json
import sys
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from ..memory.camera import Cameras
from ..memory.formats import path_from_cameras
from ..memory.rendering import Rendering
from ..models.geometry import Estimate, GeometryProvider
from ..models.sampler import Sampling
from ..models.world import WorldModel
from ..rollout import loop
from ..rollout.chunk import decode_film, init_memory, start, start_geometry
from ..rollout.report import closed_loop_report
from .moves import out_and_back_path
from .render import render
from .scene import World
from .worlds import make_world

SCORES = ("psnr_return", "psnr_revisit", "ssim_return")


@dataclass(frozen=True)
class ExactGeometry:
    """The world's own depth at any camera. Sky and actors are unknown, so that they never enter the memory."""

    world: World
    name: str = "exact"

    def estimate(
        self,
        images: Tensor,
        cameras: Cameras,
        rendered: Rendering | None,
        scene_unit: float | None,
    ) -> Estimate:
        """Render the depth that an errorless estimator would give (see ``models/geometry.py``)."""
        view = render(self.world, cameras, torch.zeros(len(cameras), dtype=torch.float64))
        known = (view.depth > 0) & ~view.dynamic
        return Estimate(torch.where(known, view.depth, 0.0), known.float(), view.sky, True)


def evaluate_world(
    model: WorldModel,
    seed: int,
    height: int,
    width: int,
    num_frames: int,
    kind: str,
    sampling: Sampling,
    provider: GeometryProvider | None,
) -> dict[str, float]:
    """Scores of one held-out world, with and without memory. ``provider`` None: the world's exact depth."""
    world = make_world(seed, "held_out")
    generator = torch.Generator().manual_seed(seed)
    path = path_from_cameras(out_and_back_path(world, num_frames, generator, height, width), 16.0, "world")
    first = path.bake(height, width)[:1]
    view = render(world, first, torch.zeros(1, dtype=torch.float64))
    state = start(model, view.images, first, ("",), seed)
    exact = ExactGeometry(world)
    geometry = start_geometry(provider or exact, view.images, first, dynamic=view.dynamic.float())
    state = init_memory(model, state, view.images, geometry, kind)
    settings = loop.Settings(sampling)
    film = loop.run(model, state, path, settings, provider or exact)
    baseline = loop.run_baseline(model, state, path, sampling)
    report = closed_loop_report(film, decode_film(model, film), path, (baseline, decode_film(model, baseline)))
    return {name: report[name] for score in SCORES for name in (score, f"baseline_{score}")}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``spatial-memory eval``."""
    parser.add_argument("--worlds", type=int, default=10, help="how many held-out worlds")
    parser.add_argument("--size", default="64x96", help="HEIGHTxWIDTH in pixels")
    parser.add_argument("--frames", type=int, default=105, help="1 + 4 n frames; 105 are four chunks of the mini model")
    parser.add_argument("--geometry", choices=("exact", "mini"), default="exact")
    parser.add_argument("--kind", choices=("latent", "rgb"), default="latent")
    parser.add_argument("--steps", type=int, default=0, help="denoising steps a chunk; 0 = the world model's own")
    parser.add_argument("--guidance", type=float, default=1.0)
    parser.add_argument("--every", type=int, default=1, help="compute every so many steps, foretell the others")
    parser.add_argument("--first", type=int, default=2, help="steps at the start that are computed in any case")


def run(args: argparse.Namespace) -> int:
    """Print the table; exit status 0 when every world was done."""
    from ..models.forecast import Forecast
    from ..models.mini_geometry import MiniGeometry
    from ..models.tuning import with_forecast
    from ..models.world import load_mini_world

    height, width = (int(part) for part in args.size.split("x"))
    model = with_forecast(load_mini_world(), Forecast(args.every, args.first))
    own = model.defaults
    sampling = Sampling(own.sampler, args.steps or own.steps, args.guidance, own.shift)
    provider = MiniGeometry() if args.geometry == "mini" else None
    rows = []
    for seed in range(args.worlds):
        begun = time.monotonic()
        row = evaluate_world(model, seed, height, width, args.frames, args.kind, sampling, provider)
        rows.append(row)
        shown = {name: round(value, 2) for name, value in row.items()}
        sys.stdout.write(json.dumps({"world": seed, **shown, "seconds": round(time.monotonic() - begun, 1)}) + "\n")
        sys.stdout.flush()
    mean = {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}
    gains = {f"gain_{score}": mean[score] - mean[f"baseline_{score}"] for score in SCORES}
    better = {f"better_{score}": sum(row[score] > row[f"baseline_{score}"] for row in rows) for score in SCORES}
    summary = {name: round(value, 2) for name, value in {**mean, **gains}.items()}
    settings = {
        "size": args.size,
        "frames": args.frames,
        "geometry": args.geometry,
        "kind": args.kind,
        "steps": sampling.steps,
        "forwards": model.forecast.forwards(sampling.steps),
    }
    sys.stdout.write(json.dumps({"worlds": len(rows), **settings, **summary, **better}) + "\n")
    return 0
