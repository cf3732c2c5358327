"""ComfyUI's own MODEL and VAE as a world model: ``native_inside.py`` in a process of each checkout, then a server.

On the server the bundled workflow runs as it is drawn, on tiny random weights in the real formats. ComfyUI builds the
VAE and the text encoder in their released sizes only: ``stand_in_native`` narrows the first and replaces the second.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import comfyui
import native_files
import pytest
from PIL import Image
from safetensors.torch import save_file
from spatial_memory.headless import workflow
from spatial_memory.rollout.state import load_state

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PREFIX = "SpatialMemory_"
PHOTO = "spatial_memory_kitchen.png"
FILES = {
    "base": "diffusion_models/wan2.2_ti2v_5B_fp16.safetensors",
    "vae": "vae/wan2.2_vae.safetensors",
    "branch": "model_patches/step-8500.safetensors",
    "lora": "loras/lora_weights_10000.safetensors",
}
WORDS = "text_encoders/umt5_xxl_fp8_e4m3fn_scaled.safetensors"
DRAWN = ROOT / "workflows/wan22_native_model.json"

pytestmark = [pytest.mark.host, pytest.mark.timeout(900)]
on_each = dict(params=comfyui.checkouts() or [None], ids=lambda path: path.name if path else "none")


@pytest.fixture(scope="module", **on_each)
def checkout(request):
    if request.param is None:
        pytest.skip("no ComfyUI checkout: clone it to ~/ComfyUI, or set COMFYUI_PATH")
    return request.param


def inside(checkout, file, *options):
    """A file of tests in a process of its own, where ComfyUI's modules are the checkout's."""
    environment = {
        **os.environ,
        "SPATIAL_MEMORY_CHECKOUT": str(checkout),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *options, str(HERE / file)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


def test_inside_the_host(checkout):
    inside(checkout, "native_inside.py")


def test_a_gguf_model_inside_the_host(checkout):
    if "SPATIAL_MEMORY_GGUF" not in os.environ:
        pytest.skip("SPATIAL_MEMORY_GGUF names no checkout of ComfyUI-GGUF")
    pytest.importorskip("gguf", reason="gguf is not installed: pip install gguf")
    sys.stdout.write(inside(checkout, "gguf_inside.py", "-s"))


@pytest.fixture(scope="module")
def server(checkout, tmp_path_factory):
    """A server with the files in its model folders; the branch's 8 blocks sit on 30 layers, as Spatia's do."""
    base = tmp_path_factory.mktemp(f"native_{checkout.name}")
    (base / "custom_nodes").mkdir()
    shutil.copy(HERE / "stand_in_native.py", base / "custom_nodes")
    files = native_files.write(base / "made", layers=30, blocks=8)
    for part, name in FILES.items():
        (base / "models" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(getattr(files, part), base / "models" / name)
    (base / "models" / WORDS).parent.mkdir(parents=True)
    save_file({}, base / "models" / WORDS)
    (base / "input").mkdir()
    Image.open(ROOT / "workflows/inputs" / PHOTO).resize((96, 64)).save(base / "input" / PHOTO)
    running = comfyui.start_server(checkout, base)
    yield running
    comfyui.end(running)


def drawn(server):
    return workflow.to_prompt(workflow.read_workflow(DRAWN), server.object_info())


def small(server):
    """The workflow as a prompt of two chunks at 64 x 96 with two steps; it keeps a world file after each chunk."""
    changes = {
        "ImageScale": {"width": 96, "height": 64},
        "CameraPath": {"num_frames": 129},
        "DenoiseChunk": {"steps": 2},
        "ChunkLoopEnd": {"checkpoint": "native"},
    }
    prompt = drawn(server)
    for node in prompt.values():
        node["inputs"].update(changes.get(node["class_type"].removeprefix(PREFIX), {}))
    return prompt


def test_the_workflow_is_valid_as_it_is_drawn(server, tmp_path):
    info, api = tmp_path / "info.json", tmp_path / "api.json"
    info.write_text(json.dumps(server.object_info()))
    api.write_text(json.dumps(drawn(server)))
    for form in (DRAWN, api):
        command = [sys.executable, "-m", "comfy_cli", "--json", "--skip-prompt", "workflow", "validate"]
        command += ["--workflow", str(form), "--input", str(info)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
        answer = json.loads([line for line in done.stdout.splitlines() if line.startswith("{")][-1])
        assert answer["ok"] and answer["data"]["valid"], answer["data"]["errors"]
        assert not answer["data"]["errors"] and not answer["data"]["warnings"], answer["data"]


def test_the_workflow_names_its_files():
    nodes = json.loads(DRAWN.read_text(encoding="utf-8"))["nodes"]
    listed = [model for node in nodes for model in node["properties"].get("models", [])]
    assert {f"{m['directory']}/{m['name']}" for m in listed} == {FILES["base"], FILES["vae"], WORDS}
    assert all(
        m["url"].startswith("https://huggingface.co/Comfy-Org/") and m["url"].endswith(m["name"]) for m in listed
    )
    for node in nodes:
        for model in node["properties"].get("models", []):
            assert model["name"] in node["widgets_values"]


def test_the_workflow_runs_end_to_end(server):
    ran = server.run(small(server))
    assert ran.ended == "execution_success", ran.message
    made = sorted((server.base / "output" / "native").rglob("*.safetensors"))
    state = load_state(made[-1])
    assert (len(made), state.chunk, len(state.cameras), state.world) == (2, 2, 129, "wan2.2-spatia")
    assert state.latents.shape == (48, 33, 4, 6) and state.latents.isfinite().all() and state.latents.std() > 0.1
    assert [film for film in (server.base / "output").rglob("*.mp4") if film.stat().st_size > 1000]
    log = server.log.read_text(errors="replace")
    assert "Requested to load WAN22" in log and "Requested to load NativeBranch" in log


def test_a_wrong_branch_is_refused_with_what_is_wanted(server):
    path = server.base / "models" / FILES["branch"]
    path.with_name("cut.safetensors").write_bytes(path.read_bytes()[:1000])
    prompt = small(server)
    for node in prompt.values():
        if node["class_type"] == PREFIX + "ApplySpatialControl":
            node["inputs"]["branch"] = "cut.safetensors"
    ran = server.run(prompt)
    assert ran.ended == "execution_error" and "no whole safetensors file" in ran.message["exception_message"], ran
