"""LoRAs for the transformer: read in any of the usual spellings, merged strictly into a copy of the weights.

W' = W + strength * scale * B A, with A (r, in), B (out, r) and scale = alpha / r where the file says alpha, else 1
(what DiffSynth, Spatia and Mirage train and ship). Known spellings: DiffSynth (``pipe.dit.``, ``.lora_A.default.``),
peft and diffusers (``transformer.``, ``base_model.model.``), ComfyUI (``diffusion_model.``, ``lora_down`` and
``alpha``, ``diff`` and ``diff_b``).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from .checkpoints import CheckpointError, Report, State
from .names import transformer_name

_PART = re.compile(
    r"^(?:base_model\.model\.)?(?P<module>.+)\."
    r"(?:lora_(?P<side>A|B|down|up)(?:\.default)?(?:\.weight)?|(?P<whole>alpha|diff|diff_b))$"
)


@dataclass(frozen=True)
class LowRank:
    """What one file changes about one weight."""

    down: Tensor  # A (r, in) or a convolution's (r, in, 1, p, p)
    up: Tensor  # B (out, r)
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the weight that it changes, a convolution's kernel folded into in."""
        return self.up.shape[0], self.down[0].numel()

    def delta(self, like: Tensor) -> Tensor:
        """B A times the scale, float32, shaped and placed like ``like``."""
        up, down = (factor.to(like.device).float().flatten(1) for factor in (self.up, self.down))
        return (self.scale * (up @ down)).view_as(like)


@dataclass(frozen=True)
class Lora:
    """A LoRA under diffusers' names: low-rank changes and plain differences by parameter name."""

    low_rank: Mapping[str, LowRank]
    differences: Mapping[str, Tensor]

    def text(self) -> str:
        """What it changes, in a line: how many weights, at which ranks and scales."""
        ranks = sorted({pair.down.shape[0] for pair in self.low_rank.values()})
        scales = sorted({round(pair.scale, 4) for pair in self.low_rank.values()})
        return (
            f"{len(self.low_rank)} weights at rank {ranks}, scale {scales}; {len(self.differences)} plain differences"
        )


def lora_from_state(state: Mapping[str, Tensor], source: str = "the LoRA") -> Lora:
    """Sort a LoRA file's tensors by the parameter that they change.

    Raises:
        CheckpointError: a tensor that is no part of a LoRA, half of a pair, or a file without any pair.
    """
    parts: dict[str, dict[str, Tensor]] = {}
    unexpected = []
    for name, tensor in state.items():
        match = _PART.match(name)
        if match is None:
            unexpected.append(name)
            continue
        part = match["whole"] or {"A": "down", "B": "up"}.get(match["side"], match["side"])
        # names are mapped with a parameter behind them, as in a checkpoint
        module = transformer_name(match["module"] + ".weight").removesuffix(".weight")
        if part in parts.setdefault(module, {}):
            raise CheckpointError(f"{source}: {name} is a second {part} of {module}")
        parts[module][part] = tensor

    low_rank: dict[str, LowRank] = {}
    differences: dict[str, Tensor] = {}
    missing: list[str] = []
    for module, found in parts.items():
        if "down" in found and "up" in found:
            rank = found["down"].shape[0]
            scale = float(found["alpha"]) / rank if "alpha" in found else 1.0
            low_rank[f"{module}.weight"] = LowRank(found["down"], found["up"], scale)
        elif found.keys() & {"down", "up", "alpha"}:
            missing.extend(f"{module}.lora_{side}" for side in ("down", "up") if side not in found)
        if "diff" in found:
            differences[f"{module}.weight"] = found["diff"]
        if "diff_b" in found:
            differences[f"{module}.bias"] = found["diff_b"]
    Report(f"{source} is no whole LoRA of this transformer", tuple(missing), tuple(unexpected)).check()
    if not low_rank and not differences:
        raise CheckpointError(f"{source} holds no LoRA tensors; nothing would change")
    return Lora(low_rank, differences)


def merge_lora(state_dict: Mapping[str, Tensor], lora: Lora, strength: float = 1.0, source: str = "the LoRA") -> State:
    """A new state dict with the LoRA added; untouched tensors are shared, changed ones keep their dtype.

    Raises:
        CheckpointError: the LoRA changes weights that the network lacks, or of another shape.
    """
    unexpected, mismatched = [], []
    merged = dict(state_dict)
    changes: list[tuple[str, LowRank | Tensor]] = [*lora.low_rank.items(), *lora.differences.items()]
    for name, change in changes:
        weight = merged.get(name)
        if weight is None:
            unexpected.append(name)
        elif tuple(change.shape) not in (tuple(weight.shape), (weight.shape[0], weight[0].numel())):
            mismatched.append(f"{name}: has {tuple(change.shape)}, expected {tuple(weight.shape)}")
        else:
            delta = change.delta(weight) if isinstance(change, LowRank) else change.to(weight.device).float()
            merged[name] = (weight.float() + strength * delta.view_as(weight)).to(weight.dtype)
    Report(f"{source} does not fit the network", (), tuple(unexpected), tuple(mismatched)).check()
    return merged
