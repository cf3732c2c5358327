"""Nodes that say where things are and what must never be remembered: depth, moving things, the sky."""

from functools import lru_cache

import torch

from ..memory.camera import Cameras, concatenate, known_depth
from ..memory.geometry import Geometry
from ..memory.rendering import Rendering
from ..models.geometry import Estimate, GeometryProvider, GivenGeometry
from ..models.masks import given
from ..models.mini_geometry import MiniGeometry
from ..rollout.observe import ChunkGeometry, chunk_geometry, detect_moving, fresh_frames, pick_fresh
from ..rollout.start import start_geometry
from ..rollout.state import RolloutState
from .convert import depth_from_socket, grey_to_socket, images_from_socket, selection_from_socket
from .host import GeometrySocket, State, compute_device, io, result, schema, socket, ui

PROVIDERS = {"mini": MiniGeometry}
FLOW = "optical flow"


@lru_cache(maxsize=1)
def loaded(provider: str) -> GeometryProvider:
    """The provider of that name; the last one used stays in memory, since every chunk asks for it."""
    return PROVIDERS[provider]()


def start_cameras(state: RolloutState) -> Cameras:
    """Cameras of the pictures that a film began with, on the pixel grid; the first is frame 0's own."""
    others = state.code_cameras[1:].resized(state.height, state.width)
    return concatenate([state.cameras[:1], others]) if len(others) else state.cameras[:1]


def geometry_of(state: RolloutState, images, provider: GeometryProvider, dynamic, sky) -> Geometry:
    """Geometry of a chunk's new frames where there are some, of the first pictures otherwise."""
    if state.fresh is not None:
        return chunk_geometry(provider, state, images, dynamic, sky, compute_device())
    return start_geometry(provider, images, start_cameras(state), dynamic, sky)


def estimate_of(state: RolloutState, images: torch.Tensor, provider: GeometryProvider) -> Estimate:
    """What the provider says of the first pictures, or of those new frames that a chunk's latents stand for."""
    if state.fresh is None:
        return provider.estimate(images, start_cameras(state), None, None)
    cameras = state.target.cameras[[frame - state.target.start for frame in fresh_frames(state)]]
    rendered = Rendering(state.memory, cameras)
    return provider.estimate(pick_fresh(state, images), cameras, rendered, state.memory.scene_unit)


def depth_picture(geometry: Geometry) -> torch.Tensor:
    """Inverse depth as grey, near = white, unknown = black: IMAGE (V, H, W, 3)."""
    inverse = torch.where(known_depth(geometry.depth), geometry.scene_unit / geometry.depth, 0.0)
    return grey_to_socket(inverse / 2)


def alignment_line(row: dict) -> str:
    """How the depth of one view was brought into the units of the memory, in one line."""
    moved = f", scale {row['scale']:.3g}" if row["how"] in ("aligned", "last") else ""
    agrees = f", {row['inlier_share']:.0%} agree, off by {row['residual']:.1%}" if "inlier_share" in row else ""
    said = row.get("warning") or row.get("why")
    return f"{row['how']}{moved}, overlap {row['overlap']:.0%}{agrees}" + (f" ({said})" if said else "")


class EstimateGeometry(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "EstimateGeometry",
            "Estimate Geometry",
            "Depth for the first pictures, or for a chunk's new frames, where it is brought into the units of the "
            "memory.",
            inputs=[
                socket(
                    State,
                    "state",
                    "From Encode Start Frame for the first pictures, from Denoise Chunk inside the loop.",
                ),
                socket(io.Image, "images", "The pictures: Encode Start Frame's images, or Denoise Chunk's frames."),
                socket(
                    io.Combo,
                    "provider",
                    "Which network estimates depth. 'mini' ships with the pack; it completes what the memory shows "
                    "and is weak on photographs alone. Not used where depth is connected.",
                    options=list(PROVIDERS),
                    default="mini",
                    optional=True,
                ),
                socket(
                    io.Mask,
                    "dynamic",
                    "1 = a moving thing: it is never remembered. From Segment Dynamics.",
                    optional=True,
                ),
                socket(
                    io.Mask,
                    "sky",
                    "1 = sky: it is never remembered. Without it, the provider's own guess.",
                    optional=True,
                ),
                socket(
                    io.Image,
                    "depth",
                    "Depth that you bring: a grey image of linear z-depth for each picture, 0 = unknown.",
                    optional=True,
                ),
                socket(
                    io.Float,
                    "depth_scale",
                    "What white means in a connected depth image, in world units (metres): 10 = white is 10 m away.",
                    default=10.0,
                    min=0.001,
                    max=10000.0,
                    step=0.1,
                    round=0.000001,
                    optional=True,
                ),
            ],
            outputs=[
                result(GeometrySocket, "geometry", "Depth, confidence, cameras and what may be remembered."),
                result(io.Image, "depth", "Inverse depth as grey: near is white, unknown is black."),
            ],
            search_aliases=["depth", "monocular depth", "point map"],
        )

    @classmethod
    def execute(cls, state, images, provider="mini", dynamic=None, sky=None, depth=None, depth_scale=10.0):
        pictures = images_from_socket(images)
        if depth is None:
            estimator = loaded(provider)
        else:
            maps = depth_from_socket(depth, depth_scale)
            fresh = state.fresh is not None and len(maps) == len(pictures)
            estimator = GivenGeometry(pick_fresh(state, maps, "depth") if fresh else maps, metric=True)
        masks = selection_from_socket(dynamic, "dynamic"), selection_from_socket(sky, "sky")
        geometry = geometry_of(state, pictures, estimator, *masks)
        shown = depth_picture(geometry)
        face = ui.PreviewImage(shown[:1]).as_dict()
        if isinstance(geometry, ChunkGeometry):
            face["text"] = ("\n".join(alignment_line(row) for row in geometry.alignment),)
        return io.NodeOutput(geometry, shown, ui=face)


class SegmentDynamics(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "SegmentDynamics",
            "Segment Dynamics",
            "Marks what must never be remembered: things that move by themselves, and the sky.",
            inputs=[
                socket(
                    State, "state", "From Encode Start Frame for the first pictures, from Denoise Chunk in the loop."
                ),
                socket(io.Image, "images", "The pictures to mark: the same as Estimate Geometry gets."),
                socket(
                    io.Combo,
                    "detect",
                    "'mini': the network that ships marks people, vehicles and sky. 'optical flow': what leaves, in a "
                    "chunk's new frames, the flow that depth and camera explain. 'off': only your masks.",
                    options=[*PROVIDERS, FLOW, "off"],
                    default="mini",
                    optional=True,
                ),
                socket(io.Mask, "dynamic", "A mask of yours, 1 = moves: added to what is found.", optional=True),
                socket(io.Mask, "sky", "A mask of yours, 1 = sky: added to what is found.", optional=True),
            ],
            outputs=[
                result(
                    io.Mask, "dynamic", "1 = a moving thing; inside the loop one mask for each new latent or frame."
                ),
                result(io.Mask, "sky", "1 = sky."),
            ],
            search_aliases=["mask", "moving objects", "people", "sky"],
        )

    @classmethod
    def execute(cls, state, images, detect="mini", dynamic=None, sky=None):
        pictures = images_from_socket(images)
        if detect in PROVIDERS:
            found = estimate_of(state, pictures, loaded(detect))
            moves, skies = torch.zeros_like(found.sky) if found.dynamic is None else found.dynamic, found.sky
        else:
            skies = torch.zeros(len(pictures), *pictures.shape[2:], dtype=torch.bool)
            flow = detect == FLOW and state.fresh is not None
            moves = detect_moving(state, pictures) if flow else skies
        moves = moves | given_for(state, dynamic, "dynamic", moves)
        skies = skies | given_for(state, sky, "sky", skies)
        shown = grey_to_socket((moves | skies)[-1:].float())
        return io.NodeOutput(moves.float(), skies.float(), ui=ui.PreviewImage(shown))


def given_for(state: RolloutState, mask, name: str, found: torch.Tensor) -> torch.Tensor:
    """The user's mask for the views of ``found`` (V, H, W): one for all, one a view, or one a frame of the chunk."""
    masks = selection_from_socket(mask, name)
    if masks is not None and state.fresh is not None and len(masks) not in (1, len(found)):
        masks = pick_fresh(state, masks, name)
    return given(masks, name, *found.shape)
