"""The control branch in ComfyUI's own layers: blocks that ComfyUI made for VACE, so that it casts and offloads them.

ComfyUI never loads the file as a model: it takes 48 channels for 16, and places 8 blocks on 30 layers wrongly.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..models.checkpoints import CheckpointError, State, compare, renamed, weight_files
from ..models.names import strip_prefixes, transformer_name
from ..models.wan_files import Header
from .native_host import compute_dtype, owned, part


@dataclass(frozen=True)
class BranchShape:
    """What a branch looks like on the model that it is for."""

    layers: tuple[int, ...]  # of the model, after which a hint is added
    channels: int  # of the control
    width: int
    heads: int
    ffn: int
    patch: tuple[int, int, int]
    cross_norm: bool
    eps: float


def branch_shape(header: Header, model: Any) -> BranchShape:
    """Read the branch's shape off its header and the model's; blocks sit at every n-th layer from 0.

    Raises:
        CheckpointError: so many blocks fit no even spacing on the model's layers.
    """
    network = model.get_model_object("diffusion_model")
    blocks, total = header.blocks("vace_blocks"), network.num_layers
    layers = tuple(range(0, total, -(-total // blocks)))
    if len(layers) != blocks:
        raise CheckpointError(
            f"{header.source} has {blocks} blocks, which sit at no even spacing on the model's {total} layers: they "
            "do not belong together"
        )
    return BranchShape(
        layers,
        header.shapes["vace_patch_embedding.weight"][1],
        network.dim,
        network.num_heads,
        header.shapes["vace_blocks.0.ffn.net.0.proj.weight"][0],
        tuple(network.patch_size),
        "vace_blocks.0.norm2.weight" in header.shapes,
        network.eps,
    )


class NativeBranch(nn.Module):
    """The branch's weights under their released names, and its hints one by one."""

    def __init__(self, shape: BranchShape, operations: Any, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.layers = shape.layers
        self.vace_patch_embedding = operations.Conv3d(
            shape.channels, shape.width, kernel_size=shape.patch, stride=shape.patch, device=device, dtype=torch.float32
        )
        settings = {"operations": operations, "device": device, "dtype": dtype}
        block = part("ldm.wan.model").VaceWanAttentionBlock
        self.vace_blocks = nn.ModuleList(
            block(
                "t2v_cross_attn",
                shape.width,
                shape.ffn,
                shape.heads,
                cross_attn_norm=shape.cross_norm,
                eps=shape.eps,
                block_id=number,
                operation_settings=settings,
            )
            for number in range(len(shape.layers))
        )

    def hints(self, control: Tensor) -> "Hints":
        """Begin a forward for a control (B, Cc, F, h, w)."""
        return Hints(self, control)


class Hints:
    """The branch's way through one forward: it keeps its own tokens alone, and gives one hint at a time."""

    def __init__(self, branch: NativeBranch, control: Tensor) -> None:
        self.branch = branch
        tokens = branch.vace_patch_embedding(control.float()).to(control.dtype)  # exact, as the host embeds latents
        self.tokens = tokens.flatten(2).transpose(1, 2)  # (B, F cells, D)

    def next(self, number: int, x: Tensor, **arguments: Any) -> Tensor:
        """The hint of block ``number``; blocks come in order, and the first one mixes the model's tokens ``x`` in."""
        hint, self.tokens = self.branch.vace_blocks[number](self.tokens, x, **arguments)
        return hint


def branch_state(path: Path) -> State:
    """The tensors of the branch alone, under diffusers' names; a base in the same file is not read."""
    from safetensors import safe_open

    state = {}
    for file in weight_files(path):
        with safe_open(file, framework="pt") as content:
            for name in content.keys():
                if strip_prefixes(name).startswith("vace_"):
                    state[name] = content.get_tensor(name)
    return renamed(state, transformer_name)


def load_branch(path: Path, shape: BranchShape, model: Any) -> Any:
    """Read a branch for a MODEL, strictly, into the care of ComfyUI's manager; fp8 becomes bfloat16.

    Returns:
        A patcher around a ``NativeBranch``.

    Raises:
        CheckpointError: with the report, unless every tensor fits.
    """
    state = branch_state(path)
    management, ops = part("model_management"), part("ops")
    stored = state["vace_blocks.0.attn1.to_q.weight"].dtype
    dtype = management.unet_dtype(
        device=model.load_device,
        model_params=sum(tensor.numel() for tensor in state.values()),
        supported_dtypes=[torch.float16, torch.bfloat16, torch.float32],
        weight_dtype=stored,
    )
    operations = ops.pick_operations(dtype, compute_dtype(model), load_device=model.load_device, disable_fast_fp8=True)
    branch = NativeBranch(shape, operations, dtype, management.unet_offload_device()).eval().requires_grad_(False)
    names = {transformer_name(name): name for name in branch.state_dict()}
    found = {names.get(name, name): tensor for name, tensor in state.items()}
    compare(path.name, found, branch).check()
    patcher = owned(branch, model)
    dynamic = getattr(patcher, "is_dynamic", bool)()
    wanted = branch.state_dict()
    found = {name: tensor.to(wanted[name].dtype) for name, tensor in found.items()}
    branch.load_state_dict(found, strict=True, assign=dynamic)
    return patcher


def weights(patcher: Any) -> Iterator[nn.Parameter]:
    """A branch's weights, wherever they lie now."""
    return patcher.model.parameters()
