"""Parity with Spatia's released code (references, history, a timestep per latent frame): the same velocity."""

import pytest
import torch
from golden_networks import deviation, load_golden

CASES = ["round0", "round1", "round1_no_refs"]


@pytest.fixture(scope="module")
def golden(golden_dir, tmp_path_factory):
    return load_golden(golden_dir / "spatia_network.safetensors", tmp_path_factory.mktemp("spatia"))


@pytest.mark.parametrize("name", CASES)
def test_velocity_equals_the_released_code(golden, name):
    network, cases, tensors, _ = golden
    with torch.inference_mode():
        # float32 on another order of sums; the outputs are about 1 large
        assert deviation(network, cases[name], tensors) <= 2e-5


def test_every_case_of_the_file_is_run(golden):
    assert set(golden[1]) == set(CASES)


def test_configuration_is_read_off_the_shapes(golden):
    network, _, _, config = golden
    assert network.config["num_layers"] == config["num_layers"]
    assert network.config["vace_layers"] == config["vace_layers"]
    assert network.config["vace_in_channels"] == config["vace_in_dim"]
    assert network.config["ffn_dim"] == config["ffn_dim"]
    assert network.config["text_dim"] == config["text_dim"]
    assert (network.config["in_channels"], network.config["out_channels"]) == (config["in_dim"], config["out_dim"])
