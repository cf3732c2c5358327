"""What a training run leaves behind: a log of JSON lines, the weights that ship, and an account of them."""

import json
import logging
from pathlib import Path

from torch import nn

logger = logging.getLogger(__name__)


def log_line(path: Path, **entry) -> None:
    """Append one JSON object to a log; floats with five digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line = {name: float(f"{value:.5g}") if isinstance(value, float) else value for name, value in entry.items()}
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
    logger.info("%s", json.dumps(line))


def ship(network: nn.Module, config: dict, path: Path, account: dict) -> None:
    """Write weights as fp16 safetensors, the configuration in their metadata, and what is known about them as JSON."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    temporary = path.with_suffix(".partial")
    save_file(weights, temporary, {"config": json.dumps(config)})
    temporary.replace(path)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    path.with_suffix(".json").write_text(json.dumps({"parameters": parameters, **account}, indent=2) + "\n")
