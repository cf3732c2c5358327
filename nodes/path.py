"""Nodes that make camera paths, read them from files and write them."""

import torch

from ..memory.camera import Cameras, compose, invert_rigid
from ..memory.formats import (
    FORMATS,
    READERS,
    dropped_by,
    dropped_by_path,
    every_frame,
    flipped,
    inverted,
    path_from_cameras,
    read_cameras,
    scaled,
    write_cameras,
)
from ..memory.path import CameraPath as Recipe
from ..memory.picture import draw_path
from ..memory.presets import PRESETS
from ..memory.store import replacing
from .convert import images_from_socket
from .editor_live import shown_scene
from .host import MemorySocket, PathSocket, State, file_stamp, io, output_file, result, schema, socket, ui, user_file
from .recipe import path_of

MAX_FRAMES = 4096
ENDINGS = {name: kind.ending for name, kind in FORMATS.items()}
GRID = (704, 1248)  # of an imported file that does not say its size; a path keeps the field of view alone


def picture(path: Recipe, memory=None) -> torch.Tensor:
    """The path's drawing as an IMAGE (1, H, W, 3)."""
    return draw_path(path, memory).float()[None] / 255


def from_the_first(cameras: Cameras) -> Cameras:
    """The same cameras (T,), seen from the first: it becomes the world's origin."""
    c2w = compose(invert_rigid(cameras.c2w[0]), cameras.c2w)
    c2w[0] = torch.eye(4)
    return Cameras(c2w, cameras.K, cameras.height, cameras.width)


class CameraPath(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "CameraPath",
            "Camera Path",
            "The camera's way through the place: a preset, or keyframes as JSON. Frame 0 stands where the start "
            "frame was taken.",
            inputs=[
                socket(
                    io.Combo,
                    "preset",
                    "The movement. out_and_back swings sideways and returns exactly the way it came, so that the "
                    "loop closes. Not used where keyframes are given.",
                    options=list(PRESETS),
                    default="out_and_back",
                ),
                socket(
                    io.Int,
                    "num_frames",
                    "Length of the film: 1 + 4 n frames. The mini model makes 33 in its first chunk and 24 in every "
                    "other one.",
                    default=153,
                    min=5,
                    max=MAX_FRAMES,
                    step=4,
                ),
                socket(
                    io.Float,
                    "amount",
                    "How far: for moves in multiples of the scene's median depth, for turns in degrees. 0 = the "
                    "preset's own.",
                    default=0.0,
                    min=-3600.0,
                    max=3600.0,
                    step=0.05,
                    round=0.000001,
                ),
                socket(
                    io.Float,
                    "vertical_fov",
                    "Vertical field of view in degrees, the same as the start frame's: connect Encode Start Frame's "
                    "output.",
                    default=50.0,
                    min=1.0,
                    max=170.0,
                    step=0.1,
                    round=0.000001,
                ),
                socket(
                    io.Float,
                    "fps",
                    "Frames per second; only speeds in the drawing and exported files use it.",
                    default=16.0,
                    min=1.0,
                    max=240.0,
                    step=1.0,
                ),
                socket(
                    io.Boolean, "loop", "Close the path: its last frame is, to the bit, its first pose.", default=False
                ),
                socket(
                    io.String,
                    "keyframes",
                    "Keyframes as JSON, which replace the preset; the help page of this node shows an example. "
                    "Keys added behind one at which the camera rests run only the new chunks; editing a key runs the "
                    "first chunk that it moves and those after it.",
                    default="",
                    multiline=True,
                    optional=True,
                ),
                socket(MemorySocket, "memory", "A memory to draw the path over, from Init Memory.", optional=True),
                socket(
                    State,
                    "state",
                    "A film that exists already, from Load World: the editor shows its frames and its memory. Not the "
                    "state of the loop that this path drives.",
                    optional=True,
                ),
                socket(
                    io.Image,
                    "start_image",
                    "The start photograph, for the editor to show where it was taken. Without it, the state's.",
                    optional=True,
                ),
            ],
            outputs=[
                result(PathSocket, "path", "The path: recipe and cameras."),
                result(
                    io.Image, "picture", "The path from above and from the side, with frusta and the speed over time."
                ),
            ],
            search_aliases=["camera trajectory", "camera control", "keyframes", "orbit", "dolly", "camera motion"],
        )

    @classmethod
    def execute(
        cls,
        preset,
        num_frames,
        amount,
        vertical_fov,
        fps,
        loop,
        keyframes="",
        memory=None,
        state=None,
        start_image=None,
    ):
        path = path_of(preset, num_frames, amount, vertical_fov, fps, loop, keyframes)
        memory = state.memory if memory is None and state is not None else memory
        image = None if start_image is None else images_from_socket(start_image, "start_image")[0]
        shown = picture(path, memory)
        scene = shown_scene(memory, state, image)
        return io.NodeOutput(path, shown, ui={**ui.PreviewImage(shown).as_dict(), **scene})


class ImportCameraPath(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "ImportCameraPath",
            "Import Camera Path",
            "Reads cameras that other tools wrote: COLMAP, NeRF, nerfstudio, Blender's glTF, Nuke, RealEstate10K and "
            "more; the help page lists them all.",
            inputs=[
                socket(
                    io.String,
                    "file",
                    "A camera file in the input or output folder, for instance w2c.txt (intrinsics.txt is found "
                    "beside it), images.bin of a COLMAP model, or a zip of such a folder.",
                    default="",
                ),
                socket(
                    io.Float,
                    "fps",
                    "Frames per second of the imported path.",
                    default=16.0,
                    min=1.0,
                    max=240.0,
                    step=1.0,
                    optional=True,
                ),
                socket(
                    io.Combo,
                    "units",
                    "What a position of 1 means: 'scene' the scene's median depth, 'world' the depth's own units "
                    "(metres).",
                    options=["world", "scene"],
                    default="world",
                    optional=True,
                ),
                socket(
                    io.Combo,
                    "format",
                    "The format of the file. 'auto' finds it by the content; name it where two look alike.",
                    options=["auto", *READERS],
                    default="auto",
                    optional=True,
                ),
                socket(
                    io.Boolean,
                    "invert",
                    "Invert every pose: where the path runs the wrong way, the file has the other direction.",
                    default=False,
                    optional=True,
                ),
                socket(
                    io.Boolean,
                    "flip",
                    "Flip the camera's Y and Z axes: where it looks backwards and upside down.",
                    default=False,
                    optional=True,
                ),
                socket(
                    io.Float,
                    "scale",
                    "Multiply all positions: where the path is too long or too short for the scene.",
                    default=1.0,
                    min=0.000001,
                    max=1000000.0,
                    step=0.05,
                    round=0.000001,
                    optional=True,
                ),
            ],
            outputs=[
                result(PathSocket, "path", "The path, seen from its first camera: frame 0 stands at the origin."),
                result(io.String, "assumed", "What the file did not say and was assumed, one line each."),
                result(io.Float, "vertical_fov", "Field of view of the first frame, for Encode Start Frame."),
                result(io.Image, "picture", "The path from above and from the side."),
            ],
            search_aliases=["load camera", "w2c", "realestate10k", "colmap", "nerf", "gltf", "blender", "trajectory"],
        )

    @classmethod
    def fingerprint_inputs(cls, file="", **others):
        return file_stamp(file or "")

    @classmethod
    def execute(cls, file, fps=16.0, units="world", format="auto", invert=False, flip=False, scale=1.0):
        imported = every_frame(read_cameras(user_file(file), *GRID, None if format == "auto" else format, fps))
        cameras = inverted(imported.cameras) if invert else imported.cameras
        cameras = scaled(flipped(cameras) if flip else cameras, scale)
        path = path_from_cameras(from_the_first(cameras), fps, units)
        shown, assumed = picture(path), "\n".join([*imported.assumed, *dropped_by_path(cameras)])
        fov = path.poses().vertical_fov[0].item()
        return io.NodeOutput(path, assumed, fov, shown, ui={**ui.PreviewImage(shown).as_dict(), "text": (assumed,)})


class ExportCameraPath(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "ExportCameraPath",
            "Export Camera Path",
            "Writes a path's cameras to the output folder in a format that other tools read.",
            inputs=[
                socket(PathSocket, "path", "The path, from Camera Path."),
                socket(
                    io.String,
                    "filename",
                    "Where to write, below the output folder; the format adds its ending. COLMAP makes a folder.",
                    default="camera_path",
                ),
                socket(
                    io.Combo, "format", "The format of the file.", options=list(ENDINGS), default="json", optional=True
                ),
                socket(
                    io.Int,
                    "width",
                    "Width of the images in pixels, for formats with intrinsics.",
                    default=320,
                    min=16,
                    max=8192,
                    optional=True,
                ),
                socket(
                    io.Int,
                    "height",
                    "Height of the images in pixels, for formats with intrinsics.",
                    default=192,
                    min=16,
                    max=8192,
                    optional=True,
                ),
            ],
            outputs=[
                result(io.String, "json", "The path as this pack's JSON: recipe and baked poses."),
                result(io.String, "file", "The file that was written."),
            ],
            is_output_node=True,
            search_aliases=["save camera", "w2c", "realestate10k", "colmap", "nerf", "gltf", "blender", "trajectory"],
        )

    @classmethod
    def execute(cls, path, filename, format="json", width=320, height=192):
        if format == "json":
            written = output_file(filename + ENDINGS[format])
            with replacing(written) as stream:
                stream.write(path.to_json().encode())
            dropped = ()
        else:
            cameras = path.bake(height, width)
            written, *_ = write_cameras(output_file(filename + ENDINGS[format]), cameras, format, path.fps)
            dropped = dropped_by(format, cameras)
        said = "\n".join([str(written), *(f"not in the file: {sentence}" for sentence in dropped)])
        return io.NodeOutput(path.to_json(), str(written), ui=ui.PreviewText(said))
