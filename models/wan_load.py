"""A user's files become a world model: base, VAE, control branch and LoRA, each looked at before anything is read."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from .adapter import Adapted, Adapter
from .backbone import Backbone
from .checkpoints import CheckpointError, load_transformer, load_wan_vae, read_state
from .codec import Codec
from .lora import Lora, lora_from_state
from .transformer import SpatialTransformer
from .wan_codec import WanCodec
from .wan_files import headers
from .wan_world import layout_of, wan_world
from .world import WorldModel

HEAD_DIM = 128  # of all of Wan
SPARE = 1 << 30  # bytes that loading may need beyond the weights


@dataclass(frozen=True)
class WanFiles:
    """Where the parts of a world lie. ``base`` and ``vae`` are files or diffusers folders."""

    base: Path
    vae: Path
    branch: Path | None = None  # None: the base carries it
    lora: Path | None = None


@dataclass(frozen=True, eq=False)
class WanNetworks:
    """What was loaded, for whoever owns weights: the adapter's factors belong to the transformer's."""

    transformer: SpatialTransformer
    adapter: Adapter | None
    codec: WanCodec


Parts = tuple[Backbone, Codec, Backbone | None]  # the network, the codec, and what makes the later chunks


def load_wan(
    files: WanFiles,
    layout: str = "auto",
    dtype: torch.dtype | None = None,
    free_bytes: int | None = None,
    head_dim: int = HEAD_DIM,
    owned: Callable[[WanNetworks], Parts] | None = None,
) -> WorldModel:
    """Load a world of the Wan2.2-TI2V-5B family.

    Args:
        layout: ``auto`` or a name of ``layout.WAN_LAYOUTS``.
        dtype: of the weights; None keeps the file's. What diffusers keeps in float32 is float32 in any case.
        free_bytes: memory that is free for them; None does not ask.
        owned: wraps the networks for whoever manages their memory; plainly by default.

    Raises:
        FileNotFoundError: a file is missing.
        CheckpointError: a file is not what it should be, or they do not belong together; nothing was read then.
        MemoryError: too little memory, said before anything is read.
        ValueError: a layout that the branch does not fit.
    """
    of_base, of_vae, of_branch = headers(files.base, files.vae, files.branch)
    chosen = layout_of(of_branch.blocks("vace_blocks"), of_branch.shapes["vace_patch_embedding.weight"][1], layout)
    lora = None if files.lora is None else _checked_lora(files.lora, of_base.shapes)
    needed = of_base.nbytes + of_vae.nbytes + (of_branch.nbytes if files.branch else 0) + SPARE
    if free_bytes is not None and needed > free_bytes:
        raise MemoryError(
            f"the weights need {needed / 2**30:.1f} GiB, {free_bytes / 2**30:.1f} GiB are free; close other programs, "
            "use an fp8 model through Apply Spatial Control, or a machine with more memory"
        )
    sources = [files.base] if files.branch is None else [files.base, files.branch]
    transformer = load_transformer(sources, dtype, head_dim)
    codec = WanCodec(load_wan_vae(files.vae, dtype))
    adapter = None if lora is None else Adapter(transformer, lora, source=files.lora.name if files.lora else "the LoRA")
    parts = (owned or plainly)(WanNetworks(transformer, adapter, codec))
    text = transformer.config["text_dim"]
    return wan_world(parts[0], parts[1], chosen, text, parts[2])


def plainly(networks: WanNetworks) -> Parts:
    """The networks where they are: for tests, and for machines where nobody manages memory."""
    later = None if networks.adapter is None else Adapted(networks.transformer, networks.adapter)
    return networks.transformer, networks.codec, later


def _checked_lora(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Lora:
    """A LoRA whose every weight has its place in the base, told by the base's header.

    Raises:
        CheckpointError: a LoRA of another model.
    """
    lora = lora_from_state(read_state(path), path.name)
    wrong = [name for name in [*lora.low_rank, *lora.differences] if name not in shapes]
    if wrong:
        total = len(lora.low_rank) + len(lora.differences)
        raise CheckpointError(
            f"{path.name} is a LoRA of another model: {len(wrong)} of its {total} weights have no place in the base "
            f"({wrong[0]}); wanted: one trained on Wan2.2-TI2V-5B"
        )
    return lora
