"""Train the mini world model: flow matching on encoded clips, backbone and control branch together.

``python -m spatial_memory.training.world --latents SMALL_DIR DEMO_DIR --minutes 75`` (resumes from ``--checkpoint``).

The folders are named from the smallest token grid to the largest (4 x 6 for 64 x 96 pixels, 12 x 20 for 192 x 320):
a share of the time goes to the first alone, where a step is cheap and local rules are learned; then steps alternate,
so that the network knows every grid: rotary positions that were never seen do not work. Loss: squared error of the
posterior residual (``models/prior.py``) on the latents that are not history, sigma uniform and shifted by 3. AdamW,
cosine to zero over the time budget, bfloat16 autocast, an exponential average of the weights is what ships (fp16).
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path

import torch
from torch import Tensor

from ..models.layout import MINI_LAYOUT
from ..models.prior import Evidence, memory_residual_target
from ..models.transformer import SpatialTransformer
from ..models.world import MINI_FOLDER, MINI_TRANSFORMER, is_text
from .checkpoint import load_training, save_training
from .windows import Window, draw_window, integer, perturbed_history, uniform

SHIFT = 3.0
PATCH = MINI_TRANSFORMER["patch_size"][1]
PURE_NOISE = 0.12  # of the windows are trained at sigma 1, where every sample begins
TOKENS = 2200  # per step; a 64 x 96 window has 216 and up, one of 192 x 320 has 2,160 and up
WARM_UP = 0.25  # share of the time that the first folder has for itself


def load_latents(folder: Path, held_back: int) -> tuple[list[dict[str, Tensor]], list[dict[str, Tensor]]]:
    """Encoded clips of a folder, in memory: those to train on, and the last ``held_back`` clips, unvaried."""
    from safetensors.torch import load_file

    paths = sorted(folder.glob("*_*.safetensors"))
    numbers = sorted({path.stem.split("_")[1] for path in paths})
    kept = set(numbers[-held_back:])
    training = [load_file(path) for path in paths if path.stem.split("_")[1] not in kept]
    return training, [load_file(folder / f"0_{number}.safetensors") for number in sorted(kept)]


def batch_loss(network: SpatialTransformer, windows: list[Window], generator: torch.Generator) -> Tensor:
    """Mean squared residual error over the target latents of windows that share history and reference counts."""
    history = windows[0].history
    x0 = torch.stack([w.x0 for w in windows])
    readout = torch.stack([w.readout for w in windows])
    known = torch.stack([w.known for w in windows])
    offset = torch.stack([w.offset for w in windows])
    references = torch.stack([w.references for w in windows])
    u = torch.rand(len(windows), generator=generator)
    sigma = (SHIFT * u / (1 + (SHIFT - 1) * u)).clamp(0.01, 1.0)
    sigma = torch.where(torch.rand(len(windows), generator=generator) < PURE_NOISE, 1.0, sigma)
    s = sigma[:, None, None, None, None]
    x = (1 - s) * x0 + s * torch.randn(x0.shape, generator=generator)
    target = memory_residual_target(x0, x, s, Evidence(readout, known, offset))
    x[:, :, :history] = torch.stack([perturbed_history(w, generator) for w in windows])
    count = references.shape[2]
    times = torch.zeros(len(windows), count + x.shape[2])
    times[:, count + history :] = sigma[:, None] * 1000
    control = torch.stack([MINI_LAYOUT.control(*parts) for parts in zip(readout, known, offset)])
    context = torch.zeros(len(windows), 0, MINI_TRANSFORMER["text_dim"])
    with torch.autocast("cpu", torch.bfloat16):
        output = network(torch.cat([references, x], dim=2), times, context, control, num_references=count)
    error = (output.float()[:, :, count + history :] - target[:, :, history:]) ** 2
    return error.mean()


def draw_batch(clips: list[dict[str, Tensor]], generator: torch.Generator) -> list[Window]:
    """Windows of one grid that fill a step's tokens, with common counts of history and references."""
    history = 1 if uniform(generator, 0, 1) < 0.35 else 3
    references = integer(generator, 0, 4)
    height, width = clips[0]["depth"].shape[-2:]
    tokens = (height // PATCH) * (width // PATCH) * (9 + references)
    size = max(1, min(12, round(TOKENS / tokens)))
    return [draw_window(clips[integer(generator, 0, len(clips))], history, references, generator) for _ in range(size)]


def validation_loss(network: SpatialTransformer, clips: list[dict[str, Tensor]], batches: int) -> float:
    """The loss on fixed windows, noise and timesteps of clips that are never trained on."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        return (
            sum(float(batch_loss(network, draw_batch(clips, generator), generator)) for _ in range(batches)) / batches
        )


def export(average: dict[str, Tensor], path: Path, account: dict) -> None:
    """Write the weights that ship (fp16, the configuration in their metadata) and what is known about them as JSON."""
    from safetensors.torch import save_file

    temporary = path.with_suffix(".partial")
    config = {**MINI_TRANSFORMER, "patch_size": list(MINI_TRANSFORMER["patch_size"])}
    save_file(
        {name: tensor.half().contiguous() for name, tensor in average.items() if not is_text(name)},
        temporary,
        {"config": json.dumps(config)},
    )
    temporary.replace(path)
    path.with_suffix(".json").write_text(json.dumps(account, indent=2) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", type=Path, nargs="+", required=True, help="folders written by training.latents")
    parser.add_argument("--minutes", type=float, default=75, help="time budget over all resumed runs")
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/world"), help="folder to resume from and save to")
    parser.add_argument("--out", type=Path, default=MINI_FOLDER / "world.safetensors")
    parser.add_argument(
        "--validation", type=int, default=24, help="the last clips of each folder, held back with their variants"
    )
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    network = SpatialTransformer(**MINI_TRANSFORMER).train()
    torch.nn.init.zeros_(network.proj_out.weight)  # begins by believing the prior
    average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=args.rate, betas=(0.9, 0.98), weight_decay=0.01)
    step, spent = load_training(args.checkpoint, network, average, optimizer)
    training, validation = zip(*(load_latents(folder, args.validation) for folder in args.latents))
    args.checkpoint.mkdir(parents=True, exist_ok=True)
    log = (args.checkpoint / "log.jsonl").open("a")
    begun, losses, saved = time.monotonic(), [], time.monotonic()
    while True:
        minutes = spent + (time.monotonic() - begun) / 60
        progress = min(1.0, minutes / args.minutes)
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1.0, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * progress))
        generator = torch.Generator().manual_seed(args.seed * 1_000_003 + step)
        folder = 0 if progress < WARM_UP else step % len(training)
        loss = batch_loss(network, draw_batch(training[folder], generator), generator)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
        losses.append(float(loss.detach()))
        decay = min(0.999, (1 + step) / (10 + step))
        with torch.no_grad():
            for name, tensor in network.state_dict().items():
                average[name].lerp_(tensor, 1 - decay)
        if step % 100 == 0:
            row = {"step": step, "minutes": round(minutes, 2), "loss": round(sum(losses) / len(losses), 4)}
            losses.clear()
            log.write(json.dumps(row) + "\n")
            log.flush()
            sys.stderr.write(f"{row}\n")
        if progress >= 1.0 or time.monotonic() - saved > 300:
            saved = time.monotonic()
            save_training(args.checkpoint, network, average, optimizer, step, minutes)
            current = {name: tensor.clone() for name, tensor in network.state_dict().items()}
            network.load_state_dict(average)
            scores = [round(validation_loss(network.eval(), clips, 12), 4) for clips in validation]
            network.load_state_dict(current)
            network.train()
            account = {
                "parameters": sum(t.numel() for name, t in average.items() if not is_text(name)),
                "command": f"python -m spatial_memory.training.world --rate {args.rate:g} --minutes {args.minutes:g}",
                "seed": args.seed,
                "steps": step,
                "minutes": round(minutes, 1),
                "validation_loss": dict(zip((folder.name for folder in args.latents), scores)),
            }
            export(average, args.out, account)
            log.write(json.dumps({"step": step, "minutes": round(minutes, 2), "validation": scores}) + "\n")
            log.flush()
            sys.stderr.write(f"step {step} validation {scores}\n")
        if progress >= 1.0:
            break
    sys.stdout.write(
        json.dumps({"steps": step, "minutes": round(minutes, 1), "validation": scores, "out": str(args.out)}) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
