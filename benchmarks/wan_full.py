"""Wan2.2-TI2V-5B with a control branch on random weights: seconds a chunk by stage, memory at its peak, both kinds.

Random weights draw noise, but every tensor has its real shape, so the times are those of the real model. On a GPU the
full size (5.0 B and a branch of 15 blocks, 704 x 1280); without one, or with ``--small``, the same code on a network of
0.4 M parameters at 64 x 96. Geometry comes from a plane whose depth is known, so no depth network is in the times.
One JSON object a chunk, then one a kind of memory with the share of the time that is neither transformer nor VAE (nor
the plane, which stands where a depth network would).

    python benchmarks/wan_full.py
    python benchmarks/wan_full.py --kinds latent --chunks 2 --steps 4
"""

import argparse
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from accelerate import init_empty_weights
from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan
from spatial_memory.memory.camera import Cameras
from spatial_memory.memory.presets import out_and_back
from spatial_memory.memory.rendering import Rendering
from spatial_memory.memory.retrieve import References
from spatial_memory.models.backbone import Wrap
from spatial_memory.models.geometry import Estimate
from spatial_memory.models.layout import WAN_LAYOUTS
from spatial_memory.models.transformer import SpatialTransformer
from spatial_memory.models.wan_codec import WAN22_VAE, WanCodec
from spatial_memory.models.wan_memory import codec_activation, transformer_activation
from spatial_memory.models.wan_world import wan_world
from spatial_memory.models.world import WorldModel
from spatial_memory.rollout import chunk
from spatial_memory.rollout.control import Warp
from spatial_memory.rollout.plan import plan
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).resolve().parent))
from measure import say  # noqa: E402

LAYERS = {"mirage": list(range(0, 30, 2)), "spatia": list(range(0, 30, 4)), "mask": list(range(0, 30, 4))}
SMALL = dict(num_attention_heads=2, attention_head_dim=48, text_dim=32, freq_dim=32, ffn_dim=128, num_layers=4)
SMALL_VAE = dict(base_dim=16, decoder_base_dim=16, num_res_blocks=1)
TOKENS = 512  # of a prompt


def randomised(network: nn.Module, device: torch.device, dtype: torch.dtype) -> nn.Module:
    """Give a network that is on the meta device random weights: small ones, gains of 1, no bias. What diffusers keeps
    in float32 is float32."""
    exact = getattr(network, "_keep_in_fp32_modules", None) or ()
    generator = torch.Generator(device).manual_seed(0)
    for name, parameter in list(network.named_parameters()):
        kept = any(part in exact for part in name.split("."))
        value = torch.zeros(parameter.shape, dtype=torch.float32 if kept else dtype, device=device)
        if name.endswith(".bias"):
            pass
        elif parameter.ndim < 2 or "gamma" in name or "norm" in name:
            value.fill_(1.0)
        else:
            value.normal_(0.0, parameter[0].numel() ** -0.5, generator=generator)
        module = network.get_submodule(name.rpartition(".")[0])
        setattr(module, name.rpartition(".")[2], nn.Parameter(value, requires_grad=False))
    return network.eval()


@dataclass
class Clock:
    """Seconds spent in some calls, and the most memory that they took beside what was there.

    On a GPU a call is timed by events in the stream: nobody waits for it to end who would not without a clock.
    """

    device: torch.device
    seconds: dict[str, float] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    peak: int = 0  # bytes, everything counted
    _events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = field(default_factory=list)

    def clear(self) -> None:
        self.settle()
        self.seconds.clear()
        self.bytes.clear()
        self.peak = 0

    def settle(self) -> None:
        """Wait for the device, and count what its events say."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        for stage, begun, ended in self._events:
            self._add(stage, begun.elapsed_time(ended) / 1000)
        self._events.clear()

    def call(self, stage: str, function, *args, **keywords):
        if self.device.type != "cuda":
            begun = time.perf_counter()
            result = function(*args, **keywords)
            self._add(stage, time.perf_counter() - begun)
            return result
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        events = [torch.cuda.Event(enable_timing=True) for _ in range(2)]
        events[0].record()
        result = function(*args, **keywords)
        events[1].record()
        self._events.append((stage, *events))
        most = torch.cuda.max_memory_allocated(self.device)
        self.bytes[stage] = max(self.bytes.get(stage, 0), most - before)
        self.peak = max(self.peak, most)
        return result

    def _add(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


class TimedBackbone(Wrap):
    """A backbone whose calls are clocked."""

    def __init__(self, network: SpatialTransformer, clock: Clock) -> None:
        super().__init__(network)
        self.clock = clock

    def __call__(self, *args, **keywords) -> Tensor:
        return self.clock.call("transformer", self.network, *args, **keywords)


class TimedCodec:
    """A codec whose calls are clocked, the pieces of a stream one by one."""

    def __init__(self, codec: WanCodec, clock: Clock) -> None:
        self.codec, self.clock = codec, clock
        self.name, self.grid, self.independent = codec.name, codec.grid, codec.independent
        self.to_raw, self.from_raw = codec.to_raw, codec.from_raw

    def encode(self, images: Tensor) -> Tensor:
        return self.clock.call("vae", self.codec.encode, images)

    def decode(self, latents: Tensor) -> Tensor:
        return self.clock.call("vae", self.codec.decode, latents)

    def encode_frames(self, images: Tensor) -> Tensor:
        return self.clock.call("vae", self.codec.encode_frames, images)

    def encode_stream(self, clips: Iterable[Tensor]) -> Iterator[Tensor]:
        return self._pieces(self.codec.encode_stream(clips))

    def decode_stream(self, latents: Tensor, on_latent=None) -> Iterator[Tensor]:
        return self._pieces(self.codec.decode_stream(latents, on_latent))

    def _pieces(self, stream: Iterator[Tensor]) -> Iterator[Tensor]:
        end = object()
        while (piece := self.clock.call("vae", next, stream, end)) is not end:
            yield piece


@dataclass(frozen=True)
class TimedProvider:
    """A depth provider that is clocked: it stands where a depth network would."""

    provider: "Plane"
    clock: Clock
    name: str = "plane"

    def estimate(self, *args) -> Estimate:
        return self.clock.call("depth", self.provider.estimate, *args)


@dataclass(frozen=True)
class Plane:
    """The depth of the plane z + 0.2 x = 2 as any camera sees it."""

    name: str = "plane"

    def estimate(
        self, images: Tensor, cameras: Cameras, rendered: Rendering | None, scene_unit: float | None
    ) -> Estimate:
        normal = torch.tensor([0.2, 0.0, 1.0])
        turned = (cameras.c2w[:, :3, :3].transpose(1, 2) * normal).sum(-1)  # (V, 3) the normal in the camera's frame
        v = (torch.arange(cameras.height) + 0.5 - cameras.K[:, 1, 2, None]) / cameras.K[:, 1, 1, None]
        u = (torch.arange(cameras.width) + 0.5 - cameras.K[:, 0, 2, None]) / cameras.K[:, 0, 0, None]
        rise = (
            turned[:, 0, None, None] * u[:, None] + turned[:, 1, None, None] * v[..., None] + turned[:, 2, None, None]
        )
        depth = (2 - (cameras.c2w[:, :3, 3] * normal).sum(-1))[:, None, None] / rise
        return Estimate(depth, torch.ones_like(depth), torch.zeros(depth.shape, dtype=torch.bool), True)


def random_networks(layout: str, device: torch.device, small: bool) -> tuple[SpatialTransformer, AutoencoderKLWan]:
    """Transformer and VAE of the real size, or small ones, on random weights."""
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    config = dict(vace_layers=LAYERS[layout], vace_in_channels=WAN_LAYOUTS[layout].control_channels)
    if small:
        config = {**config, **SMALL, "vace_layers": [0, 2]}
    with init_empty_weights():
        network = SpatialTransformer(**config)
        vae = AutoencoderKLWan(**{**WAN22_VAE, **(SMALL_VAE if small else {})})
    return randomised(network, device, dtype), randomised(vae, device, dtype)


def timed_world(layout: str, device: torch.device, small: bool, clock: Clock) -> WorldModel:
    """A world of random networks whose calls are clocked."""
    network, vae = random_networks(layout, device, small)
    codec = TimedCodec(WanCodec(vae), clock)
    return wan_world(TimedBackbone(network, clock), codec, WAN_LAYOUTS[layout], network.config["text_dim"])


def expected(world: WorldModel, shown: Warp, found: References) -> dict[str, int]:
    """Bytes that the networks are thought to need beside their weights, as a user's preflight is told."""
    _, frames, h, w = shown.control.shape
    return {
        "transformer": transformer_activation(world.transformer.network.config, len(found), frames, h, w),
        "vae": codec_activation(world.codec.codec.vae.config, h, w),
    }


def roll(world: WorldModel, clock: Clock, kind: str, args: argparse.Namespace, height: int, width: int) -> None:
    """One film of ``args.chunks`` chunks out and back; one row a chunk, one for all."""
    layout, provider = world.layout, Plane()
    steps = replace(world.defaults, steps=args.steps or world.defaults.steps)
    frames = layout.first_frames + (args.chunks - 1) * (
        layout.chunk_frames - (layout.history_frames if layout.history == "overlap" else 1)
    )
    path = out_and_back(frames)
    image = torch.rand(1, 3, height // 16, width // 16, generator=torch.Generator().manual_seed(1))
    image = nn.functional.interpolate(image, (height, width), mode="bicubic").clamp(0, 1)
    cameras = path.bake(height, width)[:1]
    state = chunk.start(world, image, cameras, ("",), 0)
    state = chunk.init_memory(world, state, image, chunk.start_geometry(provider, image, cameras), kind)
    timed = TimedProvider(provider, clock)
    words = chunk.Text(*(torch.randn(TOKENS, world.text_channels) for _ in range(2)))
    rows, cuda = [], clock.device.type == "cuda"
    for part in plan(layout, frames):
        clock.clear()
        begun = time.perf_counter()
        state = chunk.aim(state, path.slice(part.start, part.stop))
        found = chunk.retrieve(world, state)
        shown = chunk.warp(world, state)
        state, images = chunk.denoise_chunk(world, state, shown, found, steps, text=words)
        state = chunk.update(world, state, images, chunk.chunk_geometry(timed, state, images, device=clock.device))
        clock.settle()
        total, networks = time.perf_counter() - begun, sum(clock.seconds.values())
        row = {
            "kind": kind,
            "chunk": part.index + 1,
            "seconds": total,
            **{f"{stage}_s": round(seconds, 3) for stage, seconds in clock.seconds.items()},
            "rest_s": total - networks,
            "stages": {stage: round(seconds, 3) for stage, seconds in state.records[-1]["seconds"].items()},
            "references": len(found),
            "coverage": state.records[-1]["coverage"],
            "points": state.records[-1]["points"],
            "memory_bytes": state.records[-1]["memory_bytes"],
            "peak_gib": clock.peak / 2**30 if cuda else None,
            "activation_gib": {stage: round(taken / 2**30, 3) for stage, taken in clock.bytes.items()},
            "expected_gib": {stage: round(taken / 2**30, 3) for stage, taken in expected(world, shown, found).items()},
        }
        rows.append(row)
        say("wan_full", **row)
    begun = time.perf_counter()
    film = {}
    if not args.no_film:
        pictures = sum(len(piece) for piece in world.codec.decode_stream(state.latents))
        film = {"film_frames": pictures, "film_decode_s": time.perf_counter() - begun}
    seconds = [row["seconds"] for row in rows]
    say(
        "wan_full",
        kind=kind,
        layout=layout.name,
        size=[height, width],
        steps=steps.steps,
        guidance=steps.guidance_scale,
        parameters=sum(p.numel() for p in world.transformer.parameters()),
        device=torch.cuda.get_device_name(clock.device) if cuda else "cpu",
        seconds_total=sum(seconds),
        rest_share=sum(row["rest_s"] for row in rows) / sum(seconds),
        last_over_second=seconds[-1] / seconds[1] if len(seconds) > 1 else None,
        **film,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=("latent", "rgb"), default=["latent", "rgb"])
    parser.add_argument("--layout", choices=sorted(WAN_LAYOUTS), default="mirage")
    parser.add_argument("--size", help="HEIGHTxWIDTH in pixels (default: 704x1280, small 64x96)")
    parser.add_argument("--chunks", type=int, default=6)
    parser.add_argument("--steps", type=int, default=0, help="0 = the layout's own")
    parser.add_argument("--no-film", action="store_true", help="do not decode the whole film at the end")
    parser.add_argument("--small", action="store_true", help="the small network, on a GPU too")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    small = args.small or device.type == "cpu"
    height, width = (int(side) for side in (args.size or ("64x96" if small else "704x1280")).split("x"))
    clock = Clock(device)
    world = timed_world(args.layout, device, small, clock)
    for kind in args.kinds:
        roll(world, clock, kind, args, height, width)
    return 0


if __name__ == "__main__":
    sys.exit(main())
