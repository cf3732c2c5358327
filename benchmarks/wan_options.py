"""What each option of *Tune World Model* costs and gives on Wan2.2-TI2V-5B with a control branch, on random weights.

One forward of a chunk with four references, and a clip's latents through the VAE, each by every option: seconds,
gigabytes beside the weights that stay on the device, and how far off from the plain way the result is (root mean
square, over the plain one's deviation). The full size on a GPU; without one, or with ``--small``, a small network.
One JSON object an option.

    python benchmarks/wan_options.py
    python benchmarks/wan_options.py --without compile
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from spatial_memory.models.attending import KERNELS
from spatial_memory.models.layout import WAN_LAYOUTS
from spatial_memory.models.tuning import with_blocks_in_turn, with_compiled_blocks, with_kernel, with_tiles
from spatial_memory.models.wan_codec import WanCodec
from spatial_memory.models.wan_world import wan_world
from spatial_memory.models.world import WorldModel
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))
from measure import say  # noqa: E402
from wan_full import TOKENS, random_networks  # noqa: E402

REFERENCES, FRAMES = 4, 9 + 2  # a chunk's latents and the two before it
Change = Callable[[WorldModel], WorldModel]


@dataclass(frozen=True)
class Found:
    """What a call gave and took."""

    result: Tensor
    seconds: float
    first_seconds: float  # of the call that warms up
    gib: float | None  # at its peak, beside what lay there before; None without a GPU


def taken(call: Callable[[], Tensor], device: torch.device, repeats: int) -> Found:
    """The result of a call, its fastest time and its peak of memory."""
    cuda = device.type == "cuda"
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    times = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        result = call().float().cpu()
        times.append(time.perf_counter() - begun)
    gib = (torch.cuda.max_memory_allocated(device) - before) / 2**30 if cuda else None
    return Found(result, min(times[1:]), times[0], gib)


def off(found: Tensor, plain: Tensor) -> float:
    """Root mean square of the difference over the deviation of the plain result."""
    return float((found - plain).square().mean().sqrt() / plain.std())


def compare(
    kind: str, world: WorldModel, options: dict[str, Change], call: Callable, device: torch.device, repeats: int
) -> None:
    """One row an option, against the world as it is."""
    plain = taken(lambda: call(world), device, repeats)
    for name, change in {"plain": lambda given: given, **options}.items():
        try:
            tuned = change(world)
            found = plain if name == "plain" else taken(lambda: call(tuned), device, repeats)  # noqa: B023 (called at once)
        except (ValueError, RuntimeError) as refused:
            say("wan_options", of=kind, option=name, refused=str(refused).splitlines()[0][:160])
            continue
        say(
            "wan_options",
            of=kind,
            option=name,
            seconds=found.seconds,
            first_seconds=found.first_seconds,
            over_plain=found.seconds / plain.seconds,
            gib=found.gib,
            off=off(found.result, plain.result),
        )


def transformer_options(device: torch.device, without: list[str]) -> dict[str, Change]:
    """Those of the transformer by name; blocks in turn last, since they leave the weights on the CPU."""
    options: dict[str, Change] = {
        f"attention {kernel}": lambda world, kernel=kernel: with_kernel(world, kernel)
        for kernel in KERNELS
        if kernel != "native"
    }
    options["compile"] = with_compiled_blocks
    options["blocks in turn"] = lambda world: with_blocks_in_turn(world, device)
    return {name: change for name, change in options.items() if name.split()[-1] not in without}


@torch.inference_mode()
def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="the small network, on a GPU too")
    parser.add_argument("--of", nargs="+", choices=("vae", "transformer"), default=["vae", "transformer"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--without", nargs="*", default=[], help="options to leave out by their last word")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    small = args.small or device.type == "cpu"
    network, vae = random_networks("mirage", device, small)
    world = wan_world(network, WanCodec(vae), WAN_LAYOUTS["mirage"], network.config["text_dim"])
    h, w, tile, overlap = (20, 24, 16, 4) if small else (44, 80, 32, 8)
    generator = torch.Generator().manual_seed(0)

    def some(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    given = (some(1, 48, REFERENCES + FRAMES, h, w), some(1, REFERENCES + FRAMES).abs() * 300)
    given += (some(1, TOKENS, world.text_channels), some(1, world.layout.control_channels, FRAMES, h, w))
    latents = some(48, 3 if small else 9, h, w)

    def drawn(tuned: WorldModel) -> Tensor:
        return tuned.transformer(*given, num_references=REFERENCES)

    def shown(tuned: WorldModel) -> Tensor:
        return torch.cat(list(tuned.codec.decode_stream(latents)))

    if "vae" in args.of:
        compare("vae", world, {"tiles": lambda world: with_tiles(world, tile, overlap)}, shown, device, args.repeats)
    if "transformer" in args.of:
        compare("transformer", world, transformer_options(device, args.without), drawn, device, args.repeats)
    return 0


if __name__ == "__main__":
    sys.exit(main())
