"""The node that shows a memory: from cameras that swing about it, and as a file of points."""

import torch

from ..memory.exchange import write_ply
from ..memory.splat import read
from ..rollout.look import decoded, home, orbit, plainly
from .colours import cloud_of, factors_of
from .convert import images_to_socket, tinted
from .host import (
    MemorySocket,
    PathSocket,
    Progress,
    World,
    io,
    output_file,
    point_file,
    point_file_outputs,
    result,
    schema,
    socket,
    ui,
)

DECODED, LINEAR = "decoded", "linear colours"


class PreviewMemory(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "PreviewMemory",
            "Preview Memory",
            "Shows what a memory holds: pictures from cameras that swing about the scene, holes tinted, and a PLY "
            "file of its points in the output folder.",
            inputs=[
                socket(World, "world", "The world model, from Load World Model."),
                socket(MemorySocket, "memory", "From Init Memory, Edit Memory, Update Memory or Load World."),
                socket(
                    PathSocket,
                    "path",
                    "Look from this camera path instead of swinging about the scene; frames are picked evenly from it.",
                    optional=True,
                ),
                socket(io.Int, "count", "How many pictures.", default=16, min=1, max=512, optional=True),
                socket(
                    io.Float,
                    "degrees",
                    "How far the camera swings to either side, without a path.",
                    default=8.0,
                    min=0.0,
                    max=80.0,
                    step=0.5,
                    round=0.001,
                    optional=True,
                ),
                socket(
                    io.Combo,
                    "look",
                    "Of a latent memory. 'decoded': through the codec, as the film will look. 'linear colours': one "
                    "colour a cell, at once.",
                    options=[DECODED, LINEAR],
                    default=DECODED,
                    optional=True,
                ),
                socket(
                    io.String,
                    "filename",
                    "Name of the PLY below the output folder; one of the same name is replaced.",
                    default="spatial_memory/memory",
                    optional=True,
                ),
            ],
            outputs=[
                result(io.Image, "images", "The pictures, the start camera's first; holes are tinted."),
                result(io.String, "file", "The PLY that was written: x right, y down, z ahead, world units."),
                *point_file_outputs("The same file for the host's own point cloud nodes."),
            ],
            is_output_node=True,
            search_aliases=["point cloud", "ply", "export", "render memory", "orbit", "turntable"],
        )

    @classmethod
    def execute(cls, world, memory, path=None, count=16, degrees=8.0, look=DECODED, filename="spatial_memory/memory"):
        start = home(memory)
        if path is None:
            cameras = orbit(start, memory.scene_unit, count, degrees)
        else:
            picked = torch.linspace(0, path.num_frames - 1, min(count, path.num_frames)).round().long()
            cameras = path.bake(start.height, start.width, memory.scene_unit)[picked]
        factors = factors_of(memory) if memory.kind == "latent" and look == LINEAR else None
        progress, pictures = Progress(len(cameras)), []
        for view in range(len(cameras)):
            shown = read(memory, cameras[view : view + 1])
            if factors is None:
                image = decoded(world, memory, shown)
            else:
                image = plainly(memory, shown, factors, world.codec.grid.spatial)
            pictures.append(tinted(image, (shown.known >= 0.5).float()))
            progress.tick(view + 1)
        images = images_to_socket(torch.cat(pictures))
        name = filename if filename.endswith(".ply") else filename + ".ply"
        cloud, file = cloud_of(memory), output_file(name)
        write_ply(file, cloud.points, cloud.colours)
        shown = {**ui.PreviewImage(images).as_dict(), "text": (f"{len(cloud)} points in {name}",)}
        return io.NodeOutput(images, str(file), *point_file(file), ui=shown)
