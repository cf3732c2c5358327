"""The node that edits a memory: choose points, then delete, hide, lock, move or recolour them, bring some in, undo."""

import re
from dataclasses import replace

from torch import Tensor

from ..memory.camera import transform_points
from ..memory.cloud import Edit
from ..memory.edits import Delete, Hide, Lock, Move, last_chunk
from ..memory.exchange import read_cloud
from ..models.world import WorldModel
from ..rollout.edit import apply_edit, undo_edit
from ..rollout.edit_content import insert_cloud, insert_pictures, recolour
from ..rollout.edit_picture import brought_points, edit_picture, frame_camera, selected_points
from ..rollout.state import RolloutState, check_world
from .convert import images_from_socket
from .host import (
    GeometrySocket,
    MemorySocket,
    State,
    World,
    file_stamp,
    io,
    result,
    schema,
    socket,
    ui,
    user_file,
)
from .selection import CHOICES, Where, chosen
from .world_space import angle, length, motion, turned

ACTIONS = ("delete", "hide", "lock", "move", "recolour", "insert", "undo")


def hex_colour(text: str) -> tuple[float, float, float]:
    """A colour such as ``#c03020`` in [0, 1].

    Raises:
        ValueError: it is none.
    """
    digits = re.fullmatch(r"#?([0-9a-fA-F]{6})", text.strip())
    if digits is None:
        raise ValueError(f"colour is {text!r}, expected six hexadecimal digits, for instance #c03020")
    red, green, blue = (int(digits[1][i : i + 2], 16) / 255 for i in (0, 2, 4))
    return red, green, blue


def brought_in(
    world: WorldModel, state: RolloutState, file: str, images: Tensor | None, geometry, transform: Tensor, scale: float
) -> Edit:
    """The edit that inserts a file or pictures.

    Raises:
        ValueError: both or neither are given, or pictures without their geometry.
        FileNotFoundError: there is no such file.
    """
    if (images is None) != (geometry is None):
        raise ValueError("EditMemory: connect images and geometry both, or neither")
    if bool(file.strip()) == (images is not None):
        raise ValueError("insert of EditMemory takes exactly one: the name of a file, or images with their geometry")
    if images is not None:
        return insert_pictures(world, state, images_from_socket(images), geometry)
    if not 0 < scale < float("inf"):
        raise ValueError(f"scale is {scale}, expected a positive number")
    cloud = read_cloud(user_file(file))
    return insert_cloud(world, state, replace(cloud, points=transform_points(transform, scale * cloud.points)))


class EditMemory(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "EditMemory",
            "Edit Memory",
            "Changes the place itself: removes, hides, locks, moves or recolours a part of the memory, or brings "
            "something in. What was deleted stays away, whatever later frames show.",
            inputs=[
                socket(World, "world", "The world model, from Load World Model."),
                socket(State, "state", "From Init Memory, Edit Memory, Chunk Loop End or Load World."),
                socket(
                    io.Combo,
                    "action",
                    "'delete': gone for good. 'hide': the same, meant to be undone. 'lock': never replaced or evicted. "
                    "'move', 'recolour': as they say. 'insert': a file, or images with geometry; nothing is selected. "
                    "'undo': takes the last edit back.",
                    options=list(ACTIONS),
                    default="delete",
                ),
                socket(
                    io.Combo,
                    "select",
                    "'mask': what frame sees inside selection. 'component': what hangs together with the point nearest "
                    "to x, y, z, inside the box. 'box', 'sphere': about x, y, z. 'half-space': all beyond a plane "
                    "through x, y, z. 'frames': what the frames listed in frames taught.",
                    options=list(CHOICES),
                    default="mask",
                ),
                socket(
                    io.Mask,
                    "selection",
                    "1 = selected: a mask of the film's exact size, drawn on the picture of frame. For 'mask'.",
                    optional=True,
                ),
                socket(
                    io.Int,
                    "frame",
                    "The frame whose camera the mask was drawn from and the picture is shown from. 0 = start frame, "
                    "-1 and below = further pictures that were given.",
                    default=0,
                    min=-4096,
                    max=1_000_000,
                    optional=True,
                ),
                length("x", "Middle of the selection, to the right of the start camera, in scene units."),
                length("y", "Middle of the selection, below the start camera, in scene units."),
                length("z", "Middle of the selection, ahead of the start camera, in scene units.", 1.0),
                length("size_x", "Width of the box, in scene units.", 0.5, min=0.0001),
                length("size_y", "Height of the box, in scene units.", 0.5, min=0.0001),
                length("size_z", "Depth of the box, in scene units.", 0.5, min=0.0001),
                length("radius", "Radius of the sphere, in scene units.", 0.25, min=0.0001),
                angle("yaw", "Turns the box to the right, or the direction in which the half-space lies: 0 = ahead."),
                angle("pitch", "Turns the box up, or the direction in which the half-space lies: 90 = above."),
                socket(
                    io.String,
                    "frames",
                    "Frame numbers such as 0, 12-20, -1. With any other choice: only points that these frames taught. "
                    "Empty: all.",
                    default="",
                    optional=True,
                ),
                socket(
                    io.String,
                    "colour",
                    "The colour for 'recolour', six hexadecimal digits; light and shade stay.",
                    default="#c03020",
                    optional=True,
                ),
                socket(
                    io.Float,
                    "strength",
                    "How much of that colour: 1 = all, 0 = none.",
                    default=1.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    round=0.0001,
                    optional=True,
                ),
                length("to_x", "'move': how far to the right. 'insert': where the file's origin goes. Scene units."),
                length("to_y", "'move': how far down. 'insert': where the file's origin goes. Scene units."),
                length("to_z", "'move': how far ahead. 'insert': where the file's origin goes. Scene units."),
                angle(
                    "turn_yaw", "Turns what is moved about its middle, what is inserted about its origin: to the right."
                ),
                angle("turn_pitch", "The same, upwards. A file whose y axis points up wants 180."),
                angle("turn_roll", "The same, clockwise."),
                socket(
                    io.Float,
                    "scale",
                    "'insert': world units of the memory (metres where its depth is metric) for one unit of the file.",
                    default=1.0,
                    min=0.000001,
                    max=1_000_000.0,
                    step=0.01,
                    round=0.000001,
                    optional=True,
                ),
                socket(
                    io.String,
                    "file",
                    "'insert': a point cloud or mesh in the input folder: ply, pcd, xyz, obj, glb, stl. x right, y "
                    "down, z ahead.",
                    default="",
                    optional=True,
                ),
                socket(
                    io.Image, "images", "'insert': other pictures of the same place, in its own axes.", optional=True
                ),
                socket(GeometrySocket, "geometry", "Their geometry, from Estimate Geometry.", optional=True),
            ],
            outputs=[
                result(State, "state", "The state with the edited memory: into the next edit, or Chunk Loop Start."),
                result(MemorySocket, "memory", "The edited memory."),
                result(io.Image, "picture", "Before, what is selected, after: seen from frame."),
                result(io.String, "happened", "How many points were selected, and what follows for the film."),
            ],
            search_aliases=["remove object", "inpaint", "delete", "recolor", "insert object", "point cloud", "undo"],
        )

    @classmethod
    def fingerprint_inputs(cls, action="", file="", **others):
        return file_stamp(file or "") if action == "insert" else ""

    @classmethod
    def execute(
        cls,
        world,
        state,
        action,
        select,
        selection=None,
        frame=0,
        x=0.0,
        y=0.0,
        z=1.0,
        size_x=0.5,
        size_y=0.5,
        size_z=0.5,
        radius=0.25,
        yaw=0.0,
        pitch=0.0,
        frames="",
        colour="#c03020",
        strength=1.0,
        to_x=0.0,
        to_y=0.0,
        to_z=0.0,
        turn_yaw=0.0,
        turn_pitch=0.0,
        turn_roll=0.0,
        scale=1.0,
        file="",
        images=None,
        geometry=None,
    ):
        check_world(world.name, state)
        if state.memory is None:
            raise ValueError("the state has no memory to edit; InitMemory comes first")
        before, unit = state.memory, state.memory.scene_unit
        rotation, place = turned(turn_yaw, turn_pitch, turn_roll), (unit * to_x, unit * to_y, unit * to_z)
        frame_camera(state, frame)
        if action == "undo":
            edited = undo_edit(world, state)
            return told(world, state, edited.state, frame, None, f"took back edit {len(before.edits)}", edited.notes)
        if action == "insert":
            edit = brought_in(world, state, file, images, geometry, motion(place, rotation), scale)
            edited = apply_edit(world, state, edit)
            marked = brought_points(edited.state.memory)
            return told(world, state, edited.state, frame, marked, f"inserted {int(marked.sum())} points", edited.notes)
        where = Where(select, selection, frame, (x, y, z), (size_x, size_y, size_z), radius, yaw, pitch, frames)
        selected = chosen(state, where)
        marked = selected_points(before, selected)
        if not bool(marked.any()):
            raise ValueError(
                f"nothing is selected: none of the {len(marked)} points of the memory lies in that {select}; "
                "Memory Info and Preview Memory show where the points are"
            )
        last = last_chunk(before)
        if action == "delete":
            edit = Delete(selected, last)
        elif action == "hide":
            edit = Hide(selected, last)
        elif action == "lock":
            edit = Lock(selected, last)
        elif action == "move":
            edit = Move(selected, last, motion(place, rotation, before.points[marked].mean(0)))
        else:
            edit = recolour(world, state, selected, hex_colour(colour), strength)
        edited = apply_edit(world, state, edit)
        done = {"delete": "deleted", "hide": "hid", "lock": "locked", "move": "moved", "recolour": "recoloured"}
        heading = f"{done[action]} {int(marked.sum())} of {len(marked)} points"
        return told(world, state, edited.state, frame, marked, heading, edited.notes)


def told(world, before: RolloutState, after: RolloutState, frame: int, marked, heading: str, notes) -> io.NodeOutput:
    """The node's outputs and its face."""
    text = "\n".join([heading, *notes])
    picture = edit_picture(world, before, after, frame, marked, heading).float()[None] / 255
    shown = {**ui.PreviewImage(picture).as_dict(), "text": (text,)}
    return io.NodeOutput(after, after.memory, picture, text, ui=shown)
