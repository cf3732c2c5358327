"""Reads a golden network file: weights as two released files would hold them, and the cases."""

import json
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from spatial_memory.models.checkpoints import load_transformer
from torch import Tensor


def load_golden(path: Path, folder: Path):
    """Split the file into base and branch under their released names, load both strictly, and give the cases."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    files = []
    for prefix in ("dit.", "vace."):
        weights = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        save_file(weights, folder / f"{prefix}safetensors")
        files.append(folder / f"{prefix}safetensors")
    config = json.loads(metadata["config"])
    network = load_transformer(files, attention_head_dim=config["head_dim"])
    return network, {case["name"]: case for case in json.loads(metadata["cases"])}, tensors, config


def deviation(network, case: dict, tensors: dict[str, Tensor]) -> float:
    """The largest difference to the released code's output."""
    name = case["name"]
    output = network(
        tensors[f"{name}.latents"],
        tensors[f"{name}.timestep"][None],
        tensors[f"{name}.context"],
        tensors[f"{name}.control"],
        num_references=case["references"],
    )
    return (output - tensors[f"{name}.output"]).abs().max().item()
