"""ComfyUI's own MODEL as a world model, inside ComfyUI's own process; ``test_native.py`` runs this once a checkout."""

import os
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import native_files
import pytest
import tiny_rollout
import torch
from diffusers.models.embeddings import get_timestep_embedding
from safetensors.torch import load_file, save_file

CHECKOUT = os.environ["SPATIAL_MEMORY_CHECKOUT"]
sys.path.insert(0, CHECKOUT)
given, sys.argv = sys.argv, ["main.py", "--cpu"]
import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import comfy.cli_args  # noqa: E402,F401

sys.argv = given
import comfy.ldm.wan.model  # noqa: E402
import comfy.ldm.wan.vae2_2  # noqa: E402
import comfy.model_management  # noqa: E402
import comfy.patcher_extension  # noqa: E402
import comfy.sd  # noqa: E402
import comfy.utils  # noqa: E402
import folder_paths  # noqa: E402
from spatial_memory.memory.presets import out_and_back  # noqa: E402
from spatial_memory.models.checkpoints import CheckpointError, load_transformer, load_wan_vae  # noqa: E402
from spatial_memory.models.wan_codec import WanCodec  # noqa: E402
from spatial_memory.models.wan_world import layout_of, wan_world  # noqa: E402
from spatial_memory.nodes.native import ApplySpatialControl, native_world  # noqa: E402
from spatial_memory.rollout import chunk, loop  # noqa: E402

import nodes as host_nodes  # noqa: E402

CASES = [  # heads, layers, blocks, control channels
    (1, 4, 2, 96),
    (2, 6, 3, 49),
    (1, 15, 4, 96),  # unevenly: 0, 4, 8, 12, as 8 on 30 layers
]


def small_vae(path):
    """ComfyUI's VAE around a file whose widths it does not read: its loader builds the released widths alone."""
    whole = comfy.ldm.wan.vae2_2.WanVAE
    made = partial(whole, dec_dim=16)
    try:
        comfy.ldm.wan.vae2_2.WanVAE = lambda **settings: made(**{**settings, "dim": 16})
        return comfy.sd.VAE(sd=load_file(path))
    finally:
        comfy.ldm.wan.vae2_2.WanVAE = whole


def loaded(path):
    """A MODEL from a file, as UNETLoader makes it."""
    return comfy.sd.load_diffusion_model(str(path))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return native_files.write(tmp_path_factory.mktemp("native"))


@pytest.fixture(scope="module")
def model(files):
    return loaded(files.base)


@pytest.fixture(scope="module")
def vae(files):
    return small_vae(files.vae)


def made(model, vae, branch, later=None):
    """A world in a layout of 96 channels: a branch of two blocks is no release's."""
    return native_world(model, vae, branch, "mirage", later)


class Prompted:
    """A backbone under one prompt."""

    def __init__(self, backbone, text):
        self.backbone, self.text, self.device = backbone, text, backbone.device

    def __call__(self, x, times, text, control, num_references=0):
        return self.backbone(x, times, self.text, control, num_references)


def window(references=2, frames=5, channels=96, seed=3):
    """Arguments of one forward: clean references, two clean history frames, one clean frame that stands behind."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(1, 48, references + frames, 4, 6, generator=g)
    times = torch.full((1, references + frames), 731.0)
    times[:, : references + 2] = 0
    times[:, -1] = 0
    text = torch.randn(1, 7, native_files.TEXT, generator=g)
    control = torch.randn(1, channels, frames, 4, 6, generator=g)
    return x, times, text, control, references


def sinusoid(dim, position):
    """The timestep's embedding as diffusers makes it."""
    return get_timestep_embedding(position.float(), dim, flip_sin_to_cos=True, downscale_freq_shift=0)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("references", [0, 3])
def test_one_forward_is_the_diffusers_way(tmp_path, vae, monkeypatch, case, references):
    heads, layers, blocks, channels = case
    files = native_files.write(tmp_path, heads, layers, blocks, channels)
    world = native_world(loaded(files.base), vae, files.branch, "spatia" if channels == 96 else "mask")
    theirs = load_transformer([files.base, files.branch])
    arguments = window(references, channels=channels)
    with torch.no_grad():
        for given in (arguments, (*arguments[:3], None, references)):
            here, there = world.transformer(*given), theirs(*given)
            assert here.shape == there.shape and there.std() > 0.1
            assert (here - there).abs().max() <= 2e-5 * there.abs().max(), (case, references)
        # What is left comes from the frequencies of the timestep, which the two write differently in float32.
        monkeypatch.setattr(comfy.ldm.wan.model, "sinusoidal_embedding_1d", sinusoid)
        assert (world.transformer(*arguments) - theirs(*arguments)).abs().max() <= 5e-6
    assert (theirs(*arguments) - theirs(*arguments[:3], None, references)).abs().max() > 0.01  # the branch is alive


def test_codec_is_the_diffusers_way(files, model, vae):
    ours = made(model, vae, files.branch).codec
    theirs = WanCodec(load_wan_vae(files.vae))
    images = torch.rand(9, 3, 64, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1
    codes = theirs.encode(images)
    torch.testing.assert_close(ours.encode(images), codes, rtol=0, atol=2e-5)
    torch.testing.assert_close(
        torch.cat(list(ours.encode_stream([images[:2], images[2:]])), 1), codes, rtol=0, atol=2e-5
    )
    torch.testing.assert_close(ours.encode_frames(images[:2]), theirs.encode_frames(images[:2]), rtol=0, atol=2e-5)
    torch.testing.assert_close(ours.decode(codes), theirs.decode(codes), rtol=0, atol=2e-5)
    torch.testing.assert_close(ours.to_raw(codes), theirs.to_raw(codes), rtol=0, atol=1e-6)
    torch.testing.assert_close(ours.from_raw(ours.to_raw(codes)), codes, rtol=0, atol=1e-5)


def test_a_long_film_is_one_stream(files, model, vae, monkeypatch):
    from spatial_memory.nodes import native_codec

    codec = made(model, vae, files.branch).codec
    latents = torch.randn(48, 9, 2, 2, generator=torch.Generator().manual_seed(1))
    whole = codec.decode(latents)
    monkeypatch.setattr(native_codec, "WINDOW", 5)
    monkeypatch.setattr(native_codec, "LEAD", 3)
    done = []
    pieces = list(codec.decode_stream(latents, done.append))
    assert [len(piece) for piece in pieces] == [1] + [4] * 8 and done == list(range(1, 10))
    torch.testing.assert_close(torch.cat(pieces), whole, rtol=0, atol=1e-5)

    forward, calls = vae.first_stage_model.conv2.forward, []

    def too_much_at_first(hidden):
        calls.append(1)
        if len(calls) == 1:
            raise comfy.model_management.OOM_EXCEPTION("no memory left")
        return forward(hidden)

    monkeypatch.setattr(vae.first_stage_model.conv2, "forward", too_much_at_first)
    done.clear()
    pieces = list(codec.decode_stream(latents, done.append))
    assert [len(piece) for piece in pieces] == [17, 8, 8] and done == [5, 7, 9]
    torch.testing.assert_close(torch.cat(pieces)[:17], whole[:17], rtol=0, atol=1e-5)


def test_a_film_of_two_chunks_is_the_diffusers_way(files, model, vae):
    layout = replace(layout_of(2, 96, "mirage"), first_frames=9, chunk_frames=9, history_frames=4)
    here = replace(native_world(model, vae, files.branch, "mirage"), layout=layout)
    there = wan_world(
        load_transformer([files.base, files.branch]), WanCodec(load_wan_vae(files.vae)), layout, native_files.TEXT
    )
    latents = []
    text = torch.randn(1, 7, native_files.TEXT, generator=torch.Generator().manual_seed(4))
    for world in (here, there):
        world = replace(world, transformer=Prompted(world.transformer, text))
        path = out_and_back(17)
        image = tiny_rollout.photograph()
        cameras = path.bake(tiny_rollout.HEIGHT, tiny_rollout.WIDTH)[:1]
        state = chunk.start(world, image, cameras, ("",), 0)
        geometry = chunk.start_geometry(tiny_rollout.WallGeometry(), image, cameras)
        state = chunk.init_memory(world, state, image, geometry, "latent")
        settings = loop.Settings(replace(world.defaults, steps=2), 2)
        state = loop.run(world, state, path, settings, tiny_rollout.WallGeometry())
        assert state.chunk == 2
        latents.append(state.latents)
    assert latents[1].std() > 0.1
    assert (latents[0] - latents[1]).abs().max() <= 1e-4, (latents[0] - latents[1]).abs().max()


@pytest.mark.parametrize("form", ["bf16", "fp8"])
def test_other_precisions_load_and_stay_near(tmp_path, files, model, vae, form):
    state = load_file(files.base)
    state = native_files.eight_bits(state) if form == "fp8" else {k: t.to(torch.bfloat16) for k, t in state.items()}
    save_file(state, tmp_path / "base.safetensors")
    branch = {name: tensor.to(torch.bfloat16) for name, tensor in load_file(files.branch).items()}
    save_file(branch, tmp_path / "branch.safetensors")
    exact = made(model, vae, files.branch).transformer(*window())
    coarse = made(loaded(tmp_path / "base.safetensors"), vae, tmp_path / "branch.safetensors")
    near = coarse.transformer(*window()).float()
    assert near.isfinite().all() and not torch.equal(near, exact)
    assert (near - exact).square().mean().sqrt() < 0.12 * exact.std()


def test_a_lora_acts_as_merged_and_only_on_later_chunks(files, model, vae):
    with_lora, _ = comfy.sd.load_lora_for_models(model, None, comfy.utils.load_torch_file(str(files.lora)), 1.0, 0.0)
    world = made(model, vae, files.branch, with_lora)
    theirs = load_transformer([files.base, files.branch])
    arguments = window()
    plain = world.backbone(0)(*arguments)
    with torch.no_grad():
        assert (plain - theirs(*arguments)).abs().max() <= 2e-5
        merged = theirs.state_dict()
        lora = load_file(files.lora)
        from spatial_memory.models.names import transformer_name

        for name in [name for name in lora if ".lora_A." in name]:
            weight = transformer_name(name.removeprefix("diffusion_model.").replace("lora_A.", ""))
            merged[weight] += lora[name.replace("lora_A", "lora_B")] @ lora[name]
        later = world.backbone(1)(*arguments)
        assert (later - theirs(*arguments)).abs().max() <= 1e-4
    assert (later - plain).abs().max() > 0.01
    assert torch.equal(world.backbone(0)(*arguments), plain)


@pytest.fixture
def half_loaded(monkeypatch):
    """ComfyUI loads half of the weights of every model and casts the others when they are asked for, as on a small GPU.

    Returns:
        the patchers that were loaded so.
    """
    loaded = []

    def load_models_gpu(models, **settings):
        for patcher in models:
            if patcher not in loaded:
                patcher.detach()
                patcher.model_patches_to(patcher.load_device)
                patcher.partially_load(patcher.load_device, patcher.model_size() // 2)
                loaded.append(patcher)

    monkeypatch.setattr(comfy.model_management, "load_models_gpu", load_models_gpu)
    yield loaded
    for patcher in loaded:
        patcher.detach()


def cast(network):
    """How many layers of a network are cast when they are asked for, and how many are there."""
    states = [m.comfy_cast_weights for m in network.modules() if hasattr(m, "comfy_cast_weights")]
    return sum(states), len(states)


@pytest.mark.parametrize("later", [False, True], ids=["alone", "with a LoRA"])
def test_a_model_and_a_branch_that_are_loaded_in_parts_say_the_same(files, later, vae, request):
    with_lora, _ = comfy.sd.load_lora_for_models(
        loaded(files.base), None, comfy.utils.load_torch_file(str(files.lora)), 1.0 if later else 0.0, 0.0
    )
    expected = made(with_lora, vae, files.branch).transformer(*window())
    half = request.getfixturevalue("half_loaded")
    model, _ = comfy.sd.load_lora_for_models(
        loaded(files.base), None, comfy.utils.load_torch_file(str(files.lora)), 1.0 if later else 0.0, 0.0
    )
    world = made(model, vae, files.branch)
    said = world.transformer(*window())
    base, branch = half
    assert base is world.transformer.model and branch is world.transformer.branch
    for patcher in half:
        late, every = cast(patcher.model)
        assert 0 < late < every and patcher.model.model_lowvram
        assert 0 < patcher.model.model_loaded_weight_memory < patcher.model_size()
    assert (said - expected).abs().max() <= 1e-5 and said.std() > 0.1
    assert (world.transformer(*window()) - said).abs().max() == 0
    if later:
        plain = made(loaded(files.base), vae, files.branch).transformer(*window())
        assert (plain - said).abs().max() > 0.01  # the LoRA acts on weights that are cast late, too


def test_others_patches_and_wrappers_are_called(files, model, vae):
    seen = []
    patched = model.clone()

    def block(args, extra):
        seen.append("block")
        out = extra["original_block"](args)
        return {"img": out["img"] * 1.5}

    def around(executor, *args, **keywords):
        seen.append("wrapper")
        return executor(*args, **keywords)

    def override(function, *args, **keywords):
        seen.append("attention")
        return function(*args, **keywords)

    patched.set_model_patch_replace(block, "dit", "double_block", 0)
    patched.set_model_patch_replace(block, "dit", "double_block", 1)
    patched.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.DIFFUSION_MODEL, "other", around)
    patched.add_wrapper_with_key(comfy.patcher_extension.WrappersMP.APPLY_MODEL, "other", around)
    patched.model_options["transformer_options"]["optimized_attention_override"] = override
    plain = made(model, vae, files.branch).transformer(*window())
    world = made(patched, vae, files.branch)
    assert seen == []
    changed = world.transformer(*window())
    assert (seen.count("block"), seen.count("wrapper")) == (2, 2)
    assert seen.count("attention") == 2 * (4 + 2)  # of the model's blocks and of the branch's
    assert (changed - plain).abs().max() > 0.01
    kept = patched.model_options["transformer_options"]
    assert list(kept["patches_replace"]["dit"]) == [("double_block", 0), ("double_block", 1)]
    assert kept["patches_replace"]["dit"]["double_block", 0] is block


def test_the_models_weights_and_outputs_stay_as_they_are(files, model, vae):
    network = model.model.diffusion_model
    g = torch.Generator().manual_seed(0)
    x, text = torch.randn(1, 48, 3, 4, 6, generator=g), torch.randn(1, 7, native_files.TEXT, generator=g)

    def call():
        with torch.no_grad():
            return network(x, torch.full((1,), 500.0), context=text, transformer_options={})

    comfy.model_management.load_models_gpu([model])
    before, weights = call(), {name: tensor.clone() for name, tensor in network.state_dict().items()}
    options = repr(model.model_options)
    world = made(model, vae, files.branch)
    assert torch.equal(world.transformer(*window()), world.transformer(*window()))  # nor does a call change the next
    assert torch.equal(call(), before) and repr(model.model_options) == options and not model.wrappers
    assert all(torch.equal(tensor, weights[name]) for name, tensor in network.state_dict().items())


def test_interruption_raises_at_the_next_step(files, model, vae):
    world = made(model, vae, files.branch)
    comfy.model_management.interrupt_current_processing(True)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        world.transformer(*window())
    comfy.model_management.interrupt_current_processing(True)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        world.codec.decode(torch.zeros(48, 1, 2, 2))
    assert world.transformer(*window()).isfinite().all()


def test_a_missing_prompt_is_said(files, model, vae):
    x, times, text, control, references = window()
    with pytest.raises(ValueError, match="needs a prompt: connect CLIP Text Encode"):
        made(model, vae, files.branch).transformer(x, times, text[:, :0], control, references)


# ---------------------------------------------------------------------------------------------------------- refusals


@pytest.fixture
def unread(monkeypatch):
    """Fails when a branch's weights are read."""
    from spatial_memory.nodes import native_branch

    def never(path):
        raise AssertionError("weights were read")

    monkeypatch.setattr(native_branch, "branch_state", never)


def of_channels(tmp_path, state, channels_in, channels_out):
    """A base whose input and output have other channels."""
    width = state["head.modulation"].shape[-1]
    changed = dict(state)
    changed["patch_embedding.weight"] = torch.zeros(width, channels_in, 1, 2, 2)
    changed["head.head.weight"] = torch.zeros(channels_out * 4, width)
    changed["head.head.bias"] = torch.zeros(channels_out * 4)
    save_file(changed, tmp_path / "other.safetensors")
    return loaded(tmp_path / "other.safetensors")


def test_other_models_are_refused(tmp_path, files, model, vae, unread):
    state = load_file(files.base)
    other = of_channels(tmp_path, state, 36, 16)
    with pytest.raises(ValueError, match=r"width 128 with 36 channels in and 16 out; wanted: wan2.2_ti2v_5B"):
        native_world(other, vae, files.branch)
    save_file({**state, **load_file(files.branch)}, tmp_path / "vace.safetensors")
    with pytest.raises(ValueError, match="brings a VACE branch of its own"):
        native_world(loaded(tmp_path / "vace.safetensors"), vae, files.branch)
    foreign = model.clone()
    foreign.add_object_patch("diffusion_model", torch.nn.Linear(1, 1))
    with pytest.raises(ValueError, match="model is a Linear .*, no Wan model; wanted: wan2.2_ti2v_5B"):
        native_world(foreign, vae, files.branch)
    deeper = loaded(native_files.write(tmp_path / "deep", layers=6).base)
    with pytest.raises(ValueError, match=r"later_model has .*6.* model has .*4.* connect the same model"):
        native_world(model, vae, files.branch, later=deeper)


def test_other_vaes_are_refused(files, model, vae, unread):
    class Sixteen:
        first_stage_model, latent_channels = torch.nn.Linear(1, 1), 16

    with pytest.raises(ValueError, match=r"of 16 channels \(Wan2.1's has 16\); wanted: wan2.2_vae"):
        native_world(model, Sixteen(), files.branch)


def test_branches_that_do_not_belong_are_refused(tmp_path, files, model, vae, unread):
    wide = native_files.write(tmp_path / "wide", heads=2)
    with pytest.raises(CheckpointError, match=r"has width 256, the base MODEL has 128"):
        native_world(model, vae, wide.branch)
    three = native_files.write(tmp_path / "three", layers=6, blocks=3)
    with pytest.raises(CheckpointError, match="3 blocks, which sit at no even spacing on the model's 4 layers"):
        native_world(model, vae, three.branch, "spatia")
    with pytest.raises(CheckpointError, match="no control branch"):
        native_world(model, vae, files.base)
    with pytest.raises(ValueError, match="2 blocks and 96 channels, which no release has"):
        native_world(model, vae, files.branch, "auto")
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(files.branch.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="no whole safetensors file"):
        native_world(model, vae, cut)
    pickle = tmp_path / "branch.pt"
    torch.save({"vace_patch_embedding.weight": torch.zeros(1)}, pickle)
    with pytest.raises(CheckpointError, match="pickles are not read"):
        native_world(model, vae, pickle)


def test_a_branch_with_a_tensor_missing_is_refused(tmp_path, files, model, vae):
    state = load_file(files.branch)
    del state["vace_blocks.1.after_proj.bias"]
    save_file(state, tmp_path / "branch.safetensors")
    with pytest.raises(CheckpointError, match=r"missing: 1\n.*vace_blocks.1.after_proj.bias"):
        native_world(model, vae, tmp_path / "branch.safetensors", "spatia")


def test_the_node_lists_and_finds_branches(files, model, vae, monkeypatch, tmp_path):
    folder_paths.add_model_folder_path("spatial_memory", str(files.branch.parent))
    (files.branch.parent / "pickle.pt").write_bytes(b"")
    schema = ApplySpatialControl.define_schema()
    (branch,) = [entry for entry in schema.inputs if entry.id == "branch"]
    assert "branch.safetensors" in branch.options and "pickle.pt" not in branch.options
    world = ApplySpatialControl.execute(model, vae, "branch.safetensors", "mirage").result[0]
    assert world.name == "wan2.2-mirage" and world.text_channels == native_files.TEXT
    kept = sum(t.numel() * 4 for t in load_file(files.branch).values())
    assert world.get_ram_usage() == kept  # the MODEL's weights are its loader's


assert Path(host_nodes.__file__).parent == Path(CHECKOUT)
