"""The Wan workflows on the real server, end to end: tiny random weights in the real files' formats.

The host's text encoder has one size (5.7 B parameters), so the prompt comes from a stand-in of the same interface.
"""

import json
import shutil
import time
from pathlib import Path

import comfyui
import pytest
import tiny_wan
import torch
from PIL import Image
from safetensors.torch import save_file
from spatial_memory.headless import workflow
from spatial_memory.rollout.state import load_state

ROOT = Path(__file__).parents[2]
PREFIX = "SpatialMemory_"
FILES = {
    "base": "diffusion_models/wan2.2_ti2v_5B_fp16.safetensors",
    "vae": "vae/wan2.2_vae.safetensors",
    "branch": "model_patches/step-8500.safetensors",
    "lora": "loras/lora_weights_10000.safetensors",
}
PHOTO = "spatial_memory_kitchen.png"

pytestmark = [pytest.mark.host, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", params=comfyui.checkouts() or [None], ids=lambda path: path.name if path else "none")
def server(request, tmp_path_factory):
    """A server of its own for each checkout: with the weights in its model folders and the stand-in for text."""
    if request.param is None:
        pytest.skip("no ComfyUI checkout: clone it to ~/ComfyUI, or set COMFYUI_PATH")
    base = tmp_path_factory.mktemp(f"wan_{request.param.name}")
    (base / "custom_nodes").mkdir()
    for name in ("stand_in_text.py", "stand_in_manager.py"):
        shutil.copy(Path(__file__).parent / name, base / "custom_nodes")
    files = tiny_wan.write(base / "made", branch_blocks=2, branch_channels=96, lora=True)
    for part, name in FILES.items():
        (base / "models" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(getattr(files, part), base / "models" / name)
    (base / "input").mkdir()
    Image.open(ROOT / "workflows/inputs" / PHOTO).resize((96, 64)).save(base / "input" / f"small_{PHOTO}")
    running = comfyui.start_server(request.param, base)
    yield running
    comfyui.end(running)


def small(server, name, frames, **sampling):
    """A workflow as a prompt at 64 x 96 in float32 with few steps and the stand-in for CLIP; keeps a world file."""
    prompt = workflow.to_prompt(workflow.read_workflow(ROOT / "workflows" / f"{name}.json"), server.object_info())
    for node in prompt.values():
        inputs = node["inputs"]
        match node["class_type"].removeprefix(PREFIX):
            case "CLIPLoader":
                node["class_type"], node["inputs"] = "StandInWords", {}
            case "LoadWorldModel":
                inputs["dtype"] = "fp32"
            case "LoadImage":
                inputs["image"] = f"small_{PHOTO}"
            case "ImageScale":
                inputs |= {"width": 96, "height": 64}
            case "CameraPath":
                inputs["num_frames"] = frames
            case "DenoiseChunk":
                inputs |= {"steps": 2, **sampling}
            case "ChunkLoopEnd":
                inputs["checkpoint"] = name
    return prompt


@pytest.mark.parametrize(("name", "frames", "chunks"), [
    ("wan22_closed_loop_latent", 65, 2),
    ("wan22_closed_loop_rgb_spatia", 129, 2),
])  # fmt: skip
def test_runs_end_to_end(server, name, frames, chunks):
    ran = server.run(small(server, name, frames))
    assert ran.ended == "execution_success", ran.message
    assert (
        ran.count("denoise") == chunks or sum("DenoiseChunk" in n or n.endswith("/12") for n in ran.executed) == chunks
    )
    made = sorted((server.base / "output" / name).rglob("*.safetensors"))
    state = load_state(made[-1])
    assert (state.chunk, len(state.cameras), state.world) == (
        chunks,
        frames,
        "wan2.2-" + ("spatia" if "spatia" in name else "mirage"),
    )
    assert state.latents.shape == (48, 1 + (frames - 1) // 4, 4, 6) and state.latents.isfinite().all()
    assert [p for p in (server.base / "output").rglob("*.mp4") if p.stat().st_size > 1000]
    assert all("how" in row for record in state.records for row in record["alignment"])


def tuned(prompt, **options):
    """The same prompt with Tune World Model behind Load World Model."""
    (loader,) = [name for name, node in prompt.items() if node["class_type"].endswith("LoadWorldModel")]
    for node in prompt.values():
        for name, value in node["inputs"].items():
            if value == [loader, 0]:
                node["inputs"][name] = ["tuned", 0]
    prompt["tuned"] = {
        "class_type": PREFIX + "TuneWorldModel",
        "inputs": {"world": [loader, 0], "every": 1, **options},
    }
    return prompt


def latents_of(server, steps, **options):
    """The film's latents after a run of the latent workflow, and how often the log says that a network was loaded."""
    before = server.log.read_text(errors="replace").count("Requested to load SpatialHolder")
    prompt = small(server, "wan22_closed_loop_latent", 65)
    prompt = tuned(prompt, **options) if options else prompt
    for node in prompt.values():
        if node["class_type"].endswith("DenoiseChunk"):
            node["inputs"]["steps"] = steps
    ran = server.run(prompt)
    assert ran.ended == "execution_success", ran.message
    loads = server.log.read_text(errors="replace").count("Requested to load SpatialHolder") - before
    made = (server.base / "output/wan22_closed_loop_latent").rglob("*.safetensors")
    return load_state(max(made, key=lambda path: path.stat().st_mtime)).latents, loads


def test_networks_give_way_to_another_model_and_come_back_with_the_same_bits(server):
    """What the host's manager holds, before and after it makes room; in between the nodes' values stay cached."""
    first, _ = latents_of(server, 3)
    assert json.loads(server.get("/stand_in/held")) == ["spatial VAE", "spatial transformer"]
    other, _ = latents_of(server, 4)
    assert not torch.equal(first, other)
    assert server.post("/stand_in/push", {}) == [] == json.loads(server.get("/stand_in/held"))
    again, loads = latents_of(server, 3)
    assert loads >= 1 and torch.equal(first, again)
    assert "spatial transformer" in json.loads(server.get("/stand_in/held"))


def test_a_tuned_world_draws_the_same_film_and_a_foretold_one_another(server):
    plain, _ = latents_of(server, 6)
    same, _ = latents_of(server, 6, every=1, attention="native", tile=8, overlap=2)
    foretold, _ = latents_of(server, 6, every=2, first=2)
    assert torch.equal(plain, same)
    assert foretold.isfinite().all() and not torch.equal(foretold, plain)  # random weights: no smooth flow to foretell
    refused = server.run(tuned(small(server, "wan22_closed_loop_latent", 65), offload=True))
    assert "offload would move weights that ComfyUI moves too" in refused.message["exception_message"]


def test_freeing_memory_by_hand_unloads_the_networks(server):
    latents_of(server, 2)
    assert json.loads(server.get("/stand_in/held"))
    server.post("/free", {"unload_models": True, "free_memory": True})
    for _ in range(100):
        if not json.loads(server.get("/stand_in/held")):
            break
        time.sleep(0.1)
    assert json.loads(server.get("/stand_in/held")) == []


def test_stopping_ends_at_the_next_step_and_the_next_run_works(server):
    prompt = small(server, "wan22_closed_loop_latent", 65)
    for node in prompt.values():
        if node["class_type"].endswith("DenoiseChunk"):
            node["inputs"]["steps"] = 60
    ran = server.run(prompt, stop_when=lambda event: event["type"] == "progress")
    assert ran.ended == "execution_interrupted" and ran.seconds_to_stop < 20
    again = server.run(small(server, "wan22_closed_loop_latent", 65))
    assert again.ended == "execution_success", again.message


@pytest.mark.parametrize(
    ("part", "change", "says"),
    [
        ("branch", None, "no whole safetensors file"),
        ("vae", {"conv2.weight": torch.zeros(16, 16, 1, 1, 1)}, "VAE of 16 channels"),
        ("base", {"patch_embedding.weight": torch.zeros(5120, 16, 1, 2, 2)}, "14B model"),
    ],
)
def test_wrong_files_are_refused_with_what_is_wanted(server, part, change, says):
    name, path = f"wrong_{part}.safetensors", server.base / "models" / FILES[part]
    wrong = path.with_name(name)
    if change is None:
        wrong.write_bytes(path.read_bytes()[:1000])
    else:
        save_file({**tiny_wan.read(path), **change}, wrong)
    prompt = small(server, "wan22_closed_loop_latent", 65)
    for node in prompt.values():
        if node["class_type"].endswith("LoadWorldModel"):
            node["inputs"][{"base": "model"}.get(part, part)] = name
    ran = server.run(prompt)
    assert ran.ended == "execution_error" and says in ran.message["exception_message"], ran.message
