"""What a film costs: counted, said, and refused where it does not fit."""

from dataclasses import replace

import pytest
import tiny_rollout as tiny
import tiny_wan
import torch
from spatial_memory.models.forecast import Forecast
from spatial_memory.models.layout import MIRAGE_LAYOUT, SPATIA_LAYOUT
from spatial_memory.models.sampler import Sampling
from spatial_memory.models.transformer import SpatialTransformer
from spatial_memory.models.tuning import with_blocks_in_turn, with_forecast, with_kernel, with_tiles
from spatial_memory.models.wan_codec import WanCodec
from spatial_memory.models.wan_memory import codec_activation, encoding_activation
from spatial_memory.rollout.plan import plan
from spatial_memory.rollout.preflight import Cost, cost_of, forward_flops, refusal, sentences

WAN = dict(
    patch_size=(1, 2, 2), num_attention_heads=24, attention_head_dim=128, ffn_dim=14336, num_layers=30,
    vace_layers=list(range(0, 30, 4)),
)  # fmt: skip
GIB = 2**30


def test_the_arithmetic_of_the_real_size_is_what_the_spec_counts():
    """81 frames of 1248 x 704 with 7 references: 421 TFLOP in the stack and 76 in the branch (components 1.1)."""
    assert forward_flops(WAN, 7, 21, 44, 78) == pytest.approx(497e12, rel=0.05)


def test_flops_are_those_that_torch_counts():
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    config = dict(patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=32, ffn_dim=256, num_layers=2)
    network = SpatialTransformer(
        **config, in_channels=4, out_channels=4, text_dim=8, vace_layers=[0], vace_in_channels=8
    )
    # the CPU's fused attention is not counted: take the plain one
    with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
        network(torch.zeros(1, 4, 5, 16, 16), torch.zeros(1, 5), torch.zeros(1, 1, 8), torch.zeros(1, 8, 3, 16, 16), 2)
    ours = forward_flops({**config, "vace_layers": [0]}, 2, 3, 16, 16)
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.1)


def test_chunks_forwards_and_disk_are_counted():
    world, config = tiny.WORLD, dict(tiny.WORLD.transformer.config)
    chunks = plan(world.layout, 81)
    cost = cost_of(world, chunks, 64, 96, Sampling("euler", 4, 1.0), "latent", config, None)
    assert (cost.chunks, cost.forwards) == (3, 12) and cost.flops > 0 and cost.weights == world.get_ram_usage()
    guided = cost_of(world, chunks, 64, 96, Sampling("euler", 4, 2.0), "latent", config, None)
    assert (guided.forwards, guided.flops) == (24, 2 * cost.flops)
    colours = cost_of(world, chunks, 64, 96, Sampling("euler", 4, 1.0), "rgb", config, None)
    assert colours.disk > cost.disk > 0
    assert cost.forward == cost.weights + cost.activation
    unknown = cost_of(world, chunks, 64, 96, Sampling("euler", 4), "latent", None, None)
    assert unknown.activation is None and unknown.forward is None


def test_what_a_world_is_tuned_by_is_counted():
    config = dict(tiny.WORLD.transformer.config)
    chunks, sampling = plan(tiny.WORLD.layout, 81), Sampling("euler", 9, 2.0)

    def cost(world, codec_config=None):
        return cost_of(world, chunks, 64, 96, sampling, "latent", config, codec_config)

    whole, foretold = cost(tiny.WORLD), cost(with_forecast(tiny.WORLD, Forecast(2, 3)))
    assert (whole.forwards, foretold.forwards) == (3 * 2 * 9, 3 * 2 * 6)
    assert foretold.flops == pytest.approx(whole.flops * 6 / 9)
    turns = with_blocks_in_turn(tiny.WORLD, torch.device("cpu"))
    assert cost(with_kernel(turns, "native")).weights == turns.transformer.device_bytes() < whole.weights
    assert cost(turns).forward < whole.forward
    large = replace(tiny.WORLD, codec=WanCodec(tiny_wan.random_vae()))
    vae = {**large.codec.vae.config, "base_dim": 160, "decoder_base_dim": 256}
    h, w = large.codec.grid.cells(704, 1280)
    activations = [
        cost_of(world, chunks, 704, 1280, sampling, "latent", None, vae).activation
        for world in (large, with_tiles(large, 22, 6))
    ]
    assert activations == [codec_activation(vae, h, w), encoding_activation(vae, h, w)]  # encoding takes whole frames
    assert codec_activation(vae, 22, 22) < 0.2 * activations[0] and activations[1] < activations[0]


def test_disk_is_an_upper_bound_of_what_a_world_file_takes(tmp_path):
    from spatial_memory.rollout.state import save_state

    state = tiny.one_chunk(tiny.begin())
    save_state(tmp_path / "w.safetensors", state)
    (first, *_) = plan(tiny.WORLD.layout, 81)
    cost = cost_of(tiny.WORLD, (first,), 64, 96, Sampling("euler", 1), "latent", None, None)
    picture = 3 * 64 * 96 * 4
    assert (tmp_path / "w.safetensors").stat().st_size - picture < 2 * cost.disk


@pytest.mark.parametrize("layout", [SPATIA_LAYOUT, MIRAGE_LAYOUT])
def test_what_does_not_fit_is_refused_with_a_remedy(layout):
    cost = Cost(3, 60, 1e15, 12 * GIB, 9 * GIB, 4 * GIB)
    assert refusal(cost, 24 * GIB, 10 * GIB, True) is None and refusal(cost, None, None, True) is None
    assert "9.0 GiB beside the weights, the device has 8.0 GiB; make smaller" in refusal(cost, 8 * GIB, None, True)
    whole = replace(cost, forward=21 * GIB)
    assert refusal(whole, 24 * GIB, None, True) is None and refusal(whole, None, None, True) is None
    assert "need 21.0 GiB, the device has 16.0 GiB; use Apply Spatial Control" in refusal(whole, 16 * GIB, None, True)
    assert "up to 4.0 GiB, 1.0 GiB are free; clear checkpoint" in refusal(cost, None, GIB, True)
    assert refusal(cost, None, GIB, False) is None


def test_a_person_reads_it():
    text = "\n".join(sentences(Cost(3, 60, 1e15, 12 * GIB, 9 * GIB, GIB // 2), 700.0, 24 * GIB, 100 * GIB))
    assert "3 chunks, 60 forwards" in text and "about 12 minutes" in text
    assert "21.0 GiB of 24.0 GiB" in text and "at most 0.50 GiB of 100.0 GiB" in text


def test_the_node_passes_the_state_on_and_says_what_was_trained_together():
    from spatial_memory.headless import host

    node = host.nodes()["SpatialMemory_Preflight"]
    state = tiny.begin()
    passed, report = node.execute(tiny.WORLD, state, tiny.PATH).args
    assert passed is state
    assert "3 chunks" in report and "mini was trained with latent memories" in report
