"""The node that begins a film: a photograph, several with poses, or a video to continue."""

import torch

from ..memory.camera import Cameras, compose, concatenate, invert_rigid
from ..memory.path import CameraPath
from ..memory.presets import hold
from ..rollout.chunk import start
from .convert import images_from_socket, images_to_socket, latents_to_socket
from .host import PathSocket, State, World, io, result, schema, socket


def first_camera(vertical_fov: float, height: int, width: int) -> Cameras:
    """The camera (1,) of the start frame: at the world's origin, looking along +Z, made as every path makes its own."""
    return hold(2, vertical_fov=vertical_fov).bake(height, width)[:1]


def posed(images: torch.Tensor, poses: CameraPath | None, vertical_fov: float, origin: int) -> Cameras:
    """Cameras of several pictures, seen from the one at index ``origin``, which becomes the world's origin.

    Args:
        images: (N, 3, H, W).
        poses: one pose for each picture, in world units; None is allowed for a single picture.

    Raises:
        ValueError: several pictures without poses, or another number of poses.
    """
    count, height, width = len(images), *images.shape[2:]
    if poses is None:
        if count > 1:
            raise ValueError(
                f"{count} images came without poses; connect poses (Import Camera Path), or give one image"
            )
        return first_camera(vertical_fov, height, width)
    if poses.num_frames != count:
        raise ValueError(
            f"poses has {poses.num_frames} poses for {count} images; expected one pose for each image, in order"
        )
    cameras = poses.bake(height, width)
    c2w = compose(invert_rigid(cameras.c2w[origin]), cameras.c2w)
    c2w[origin] = torch.eye(4)
    return Cameras(c2w, cameras.K, height, width)


def last_first(images: torch.Tensor, cameras: Cameras, stride: int) -> tuple[torch.Tensor, Cameras]:
    """A video to continue: its last frame is the start frame, every ``stride``-th frame before it is remembered."""
    earlier = list(range(len(images) - 1 - stride, -1, -stride))
    index = torch.tensor([len(images) - 1, *earlier])
    return images[index], cameras[index]


def prompts_of(text: str) -> tuple[str, ...]:
    """One prompt a line, one line a chunk; the last line holds for all later chunks."""
    return tuple(line.strip() for line in text.splitlines() if line.strip())


class EncodeStartFrame(io.ComfyNode):
    @classmethod
    def define_schema(cls):
        return schema(
            "EncodeStartFrame",
            "Encode Start Frame",
            "Begins a film: encodes the start photograph, which becomes frame 0, and sets prompt and seed. Width and "
            "height of the photograph are those of the film.",
            inputs=[
                socket(World, "world", "The world model, from Load World Model."),
                socket(
                    io.Image,
                    "image",
                    "The start photograph; the size must fit the world model (mini: multiples of 32). Several "
                    "images: the first is the start frame, the others are only remembered; connect poses.",
                    optional=True,
                ),
                socket(
                    io.Video,
                    "video",
                    "Instead of an image, a video to continue: its last frame becomes the start frame, those before "
                    "it are remembered. Needs poses, one a frame.",
                    optional=True,
                ),
                socket(
                    PathSocket,
                    "poses",
                    "Cameras of several images or of the video, one each, in world units, from Import Camera Path. "
                    "Not the path of the new film.",
                    optional=True,
                ),
                socket(
                    io.Float,
                    "vertical_fov",
                    "Vertical field of view of the photograph in degrees: 35 to 60 for most cameras. Without poses "
                    "only. The camera path must start with the same value: connect the output vertical_fov to it.",
                    default=50.0,
                    min=1.0,
                    max=170.0,
                    step=0.1,
                    round=0.000001,
                    optional=True,
                ),
                socket(
                    io.String,
                    "prompt",
                    "What the film shows: one line for each chunk, the last line holds for the rest. The mini model "
                    "ignores it.",
                    default="",
                    multiline=True,
                    optional=True,
                ),
                socket(
                    io.Int,
                    "seed",
                    "The film's random seed. Each chunk's noise depends on it and on the chunk's number alone.",
                    default=0,
                    min=0,
                    max=2**53 - 1,
                    control_after_generate=True,
                    optional=True,
                ),
            ],
            outputs=[
                result(State, "state", "The film's state with frame 0 and no memory yet."),
                result(
                    io.Image,
                    "images",
                    "What was encoded, the start frame first: for Estimate Geometry and Init Memory.",
                ),
                result(io.Latent, "latent", "The start frame's latent, raw, for other nodes."),
                result(io.Float, "vertical_fov", "Field of view of the start frame, for Camera Path."),
            ],
            search_aliases=["image to video", "i2v", "start image", "continue video"],
        )

    @classmethod
    def execute(cls, world, image=None, video=None, poses=None, vertical_fov=50.0, prompt="", seed=0):
        if (image is None) == (video is None):
            raise ValueError(
                "image and video of EncodeStartFrame: connect exactly one, an image or a video to continue"
            )
        if image is not None:
            images = images_from_socket(image, "image")
            cameras = posed(images, poses, vertical_fov, origin=0)
        else:
            images = images_from_socket(video.get_components().images, "video")
            cameras = posed(images, poses, vertical_fov, origin=len(images) - 1)
            images, cameras = last_first(images, cameras, world.codec.grid.temporal)
        if poses is not None:
            vertical_fov = poses.poses().vertical_fov[0 if video is None else -1].item()
            cameras = concatenate([first_camera(vertical_fov, *images.shape[2:]), cameras[1:]])
        state = start(world, images, cameras, prompts_of(prompt), seed)
        latent = latents_to_socket(world.codec, state.latents)
        return io.NodeOutput(state, images_to_socket(images), latent, vertical_fov)
