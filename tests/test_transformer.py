"""The transformer against diffusers' own where they mean the same, and against plain statements where they do not."""

import math

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed, WanTransformerBlock
from diffusers.models.transformers.transformer_wan_vace import WanVACETransformer3DModel
from spatial_memory.models.transformer import SpatialBlock, SpatialTransformer, rotary_table

TINY = dict(
    num_attention_heads=2,
    attention_head_dim=24,
    in_channels=4,
    out_channels=4,
    text_dim=10,
    freq_dim=32,
    ffn_dim=64,
    num_layers=2,
    vace_layers=[0, 1],
    vace_in_channels=5,
)


def seeded(shape, seed):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def build(seed=0, **changes):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return SpatialTransformer(**{**TINY, **changes}).eval()


def inputs(references=2, frames=3, height=4, width=6, batch=1, length=3):
    total = references + frames
    return dict(
        hidden_states=seeded((batch, 4, total, height, width), 1),
        timestep=seeded((batch, total), 2).abs() * 300,
        encoder_hidden_states=seeded((batch, length, 10), 3),
        control_hidden_states=seeded((batch, 5, frames, height, width), 4),
        num_references=references,
    )


@pytest.fixture(scope="module")
def network():
    return build()


@torch.no_grad()
def test_one_timestep_and_no_references_is_diffusers_own_model(network):
    given = inputs(references=0)
    stock = WanVACETransformer3DModel(**TINY)
    stock.load_state_dict(network.state_dict(), strict=True)
    expected = stock(
        given["hidden_states"],
        torch.tensor([437.0]),
        given["encoder_hidden_states"],
        control_hidden_states=given["control_hidden_states"],
    ).sample
    given["timestep"] = torch.full((1, 3), 437.0)
    assert (network(**given) - expected).abs().max() <= 2e-6  # another order of sums


@torch.no_grad()
def test_a_modulation_per_frame_equals_one_per_token(network):
    frames, rows, columns, dim = 3, 2, 3, 48
    x, context = seeded((1, frames, rows * columns, dim), 1), seeded((1, 3, dim), 2)
    modulation = seeded((1, frames, 6, dim), 3)
    stock = WanTransformerBlock(dim, 64, 2, "rms_norm_across_heads", True, 1e-6)
    stock.load_state_dict(network.blocks[0].state_dict())
    table = WanRotaryPosEmbed(24, (1, 2, 2), 16)(torch.zeros(1, 1, frames, 2 * rows, 2 * columns))
    expected = stock(x.flatten(1, 2), context, modulation.repeat_interleave(rows * columns, dim=1), table)
    got = network.blocks[0](x, context, modulation, rotary_table(24, 0, frames, rows, columns))
    assert (got.flatten(1, 2) - expected).abs().max() <= 2e-6


def test_rotary_positions_of_references_are_before_the_clip_and_below_the_picture():
    references, frames, rows, columns = 2, 3, 2, 3
    table = rotary_table(24, references, frames, rows, columns)
    assert table.shape == ((references + frames) * rows * columns, 12)
    token = 0
    for frame in range(-references, frames):
        for row in range(rows):
            for column in range(columns):
                down = row + rows if frame < 0 else row
                angles = [frame * 10000 ** (-2 * i / 8) for i in range(4)]
                angles += [down * 10000 ** (-2 * i / 8) for i in range(4)]
                angles += [column * 10000 ** (-2 * i / 8) for i in range(4)]
                expected = torch.tensor([complex(math.cos(a), math.sin(a)) for a in angles])
                assert (table[token] - expected).abs().max() <= 1e-7
                token += 1


@torch.no_grad()
def test_references_get_no_hints_and_never_enter_the_branch():
    network = build(num_layers=1, vace_layers=[0])
    given = inputs()
    entered = []
    hook = network.vace_blocks[0].register_forward_pre_hook(lambda module, args: entered.append(args[0].shape[1]))
    one = network(**given)
    two = network(**{**given, "control_hidden_states": given["control_hidden_states"] + 1})
    hook.remove()
    assert entered == [3, 3]
    assert torch.equal(one[:, :, :2], two[:, :, :2])  # behind the only block, a hint would show at once
    assert not torch.equal(one[:, :, 2:], two[:, :, 2:])


@torch.no_grad()
def test_references_reach_the_other_frames(network):
    given = inputs()
    moved = given["hidden_states"].clone()
    moved[:, :, 0] += 1
    assert not torch.equal(network(**given)[:, :, 2:], network(**{**given, "hidden_states": moved})[:, :, 2:])


@torch.no_grad()
def test_silent_hints_leave_the_base_model():
    network = build()
    for block in network.vace_blocks:
        torch.nn.init.zeros_(block.proj_out.weight)
        torch.nn.init.zeros_(block.proj_out.bias)
    given = inputs()
    assert torch.equal(network(**given), network(**{**given, "control_hidden_states": None}))


@torch.no_grad()
def test_no_context_leaves_cross_attention_out():
    silent, poisoned = build(), build()
    for block in [*silent.blocks, *silent.vace_blocks]:
        torch.nn.init.zeros_(block.attn2.to_out[0].weight)
        torch.nn.init.zeros_(block.attn2.to_out[0].bias)
    for block in [*poisoned.blocks, *poisoned.vace_blocks]:
        for parameter in block.attn2.parameters():
            parameter.fill_(torch.nan)
    given = inputs()
    without_text = {**given, "encoder_hidden_states": torch.zeros(1, 0, 10)}
    assert torch.equal(poisoned(**without_text), silent(**given))


@torch.no_grad()
def test_each_frame_has_its_own_timestep(network):
    given = inputs(references=1)
    changed = given["timestep"].clone()
    changed[0, 0] += 500
    assert not torch.equal(network(**given), network(**{**given, "timestep": changed}))


@torch.no_grad()
def test_modulation_has_one_row_per_frame(network):
    shapes = []
    hook = network.blocks[0].register_forward_pre_hook(lambda module, args: shapes.append(args[2].shape))
    network(**inputs())
    hook.remove()
    assert shapes == [(1, 5, 6, 48)]  # never one a token


@torch.no_grad()
def test_a_batch_equals_its_samples(network):
    given = inputs(batch=2)
    both = network(**given)
    for index in range(2):
        alone = {name: v if isinstance(v, int) else v[index : index + 1] for name, v in given.items()}
        assert (network(**alone) - both[index : index + 1]).abs().max() <= 2e-6


@torch.no_grad()
def test_fused_projections_are_the_same_network(network):
    fused = build()
    fused.fuse_qkv_projections()
    assert hasattr(fused.blocks[0].attn1, "to_qkv")
    assert (fused(**inputs()) - network(**inputs())).abs().max() <= 2e-6


@torch.no_grad()
def test_patch_of_four_and_a_mask_channel():
    network = build(patch_size=(1, 4, 4), vace_in_channels=17)
    given = inputs(height=8, width=12)
    given["control_hidden_states"] = seeded((1, 17, 3, 8, 12), 4)
    assert network(**given).shape == (1, 4, 5, 8, 12)


def test_training_reaches_every_weight_also_after_sampling(network):
    given = inputs(height=8, width=8)
    with torch.inference_mode():
        network(**given)  # the rotary table of this shape is made here
    for parameter in network.parameters():
        parameter.grad = None
    network(**given).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_gradient_checkpointing_gives_the_same_gradients():
    given = inputs()
    gradients = []
    for checkpointing in (False, True):
        network = build()
        if checkpointing:
            network.enable_gradient_checkpointing()
        network.train()(**given).square().mean().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(*gradients))


@torch.no_grad()
def test_half_precision_keeps_timesteps_apart():
    network = build().to(torch.bfloat16)
    given = inputs()
    output = network(**{**given, "timestep": torch.full((1, 5), 999.0)})
    assert output.dtype == torch.bfloat16
    # 999 and 1000 are one number in bfloat16; the network must see two
    assert not torch.equal(output, network(**{**given, "timestep": torch.full((1, 5), 1000.0)}))


def test_saved_and_loaded_under_diffusers_names(network, tmp_path):
    network.save_pretrained(tmp_path)
    loaded = SpatialTransformer.from_pretrained(tmp_path, local_files_only=True)
    assert isinstance(loaded.blocks[0], SpatialBlock)
    with torch.no_grad():
        assert torch.equal(loaded(**inputs()), network(**inputs()))


def test_default_configuration_is_wan22_with_spatias_branch():
    with torch.device("meta"):
        network = SpatialTransformer()
    branch = sum(p.numel() for name, p in network.named_parameters() if name.startswith("vace_"))
    total = sum(p.numel() for p in network.parameters())
    assert (total - branch, branch) == (4_999_787_712, 1_395_398_656)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(hidden_states=torch.zeros(1, 4, 5, 5, 6)), "latent height is 5.*nearest are 4 and 6"),
        (dict(hidden_states=torch.zeros(1, 4, 5, 4, 7)), "latent width is 7.*nearest are 6 and 8"),
        (dict(hidden_states=torch.zeros(1, 3, 5, 4, 6)), "3 channels, this network takes 4"),
        (dict(timestep=torch.zeros(1)), "one per frame"),
        (dict(num_references=5), "expected 0 to 4"),
        (dict(control_hidden_states=torch.zeros(1, 5, 5, 4, 6)), r"expected \(1, 5, 3, 4, 6\)"),
    ],
)
def test_what_does_not_fit_is_refused(network, change, message):
    with pytest.raises(ValueError, match=message):
        network(**{**inputs(), **change})


@pytest.mark.parametrize("change", [dict(patch_size=(2, 2, 2)), dict(image_dim=8), dict(vace_layers=[1, 0])])
def test_configurations_that_this_network_cannot_mean_are_refused(change):
    with pytest.raises(ValueError):
        build(**change)
