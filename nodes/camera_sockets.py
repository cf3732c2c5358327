"""Between camera paths and the host's own camera sockets: LOAD3D_CAMERA, WAN_CAMERA_EMBEDDING and text."""

import json

from ..memory.camera import Cameras, concatenate
from ..memory.formats.imported import vertical_fov
from ..memory.formats.load3d import camera_from_load3d, load3d_from_camera
from ..memory.formats.plucker import wan_camera_embedding
from ..memory.path import CameraPath as Recipe
from ..memory.quaternion import quaternions_from_matrices
from ..memory.spline import Keyframe
from .host import PathSocket, io, result, schema, socket
from .path import MAX_FRAMES, from_the_first

GRID = (480, 832)  # no output depends on it: a path keeps the field of view alone


def key_of(camera: Cameras, frame: int) -> Keyframe:
    """A single camera as a key of a path."""
    x, y, z = camera.position.double().tolist()
    rotation = quaternions_from_matrices(camera.c2w[:3, :3].double()).tolist()
    fov = vertical_fov(camera.alone())[0].item()
    return Keyframe(float(frame), (x, y, z), tuple(rotation), fov, "ease_in_out")


class PathFromLoad3D(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "PathFromLoad3D",
            "Path From 3D Cameras",
            "A movement from one camera of a 3D viewer to another one, seen from the first.",
            inputs=[
                socket(
                    io.Load3DCamera,
                    "start",
                    "Where the start frame stands: the camera of Load 3D or Preview 3D.",
                ),
                socket(
                    io.Int,
                    "num_frames",
                    "Length of the film: 1 + 4 n frames.",
                    default=57,
                    min=5,
                    max=MAX_FRAMES,
                    step=4,
                ),
                socket(
                    io.Load3DCamera, "end", "Where the film ends. Without it the camera stands still.", optional=True
                ),
                socket(
                    io.Float,
                    "fps",
                    "Frames per second; only speeds in the drawing and exported files use it.",
                    default=16.0,
                    min=1.0,
                    max=240.0,
                    step=1.0,
                    optional=True,
                ),
                socket(
                    io.Combo,
                    "units",
                    "What one unit of the 3D viewer means: 'scene' the scene's median depth, 'world' the depth's own "
                    "units (metres).",
                    options=["scene", "world"],
                    default="scene",
                    optional=True,
                ),
            ],
            outputs=[
                result(PathSocket, "path", "The path: it starts and ends at rest."),
                result(io.String, "key", "The end as a key in JSON, to be put into Camera Path's keyframes."),
                result(io.Float, "vertical_fov", "Field of view of the first frame, for Encode Start Frame."),
            ],
            search_aliases=["load 3d", "camera info", "three.js", "preview 3d"],
        )

    @classmethod
    def execute(cls, start, num_frames, end=None, fps=16.0, units="scene"):
        ends = concatenate([camera_from_load3d(info, *GRID) for info in (start, start if end is None else end)])
        seen = from_the_first(ends)
        keys = key_of(seen[0], 0), key_of(seen[1], num_frames - 1)
        path = Recipe(keys, num_frames, fps, units=units, name="3D cameras")
        last = keys[1]
        key = {"frame": last.frame, "position": last.position, "rotation": last.rotation}
        text = json.dumps({**key, "vertical_fov": last.vertical_fov, "easing": last.easing})
        return io.NodeOutput(path, text, keys[0].vertical_fov)


class PathToLoad3D(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "PathToLoad3D",
            "Path To 3D Camera",
            "One frame of a path as the camera of a 3D viewer.",
            inputs=[
                socket(PathSocket, "path", "The path, from Camera Path."),
                socket(
                    io.Int,
                    "frame",
                    "Which frame; -1 is the last one.",
                    default=-1,
                    min=-MAX_FRAMES,
                    max=MAX_FRAMES - 1,
                ),
            ],
            outputs=[result(io.Load3DCamera, "camera_info", "Position, target, rotation and field of view.")],
            search_aliases=["load 3d", "camera info", "three.js", "preview 3d"],
        )

    @classmethod
    def execute(cls, path, frame):
        if not -path.num_frames <= frame < path.num_frames:
            raise ValueError(f"frame is {frame}, the path on socket 'path' has {path.num_frames} frames")
        return io.NodeOutput(load3d_from_camera(path.bake(*GRID)[frame]))


class PathToWanCamera(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "PathToWanCamera",
            "Path To Wan Camera Embedding",
            "A path as the camera embedding of Wan's Fun Camera models, for the host's own Wan nodes.",
            inputs=[
                socket(PathSocket, "path", "The path, from Camera Path: 1 + 4 n frames."),
                socket(io.Int, "width", "Width of the film in pixels.", default=832, min=16, max=8192, step=16),
                socket(io.Int, "height", "Height of the film in pixels.", default=480, min=16, max=8192, step=16),
                socket(
                    io.Float,
                    "scene_unit",
                    "How far the model should take a step of one scene unit to be; it moves less with less.",
                    default=1.0,
                    min=0.001,
                    max=1000.0,
                    step=0.05,
                    round=0.000001,
                    optional=True,
                ),
            ],
            outputs=[
                result(io.WanCameraEmbedding, "camera_embedding", "For Wan Camera Image To Video."),
                result(io.Int, "width", "Width of the film in pixels."),
                result(io.Int, "height", "Height of the film in pixels."),
                result(io.Int, "length", "Number of frames."),
            ],
            search_aliases=["wan camera", "fun camera", "plucker", "camera embedding"],
        )

    @classmethod
    def execute(cls, path, width, height, scene_unit=1.0):
        embedding = wan_camera_embedding(path.bake(height, width, scene_unit))
        return io.NodeOutput(embedding, width, height, path.num_frames)


class PathToText(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "PathToText",
            "Path To Text",
            "A path as JSON: its keys, and the pose of every frame beside them.",
            inputs=[socket(PathSocket, "path", "The path, from Camera Path.")],
            outputs=[result(io.String, "text", "The JSON, which Path From Text and Camera Path read.")],
            search_aliases=["camera json", "path json", "string"],
        )

    @classmethod
    def execute(cls, path):
        return io.NodeOutput(path.to_json())


class PathFromText(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "PathFromText",
            "Path From Text",
            "Reads a path from this pack's JSON.",
            inputs=[
                socket(
                    io.String,
                    "text",
                    "The JSON of a path: from Path To Text, from Export Camera Path, or written by hand.",
                    default="",
                    multiline=True,
                )
            ],
            outputs=[
                result(PathSocket, "path", "The path."),
                result(io.Float, "vertical_fov", "Field of view of the first frame, for Encode Start Frame."),
            ],
            search_aliases=["camera json", "path json", "string"],
        )

    @classmethod
    def execute(cls, text):
        path = Recipe.from_json(text)
        return io.NodeOutput(path, path.poses().vertical_fov[0].item())
