"""The path that the widgets of Camera Path mean: a preset, or keys as text. The node and the editor ask the same."""

import inspect

from ..memory.path import CameraPath
from ..memory.presets import PRESETS, close_loop


def amount_of(preset: str, amount: float) -> float:
    """The preset's own amount where the widget says 0."""
    return amount or inspect.signature(PRESETS[preset]).parameters["amount"].default


def path_of(
    preset: str, num_frames: int, amount: float, vertical_fov: float, fps: float, loop: bool, keyframes: str
) -> CameraPath:
    """The path of a node. Keys, where there are any, replace the preset.

    Raises:
        ValueError: an unknown preset, or numbers or a text that make no path.
    """
    if keyframes.strip():
        path = CameraPath.from_json(keyframes)
    elif preset in PRESETS:
        path = PRESETS[preset](num_frames, amount_of(preset, amount), fps, vertical_fov)
    else:
        raise ValueError(f"preset is {preset!r:.80}, expected one of {', '.join(PRESETS)}")
    return close_loop(path) if loop and not path.loop else path
