"""The world file: bit-exact, at any moment, and refused where it is not what it says."""

import json
from dataclasses import replace

import pytest
import tiny_rollout as tiny
import torch
from spatial_memory.memory.store import load_tensors, save_tensors
from spatial_memory.rollout import chunk
from spatial_memory.rollout.state import load_state, recorded, save_state, without_seconds


@pytest.fixture(scope="module", params=["begun", "aimed", "denoised", "done", "rgb"])
def state(request):
    begun = replace(tiny.begin("rgb" if request.param == "rgb" else "latent"), prompts=("a", "b"), path=tiny.PATH)
    if request.param == "begun":
        return begun
    if request.param in ("done", "rgb"):
        return tiny.one_chunk(begun)
    aimed = tiny.aimed(begun)
    if request.param == "aimed":
        return aimed
    return chunk.denoise(tiny.WORLD, aimed, chunk.warp(tiny.WORLD, aimed), None, tiny.WORLD.defaults)


def test_a_world_file_holds_every_bit(state, tmp_path):
    save_state(tmp_path / "world.safetensors", state)
    loaded = load_state(tmp_path / "world.safetensors", "mini")
    assert tiny.same_bits(loaded, state)
    for name in ("world", "code_frames", "prompts", "seed", "chunk", "path", "records", "height", "width"):
        assert getattr(loaded, name) == getattr(state, name), name
    assert (loaded.target is None) == (state.target is None)
    if state.target:
        assert (loaded.target.start, loaded.target.stop) == (state.target.start, state.target.stop)
        assert torch.equal(loaded.target.cameras.c2w, state.target.cameras.c2w)
        assert torch.equal(loaded.target.cameras.K, state.target.cameras.K)
    ours, theirs = state.memory, loaded.memory
    assert (ours.kind, ours.codec, ours.scene_unit, ours.metric) == (
        theirs.kind,
        theirs.codec,
        theirs.scene_unit,
        theirs.metric,
    )
    assert [(o.frame, o.chunk, o.voxel) for o in ours.observations] == [
        (o.frame, o.chunk, o.voxel) for o in theirs.observations
    ]
    kept = replace(state, seen=None)  # where the memory is seen is asked again
    assert loaded.get_ram_usage() == kept.get_ram_usage() > state.memory.get_ram_usage()


def test_a_state_without_memory_or_path_is_saved_too(tmp_path):
    state = replace(tiny.begin(), memory=None)
    save_state(tmp_path / "bare.safetensors", state)
    loaded = load_state(tmp_path / "bare.safetensors")
    assert loaded.memory is None and loaded.path is None and tiny.same_bits(loaded, state)


def test_another_worlds_file_is_refused(tmp_path):
    save_state(tmp_path / "world.safetensors", tiny.begin())
    with pytest.raises(ValueError, match="world model 'mini', got 'wan'"):
        load_state(tmp_path / "world.safetensors", "wan")


def test_truncated_and_foreign_files_are_refused_by_name(tmp_path):
    file = tmp_path / "world.safetensors"
    save_state(file, tiny.begin())
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="world.safetensors"):
        load_state(file)
    save_tensors(file, {"x": torch.zeros(3)}, {"kind": "other"})
    with pytest.raises(ValueError, match="world.safetensors is no world file"):
        load_state(file)


@pytest.mark.parametrize("missing", ["latents", "cameras.c2w", "memory.points"])
def test_a_file_that_lacks_a_tensor_is_refused(missing, tmp_path):
    file = tmp_path / "world.safetensors"
    save_state(file, tiny.begin())
    tensors, header = load_tensors(file)
    save_tensors(file, {k: v for k, v in tensors.items() if k != missing}, header)
    with pytest.raises(ValueError, match=r"world.safetensors is damaged.*" + missing):
        load_state(file)


@pytest.mark.parametrize("name", ["code_frames", "seed", "chunk", "records", "height", "prompts", "target"])
def test_a_file_whose_header_is_garbled_is_refused(name, tmp_path):
    file = tmp_path / "world.safetensors"
    save_state(file, tiny.begin())
    tensors, header = load_tensors(file)
    for value in (1.5, {"a": 1}, [1, "x", 3], True):
        save_tensors(file, tensors, {**header, name: value})
        with pytest.raises(ValueError, match="world.safetensors"):
            load_state(file)


def test_shapes_that_contradict_are_refused(tmp_path):
    file = tmp_path / "world.safetensors"
    save_state(file, tiny.begin())
    tensors, header = load_tensors(file)
    for name, value in (
        ("codes", torch.zeros(tiny.CHANNELS, 2, 8, 12)),
        ("image", torch.zeros(3, 32, 96)),
        ("latents", torch.zeros(tiny.CHANNELS, 1, 4, 12)),
        ("fresh", torch.zeros(tiny.CHANNELS, 8, 8, 12)),
        ("cameras.c2w", torch.zeros(1, 4, 4)),
    ):
        save_tensors(file, {**tensors, name: value}, header)
        with pytest.raises(ValueError, match="world.safetensors is damaged"):
            load_state(file)


def test_records_gather_a_chunks_stages():
    state = tiny.begin()
    state = recorded(recorded(state, coverage=0.5, seconds={"warp": 1.0}), points=3, seconds={"denoise": 2.0})
    assert state.records == ({"chunk": 0, "coverage": 0.5, "seconds": {"warp": 1.0, "denoise": 2.0}, "points": 3},)
    after = recorded(replace(state, chunk=1), points=4)
    assert after.records[0] is state.records[0] and after.records[1] == {"chunk": 1, "points": 4}
    assert without_seconds(after.records)[0] == {"chunk": 0, "coverage": 0.5, "points": 3}
    assert json.dumps(after.records)


def test_each_chunk_has_its_prompt_and_the_last_goes_on():
    state = replace(tiny.begin(), prompts=("a", "b"))
    assert [replace(state, chunk=k).prompt for k in range(3)] == ["a", "b", "b"]
    assert replace(state, prompts=()).prompt == ""
