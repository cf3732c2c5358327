"""What nodes show: the stand-in for ComfyUI's V3 ``ui`` module. Files go to the folders of the run."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from .io import FolderType


class SavedResult(dict):
    """One file of the output or temp folder."""

    def __init__(self, filename: str, subfolder: str, type: FolderType):
        super().__init__(filename=filename, subfolder=subfolder, type=FolderType(type).value)

    @property
    def filename(self) -> str:
        return self["filename"]

    @property
    def subfolder(self) -> str:
        return self["subfolder"]

    @property
    def type(self) -> FolderType:
        return FolderType(self["type"])


class SavedImages:
    """Files that were written as images."""

    def __init__(self, results: list[SavedResult], is_animated: bool = False):
        self.results = results
        self.is_animated = is_animated

    def as_dict(self) -> dict[str, Any]:
        return {"images": self.results, **({"animated": (True,)} if self.is_animated else {})}


def save_images(
    images: Tensor,  # (B, H, W, 3) in [0, 1]
    filename_prefix: str,
    folder_type: FolderType,
    hidden: Any = None,
) -> list[SavedResult]:
    """Write one PNG per image, with the prompt in it as the host does."""
    import folder_paths
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    root = folder_paths.get_directory_by_type(folder_type.value)
    height, width = images.shape[1:3]
    folder, filename, counter, subfolder, _ = folder_paths.get_save_image_path(filename_prefix, root, width, height)
    notes = PngInfo()
    if hidden is not None and hidden.prompt is not None:
        notes.add_text("prompt", json.dumps(hidden.prompt))
        for key, value in (hidden.extra_pnginfo or {}).items():
            notes.add_text(key, json.dumps(value))
    results = []
    for number, image in enumerate(images, start=counter):
        pixels = np.clip(255.0 * image.cpu().numpy(), 0, 255).astype(np.uint8)
        name = f"{filename}_{number:05}_.png"
        unfinished = Path(folder) / f".{name}.part"
        Image.fromarray(pixels).save(unfinished, format="PNG", pnginfo=notes, compress_level=1)
        unfinished.replace(Path(folder) / name)
        results.append(SavedResult(name, subfolder, folder_type))
    return results


class PreviewImage:
    """A batch of images shown on the node."""

    def __init__(self, image: Tensor, animated: bool = False, cls: Any = None, **kwargs: Any):
        self.values = save_images(image, "preview", FolderType.temp, getattr(cls, "hidden", None))
        self.animated = animated

    def as_dict(self) -> dict[str, Any]:
        return {"images": self.values, "animated": (self.animated,)}


class PreviewMask(PreviewImage):
    """A batch of masks shown on the node."""

    def __init__(self, mask: Tensor, animated: bool = False, cls: Any = None, **kwargs: Any):
        gray = mask.reshape(-1, 1, *mask.shape[-2:]).movedim(1, -1).expand(-1, -1, -1, 3)  # (B, H, W, 3)
        super().__init__(gray, animated, cls, **kwargs)


class PreviewVideo:
    """Files that were written as video."""

    def __init__(self, values: list[SavedResult], **kwargs: Any):
        self.values = values

    def as_dict(self) -> dict[str, Any]:
        return {"images": self.values, "animated": (True,)}


class PreviewText:
    """A text shown on the node."""

    def __init__(self, value: str, **kwargs: Any):
        self.value = value

    def as_dict(self) -> dict[str, Any]:
        return {"text": (self.value,)}


class ImageSaveHelper:
    """The host's name for writing images from a node."""

    @staticmethod
    def save_images(images, filename_prefix: str, folder_type: FolderType, cls: Any, compress_level: int = 4):
        return save_images(images, filename_prefix, folder_type, getattr(cls, "hidden", None))

    @staticmethod
    def get_save_images_ui(images, filename_prefix: str, cls: Any, compress_level: int = 4) -> SavedImages:
        return SavedImages(save_images(images, filename_prefix, FolderType.output, getattr(cls, "hidden", None)))
