"""A user's files become a world: every spelling, the layouts read off shapes, LoRAs as adapters, bad files refused."""

import json
import struct

import pytest
import tiny_wan as tiny
import torch
from safetensors.torch import save_file
from spatial_memory.models.adapter import Adapted, Adapter
from spatial_memory.models.checkpoints import CheckpointError
from spatial_memory.models.lora import lora_from_state, merge_lora
from spatial_memory.models.transformer import SpatialTransformer
from spatial_memory.models.wan_load import load_wan
from spatial_memory.models.wan_world import layout_of, trained_together


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("wan")


@pytest.fixture(scope="module")
def spatia(folder):
    return tiny.write(folder / "spatia", branch_blocks=2, branch_channels=96, lora=True)


def output(network, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator)

    with torch.no_grad():
        return network(draw(1, 48, 4, 4, 6), torch.full((1, 4), 500.0), draw(1, 3, 32), draw(1, 96, 3, 4, 6), 1)


def test_files_become_a_world_whose_layout_is_read_off_the_branch(spatia):
    world = load_wan(spatia, "spatia", torch.float32)
    assert world.name == "wan2.2-spatia" and world.reads_text and world.text_channels == 32
    assert world.codec.grid.channels == 48 and world.layout.max_references == 7
    assert (world.defaults.sampler, world.defaults.steps, world.defaults.guidance_scale) == ("unipc", 40, 3.5)
    assert "experiment" in trained_together(world, "latent") and "experiment" not in trained_together(world, "rgb")


@pytest.mark.parametrize(
    ("blocks", "channels", "name"), [(8, 96, "spatia"), (15, 96, "mirage"), (8, 49, "mask"), (15, 49, "mask")]
)
def test_the_releases_are_told_by_their_shape(blocks, channels, name):
    assert layout_of(blocks, channels).name == name


def test_what_no_release_has_must_be_chosen_and_must_fit():
    with pytest.raises(ValueError, match="choose the layout"):
        layout_of(5, 96)
    with pytest.raises(ValueError, match="shows 49 channels, the branch takes 96; choose mirage or spatia"):
        layout_of(8, 96, "mask")
    assert layout_of(8, 96, "mirage").name == "mirage"


def test_a_lora_is_an_adapter_that_changes_no_weight(spatia):
    world = load_wan(spatia, "spatia", torch.float32)
    before = {name: tensor.clone() for name, tensor in world.transformer.state_dict().items()}
    plain = output(world.transformer)
    assert world.backbone(0) is world.transformer
    adapted = output(world.backbone(1))
    merged = SpatialTransformer(**dict(world.transformer.config)).eval()
    merged.load_state_dict(merge_lora(before, lora_from_state(tiny.read(spatia.lora))))
    assert (adapted - plain).abs().max() > 0.01
    assert (adapted - output(merged)).abs().max() < 2e-5
    assert torch.equal(output(world.transformer), plain)
    assert all(torch.equal(tensor, before[name]) for name, tensor in world.transformer.state_dict().items())


def test_an_adapter_ends_with_an_error_inside(spatia):
    network = load_wan(spatia, "spatia", torch.float32).transformer
    plain = output(network)
    adapter = Adapter(network, lora_from_state(tiny.read(spatia.lora)))
    with pytest.raises(ValueError, match="multiple of the patch"):
        Adapted(network, adapter)(
            torch.zeros(1, 48, 1, 3, 4), torch.zeros(1, 1), torch.zeros(1, 1, 32), torch.zeros(1, 96, 1, 3, 4)
        )
    assert torch.equal(output(network), plain)


def test_a_lora_of_another_model_is_refused_by_the_header(spatia, folder):
    state = {name.replace("blocks.0", "blocks.77"): tensor for name, tensor in tiny.read(spatia.lora).items()}
    save_file(state, folder / "other_lora.safetensors")
    with pytest.raises(CheckpointError, match=r"LoRA of another model: .* blocks\.77|another model"):
        load_wan(tiny.replaced(spatia, lora=folder / "other_lora.safetensors"), "spatia")
    save_file({"blocks.0.self_attn.q.something": torch.zeros(2)}, folder / "no_lora.safetensors")
    with pytest.raises(CheckpointError, match="no whole LoRA"):
        load_wan(tiny.replaced(spatia, lora=folder / "no_lora.safetensors"), "spatia")


def refuse(files, match, **more):
    """The files are refused before a weight is read."""
    with pytest.raises((CheckpointError, MemoryError), match=match):
        load_wan(files, "spatia", **more)


def base_with(folder, name, spatia, **changes):
    state = {**tiny.read(spatia.base), **changes}
    save_file({key: tensor for key, tensor in state.items() if tensor is not None}, folder / name)
    return tiny.replaced(spatia, base=folder / name)


def test_other_families_and_sizes_are_named(spatia, folder, monkeypatch):
    def unread(*_):
        raise AssertionError("weights were read")

    monkeypatch.setattr("spatial_memory.models.wan_load.load_transformer", unread)
    wide = base_with(folder, "14B.safetensors", spatia, **{"patch_embedding.weight": torch.zeros(5120, 36, 1, 2, 2)})
    refuse(wide, "14B model .* 36 channels.*wanted: wan2.2_ti2v_5B")
    vace = {"patch_embedding.weight": torch.zeros(1536, 16, 1, 2, 2)}
    vace["vace_patch_embedding.weight"] = torch.zeros(1536, 96, 1, 2, 2)
    refuse(base_with(folder, "vace.safetensors", spatia, **vace), "Wan2.1 VACE .* 16 channels")
    save_file({"a": torch.zeros(1)}, folder / "sdxl.safetensors")
    refuse(tiny.replaced(spatia, base=folder / "sdxl.safetensors"), "sdxl.safetensors is no Wan transformer")
    refuse(tiny.replaced(spatia, base=spatia.branch), "control branch without its base")
    refuse(tiny.replaced(spatia, branch=None), "has no control branch; choose a branch file")
    refuse(tiny.replaced(spatia, branch=spatia.base), "is no control branch")
    refuse(tiny.replaced(spatia, vae=spatia.base), "is no Wan VAE")
    old = {**tiny.read(spatia.vae), "conv2.weight": torch.zeros(16, 16, 1, 1, 1)}
    save_file(old, folder / "wan_2.1_vae.safetensors")
    refuse(tiny.replaced(spatia, vae=folder / "wan_2.1_vae.safetensors"), "VAE of 16 channels")
    other = tiny.write(folder / "wide", branch_blocks=2, branch_channels=96, heads=2)
    refuse(tiny.replaced(spatia, branch=other.branch), "width 256, the base .* 128")
    refuse(spatia, "the weights need .* GiB, 0.0 GiB are free", free_bytes=1 << 20)


def test_a_truncated_download_is_refused(spatia, folder):
    whole = spatia.branch.read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[: len(whole) // 2])
    refuse(tiny.replaced(spatia, branch=folder / "cut.safetensors"), "no whole safetensors file .* download it again")
    hostile = json.dumps({"a": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    (folder / "hostile.safetensors").write_bytes(struct.pack("<Q", len(hostile)) + hostile)
    refuse(tiny.replaced(spatia, branch=folder / "hostile.safetensors"), "no whole safetensors file")


def test_fp8_without_scales_is_refused_by_the_header(spatia, folder):
    eight = tiny.read(spatia.base)["blocks.0.ffn.0.weight"].to(torch.float8_e4m3fn)
    files = base_with(folder, "fp8.safetensors", spatia, **{"blocks.0.ffn.0.weight": eight})
    refuse(files, "fp8 weights without their scales .*blocks.0.ffn")
    scaled = base_with(
        folder,
        "fp8_scaled.safetensors",
        spatia,
        **{"blocks.0.ffn.0.weight": eight, "blocks.0.ffn.0.scale_weight": torch.ones(())},
    )
    assert load_wan(scaled, "spatia", torch.float32).transformer.dtype == torch.float32


def test_a_diffusers_folder_with_a_branch_in_wans_names(spatia, folder):
    world = load_wan(spatia, "spatia", torch.float32)
    config = dict(world.transformer.config)
    base = folder / "diffusers"
    names = {name: t for name, t in world.transformer.state_dict().items() if not name.startswith("vace_")}
    (base / "transformer").mkdir(parents=True)
    save_file(names, base / "transformer" / "diffusion_pytorch_model.safetensors")
    world.codec.vae.save_pretrained(base / "vae")
    again = load_wan(tiny.replaced(spatia, base=base / "transformer", vae=base / "vae"), "spatia", torch.float32)
    assert dict(again.transformer.config) == config
    assert torch.equal(output(again.transformer), output(world.transformer))


MEASURE = """
import json, resource, sys, threading, time
from pathlib import Path
import psutil, torch
sys.path[:0] = [sys.argv[2]]
import conftest  # the pack's import name
from spatial_memory.models.wan_load import WanFiles, load_wan
import spatial_memory.models.transformer, diffusers.models.autoencoders.autoencoder_kl_wan
from accelerate import init_empty_weights
folder, me, most = Path(sys.argv[1]), psutil.Process(), [0]
files = WanFiles(folder / "base.safetensors", folder / "vae.safetensors", folder / "branch.safetensors")
before, done = me.memory_info().rss, threading.Event()
def watch():
    while not done.is_set():
        most[0] = max(most[0], me.memory_info().rss)
        time.sleep(0.005)
thread = threading.Thread(target=watch); thread.start()
world = load_wan(files, "spatia")
total = sum(float(p.sum()) for p in world.transformer.parameters())  # every page is touched, none copied
done.set(); thread.join()
print(json.dumps({"over": most[0] - before, "total": total}))
"""


def test_loading_takes_little_more_memory_than_the_weights(tmp_path):
    """Half a gigabyte of bfloat16: at most 1.05 times that and 100 MB while it loads (a copy would take twice)."""
    import subprocess
    import sys
    from pathlib import Path

    pytest.importorskip("psutil")
    files = tiny.write(tmp_path, branch_blocks=2, branch_channels=96, heads=12, feed=8960, dtype=torch.bfloat16)
    size = sum(path.stat().st_size for path in (files.base, files.vae, files.branch))
    assert size > 3e8
    command = [sys.executable, "-c", MEASURE, str(tmp_path), str(Path(__file__).parent)]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-2000:]
    over = json.loads(ran.stdout)["over"]
    assert over < 1.05 * size + 1e8, (over, size)
