"""Released files: every known spelling loads to the same network, and what does not fit is listed."""

import re

import pytest
import torch
from safetensors.torch import load_file, save_file
from spatial_memory.models.checkpoints import (
    CheckpointError,
    load_transformer,
    load_wan_vae,
    read_state,
    renamed,
    transformer_config,
    transformer_from_state,
)
from spatial_memory.models.lora import lora_from_state, merge_lora
from spatial_memory.models.names import transformer_name, vae_name
from spatial_memory.models.transformer import SpatialTransformer


@pytest.fixture(scope="module")
def released(golden_dir):
    """Base and branch of a small network under the names that the papers' files use."""
    tensors = load_file(golden_dir / "spatia_network.safetensors")
    return [
        {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        for prefix in ("dit.", "vace.")
    ]


@pytest.fixture(scope="module")
def expected(released):
    return renamed({**released[0], **released[1]}, transformer_name)


def save(folder, base, branch):
    save_file(base, folder / "base.safetensors")
    save_file(branch, folder / "branch.safetensors")
    return [folder / "base.safetensors", folder / "branch.safetensors"]


def load(files, **changes):
    return load_transformer(files, attention_head_dim=24, **changes)


def same(network, expected):
    state = network.state_dict()
    return state.keys() == expected.keys() and all(torch.equal(state[name], expected[name]) for name in expected)


@pytest.mark.parametrize("base_prefix", ["", "model.diffusion_model.", "diffusion_model.", "pipe.dit."])
@pytest.mark.parametrize("branch_prefix", ["", "generator.vace.module.", "module.model.pipe.vace.", "vace."])
def test_every_prefix_loads_to_the_same_network(released, expected, tmp_path, base_prefix, branch_prefix):
    base, branch = released
    files = save(
        tmp_path,
        {base_prefix + name: tensor for name, tensor in base.items()},
        {branch_prefix + name: tensor for name, tensor in branch.items()},
    )
    assert same(load(files), expected)


def test_one_file_with_both(released, expected, tmp_path):
    save_file({**released[0], **released[1]}, tmp_path / "all.safetensors")
    assert same(load(tmp_path / "all.safetensors"), expected)


def test_a_diffusers_folder(expected, tmp_path):
    network = transformer_from_state(expected, transformer_config(expected, 24))
    network.save_pretrained(tmp_path, max_shard_size="300KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert same(load(tmp_path), expected)


def test_a_base_of_diffusers_with_a_branch_in_wans_names(released, expected, tmp_path):
    base = {name: tensor for name, tensor in expected.items() if not name.startswith("vace_")}
    assert same(load(save(tmp_path, base, released[1])), expected)


def test_mapping_names_twice_changes_nothing(expected, golden_dir):
    assert all(transformer_name(name) == name for name in expected)
    names = [name for name in load_file(golden_dir / "vae.safetensors") if name.startswith("vae.")]
    assert all(vae_name(vae_name(name)) == vae_name(name) for name in names)


def test_what_is_missing_left_over_and_misshapen_is_listed(released, tmp_path):
    base, branch = dict(released[0]), dict(released[1])
    for layer in range(6):
        del base[f"blocks.{layer}.self_attn.q.weight"]
    base["img_emb.proj.0.weight"] = torch.zeros(2)
    branch["vace_blocks.1.after_proj.weight"] = torch.zeros(3, 3)
    with pytest.raises(CheckpointError) as error:
        load(save(tmp_path, base, branch))
    report = str(error.value)
    assert "base.safetensors, branch.safetensors" in report
    assert re.search(r"missing: 6\n    blocks\.\*\.attn1\.to_q\.weight \(6\)", report)
    assert re.search(r"unexpected: 1\n    img_emb\.proj\.0\.weight", report)
    assert "vace_blocks.1.proj_out.weight: has (3, 3), expected (48, 48)" in report


@pytest.mark.parametrize("which", [0, 1])
def test_half_of_a_network_says_what_it_lacks(released, tmp_path, which):
    save_file(released[which], tmp_path / "half.safetensors")
    with pytest.raises(CheckpointError, match="base model and the branch together"):
        load(tmp_path / "half.safetensors")


def test_a_branch_twice_is_refused(released, tmp_path):
    nested = {"generator.vace." + name: tensor.clone() for name, tensor in released[1].items()}
    with pytest.raises(CheckpointError, match="more than one network"):
        load(save(tmp_path, released[0], {**released[1], **nested}))
    with pytest.raises(CheckpointError, match="repeats"):
        load([*save(tmp_path, *released), tmp_path / "branch.safetensors"])


@pytest.mark.parametrize("spelling", ["scale_weight", "weight_scale"])
def test_scaled_fp8_is_read_as_bfloat16(released, expected, tmp_path, spelling):
    base, scale = dict(released[0]), torch.tensor(0.5)
    name = "blocks.0.ffn.0.weight"
    eight = (base[name] / scale).to(torch.float8_e4m3fn)
    base |= {name: eight, f"blocks.0.ffn.0.{spelling}": scale, "blocks.0.ffn.0.scale_input": torch.ones(())}
    base["scaled_fp8"] = torch.zeros(0, dtype=torch.float8_e4m3fn)
    state = load(save(tmp_path, base, released[1])).state_dict()
    read = state["blocks.0.ffn.net.0.proj.weight"]
    assert read.dtype == torch.bfloat16 and torch.equal(read.float(), (eight.float() * scale).bfloat16().float())
    others = {n: t for n, t in state.items() if n != "blocks.0.ffn.net.0.proj.weight"}
    assert all(torch.equal(tensor, expected[n]) for n, tensor in others.items())


def test_fp8_without_scales_is_refused_by_name(released, tmp_path):
    base = {**released[0], "blocks.0.ffn.0.weight": released[0]["blocks.0.ffn.0.weight"].to(torch.float8_e4m3fn)}
    with pytest.raises(CheckpointError, match="fp8 without a scale"):
        load(save(tmp_path, base, released[1]))


def test_pickles_are_never_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    torch.save({"weight": Bomb()}, tmp_path / "step.pt")
    with pytest.raises(CheckpointError, match="pickles are not read"):
        read_state(tmp_path / "step.pt")
    (tmp_path / "step.pt").rename(tmp_path / "renamed.safetensors")
    with pytest.raises(CheckpointError, match="no readable safetensors"):
        read_state(tmp_path / "renamed.safetensors")
    assert not (tmp_path / "opened").exists()


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_state(tmp_path / "nowhere.safetensors")
    with pytest.raises(FileNotFoundError, match="holds no safetensors"):
        read_state(tmp_path)


def test_half_precision_keeps_what_must_stay_exact(released, tmp_path):
    network = load(save(tmp_path, *released), dtype=torch.bfloat16)
    state = network.state_dict()
    assert state["blocks.0.attn1.to_q.weight"].dtype == torch.bfloat16
    for name in ("blocks.0.scale_shift_table", "blocks.0.norm2.weight", "scale_shift_table"):
        assert state[name].dtype == torch.float32
    assert state["condition_embedder.time_embedder.linear_1.weight"].dtype == torch.float32
    with torch.no_grad():
        output = network(
            torch.randn(1, 8, 3, 4, 4), torch.full((1, 3), 999.0), torch.randn(1, 2, 20), torch.randn(1, 16, 2, 4, 4), 1
        )
    assert output.dtype == torch.bfloat16 and output.isfinite().all()


@pytest.mark.parametrize(("blocks", "layers"), [(8, [0, 4, 8, 12, 16, 20, 24, 28]), (15, list(range(0, 30, 2)))])
def test_branches_of_the_two_papers_find_their_layers(blocks, layers):
    with torch.device("meta"):
        state = SpatialTransformer(vace_layers=layers).state_dict()
    config = transformer_config(state)
    assert config["vace_layers"] == layers and len(layers) == blocks
    assert (config["num_layers"], config["num_attention_heads"], config["vace_in_channels"]) == (30, 24, 96)
    assert (config["in_channels"], config["out_channels"], config["ffn_dim"], config["text_dim"]) == (
        48,
        48,
        14336,
        4096,
    )


def test_a_vae_file_under_its_own_names_and_diffusers(golden_dir, tmp_path):
    tensors = load_file(golden_dir / "vae.safetensors")
    weights = {n.removeprefix("vae."): t for n, t in tensors.items() if n.startswith("vae.")}
    save_file(weights, tmp_path / "wan2.2_vae.safetensors")
    vae = load_wan_vae(tmp_path / "wan2.2_vae.safetensors", torch.float32)
    assert vae.config["base_dim"] == 16 and vae.encoder.conv_in.weight.dtype == torch.float32
    (tmp_path / "folder").mkdir()
    vae.save_pretrained(tmp_path / "folder")
    assert same(load_wan_vae(tmp_path / "folder"), vae.state_dict())


def test_other_vaes_are_refused(golden_dir, tmp_path):
    tensors = load_file(golden_dir / "vae.safetensors")
    weights = {n.removeprefix("vae."): t for n, t in tensors.items() if n.startswith("vae.")}
    save_file({**weights, "conv2.weight": torch.zeros(16, 16, 1, 1, 1)}, tmp_path / "wan2.1.safetensors")
    with pytest.raises(CheckpointError, match="16 channels, expected 48"):
        load_wan_vae(tmp_path / "wan2.1.safetensors")
    del weights["decoder.head.2.bias"]
    save_file(weights, tmp_path / "cut.safetensors")
    with pytest.raises(CheckpointError, match=r"decoder\.conv_out\.bias"):
        load_wan_vae(tmp_path / "cut.safetensors")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="not a Wan2.2 VAE"):
        load_wan_vae(tmp_path / "other.safetensors")


# ---- LoRA

PAIRS = {  # Wan's module, diffusers' parameter, out, in
    "blocks.0.self_attn.q": ("blocks.0.attn1.to_q.weight", 48, 48),
    "blocks.3.cross_attn.o": ("blocks.3.attn2.to_out.0.weight", 48, 48),
    "blocks.5.ffn.0": ("blocks.5.ffn.net.0.proj.weight", 96, 48),
}


def pairs(spelling, rank=4):
    """The same LoRA in a spelling: a function of (Wan module, diffusers module, side) gives the name."""
    generator = torch.Generator().manual_seed(1)
    state, deltas = {}, {}
    for module, (parameter, rows, columns) in PAIRS.items():
        down, up = torch.randn(rank, columns, generator=generator), torch.randn(rows, rank, generator=generator)
        state[spelling(module, parameter.removesuffix(".weight"), "A")] = down
        state[spelling(module, parameter.removesuffix(".weight"), "B")] = up
        deltas[parameter] = up @ down
    return state, deltas


SPELLINGS = {
    "diffsynth": lambda wan, theirs, side: f"pipe.dit.{wan}.lora_{side}.default.weight",
    "mirage": lambda wan, theirs, side: f"pipe.dit.{wan}.lora_{side}.weight",
    "peft": lambda wan, theirs, side: f"base_model.model.{theirs}.lora_{side}.weight",
    "diffusers": lambda wan, theirs, side: f"transformer.{theirs}.lora_{side}.weight",
    "comfyui": lambda wan, theirs, side: f"diffusion_model.{wan}.lora_{dict(A='down', B='up')[side]}.weight",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_adds_b_a(expected, spelling):
    state, deltas = pairs(SPELLINGS[spelling])
    before = {name: tensor.clone() for name, tensor in expected.items()}
    merged = merge_lora(expected, lora_from_state(state), strength=0.5)
    for name, weight in before.items():
        wanted = weight + 0.5 * deltas[name] if name in deltas else weight
        assert (merged[name] - wanted).abs().max() <= 1e-5, name
        assert torch.equal(expected[name], weight), "the given weights were changed"


def test_alpha_scales_by_the_rank(expected):
    state, deltas = pairs(SPELLINGS["comfyui"])
    state["diffusion_model.blocks.0.self_attn.q.alpha"] = torch.tensor(2.0)
    lora = lora_from_state(state)
    assert lora.text() == "3 weights at rank [4], scale [0.5, 1.0]; 0 plain differences"
    merged = merge_lora(expected, lora)
    name = "blocks.0.attn1.to_q.weight"
    assert (merged[name] - expected[name] - 2.0 / 4 * deltas[name]).abs().max() <= 1e-5


def test_plain_differences_and_convolutions(expected):
    generator = torch.Generator().manual_seed(2)
    bias = torch.randn(48, generator=generator)
    down, up = torch.randn(3, 8, 1, 2, 2, generator=generator), torch.randn(48, 3, 1, 1, 1, generator=generator)
    state = {
        "diffusion_model.blocks.0.self_attn.q.diff_b": bias,
        "diffusion_model.patch_embedding.lora_down.weight": down,
        "diffusion_model.patch_embedding.lora_up.weight": up,
    }
    merged = merge_lora(expected, lora_from_state(state))
    assert torch.allclose(merged["blocks.0.attn1.to_q.bias"], expected["blocks.0.attn1.to_q.bias"] + bias)
    change = torch.einsum("or,rctpq->octpq", up[:, :, 0, 0, 0], down)
    moved = merged["patch_embedding.weight"] - expected["patch_embedding.weight"]
    assert (moved - change).abs().max() <= 1e-5


def test_loras_keep_the_dtype_of_the_weights(expected):
    half = {name: tensor.bfloat16() for name, tensor in expected.items()}
    merged = merge_lora(half, lora_from_state(pairs(SPELLINGS["peft"])[0]))
    assert all(tensor.dtype == torch.bfloat16 for tensor in merged.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("pipe.dit.blocks.0.self_attn.q.lora_B.weight"), r"blocks\.0\.attn1\.to_q\.lora_up"),
        (lambda s: s.update({"pipe.dit.blocks.0.gate": torch.zeros(1)}), r"pipe\.dit\.blocks\.0\.gate"),
        (lambda s: s.clear(), "no LoRA tensors"),
    ],
)
def test_what_is_no_whole_lora_is_refused(change, message):
    state, _ = pairs(SPELLINGS["mirage"])
    change(state)
    with pytest.raises(CheckpointError, match=message):
        lora_from_state(state)


def test_a_lora_of_another_network_is_refused(expected):
    state, _ = pairs(SPELLINGS["mirage"])
    lora = lora_from_state({name.replace("blocks.5", "blocks.50"): tensor for name, tensor in state.items()})
    with pytest.raises(CheckpointError, match=r"blocks\.50\.ffn\.net\.0\.proj\.weight"):
        merge_lora(expected, lora)
    state["pipe.dit.blocks.0.self_attn.q.lora_A.weight"] = torch.zeros(4, 40)
    with pytest.raises(CheckpointError, match=r"has \(48, 40\), expected \(48, 48\)"):
        merge_lora(expected, lora_from_state(state))
