"""Training state on disk as safetensors: weights, their average, the optimiser's moments, step and time spent."""

from pathlib import Path

import torch
from torch import Tensor, nn


def save_training(
    folder: Path, network: nn.Module, average: dict[str, Tensor], optimizer, step: int, minutes: float
) -> None:
    """Write the state whole to a temporary name, then rename it."""
    from safetensors.torch import save_file

    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    tensors |= {f"average.{name}": tensor for name, tensor in average.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": torch.as_tensor(tensor) for name, tensor in moments.items()}
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / "state.partial"
    contiguous = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    save_file(contiguous, temporary, {"step": str(step), "minutes": str(minutes)})
    temporary.replace(folder / "state.safetensors")


def load_training(folder: Path, network: nn.Module, average: dict[str, Tensor], optimizer) -> tuple[int, float]:
    """Resume in place (a training loop owns these objects); (step, minutes spent), (0, 0.0) where nothing was saved."""
    from safetensors import safe_open

    path = folder / "state.safetensors"
    if not path.is_file():
        return 0, 0.0
    moments: dict[int, dict[str, Tensor]] = {}
    weights: dict[str, Tensor] = {}
    with safe_open(path, framework="pt") as file:
        for key in file.keys():
            kind, rest = key.split(".", 1)
            tensor = file.get_tensor(key)
            if kind == "network":
                weights[rest] = tensor
            elif kind == "average":
                average[rest].copy_(tensor)
            else:
                index, name = rest.split(".", 1)
                moments.setdefault(int(index), {})[name] = tensor
        step, minutes = int(file.metadata()["step"]), float(file.metadata()["minutes"])
    network.load_state_dict(weights)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
    return step, minutes
