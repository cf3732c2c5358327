"""Train the mini geometry network on rendered clips.

``python -m spatial_memory.training.geometry --clips DEMO_DIR SMALL_DIR --held-out DIR --minutes 14``

A sample is a frame of a clip and the depth that a memory of one to four other frames renders there, lifted at latent
resolution as a rollout does it. Part of what is rendered is then hidden (all of it, random shapes, or nothing) and what
stays gets noise. Loss: relative error of inverse depth, its gradients, a Laplace likelihood for the expected error, sky
and dynamic masks. AdamW with a cosine over the time budget, bfloat16 autocast; an exponential average of the weights is
what ships (fp16). It resumes from ``--checkpoint``.
"""

import argparse
import logging
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor
from torch.nn.functional import avg_pool2d, binary_cross_entropy_with_logits, interpolate

from ..memory.cloud import SpatialMemory
from ..memory.geometry import Geometry
from ..memory.lift import lift_latents
from ..memory.splat import render_depth
from ..models.mini_depth import WEIGHTS, DepthPrediction, MiniDepthNetwork, completed
from .checkpoint import load_training, save_training
from .clips import Clip, load_clip
from .record import log_line, ship

logger = logging.getLogger(__name__)
PEAK_RATE = 1e-3
AVERAGE = 0.998
CELL = 8  # pixels of a latent cell


@dataclass(frozen=True)
class Sample:
    """A frame and what a memory renders there."""

    image: Tensor  # (3, H, W) uint8
    depth: Tensor  # (H, W) float16 metres, 0 at sky
    rendered: Tensor  # (H, W) float16 metres, 0 where the memory shows nothing
    masks: Tensor  # (H, W) uint8, bit 0 dynamic, bit 1 sky
    K: Tensor  # (3, 3)
    unit: float  # metres: the median depth of the memory's first frame


def draw_sample(clip: Clip, generator: Generator) -> Sample | None:
    """A random frame of a clip, seen by a memory of one to four other frames; None where those show no depth."""
    count = 1 + _integer(generator, 4)
    frames = torch.randint(len(clip.images), (count + 1,), generator=generator)
    target, sources = int(frames[0]), frames[1:]
    known = clip.depth[sources] > 0
    keep = known & ~clip.dynamic[sources]
    if keep[0].float().mean() < 0.1:
        return None
    unit = float(clip.depth[sources[0]][keep[0]].median())
    h, w = (side // CELL for side in clip.depth.shape[1:])
    geometry = Geometry(clip.depth[sources], known.float(), keep, clip.cameras[sources], True, unit)
    observations = lift_latents(torch.zeros(1, count, h, w), geometry, sources.tolist(), 0)
    memory = SpatialMemory("latent", "", 1, unit, True, observations)
    rendered, _ = render_depth(memory, clip.cameras[target : target + 1])
    masks = clip.dynamic[target].to(torch.uint8) | (clip.sky[target].to(torch.uint8) << 1)
    half = [d.clamp(max=6e4).half() for d in (clip.depth[target], rendered[0])]
    return Sample(clip.images[target], *half, masks, clip.cameras.K[target], unit)


def draw_batch(samples: list[Sample], count: int, generator: Generator) -> dict[str, Tensor]:
    """Random samples of one grid, in units of 1 / scene_unit, what is rendered partly hidden and spoiled."""
    rows = []
    for _ in range(count):
        s = samples[_integer(generator, len(samples))]
        depth, rendered = s.depth.float(), s.rendered.float()
        sky, dynamic = (s.masks & 2) > 0, (s.masks & 1) > 0
        choice = float(torch.rand((), generator=generator))
        shown = (rendered > 0) & (_shapes(rendered.shape, generator) if choice < 0.45 else torch.tensor(choice < 0.75))
        truth = torch.where(sky, 0.0, 1.0 / depth.clamp(min=1e-3))
        if shown.any():
            unit = s.unit * math.exp(0.2 * float(torch.randn((), generator=generator)))
        else:
            unit = 1.0 / float(truth[truth > 0].median()) if (truth > 0).any() else s.unit
        noise = _smooth(rendered.shape, generator) * 0.04 * float(torch.rand((), generator=generator))
        given = torch.where(shown, unit / rendered.clamp(min=1e-3), 0.0) * (1.0 + noise)
        gain = torch.exp(0.12 * torch.randn(3, 1, 1, generator=generator) + 0.1 * torch.randn((), generator=generator))
        image, K = (s.image.float() / 255.0 * gain).clamp(0, 1), s.K.clone()
        blur = (1, 1, 2, 4)[_integer(generator, 4)]  # a generated video is softer than a rendered one
        if blur > 1:
            soft = interpolate(avg_pool2d(image[None], blur), image.shape[1:], mode="bilinear", align_corners=False)
            image = soft[0]
        row = [image, given, shown.float(), truth * unit, sky.float(), dynamic.float()]
        if _integer(generator, 2):
            row = [tensor.flip(-1) for tensor in row]
            K[0, 2] = s.image.shape[-1] - K[0, 2]
        rows.append([*row, K])
    names = ("images", "given", "known", "truth", "sky", "dynamic", "K")
    return dict(zip(names, (torch.stack(column) for column in zip(*rows))))


def _shapes(size: torch.Size, generator: Generator) -> Tensor:
    """A mask (H, W) of a half-plane or of blobs, some 15 to 85 % of it True."""
    level = -1.0 + 2.0 * float(torch.rand((), generator=generator))
    if _integer(generator, 2):
        angle = 6.3 * float(torch.rand((), generator=generator))
        y, x = torch.meshgrid(torch.linspace(-1, 1, size[0]), torch.linspace(-1, 1, size[1]), indexing="ij")
        return math.cos(angle) * x + math.sin(angle) * y > 0.7 * level
    return _smooth(size, generator) > level


def _smooth(size: torch.Size, generator: Generator) -> Tensor:
    """Smooth noise (H, W) of about unit deviation, of a random scale."""
    cells = 2 + _integer(generator, 6)
    coarse = torch.randn(1, 1, cells, cells, generator=generator)
    return interpolate(coarse, tuple(size), mode="bicubic", align_corners=True)[0, 0] * 1.4


def loss_of(prediction: DepthPrediction, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The loss, and the mean relative error of inverse depth off the sky."""
    truth, ground = batch["truth"], 1.0 - batch["sky"]
    area = ground.sum().clamp(min=1.0)
    off = prediction.inverse_depth - truth
    # relative alone would favour too far (at most 100 % off), the logarithm alone the horizon
    ratio = ((prediction.inverse_depth + 0.02) / (truth + 0.02)).log().abs()
    relative = 0.5 * off.abs() / (truth + 0.05) + 0.5 * ratio
    error = (relative * ground).sum() / area
    capped = relative.detach().clamp(max=1.0)
    likelihood = capped / prediction.relative_error + prediction.relative_error.log()
    edges = sum((off.diff(dim=d) * ground.narrow(d, 1, ground.shape[d] - 1)).abs().mean() for d in (-1, -2))
    masks = binary_cross_entropy_with_logits(prediction.sky, batch["sky"])
    masks = masks + 0.3 * binary_cross_entropy_with_logits(prediction.dynamic, batch["dynamic"])
    black = (prediction.inverse_depth * batch["sky"]).mean()
    loss = error + edges + 0.02 * (likelihood * ground).sum() / area + 0.3 * masks + 0.2 * black
    return loss, error.detach()


def held_out_scores(network: MiniDepthNetwork, samples: list[Sample]) -> dict[str, float]:
    """Relative errors of depth on held-out samples, and the overlap of sky masks.

    One side of the picture is shown: ``shown`` is the error there, ``hidden`` on the other side, ``hidden_fill`` what a
    plain completion without the network makes of it. ``monocular``: nothing is shown, scaled by the median. ``mean``
    is over pixels, then samples (a few pixels at the horizon rule it), ``median`` over pixels, its mean over samples.
    """
    errors: dict[str, list[Tensor]] = {"shown": [], "hidden": [], "hidden_fill": [], "monocular": []}
    overlap = union = 0.0
    for number, s in enumerate(samples):
        depth, rendered, sky = s.depth.float()[None], s.rendered.float()[None], ((s.masks & 2) > 0)[None]
        image, K, ground = s.image.float()[None] / 255, s.K[None], ~sky
        side = torch.arange(depth.shape[-1]) < depth.shape[-1] // 2
        shown = (rendered > 0) & (side if number % 2 else ~side)
        hidden, still = ground & ~shown, ground & shown & ((s.masks & 1) == 0)
        if not still.any() or not hidden.any():
            continue
        given = s.unit / rendered.clamp(min=1e-3)
        with torch.no_grad():
            half = network(image, given, shown.float(), K)
            none = network(image, torch.zeros_like(depth), torch.zeros_like(depth), K)
        fill = completed(torch.where(shown, given, 1.0).clamp(0.02, 20.0)[:, None], shown.float()[:, None])[:, 0]
        guess = 1.0 / none.inverse_depth
        guess = guess * (depth[ground].median() / guess[ground].median())
        for name, estimate, where in (
            ("shown", s.unit / half.inverse_depth, still),
            ("hidden", s.unit / half.inverse_depth, hidden),
            ("hidden_fill", s.unit / fill, hidden),
            ("monocular", guess, ground),
        ):
            errors[name].append(((estimate - depth).abs() / depth)[where])
        overlap += float(((half.sky > 0) & sky).sum())
        union += float(((half.sky > 0) | sky).sum())
    scores = {}
    for name, lists in errors.items():
        scores[f"mean_{name}"] = round(sum(float(e.mean()) for e in lists) / max(1, len(lists)), 4)
        scores[f"median_{name}"] = round(sum(float(e.median()) for e in lists) / max(1, len(lists)), 4)
    return scores | {"sky_iou": round(overlap / max(1.0, union), 4)}


def train(options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    network = MiniDepthNetwork().to(memory_format=torch.channels_last)
    average = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=1e-3)
    step, minutes = load_training(options.checkpoint, network, average, optimizer)
    generator = Generator().manual_seed(options.seed + step)
    folders = [sorted(folder.glob("*.safetensors"))[: options.limit] for folder in options.clips]
    test = _samples(sorted(options.held_out.glob("*.safetensors")), 5, Generator().manual_seed(11))
    begin = time.monotonic()
    pools = [_samples(paths, options.per_clip, generator) for paths in folders]
    logger.info("%s samples, prepared in %.0f s", [len(pool) for pool in pools], time.monotonic() - begin)
    begin, spent, saved = time.monotonic(), minutes, minutes
    while spent < options.minutes:
        rate = PEAK_RATE * min(1.0, (step + 1) / 200)
        optimizer.param_groups[0]["lr"] = rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * spent / options.minutes)))
        pool = pools[step % len(pools)]
        batch = draw_batch(pool, max(4, round(8 * 192 * 320 / pool[0].depth.numel() / 2)), generator)
        with torch.autocast("cpu", torch.bfloat16):
            prediction = network(batch["images"], batch["given"], batch["known"], batch["K"])
        loss, error = loss_of(prediction, batch)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
        keep = min(AVERAGE, (step + 1) / (step + 10))
        for name, tensor in network.state_dict().items():
            average[name].lerp_(tensor, 1 - keep)
        spent = minutes + (time.monotonic() - begin) / 60
        if step % 50 == 0:
            log_line(
                options.log, step=step, minutes=spent, loss=float(loss.detach()), error=float(error), norm=float(norm)
            )
        if spent - saved > 4 or spent >= options.minutes:
            saved = spent
            save_training(options.checkpoint, network, average, optimizer, step, spent)
            shipped = MiniDepthNetwork(**network.config)
            shipped.load_state_dict(average)
            scores = held_out_scores(shipped, test)
            log_line(options.log, step=step, minutes=spent, held_out=scores)
            account = {
                "command": f"python -m spatial_memory.training.geometry --minutes {options.minutes:g}",
                "seed": options.seed,
                "steps": step,
                "minutes": round(spent, 1),
                "held_out_relative_errors_at_192x320": scores,
            }
            ship(shipped, shipped.config, options.out, account)


def _samples(paths: list[Path], per_clip: int, generator: Generator) -> list[Sample]:
    drawn = []
    for path in paths:
        clip = load_clip(path)
        drawn += [sample for _ in range(per_clip) if (sample := draw_sample(clip, generator)) is not None]
    return drawn


def _integer(generator: Generator, high: int) -> int:
    return int(torch.randint(high, (), generator=generator))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m spatial_memory.training.geometry",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    folders = [Path("runs/clips/demo"), Path("runs/clips/small")]
    parser.add_argument("--clips", type=Path, nargs="+", default=folders, help="folders of rendered clips to train on")
    parser.add_argument(
        "--held-out", type=Path, default=Path("runs/clips/held_out"), help="clips of the held-out split, 192 x 320"
    )
    parser.add_argument("--minutes", type=float, default=26.0, help="time budget; the cosine ends there")
    parser.add_argument("--limit", type=int, default=400, help="how many clips of each folder to use")
    parser.add_argument("--per-clip", type=int, default=4, help="samples of each clip")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/geometry"), help="folder of the resumable state")
    parser.add_argument("--log", type=Path, default=Path("runs/geometry.jsonl"), help="JSON lines")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    train(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
