"""World models on Wan2.2-TI2V-5B: a backbone and a codec in the layout that the branch was trained in."""

from collections.abc import Mapping

from .backbone import Backbone
from .codec import Codec
from .layout import WAN_LAYOUTS, Layout
from .prior import plain_velocity
from .sampler import Sampling
from .world import WorldModel, without_prompt

SAMPLING: Mapping[str, Sampling] = {  # what each release samples with (spec: Spatia 1.6, Mirage 1)
    "spatia": Sampling("unipc", 40, 3.5, 5.0),
    "mirage": Sampling("unipc", 20, 1.0, 5.0),
    "mask": Sampling("unipc", 20, 1.0, 5.0),
}
BRANCHES = {(8, 96): "spatia", (15, 96): "mirage", (8, 49): "mask", (15, 49): "mask"}  # (blocks, channels) -> layout


def layout_of(blocks: int, channels: int, chosen: str = "auto") -> Layout:
    """The layout of a branch: the one chosen, else the one that its shape is known for.

    A branch of 8 blocks and 96 channels is Spatia's; Mirage's code drives the same shape with latents, so ``mirage``
    can be chosen for it.

    Raises:
        ValueError: an unknown name, a shape that no release has, or a layout that shows another number of channels.
    """
    if chosen == "auto":
        if (blocks, channels) not in BRANCHES:
            known = ", ".join(f"{b} blocks with {c} channels ({name})" for (b, c), name in BRANCHES.items())
            raise ValueError(
                f"the branch has {blocks} blocks and {channels} channels, which no release has ({known}): "
                "choose the layout"
            )
        chosen = BRANCHES[blocks, channels]
    if chosen not in WAN_LAYOUTS:
        raise ValueError(f"layout is {chosen!r}, expected 'auto' or one of {sorted(WAN_LAYOUTS)}")
    layout = WAN_LAYOUTS[chosen]
    if layout.control_channels != channels:
        fitting = sorted(name for name, other in WAN_LAYOUTS.items() if other.control_channels == channels)
        raise ValueError(
            f"the layout {chosen!r} shows {layout.control_channels} channels, the branch takes {channels}; choose "
            f"{' or '.join(fitting) or 'another branch'}"
        )
    return layout


def wan_world(
    network: Backbone,
    codec: Codec,
    layout: Layout,
    text_channels: int = 4096,
    later: Backbone | None = None,
) -> WorldModel:
    """A world around networks that are there already.

    Args:
        later: what makes the chunks after the first (Spatia: the same weights with the LoRA on).
    """
    return WorldModel(
        f"wan2.2-{layout.name}",
        network,
        codec,
        layout,
        plain_velocity,
        without_prompt,
        SAMPLING[layout.name],
        text_channels,
        reads_text=True,
        later=later,
    )


def trained_together(world: WorldModel, kind: str) -> str:
    """Whether this world's branch was trained with memories of this kind, said for a person."""
    if kind in world.layout.trained_with:
        return f"{world.name} was trained with {kind} memories"
    return (
        f"{world.name} was trained with {' and '.join(world.layout.trained_with)} memories: driving it with a {kind} "
        "memory is an experiment"
    )
