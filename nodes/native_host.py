"""What the native model asks of ComfyUI beyond ``host.py``: its modules, looked up where ComfyUI has loaded them.

A MODEL can only come from a running ComfyUI, so nothing here is imported: the pack loads without it, and whoever asks
for a part that is not there is told what to do.
"""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from .host import MODEL_FOLDER


def part(name: str) -> ModuleType:
    """One of ComfyUI's modules, ``ops`` for ``comfy.ops``.

    Raises:
        RuntimeError: ComfyUI is not what runs this.
    """
    module = sys.modules.get(f"comfy.{name}")
    if module is None:
        raise RuntimeError(
            f"Apply Spatial Control drives ComfyUI's own MODEL, and comfy.{name} is not loaded here; run this workflow "
            "in ComfyUI, or bring the files with Load World Model"
        )
    return module


def compute_dtype(model: Any) -> torch.dtype:
    """The dtype in which a MODEL computes, whatever its weights are stored in."""
    return model.model.manual_cast_dtype or model.model.get_dtype()


def owned(network: nn.Module, model: Any) -> Any:
    """A network in the care of the same manager as ``model``: the patcher class that ComfyUI uses now."""
    patching = part("model_patcher")
    kind = getattr(patching, "CoreModelPatcher", patching.ModelPatcher)  # bound late: newer hosts exchange it
    return kind(network, load_device=model.load_device, offload_device=part("model_management").unet_offload_device())


def offer_folder() -> None:
    """Tell the host of models/spatial_memory, where there is a host."""
    folders = sys.modules.get("folder_paths")
    if folders is not None and MODEL_FOLDER not in getattr(folders, "folder_names_and_paths", {MODEL_FOLDER}):
        folders.add_model_folder_path(MODEL_FOLDER, str(Path(folders.models_dir) / MODEL_FOLDER), is_default=True)
