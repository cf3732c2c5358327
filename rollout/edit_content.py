"""What painting and inserting put into a memory: colours as they are, latents by way of the codec.

A latent has no colour to change. Its picture is decoded, changed where the chosen cells lie, encoded again, and the new
latents of those cells are kept. A thing from a file is rendered before cameras around it, over what the memory shows
there, encoded, and its cells are lifted at its own depth.
"""

from dataclasses import replace

import torch
from torch import Tensor

from ..memory.camera import Cameras, concatenate, project_planar
from ..memory.cloud import SpatialMemory
from ..memory.edits import Insert, Paint, Patch, last_chunk
from ..memory.exchange import Cloud
from ..memory.geometry import Geometry, check_geometry
from ..memory.lift import lift_latents, lift_pixels, thinned
from ..memory.merge import merge
from ..memory.observation import Observation
from ..memory.quaternion import matrices_from_quaternions
from ..memory.regions import Selection
from ..memory.shapes import sizes
from ..memory.splat import render_depth, splat_centred, splat_discs
from ..models.codec import as_colours, signed
from ..models.world import WorldModel
from .look import on_pixels
from .start import RGB_VOXEL
from .state import RolloutState

LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709
AROUND = (-40.0, -20.0, 0.0, 20.0, 40.0)  # degrees about a thing's middle, from which it is encoded
COVERED = 0.5  # coverage from which a pixel belongs to the thing
POINTLIKE = 1e6  # focal length of the camera that points of a file are given: their spacing is the voxel's


def tinted(colours: Tensor, colour: tuple[float, float, float], strength: float) -> Tensor:
    """Colours (N, 3) in [0, 1] in another colour: ``strength`` of it, with the light and shade that they had.

    Raises:
        ValueError: a colour or a strength outside [0, 1].
    """
    if not all(0 <= value <= 1 for value in (*colour, strength)):
        raise ValueError(f"colour {colour} or strength {strength} lies outside [0, 1]")
    luma = (colours * colours.new_tensor(LUMA)).sum(1, keepdim=True)
    shade = (luma / luma.mean().clamp(min=1e-6)).clamp(max=1 / max(*colour, 1e-6))  # a bright spot keeps the hue
    return ((1 - strength) * colours + strength * shade * colours.new_tensor(colour)).clamp(0, 1)


def recolour(
    world: WorldModel,
    state: RolloutState,
    selection: Selection,
    colour: tuple[float, float, float],
    strength: float = 1.0,
) -> Paint:
    """The edit that gives the selected points another colour.

    Raises:
        ValueError: no memory, or nothing is selected.
    """
    memory = _memory(state)
    patches: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = {}
    for o in memory.drawn:
        mask = selection.mask(o)
        if not bool(mask.any()):
            continue
        if memory.kind == "rgb":
            features = (tinted(o.features[mask].float() / 255, colour, strength) * 255).round().to(torch.uint8)
        else:
            features = _repainted(world, state, o, mask, colour, strength)
        patches.setdefault((o.chunk, o.frame), []).append((o.cells[mask], features))
    if not patches:
        raise ValueError("nothing is selected: no point of the memory lies in that part of it")
    made = []
    for (chunk, frame), parts in patches.items():
        cells, features = torch.cat([c for c, _ in parts]), torch.cat([f for _, f in parts])
        order = torch.argsort(cells, stable=True)
        made.append(Patch(frame, chunk, cells[order], features[order]))
    return Paint(last_chunk(memory), tuple(made))


def insert_pictures(world: WorldModel, state: RolloutState, images: Tensor, geometry: Geometry) -> Insert:
    """The edit that brings in what other pictures show, with their own geometry in the memory's world.

    Args:
        images: (V, 3, H, W) in [0, 1].
        geometry: of the same V.

    Raises:
        ValueError: no memory, counts or grids that differ, or nothing that could be lifted.
    """
    memory = _memory(state)
    views, *_ = sizes("V 3 H W", images=images)
    check_geometry(geometry)
    first, chunk = _next_frame(state, memory), last_chunk(memory)
    frames = tuple(first - i for i in range(views))
    if memory.kind == "latent":
        lifted = lift_latents(world.codec.encode_frames(signed(images)), geometry, frames, chunk)
    else:
        lifted = lift_pixels(images, geometry, frames, chunk, memory.scene_unit * RGB_VOXEL)
    return _insert(memory, lifted)


def insert_cloud(world: WorldModel, state: RolloutState, cloud: Cloud) -> Insert:
    """The edit that brings in a thing from a file, where its points stand in the memory's world.

    Raises:
        ValueError: no memory, or no camera from which the thing could be seen and encoded.
    """
    memory = _memory(state)
    things = _pointlike(state, memory, cloud)
    if memory.kind == "rgb":
        return _insert(memory, things.observations)
    cameras = _around(state, cloud.points)
    codec, first = world.codec, _next_frame(state, memory)
    h, w = codec.grid.cells(cameras.height, cameras.width)
    shown = splat_centred(memory, cameras.resized(h, w))
    behind = torch.stack([as_colours(codec.decode(features[:, None]))[0] for features in shown.features])
    rendered, depth = splat_discs(things, cameras), render_depth(things, cameras)[0]
    wall, known = render_depth(memory, cameras)
    seen = (rendered.known >= COVERED) & (depth > 0) & (~known | (depth <= wall))
    picture = rendered.features / rendered.known.clamp(min=1e-3)[:, None]
    images = torch.where(seen[:, None], picture.clamp(0, 1), behind.clamp(0, 1))
    everywhere = torch.ones_like(depth)
    geometry = Geometry(torch.where(seen, depth, 0.0), everywhere, everywhere > 0, cameras, memory.metric, 1.0)
    frames = tuple(first - i for i in range(len(cameras)))
    lifted = lift_latents(codec.encode_frames(signed(images)), geometry, frames, last_chunk(memory))
    return _insert(memory, lifted)


def _insert(memory: SpatialMemory, lifted: tuple[Observation, ...]) -> Insert:
    """What was lifted, without what it says twice."""
    alone, _ = merge(replace(memory, observations=(), edits=()), lifted)
    if not alone.num_points:
        raise ValueError("nothing could be inserted: no camera sees it; move it into view, or check its size and depth")
    return Insert(last_chunk(memory), alone.observations)


def _repainted(
    world: WorldModel,
    state: RolloutState,
    observation: Observation,
    mask: Tensor,
    colour: tuple[float, float, float],
    strength: float,
) -> Tensor:
    """New latents (K, C) float16 of the chosen points: their frame's picture in another colour, encoded."""
    codec, camera = world.codec, observation.camera
    if observation.frame in state.code_frames:
        latents = state.codes[:, state.code_frames.index(observation.frame)]
    else:
        latents = splat_centred(_memory(state), camera.alone()).features[0]
    picture = as_colours(codec.decode(latents[:, None]))[0]  # (3, H, W)
    cells = torch.zeros(camera.height * camera.width, dtype=torch.bool)
    cells[observation.cells[mask].long()] = True
    pixels = on_pixels(cells.view(camera.height, camera.width), *picture.shape[1:])
    painted = picture.clone()
    painted[:, pixels] = tinted(picture[:, pixels].T, colour, strength).T
    code = codec.encode_frames(signed(painted[None].clamp(0, 1)))[:, 0]
    return code.flatten(1).T[observation.cells[mask].long()].half()


def _pointlike(state: RolloutState, memory: SpatialMemory, cloud: Cloud) -> SpatialMemory:
    """A cloud as a colour memory, one point a voxel."""
    voxel = memory.scene_unit * RGB_VOXEL
    chosen, colours = thinned(cloud.points, cloud.colours.float() / 255, voxel)
    points = cloud.points[chosen]
    K = torch.tensor([[POINTLIKE, 0.0, 0.0], [0.0, POINTLIKE, 0.0], [0.0, 0.0, 1.0]])
    o = Observation(
        points=points,
        features=(colours * 255).round().to(torch.uint8),
        cells=torch.arange(len(points), dtype=torch.int32),
        camera=Cameras(torch.eye(4), K, 1, len(points)),
        frame=_next_frame(state, memory),
        chunk=last_chunk(memory),
        voxel=voxel,
    )
    return SpatialMemory("rgb", "", 3, memory.scene_unit, memory.metric, (o,))


def _around(state: RolloutState, points: Tensor) -> Cameras:
    """Cameras on the pixel grid that see the points: the start's, turned about their middle, and those of the film."""
    middle = points.mean(0)
    start = state.cameras[0]
    turned = []
    for degrees in AROUND:
        half = torch.tensor(degrees).deg2rad() / 2
        turn = torch.eye(4)
        quaternion = torch.stack([half.cos(), torch.tensor(0.0), half.sin(), torch.tensor(0.0)])
        turn[:3, :3] = matrices_from_quaternions(quaternion)
        turn[:3, 3] = middle - turn[:3, :3] @ middle
        turned.append(start.moved(turn).alone())
    cameras = concatenate([*turned, state.code_cameras.resized(state.height, state.width)])
    planar = points.T.contiguous()
    sees = []
    for view in range(len(cameras)):
        u, v, z = project_planar(planar, cameras[view])
        inside = (z > 0) & (u >= 0) & (u < cameras.width) & (v >= 0) & (v < cameras.height)
        sees.append(bool(inside.float().mean() > 0.25))
    if not any(sees):
        raise ValueError("nothing could be inserted: no camera of the film sees it; move it into view")
    return cameras[torch.tensor(sees).nonzero()[:, 0]]


def _next_frame(state: RolloutState, memory: SpatialMemory) -> int:
    """A frame number that nothing else has: below all others."""
    inserted = [o for e in memory.edits if isinstance(e, Insert) for o in e.observations]
    return min([0, *state.code_frames, *(o.frame for o in (*memory.observations, *inserted))]) - 1


def _memory(state: RolloutState) -> SpatialMemory:
    if state.memory is None:
        raise ValueError("the state has no memory to edit; InitMemory comes first")
    return state.memory
