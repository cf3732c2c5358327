"""Parity with the Wan2.2 VAE of the released code, under its own names, on a small one of its kind."""

import pytest
import torch
from safetensors.torch import load_file
from spatial_memory.models.checkpoints import renamed, vae_from_state
from spatial_memory.models.names import vae_name
from spatial_memory.models.wan_codec import WanCodec

TOLERANCE = 1e-4  # float32 through some 30 convolutions, values about 1


@pytest.fixture(scope="module")
def golden(golden_dir):
    return load_file(golden_dir / "vae.safetensors")


@pytest.fixture(scope="module")
def codec(golden):
    weights = {name: tensor for name, tensor in golden.items() if name.startswith("vae.")}
    statistics = {name: golden[name].tolist() for name in ("latents_mean", "latents_std")}
    return WanCodec(vae_from_state(renamed(weights, vae_name), torch.float32, settings=statistics))


def test_encode(golden, codec):
    latents = codec.encode(golden["video"][0].movedim(1, 0))
    assert (latents - golden["latents"][0]).abs().max() <= TOLERANCE


def test_encode_of_the_first_frame_alone(golden, codec):
    latents = codec.encode_frames(golden["video"][0, :, :1].movedim(1, 0))
    assert (latents - golden["frame_latents"][0]).abs().max() <= TOLERANCE


def test_decode(golden, codec):
    images = codec.decode(golden["latents"][0])
    assert (images - golden["decoded"][0].movedim(1, 0).clamp(-1, 1)).abs().max() <= TOLERANCE
