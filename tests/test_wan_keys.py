"""Every key and shape of the real files maps, none missing and none left over: full size, on the meta device.

The names and shapes are written out here from what the releases hold (825 tensors of the base, 236 and 439 of the two
branches, 196 of the VAE, 600 of a LoRA), not derived from the networks that must take them.
"""

import pytest
import torch
from spatial_memory.models.checkpoints import compare, renamed, transformer_config, vae_from_state
from spatial_memory.models.lora import lora_from_state, merge_lora
from spatial_memory.models.names import transformer_name, vae_name
from spatial_memory.models.transformer import SpatialTransformer

DIM, FFN, TEXT, FREQ = 3072, 14336, 4096, 256


def meta(shapes):
    return {name: torch.empty(shape, dtype=torch.bfloat16, device="meta") for name, shape in shapes.items()}


def linear(name, out, into):
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def block(prefix):
    shapes = {f"{prefix}.modulation": (1, 6, DIM), f"{prefix}.norm3.weight": (DIM,), f"{prefix}.norm3.bias": (DIM,)}
    for attention in ("self_attn", "cross_attn"):
        for part in "qkvo":
            shapes |= linear(f"{prefix}.{attention}.{part}", DIM, DIM)
        for part in "qk":
            shapes[f"{prefix}.{attention}.norm_{part}.weight"] = (DIM,)
    return shapes | linear(f"{prefix}.ffn.0", FFN, DIM) | linear(f"{prefix}.ffn.2", DIM, FFN)


def base_shapes():
    shapes = {"patch_embedding.weight": (DIM, 48, 1, 2, 2), "patch_embedding.bias": (DIM,)}
    shapes |= linear("text_embedding.0", DIM, TEXT) | linear("text_embedding.2", DIM, DIM)
    shapes |= linear("time_embedding.0", DIM, FREQ) | linear("time_embedding.2", DIM, DIM)
    shapes |= linear("time_projection.1", 6 * DIM, DIM) | linear("head.head", 4 * 48, DIM)
    shapes["head.modulation"] = (1, 2, DIM)
    for layer in range(30):
        shapes |= block(f"blocks.{layer}")
    return shapes


def branch_shapes(blocks, channels):
    shapes = {"vace_patch_embedding.weight": (DIM, channels, 1, 2, 2), "vace_patch_embedding.bias": (DIM,)}
    shapes |= linear("vace_blocks.0.before_proj", DIM, DIM)
    for number in range(blocks):
        shapes |= block(f"vace_blocks.{number}") | linear(f"vace_blocks.{number}.after_proj", DIM, DIM)
    return shapes


def conv(name, out, into, *kernel):
    return {f"{name}.weight": (out, into, *kernel), f"{name}.bias": (out,)}


def residual(prefix, into, out):
    shapes = {f"{prefix}.residual.0.gamma": (into, 1, 1, 1), f"{prefix}.residual.3.gamma": (out, 1, 1, 1)}
    shapes |= conv(f"{prefix}.residual.2", out, into, 3, 3, 3) | conv(f"{prefix}.residual.6", out, out, 3, 3, 3)
    return shapes | (conv(f"{prefix}.shortcut", out, into, 1, 1, 1) if into != out else {})


def middle(prefix, width):
    shapes = residual(f"{prefix}.middle.0", width, width) | residual(f"{prefix}.middle.2", width, width)
    shapes[f"{prefix}.middle.1.norm.gamma"] = (width, 1, 1)
    shapes |= conv(f"{prefix}.middle.1.to_qkv", 3 * width, width, 1, 1)
    return shapes | conv(f"{prefix}.middle.1.proj", width, width, 1, 1)


def vae_shapes():
    shapes = conv("conv1", 96, 96, 1, 1, 1) | conv("conv2", 48, 48, 1, 1, 1)
    widths = [160, 160, 320, 640, 640]
    shapes |= conv("encoder.conv1", 160, 12, 3, 3, 3)
    for level, (into, out) in enumerate(zip(widths, widths[1:])):
        part = f"encoder.downsamples.{level}.downsamples"
        shapes |= residual(f"{part}.0", into, out) | residual(f"{part}.1", out, out)
        if level < 3:
            shapes |= conv(f"{part}.2.resample.1", out, out, 3, 3)
        if level in (1, 2):
            shapes |= conv(f"{part}.2.time_conv", out, out, 3, 1, 1)
    shapes |= (
        middle("encoder", 640) | {"encoder.head.0.gamma": (640, 1, 1, 1)} | conv("encoder.head.2", 96, 640, 3, 3, 3)
    )
    widths = [1024, 1024, 1024, 512, 256]
    shapes |= conv("decoder.conv1", 1024, 48, 3, 3, 3) | middle("decoder", 1024)
    for level, (into, out) in enumerate(zip(widths, widths[1:])):
        part = f"decoder.upsamples.{level}.upsamples"
        shapes |= residual(f"{part}.0", into, out)
        for number in (1, 2):
            shapes |= residual(f"{part}.{number}", out, out)
        if level < 3:
            shapes |= conv(f"{part}.3.resample.1", out, out, 3, 3)
        if level in (0, 1):
            shapes |= conv(f"{part}.3.time_conv", 2 * out, out, 3, 1, 1)
    return shapes | {"decoder.head.0.gamma": (256, 1, 1, 1)} | conv("decoder.head.2", 12, 256, 3, 3, 3)


@pytest.fixture(scope="module")
def base():
    return base_shapes()


@pytest.mark.parametrize(
    ("blocks", "channels", "tensors", "parameters"),
    [(8, 96, 236, 1_395_398_656), (15, 96, 439, None), (8, 49, 236, None), (15, 49, 439, None)],
)
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "generator.vace."])
def test_base_and_branches(base, blocks, channels, tensors, parameters, prefix):
    branch = branch_shapes(blocks, channels)
    assert (len(base), len(branch)) == (825, tensors)
    count = sum(torch.Size(shape).numel() for shape in branch.values())
    assert parameters in (None, count)
    assert sum(torch.Size(shape).numel() for shape in base.values()) == 4_999_787_712
    state = renamed(meta({**base, **{prefix + name: shape for name, shape in branch.items()}}), transformer_name)
    config = transformer_config(state)
    assert config["vace_layers"] == list(range(0, 30, 4 if blocks == 8 else 2))
    with torch.device("meta"):
        network = SpatialTransformer(**config)
    report = compare("real names", state, network)
    assert report.fits, report.text()
    assert len(state) == 825 + tensors


def test_a_name_too_many_or_too_few_is_seen(base):
    branch = branch_shapes(8, 96)
    config = transformer_config(renamed(meta({**base, **branch}), transformer_name))
    with torch.device("meta"):
        network = SpatialTransformer(**config)
    del branch["vace_blocks.7.after_proj.bias"]
    state = renamed(meta({**base, **branch, "blocks.0.extra.weight": (1,)}), transformer_name)
    report = compare("", state, network)
    assert (len(report.missing), len(report.unexpected)) == (1, 1)


def test_the_vae():
    shapes = vae_shapes()
    assert len(shapes) == 196
    vae = vae_from_state(renamed(meta(shapes), vae_name))
    assert len(vae.state_dict()) == 196 and vae.config["base_dim"] == 160 and vae.config["decoder_base_dim"] == 256
    assert round(sum(p.numel() for p in vae.parameters()) / 1e6, 1) == 704.7


@pytest.mark.parametrize(
    ("before", "down", "up", "rank"),
    [
        ("pipe.dit.", "lora_A.default.weight", "lora_B.default.weight", 64),
        ("pipe.dit.", "lora_A.weight", "lora_B.weight", 32),
        ("diffusion_model.", "lora_down.weight", "lora_up.weight", 16),
    ],
)
def test_loras(base, before, down, up, rank):
    shapes = {}
    for name, shape in base.items():
        if name.startswith("blocks.") and name.endswith(".weight") and len(shape) == 2:
            module = before + name.removesuffix("weight")
            shapes |= {module + down: (rank, shape[1]), module + up: (shape[0], rank)}
    assert len(shapes) == 600
    lora = lora_from_state(meta(shapes))
    assert len(lora.low_rank) == 300 and not lora.differences
    merged = merge_lora(renamed(meta(base), transformer_name), lora)
    assert len(merged) == 825
