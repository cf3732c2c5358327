"""What a film will cost, said before it is begun: chunks, forwards, seconds, device memory, disk; and what to do.

Times are the arithmetic of the networks over a rate that is measured on the spot, so they are rough: half to twice.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from ..memory.grid import LatentGrid
from ..models.backbone import layers
from ..models.blockwise import Blockwise
from ..models.sampler import Sampling
from ..models.tiled_codec import TiledCodec
from ..models.wan_memory import codec_activation, encoding_activation, transformer_activation
from ..models.world import WorldModel
from .plan import ChunkPlan

LATENT_POINT, COLOUR_POINT = 119, 20  # bytes of a stored point of each kind (docs/results.md)
REACHED = 0.5  # share of the rate of a plain matrix product that a whole forward reaches
SIDE = {"cuda": 4096, "cpu": 768}  # of the matrices that the rate is measured with


@dataclass(frozen=True)
class Cost:
    """What a film needs. Bytes are upper bounds; None where the networks do not say."""

    chunks: int
    forwards: int  # of the transformer, guidance counted
    flops: float
    weights: int  # bytes that lie on the device at once
    activation: int | None  # bytes beside the weights, the largest of all networks
    disk: int  # bytes of world files, if one is kept after each chunk
    forward: int | None = None  # bytes that one forward of the transformer needs, weights that must be there counted


def cost_of(
    world: WorldModel,
    chunks: tuple[ChunkPlan, ...],
    height: int,
    width: int,
    sampling: Sampling,
    kind: str,
    config: Mapping[str, Any] | None,
    codec_config: Mapping[str, Any] | None,
) -> Cost:
    """Count what the chunks of a film cost.

    Args:
        chunks: those that are still to be made.
        config: of the transformer, as diffusers writes it, whose weights are loaded whole or block by block; None where
            somebody else holds it, who loads in parts what does not fit.
        codec_config: of the VAE.
    """
    grid, layout = world.codec.grid, world.layout
    h, w = grid.cells(height, width)
    passes = (1 if sampling.guidance_scale == 1.0 else 2) * world.forecast.forwards(sampling.steps)
    weights, flops, activation, forward = _on_device(world), 0.0, None, None
    for chunk in chunks:
        behind = layout.history_frames // grid.temporal if layout.history == "preceding" and chunk.start else 0
        frames = grid.latent_frames(chunk.window_frames) + behind
        references = layout.max_references if chunk.start else 0
        if config is not None:
            flops += passes * forward_flops(config, references, frames, h, w)
            activation = max(activation or 0, transformer_activation(config, references, frames, h, w))
            forward = weights + activation
    if codec_config is not None:
        tile = world.codec.tile if isinstance(world.codec, TiledCodec) else max(h, w)
        decoding = codec_activation(codec_config, min(tile, h), min(tile, w))
        activation = max(activation or 0, decoding, encoding_activation(codec_config, h, w))
    return Cost(
        len(chunks),
        passes * len(chunks),
        flops,
        weights,
        activation,
        _world_files(grid, chunks, height, width, kind),
        forward,
    )


def forward_flops(config: Mapping[str, Any], references: int, frames: int, h: int, w: int) -> float:
    """Multiplications and additions of one forward: linear layers and self-attention of the stack and the branch."""
    _, patch_h, patch_w = config["patch_size"]
    cells = (h // patch_h) * (w // patch_w)
    width, feed = config["num_attention_heads"] * config["attention_head_dim"], config["ffn_dim"]
    total = 0.0
    for depth, tokens in ((config["num_layers"], references + frames), (len(config["vace_layers"]), frames)):
        n = tokens * cells
        linear = 2.0 * n * width * (6 * width + 2 * feed)  # q, k, v, o, and q, o of the cross-attention
        total += depth * (linear + 4.0 * n * n * width)
    return total


def rate_of(device: torch.device) -> float:
    """Operations a second of a matrix product here, in the dtype that the networks use there."""
    side = SIDE.get(device.type, SIDE["cpu"])
    dtype = torch.float32 if device.type == "cpu" else torch.bfloat16
    a = torch.ones(side, side, device=device, dtype=dtype)
    best = float("inf")
    for _ in range(3):
        begun = time.perf_counter()
        float((a @ a)[0, 0])  # waits for the device
        best = min(best, time.perf_counter() - begun)
    return 2.0 * side**3 / best


def _on_device(world: WorldModel) -> int:
    """Bytes of weights that lie on the device at once: all of them, unless blocks come in turn."""
    in_turn = [layer.device_bytes() for layer in layers(world.transformer) if isinstance(layer, Blockwise)]
    return in_turn[0] if in_turn else world.get_ram_usage()


def _world_files(grid: LatentGrid, chunks: tuple[ChunkPlan, ...], height: int, width: int, kind: str) -> int:
    h, w = grid.cells(height, width)
    total = 0
    for chunk in chunks:
        latents = grid.latent_frames(chunk.stop)
        points = latents * (h * w * LATENT_POINT if kind == "latent" else height * width * COLOUR_POINT)
        total += 2 * latents * grid.channels * h * w * 4 + points  # the film, its codes, its memory
    return total


def sentences(cost: Cost, seconds: float | None, device_bytes: int | None, disk_bytes: int | None) -> list[str]:
    """The cost for a person, a line each."""
    lines = [f"{cost.chunks} chunks, {cost.forwards} forwards of the network"]
    if seconds is not None:
        lines.append(f"about {_spoken(seconds)} on this device for the network alone (half to twice)")
    needed = cost.weights + (cost.activation or 0)
    there = "" if device_bytes is None else f" of {device_bytes / 2**30:.1f} GiB"
    lines.append(f"device memory: {needed / 2**30:.1f} GiB{there} for weights and one forward")
    room = "" if disk_bytes is None else f" of {disk_bytes / 2**30:.1f} GiB that are free"
    lines.append(f"disk: at most {cost.disk / 2**30:.2f} GiB{room}, if a world file is kept after each chunk")
    return lines


def refusal(cost: Cost, device_bytes: int | None, disk_bytes: int | None, keeps: bool) -> str | None:
    """Why a film cannot be made here and what to do about it; None if it can.

    Args:
        device_bytes: of the device that computes, all of it; None for a CPU.
        disk_bytes: free in the output folder; None if unknown.
        keeps: whether a world file is kept after each chunk.
    """
    if device_bytes is not None and cost.activation is not None and cost.activation > device_bytes:
        return (
            f"one forward needs {cost.activation / 2**30:.1f} GiB beside the weights, the device has "
            f"{device_bytes / 2**30:.1f} GiB; make smaller pictures or fewer references"
        )
    if device_bytes is not None and cost.forward is not None and cost.forward > device_bytes:
        return (
            f"the network and one forward of it need {cost.forward / 2**30:.1f} GiB, the device has "
            f"{device_bytes / 2**30:.1f} GiB; use Apply Spatial Control, which loads a model in parts, or make smaller "
            "pictures"
        )
    if keeps and disk_bytes is not None and cost.disk > disk_bytes:
        return (
            f"world files need up to {cost.disk / 2**30:.1f} GiB, {disk_bytes / 2**30:.1f} GiB are free; clear "
            "checkpoint on Chunk Loop End, or make room"
        )
    return None


def _spoken(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
