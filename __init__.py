"""Spatial Memory for ComfyUI: the host's door. Importing this needs no ComfyUI and no torch."""

WEB_DIRECTORY = "./web"


async def comfy_entrypoint():
    """What ComfyUI calls to get the pack's nodes; everything heavy is imported here, not before."""
    from .nodes import build_extension

    return build_extension()
