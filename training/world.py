"""Train the mini world model: flow matching on encoded clips, backbone and control branch together.

``python -m spatial_memory.training.world --latents SMALL_DIR DEMO_DIR --minutes 75`` (resumes from ``--checkpoint``);
on a GPU with ``--device cuda --processes 15 --tokens 22000 --uses 3``.

The folders are named from the smallest token grid to the largest (4 x 6 for 64 x 96 pixels, 12 x 20 for 192 x 320):
the first ``--alone`` batches come from the first folder, where a step is cheap and local rules are learned; then they
alternate, so that the network knows every grid: rotary positions that were never seen do not work. Loss: squared error
of the posterior residual (``models/prior.py``) on the latents that are not history, sigma uniform and shifted by 3.
AdamW, cosine to zero over the time budget, bfloat16 where the device has it; an exponential average of the weights is
what ships (fp16). A step's windows and noise follow from seed and step, whatever the number of processes.
"""

import argparse
import json
import math
import sys
import time
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from ..models.transformer import SpatialTransformer
from ..models.world import MINI_FOLDER, MINI_TRANSFORMER, is_text, load_mini_world
from .batches import Clip, draw_batch, numbered_batch
from .checkpoint import load_training, save_training
from .feed import drawn, drawn_ahead, reused
from .flow import batch_loss, noise_of, validation_loss

TOKENS = 2200  # per step; a 64 x 96 window has 216 and up, one of 192 x 320 has 2,160 and up
ALONE = 2000  # batches that the first folder has for itself when training begins from nothing
VALIDATION_BATCHES = 16  # of each folder, of TOKENS tokens


def load_latents(folder: Path, held_back: int) -> tuple[list[Clip], list[Clip]]:
    """Encoded clips of a folder, in memory: those to train on, and the last ``held_back`` clips, unvaried."""
    from safetensors.torch import load_file

    paths = sorted(folder.glob("*_*.safetensors"))
    numbers = sorted({path.stem.split("_")[1] for path in paths})
    kept = set(numbers[-held_back:])
    training = [load_file(path) for path in paths if path.stem.split("_")[1] not in kept]
    return training, [load_file(folder / f"0_{number}.safetensors") for number in sorted(kept)]


def export(average: dict[str, Tensor], path: Path) -> None:
    """Write the weights that ship: fp16, the configuration in their metadata."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".partial")
    config = {**MINI_TRANSFORMER, "patch_size": list(MINI_TRANSFORMER["patch_size"])}
    save_file(
        {name: tensor.half().cpu().contiguous() for name, tensor in average.items() if not is_text(name)},
        temporary,
        {"config": json.dumps(config)},
    )
    temporary.replace(path)


def new_network(initial: Path | None, seed: int) -> SpatialTransformer:
    """The network to begin with: the weights of a file that ``export`` wrote, or random ones that believe the prior."""
    torch.manual_seed(seed)
    if initial is not None:
        return load_mini_world(initial).transformer.float().train()
    network = SpatialTransformer(**MINI_TRANSFORMER).train()
    torch.nn.init.zeros_(network.proj_out.weight)
    return network


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latents", type=Path, nargs="+", required=True, help="folders written by training.latents")
    parser.add_argument("--minutes", type=float, default=75, help="time budget over all resumed runs, export included")
    parser.add_argument("--rate", type=float, default=8e-4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/world"), help="folder to resume from and save to")
    parser.add_argument("--out", type=Path, default=MINI_FOLDER / "world.safetensors")
    parser.add_argument("--log", type=Path, help="JSON lines; default: log.jsonl in the checkpoint")
    parser.add_argument("--initial", type=Path, help="weights to begin with, as --out writes them; default: random")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--processes", type=int, default=0, help="processes that draw windows; 0: the trainer does")
    parser.add_argument("--tokens", type=int, default=TOKENS, help="of a step")
    parser.add_argument("--uses", type=int, default=1, help="steps that each drawn batch serves, with other noise")
    parser.add_argument(
        "--alone", type=int, help=f"batches from the first folder alone; default {ALONE}, with --initial 0"
    )
    parser.add_argument(
        "--validation", type=int, default=24, help="the last clips of each folder, held back with their variants"
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    begun = time.monotonic()
    args = arguments().parse_args(argv)
    device = torch.device(args.device)
    training, validation = zip(*(load_latents(folder, args.validation) for folder in args.latents))
    network = new_network(args.initial, args.seed)
    alone = args.alone if args.alone is not None else 0 if args.initial else ALONE
    make = partial(numbered_batch, training, alone, args.tokens, args.seed)

    average = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=args.rate, betas=(0.9, 0.98), weight_decay=0.01, fused=device.type == "cuda"
    )
    step, spent = load_training(args.checkpoint, network, average, optimizer)
    number = -(-step // args.uses)
    # before anything runs on the GPU: the processes are forked
    fresh = drawn_ahead(make, number, args.processes) if args.processes else drawn(make, number)
    held_out = [
        [draw_batch(clips, TOKENS, torch.Generator().manual_seed(index)) for index in range(VALIDATION_BATCHES)]
        for clips in validation
    ]
    network.to(device)
    average = {name: tensor.to(device) for name, tensor in average.items()}
    for moments in optimizer.state.values():
        moments |= {name: value.to(device) for name, value in moments.items()}
    held_out = [[batch.on(device) for batch in batches] for batches in held_out]
    state = network.state_dict()  # shares the weights
    batches = reused(fresh, args.uses, device, args.seed, step)

    log_path = args.log or args.checkpoint / "log.jsonl"
    for folder in (args.checkpoint, log_path.parent):
        folder.mkdir(parents=True, exist_ok=True)
    log = log_path.open("a")

    def note(**row) -> None:
        log.write(json.dumps(row) + "\n")
        log.flush()
        sys.stderr.write(f"{row}\n")

    def minutes() -> float:
        return spent + (time.monotonic() - begun) / 60

    def ship(seconds: float) -> list[float]:
        """Export, and tell the loss of what was exported, [] where fewer seconds than these are left for it."""
        export(average, args.out)
        scores = []
        if seconds <= (args.minutes - minutes()) * 60:
            current = {name: tensor.clone() for name, tensor in state.items()}
            network.load_state_dict(average)
            scores = [round(validation_loss(network, batches), 4) for batches in held_out]
            network.load_state_dict(current)
        account = {
            "parameters": sum(t.numel() for name, t in average.items() if not is_text(name)),
            "command": f"python -m spatial_memory.training.world --rate {args.rate:g} --minutes {args.minutes:.3g} "
            f"--tokens {args.tokens} --uses {args.uses}{' --initial world.safetensors' if args.initial else ''}",
            "seed": args.seed,
            "steps": step,
            "minutes": round(minutes(), 1),
            "clips": {folder.name: len(clips) for folder, clips in zip(args.latents, training)},
            "validation_loss": dict(zip((folder.name for folder in args.latents), scores)),
        }
        args.out.with_suffix(".json").write_text(json.dumps(account, indent=2) + "\n")
        note(step=step, minutes=round(minutes(), 2), validation=scores)
        return scores

    before = time.monotonic()
    ship(seconds=0)
    reserve = 2.0 + time.monotonic() - before  # seconds: the first time warms up too, the last one takes no longer
    losses: list[Tensor] = []
    saved = time.monotonic()
    for batch in batches:
        progress = min(1.0, minutes() / max(args.minutes - reserve / 60, 1e-9))
        if progress >= 1.0:
            break
        for group in optimizer.param_groups:
            group["lr"] = args.rate * min(1.0, (step + 1) / 200) * 0.5 * (1 + math.cos(math.pi * progress))
        loss = batch_loss(network, batch, noise_of(args.seed, step, device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        if math.isfinite(float(norm)):  # waits for the device: a step that overflowed teaches nothing
            optimizer.step()
        step += 1
        losses.append(loss.detach())
        decay = min(0.999, (1 + step) / (10 + step))
        with torch.no_grad():
            get_ema_multi_avg_fn(decay)(list(average.values()), [state[name] for name in average], step)
        if step % 100 == 0:
            mean = float(torch.stack(losses).mean())
            losses.clear()
            note(step=step, minutes=round(minutes(), 2), loss=round(mean, 4))
        if time.monotonic() - saved > 300:
            saved = time.monotonic()
            ship(reserve)
            save_training(args.checkpoint, network, average, optimizer, step, minutes())
    scores = ship(reserve - 2.0)
    save_training(args.checkpoint, network, average, optimizer, step, minutes())
    batches.close()
    fresh.close()
    sys.stdout.write(
        json.dumps({"steps": step, "minutes": round(minutes(), 1), "validation": scores, "out": str(args.out)}) + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
