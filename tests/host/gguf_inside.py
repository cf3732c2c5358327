"""A MODEL from ComfyUI-GGUF's own loader under Apply Spatial Control; ``test_native.py`` runs this once a checkout."""

import importlib.util
import os
import sys
from pathlib import Path

import gguf
import pytest
import torch
from safetensors.torch import load_file

sys.path.insert(0, str(Path(__file__).parent))
from native_inside import comfy, files, folder_paths, half_loaded, loaded, made, vae, window  # noqa: E402

__all__ = ["files", "half_loaded", "vae"]  # fixtures

LOADER = Path(os.environ["SPATIAL_MEMORY_GGUF"])
NEAR = {"Q8_0": 0.01, "Q5_1": 0.05, "Q4_0": 0.1}  # of the deviation of what is said


@pytest.fixture(scope="module")
def pack():
    """The checkout of ComfyUI-GGUF, as ComfyUI imports it."""
    spec = importlib.util.spec_from_file_location(
        "comfyui_gguf", LOADER / "__init__.py", submodule_search_locations=[str(LOADER)]
    )
    module = sys.modules["comfyui_gguf"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def written(base, path, kind):
    """The blocks' linear weights in ``kind``, the rest in float32; a tensor of five axes keeps its shape beside it."""
    writer, coded = gguf.GGUFWriter(str(path), "wan"), 0
    for name, tensor in load_file(base).items():
        if name.startswith("blocks.") and tensor.ndim == 2 and tensor.shape[1] % 32 == 0:
            writer.add_tensor(name, gguf.quants.quantize(tensor.numpy(), kind), raw_dtype=kind)
            coded += 1
        else:
            writer.add_tensor(name, tensor.numpy())
        if tensor.ndim > 4:
            writer.add_array(f"comfy.gguf.orig_shape.{name}", tuple(tensor.shape))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return coded


@pytest.mark.parametrize("half", [False, True], ids=["whole", "in parts"])
@pytest.mark.parametrize("lora", [False, True], ids=["plain", "with a LoRA"])
@pytest.mark.parametrize("kind", list(NEAR))
def test_a_gguf_model_stays_near_the_exact_one(tmp_path, files, vae, pack, monkeypatch, request, kind, lora, half):
    def patched(model):
        weights = comfy.utils.load_torch_file(str(files.lora))
        return comfy.sd.load_lora_for_models(model, None, weights, 1.0, 0.0)[0] if lora else model

    exact = made(patched(loaded(files.base)), vae, files.branch).transformer(*window())
    assert written(files.base, tmp_path / "base.gguf", getattr(gguf.GGMLQuantizationType, kind)) == 4 * 10
    monkeypatch.setattr(folder_paths, "get_full_path", lambda folder, name: str(tmp_path / name))
    model = patched(pack.nodes.UnetLoaderGGUF().load_unet("base.gguf")[0])
    monkeypatch.undo()
    halves = request.getfixturevalue("half_loaded") if half else None
    world = made(model, vae, files.branch)
    said = world.transformer(*window())
    off = ((said - exact).square().mean().sqrt() / exact.std()).item()
    assert 0 < off < NEAR[kind]
    assert torch.equal(world.transformer(*window()), said)
    if half:
        assert [patcher.model.model_lowvram for patcher in halves] == [True, True]
    sys.stdout.write(f"{kind}{' + LoRA' if lora else ''}{', in parts' if half else ''}: off by {off:.4f}\n")
