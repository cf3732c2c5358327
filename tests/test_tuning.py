"""A world's options on tiny Wan weights: equal where they must be, refused where they do not apply."""

from dataclasses import replace

import pytest
import tiny_wan
import torch
from spatial_memory.models import attending, compiled
from spatial_memory.models.attending import Attending
from spatial_memory.models.blockwise import Blockwise
from spatial_memory.models.compiled import is_compiled
from spatial_memory.models.forecast import Forecast
from spatial_memory.models.tuning import (
    with_blocks_in_turn,
    with_compiled_blocks,
    with_forecast,
    with_kernel,
    with_tiles,
)
from spatial_memory.models.wan_codec import WanCodec
from spatial_memory.models.wan_load import load_wan
from spatial_memory.models.world import load_random_world

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return load_wan(tiny_wan.write(tmp_path_factory.mktemp("wan")), "mirage", torch.float32)


@pytest.fixture(scope="module")
def with_lora(tmp_path_factory):
    return load_wan(tiny_wan.write(tmp_path_factory.mktemp("lora"), lora=True), "spatia", torch.float32)


@torch.no_grad()
def told(network, seed=0):
    """What a network makes of a window with one reference."""
    generator = torch.Generator().manual_seed(seed)

    def some(*shape):
        return torch.randn(shape, generator=generator)

    times = torch.tensor([[0.0, 0.0, 700.0, 700.0]])
    return network(some(1, 48, 4, 4, 6), times, some(1, 5, tiny_wan.TEXT), some(1, 96, 3, 4, 6), num_references=1)


def test_the_kernel_that_was_chosen_computes(world, monkeypatch):
    from diffusers.models import attention_dispatch as dispatch

    asked = []
    registry = dispatch._AttentionBackendRegistry
    native = registry._backends[dispatch.AttentionBackendName.NATIVE]

    def counted(*given, **named):
        asked.append(1)
        return native(*given, **named)

    monkeypatch.setitem(registry._backends, dispatch.AttentionBackendName.FLEX, counted)
    names = registry._supported_arg_names[dispatch.AttentionBackendName.NATIVE]
    monkeypatch.setitem(registry._supported_arg_names, dispatch.AttentionBackendName.FLEX, names)
    tuned = with_kernel(world, "flex")
    told(world.transformer)
    assert not asked
    assert torch.equal(told(tuned.transformer), told(world.transformer)) and asked
    assert registry._active_backend == dispatch.AttentionBackendName.NATIVE  # as it was
    assert tuned.transformer.device == CPU and tuned.get_ram_usage() == world.get_ram_usage()


def test_a_kernel_that_is_not_there_is_refused_before_the_run(world):
    with pytest.raises(ValueError, match="attention 'sage' cannot be used here: .* Or choose 'native'"):
        with_kernel(world, "sage")
    with pytest.raises(ValueError, match="attention is 'sage_hub', expected one of native"):
        with_kernel(world, "sage_hub")
    assert not any("hub" in kernel for kernel in attending.KERNELS)


@pytest.mark.parametrize("lora", [False, True])
def test_blocks_come_one_at_a_time_and_change_no_bit(request, monkeypatch, lora):
    given = request.getfixturevalue("with_lora" if lora else "world")
    turns, network = with_blocks_in_turn(given, CPU), given.later or given.transformer
    moves, there, most = [], set(), 0
    to = torch.nn.Module.to

    def seen(module, *args, **named):
        nonlocal most
        moves.append(module)
        if type(module).__name__ in ("SpatialBlock", "SpatialBranchBlock"):
            there.symmetric_difference_update({id(module)})
            most = max(most, len(there))
        return to(module, *args, **named)

    monkeypatch.setattr(torch.nn.Module, "to", seen)
    found = told(turns.later or turns.transformer)
    monkeypatch.undo()
    assert torch.equal(found, told(network))
    assert most == 1 and not there and len(moves) > 2 * tiny_wan.LAYERS
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in given.transformer.modules())


def test_blocks_in_turn_are_on_the_device_they_are_told_to_compute_on(world):
    network = tiny_wan.random_transformer(2, 96)
    turn = Blockwise(network, torch.device("meta"))
    assert turn.device.type == "meta"
    sizes = [sum(p.numel() * 4 for p in b.parameters()) for b in (*network.blocks, *network.vace_blocks)]
    whole = sum(p.numel() * 4 for p in network.parameters())
    assert turn.device_bytes() == whole - sum(sizes) + max(sizes) < whole


def test_compiled_blocks_share_the_weights_and_leave_the_network_as_it_was(world):
    tuned = with_compiled_blocks(world)
    assert {id(p) for p in tuned.transformer.parameters()} == {id(p) for p in world.transformer.parameters()}
    assert tuned.get_ram_usage() == world.get_ram_usage()
    assert type(world.transformer.blocks[0]).__name__ == "SpatialBlock"
    assert type(tuned.transformer.blocks[0]).__name__ == "OptimizedModule"


def test_compiled_blocks_say_the_same(world):
    whole = told(world.transformer)
    found = told(with_compiled_blocks(world).transformer)
    assert (found - whole).abs().max() < 1e-4 * whole.abs().max()


def test_what_cannot_be_compiled_is_refused_with_its_reason(with_lora, world, monkeypatch):
    with pytest.raises(ValueError, match="do not see a LoRA"):
        with_compiled_blocks(with_lora)
    monkeypatch.setattr(compiled.shutil, "which", lambda name: None)
    with pytest.raises(ValueError, match="which is not installed"):
        with_compiled_blocks(world)


def test_tiles_are_decoded_as_the_codec_does_it(world):
    tuned = with_tiles(world, 8, 2)
    latents = torch.randn(48, 2, 8, 12, generator=torch.Generator().manual_seed(0))
    expected = torch.cat(list(world.codec.decode_tiled(latents, 8, 2)))
    assert torch.equal(tuned.codec.decode(latents), expected) and not torch.equal(world.codec.decode(latents), expected)
    images = torch.rand(5, 3, 64, 96) * 2 - 1
    assert torch.equal(tuned.codec.encode(images), world.codec.encode(images))
    assert torch.equal(torch.cat(list(tuned.codec.encode_stream([images])), 1), world.codec.encode(images))
    assert isinstance(world.codec, WanCodec) and tuned.codec.grid == world.codec.grid


def test_tiles_that_cannot_be_are_refused(world):
    with pytest.raises(ValueError, match="the codec 'mini' decodes whole frames only; set tile to 0"):
        with_tiles(load_random_world(), 16, 4)
    with pytest.raises(ValueError, match="tile is 8 with overlap 8"):
        with_tiles(world, 8, 8)


def test_a_network_in_other_hands_is_left_to_them(world):
    class Foreign:
        device = CPU

        def parameters(self):
            return iter(())

    foreign = replace(world, transformer=Foreign())
    for option, change in (
        ("attention", lambda w: with_kernel(w, "native")),
        ("compile", with_compiled_blocks),
        ("offload", lambda w: with_blocks_in_turn(w, CPU)),
    ):
        with pytest.raises(ValueError, match=f"{option} is ComfyUI's own affair"):
            change(foreign)
    assert with_forecast(foreign, Forecast(2)).forecast.every == 2


def test_options_add_up_in_any_order(world, with_lora):
    """What an option before has set stays: the kernel, the LoRA, the tiles chosen last."""
    for given in (with_kernel(with_blocks_in_turn(with_lora, CPU), "flex"), with_kernel(with_lora, "flex")):
        turns = with_blocks_in_turn(given, CPU)
        for before, after in ((with_lora.transformer, turns.transformer), (with_lora.later, turns.later)):
            assert isinstance(after, Attending) and after.kernel == "flex" and isinstance(after.network, Blockwise)
            assert torch.equal(told(after.network), told(before))
    assert not torch.equal(told(with_lora.transformer), told(with_lora.later))
    again = with_compiled_blocks(with_compiled_blocks(with_kernel(world, "flex")))
    assert isinstance(again.transformer, Attending) and is_compiled(again.transformer.network)
    assert {id(p) for p in again.transformer.parameters()} == {id(p) for p in world.transformer.parameters()}
    assert (with_tiles(with_tiles(world, 8, 2), 16, 4).codec.tile, with_tiles(world, 8, 2).codec.codec) == (
        16,
        world.codec,
    )


def test_compiled_blocks_and_blocks_in_turn_exclude_each_other(world):
    for one, other in ((with_compiled_blocks, in_turn), (in_turn, with_compiled_blocks)):
        with pytest.raises(ValueError, match="choose compile or offload"):
            other(with_kernel(one(world), "native"))


def in_turn(world):
    return with_blocks_in_turn(world, CPU)


def tune(world, **options):
    from spatial_memory import headless

    return headless.host.nodes()["SpatialMemory_TuneWorldModel"].execute(world, **options).result[0]


def test_the_node_changes_only_what_it_is_told(world, monkeypatch):
    assert tune(world, every=1) is world
    tuned = tune(world, every=2, first=4, order=0, tile=8, overlap=2, offload=True)
    assert tuned.forecast == Forecast(2, 4, 0) and (tuned.codec.tile, tuned.codec.overlap) == (8, 2)
    assert isinstance(tuned.transformer, Blockwise) and world.forecast == Forecast(1)
    with pytest.raises(ValueError, match="choose compile or offload"):
        tune(world, every=1, compile=True, offload=True)
    monkeypatch.setattr("spatial_memory.nodes.tune.host_manages_memory", lambda: True)
    with pytest.raises(ValueError, match="offload would move weights that ComfyUI moves too; use Apply Spatial Con"):
        tune(world, every=1, offload=True)
