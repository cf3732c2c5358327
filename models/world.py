"""The world model: backbone, branch, codec and the layout they were trained with, and its velocity for one chunk."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ..memory.shapes import sizes
from .backbone import Backbone
from .codec import Codec, MiniCodec
from .control_layout import Shown
from .forecast import Forecast
from .layout import MINI_LAYOUT, Layout
from .prior import Evidence, Parametrisation, memory_residual
from .sampler import Sampling
from .transformer import SpatialTransformer

MINI_FOLDER = Path(__file__).parent / "mini"
TIMESTEPS = 1000.0  # the network sees sigma * 1000

MINI_TRANSFORMER = dict(
    patch_size=(1, 2, 2),
    num_attention_heads=4,
    attention_head_dim=64,
    in_channels=24,
    out_channels=24,
    text_dim=64,
    freq_dim=256,
    ffn_dim=1024,
    num_layers=6,
    vace_layers=[0, 3],
    vace_in_channels=27,
)


@dataclass(frozen=True)
class WorldModel:
    """Everything a chunk needs: transformer with its control branch, codec, layout, and how its output is read."""

    name: str
    transformer: Backbone
    codec: Codec
    layout: Layout
    parametrisation: Parametrisation
    unconditional: "Callable[[Conditioning], Conditioning]"  # what guidance moves away from
    defaults: Sampling
    text_channels: int
    reads_text: bool  # False: a prompt is accepted and said to be ignored
    later: Backbone | None = None  # what makes the chunks after the first, where it is another (Spatia's LoRA)
    forecast: Forecast = Forecast(every=1)  # which steps are foretold instead of computed: none

    def backbone(self, chunk: int) -> Backbone:
        """The network that makes this chunk."""
        return self.transformer if chunk == 0 or self.later is None else self.later

    def get_ram_usage(self) -> int:
        """Bytes of the weights that this value keeps alive (the host's cache asks)."""
        networks = [self.transformer] if self.later is None else [self.transformer, self.later]
        weights = {id(p): p.numel() * p.element_size() for network in networks for p in network.parameters()}
        return sum(weights.values())


@dataclass(frozen=True)
class Conditioning:
    """What one window of t latents is denoised under. The first p latents of the window are ``history``, clean."""

    references: Tensor  # (C, R, h, w) clean codes, R may be 0
    history: Tensor  # (C, p, h, w) clean head of the window, p >= 1
    shown: Shown  # the memory at the window's t latents, then at the P that stand behind
    preceding: Tensor | None = None  # (C, P, h, w) clean latents that stand behind the target (Mirage)
    context: Tensor | None = None  # (L, D) text
    negative: Tensor | None = None  # (L, D) text that guidance moves away from


def without_memory(conditioning: Conditioning) -> Conditioning:
    """The same window with an empty memory: all holes. History, references and text stay."""
    return replace(conditioning, shown=conditioning.shown.empty())


def without_prompt(conditioning: Conditioning) -> Conditioning:
    """The same window under the negative prompt (Spatia, Mirage): memory, history and references stay."""
    return replace(conditioning, context=conditioning.negative)


def velocity(world: WorldModel, conditioning: Conditioning, chunk: int = 0) -> Callable[[Tensor, float, float], Tensor]:
    """The flow's velocity for one window, as the sampler calls it.

    Args:
        chunk: number of the chunk, which says where the world changes its network after the first.

    Returns:
        A function of x (C, t, h, w), sigma in (0, 1] and the timestep the network is to see; it returns (C, t, h, w).
        Reference, history and preceding latents enter at timestep 0.

    Raises:
        ValueError: more references than the layout allows, or text of another width than the network reads.
    """
    c = conditioning
    sizes("C R h w | C p h w | C T h w", references=c.references, history=c.history, readout=c.shown.readout)
    count, clean = c.references.shape[1], c.history.shape[1]
    if count > world.layout.max_references:
        raise ValueError(
            f"{count} references, but {world.name} was trained with at most {world.layout.max_references}; "
            "lower max_references"
        )
    network = world.backbone(chunk)
    preceding = c.references[:, :0] if c.preceding is None else c.preceding
    window = c.shown.readout.shape[1] - preceding.shape[1]
    device = network.device
    shown = c.shown.to(device)
    control = world.layout.control(shown)[None]
    context = torch.zeros(0, world.text_channels) if c.context is None else c.context
    if context.ndim != 2 or context.shape[1] != world.text_channels:
        raise ValueError(
            f"the prompt is {tuple(context.shape)}, expected (tokens, {world.text_channels}): encode it with the text "
            f"encoder that {world.name} was trained with (UMT5 for Wan, CLIPLoader type 'wan')"
        )
    context = context[None].to(device)
    evidence = Evidence(shown.readout[:, :window], shown.known[:window], shown.offset[:, :window])
    references, preceding = c.references.to(device), preceding.to(device)

    def call(x: Tensor, sigma: float, timestep: float) -> Tensor:
        if x.shape[1] != window:
            raise ValueError(f"x has {x.shape[1]} latents, the control covers {window}")
        tokens = torch.cat([references.to(x), x, preceding.to(x)], dim=1)
        times = torch.zeros(1, tokens.shape[1], device=device)
        times[:, count + clean : count + window] = timestep
        with torch.no_grad():
            output = network(
                tokens[None].to(device),
                times,  # float32: bfloat16 rounds 999 to 1000
                context,
                control,
                num_references=count,
            )[0]
        output = output[:, count : count + window].to(x)
        return world.parametrisation(output, x, sigma, evidence)

    return call


def mini_world(transformer: SpatialTransformer, codec: Codec, defaults: Sampling) -> WorldModel:
    """Assemble a world in the mini models' layout from given networks."""
    return WorldModel(
        "mini", transformer.eval(), codec, MINI_LAYOUT, memory_residual, without_memory, defaults, 64, reads_text=False
    )


def is_text(name: str) -> bool:
    """Whether a weight serves only the reading of text: the mini world has none, and its file leaves these out."""
    return ".attn2." in name or ".norm2." in name or ".text_embedder." in name


def load_mini_world(path: Path | None = None) -> WorldModel:
    """The embedded default: about 10 M parameters, trained by ``training/`` on procedural worlds, no text encoder.

    Raises:
        FileNotFoundError: the weights are missing; names the file and the command that trains them.
    """
    from safetensors import safe_open

    from .mini_codec import load_mini_codec

    path = path or MINI_FOLDER / "world.safetensors"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing; restore it from the repository, or train it with `make train-mini`"
        )
    with safe_open(path, framework="pt") as file:
        config = json.loads(file.metadata()["config"])
        weights = {name: file.get_tensor(name).float() for name in file.keys()}
    config["patch_size"] = tuple(config["patch_size"])
    transformer = SpatialTransformer(**config)
    text = {name: torch.zeros_like(tensor) for name, tensor in transformer.state_dict().items() if is_text(name)}
    transformer.load_state_dict({**text, **weights}, strict=True)
    return mini_world(transformer, MiniCodec(load_mini_codec()), Sampling("euler", 10, 1.0, 3.0))


def load_random_world(seed: int = 0) -> WorldModel:
    """A two-layer world of the same layout on random weights: for tests, where pictures do not matter."""
    from .mini_codec import MiniCodecNetwork

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        small = dict(
            MINI_TRANSFORMER, num_attention_heads=2, attention_head_dim=16, ffn_dim=64, num_layers=2, vace_layers=[0]
        )
        transformer = SpatialTransformer(**small)
        codec = MiniCodec(MiniCodecNetwork().eval())
    return mini_world(transformer, codec, Sampling("euler", 2, 1.0, 3.0))
