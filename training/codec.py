"""Train the mini codec on rendered clips and moving photographs.

``python -m spatial_memory.training.codec --clips DEMO_DIR SMALL_DIR --held-out DIR --minutes 25``

L1 on the pixels, on their 2 x 2 and 4 x 4 means and on their gradients; a little noise on the latents, so that what a
world model gets slightly wrong decodes well; AdamW with a cosine over the time budget, bfloat16 autocast; what ships is
an exponential average of the weights (fp16). It resumes from ``--checkpoint``.
"""

import argparse
import logging
import math
import sys
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, interpolate

from ..models.mini_codec import WEIGHTS, MiniCodecNetwork
from .checkpoint import load_training, save_training
from .groups import clip_images, crops, moving_photographs, photograph_pyramid, psnr
from .record import log_line, ship

logger = logging.getLogger(__name__)
CROP = (96, 96)
BATCH = 24
PHOTOGRAPHS = 8  # of them photographs
NOISE = 0.05  # of a latent channel's deviation
AVERAGE = 0.998


def reconstruction_loss(decoded: Tensor, groups: Tensor) -> Tensor:
    """L1 at three scales and of the gradients. Both (B, 4, 3, H, W)."""
    error = (decoded - groups).flatten(0, 1)
    loss = error.abs().mean() + 0.5 * error.square().mean().sqrt()
    for _ in range(2):
        error_x, error_y = error[..., 1:] - error[..., :-1], error[..., 1:, :] - error[..., :-1, :]
        loss = loss + 0.1 * (error_x.abs().mean() + error_y.abs().mean())
        error = avg_pool2d(error, 2)
        loss = loss + 0.25 * error.abs().mean()
    return loss


def held_out_scores(network: MiniCodecNetwork, folder: Path, images: list[Path]) -> dict[str, float]:
    """Mean PSNR in dB: held-out worlds (moving groups, single frames), held-out photographs, files at 192 x 320."""

    def score(groups: Tensor) -> float:
        with torch.no_grad():
            parts = [psnr(network.decode_groups(network.encode_groups(part)), part) for part in groups.split(4)]
        return round(float(torch.cat(parts).mean()), 2)

    clips = clip_images(folder, 16)
    moving = torch.stack([clip[i : i + 4] for clip in clips for i in (1, 21)]).float() / 127.5 - 1.0
    still = torch.stack([clip[i].expand(4, -1, -1, -1) for clip in clips for i in (0, 30)]).float() / 127.5 - 1.0
    generator = torch.Generator().manual_seed(7)
    photographs = moving_photographs(photograph_pyramid("held_out"), (192, 320), 12, generator)
    scores = {"worlds_moving": score(moving), "worlds_still": score(still), "photographs": score(photographs)}
    for path in images:
        scores[path.stem] = score(image_file(path, 192, 320).expand(1, 4, -1, -1, -1))
    return scores


def image_file(path: Path, height: int, width: int) -> Tensor:
    """An image file, cropped to the aspect in its middle and resized: (1, 1, 3, height, width) in [-1, 1]."""
    from skimage.io import imread

    image = torch.from_numpy(imread(path)[..., :3].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1.0
    high = min(image.shape[-2], round(image.shape[-1] * height / width))
    wide = min(image.shape[-1], round(image.shape[-2] * width / height))
    top, left = (image.shape[-2] - high) // 2, (image.shape[-1] - wide) // 2
    part = image[..., top : top + high, left : left + wide]
    return interpolate(part, (height, width), mode="bilinear", antialias=True).clamp(-1, 1)[None]


def measured_statistics(network: MiniCodecNetwork, groups: Tensor) -> dict[str, Tensor]:
    """Mean and deviation per channel of the encoder's raw output, as buffers of the network."""
    with torch.no_grad():
        latents = torch.cat([network.encode_groups(part) for part in groups.split(16)])
    raw = latents * network.latent_std[:, None, None] + network.latent_mean[:, None, None]
    return {"latent_mean": raw.mean((0, 2, 3)), "latent_std": raw.std((0, 2, 3))}


def train(options: argparse.Namespace) -> None:
    torch.manual_seed(options.seed)
    network = MiniCodecNetwork().to(memory_format=torch.channels_last)
    average = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.rate, betas=(0.9, 0.98), weight_decay=1e-3)
    step, minutes = load_training(options.checkpoint, network, average, optimizer)
    generator = torch.Generator().manual_seed(options.seed + step)
    clips = [clip for folder in options.clips for clip in clip_images(folder, options.limit)]
    large = [clip for clip in clips if clip.shape[-2] >= CROP[0]]
    small = [clip for clip in clips if clip.shape[-2] < CROP[0]]
    levels = photograph_pyramid("train")
    logger.info("%d large clips, %d small clips, %d photograph levels", len(large), len(small), len(levels))
    begin, spent, saved = time.monotonic(), minutes, minutes
    while spent < options.minutes:
        part = spent / options.minutes
        rate = options.rate * min(1.0, (step + 1) / 200) * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part)))
        optimizer.param_groups[0]["lr"] = rate
        if small and step % 5 == 4:
            groups = crops(small, (64, 96), 2 * BATCH * 96 // 128, generator)
        else:
            groups = torch.cat(
                [
                    crops(large or small, CROP if large else (64, 96), BATCH - PHOTOGRAPHS, generator),
                    moving_photographs(levels, CROP if large else (64, 96), PHOTOGRAPHS, generator),
                ]
            )
        with torch.autocast("cpu", torch.bfloat16):
            latents = network.encode_groups(groups)
            spread = latents.detach().float().std((0, 2, 3), keepdim=True)
            noise = NOISE * spread * torch.randn(latents.shape, generator=generator)
            decoded = network.decode_groups(latents + noise)
        loss = reconstruction_loss(decoded, groups)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), 0.5)
        optimizer.step()
        step += 1
        keep = min(AVERAGE, (step + 1) / (step + 10))
        for name, tensor in network.state_dict().items():
            average[name].lerp_(tensor, 1 - keep)
        spent = minutes + (time.monotonic() - begin) / 60
        if step % 50 == 0:
            worlds = float(psnr(decoded.detach(), groups).mean())
            log_line(
                options.log,
                step=step,
                minutes=spent,
                loss=float(loss.detach()),
                psnr=worlds,
                rate=rate,
                norm=float(norm),
            )
        if spent - saved > 4 or spent >= options.minutes:
            saved = spent
            save_training(options.checkpoint, network, average, optimizer, step, spent)
            shipped = MiniCodecNetwork(**network.config)
            shipped.load_state_dict(average)
            sample = crops(large or small, CROP if large else (64, 96), 256, torch.Generator().manual_seed(3))
            shipped.load_state_dict(measured_statistics(shipped, sample), strict=False)
            scores = held_out_scores(shipped, options.held_out, options.image)
            log_line(options.log, step=step, minutes=spent, held_out=scores)
            options_of = f"--rate {options.rate:g} --minutes {options.minutes:g}"
            account = {
                "command": f"python -m spatial_memory.training.codec {options_of}",
                "seed": options.seed,
                "steps": step,
                "minutes": round(spent, 1),
                "held_out_psnr_db_at_192x320": scores,
            }
            ship(shipped, shipped.config, options.out, account)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m spatial_memory.training.codec",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    folders = [Path("runs/clips/demo"), Path("runs/clips/small")]
    parser.add_argument("--clips", type=Path, nargs="+", default=folders, help="folders of rendered clips to train on")
    parser.add_argument(
        "--held-out", type=Path, default=Path("runs/clips/held_out"), help="clips of the held-out split, 192 x 320"
    )
    parser.add_argument(
        "--image", type=Path, nargs="*", default=[], help="image files to report PSNR for, never trained on"
    )
    parser.add_argument("--minutes", type=float, default=25.0, help="time budget; the cosine ends there")
    parser.add_argument("--rate", type=float, default=8e-4, help="the highest learning rate")
    parser.add_argument("--limit", type=int, default=400, help="how many clips of each folder to hold in memory")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--checkpoint", type=Path, default=Path("runs/codec"), help="folder of the resumable state")
    parser.add_argument("--log", type=Path, default=Path("runs/codec.jsonl"), help="JSON lines")
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    train(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
