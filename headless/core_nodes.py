"""The few nodes of ComfyUI itself that the bundled workflows use, on the stand-in: same names, sockets and numbers."""

import hashlib
import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .standin import io, ui
from .standin.video import VideoCodec, VideoComponents, VideoContainer, VideoFromComponents, VideoFromFile


def _folders() -> Any:
    return sys.modules["folder_paths"]


def _checked_name(name: str, kind: str) -> bool | str:
    """Accept a file that exists in the input folders; else say what is wrong."""
    try:
        found = _folders().exists_annotated_filepath(name)
    except ValueError as problem:
        return str(problem)
    folder, listed = _folders().get_input_directory(), _folders().input_files(kind)
    return (
        True if found else f"there is no {kind} {name!r} in {folder}: put it there, give --input DIR, or use {listed}"
    )


def _fingerprint(name: str) -> str:
    return hashlib.sha256(Path(_folders().get_annotated_filepath(name)).read_bytes()).hexdigest()


class LoadImage(io.ComfyNode):
    """An image file and, where it is transparent, a mask that selects the transparent part."""

    @classmethod
    def define_schema(cls):
        upload = io.Combo.Input("image", options=_folders().input_files("image"), upload=io.UploadType.image)
        outputs = [io.Image.Output(), io.Mask.Output()]
        return io.Schema("LoadImage", "Load Image", "image", inputs=[upload], outputs=outputs)

    @classmethod
    def execute(cls, image):
        from PIL import Image, ImageOps, ImageSequence

        pictures, masks = [], []
        with Image.open(_folders().get_annotated_filepath(image)) as file:
            frames = [ImageOps.exif_transpose(frame.copy()) for frame in ImageSequence.Iterator(file)]
        for frame in frames:
            if frame.size != frames[0].size:
                continue
            pictures.append(torch.from_numpy(np.array(frame.convert("RGB")).astype(np.float32) / 255.0))
            if "A" in frame.getbands() or "transparency" in frame.info:
                alpha = np.array(frame.convert("RGBA").getchannel("A")).astype(np.float32) / 255.0
                masks.append(1.0 - torch.from_numpy(alpha))
            else:
                masks.append(torch.zeros(64, 64))
        return io.NodeOutput(torch.stack(pictures), torch.stack(masks))

    @classmethod
    def fingerprint_inputs(cls, image):
        return _fingerprint(image)

    @classmethod
    def validate_inputs(cls, image):
        return _checked_name(image, "image")


class LoadVideo(io.ComfyNode):
    """A video file."""

    @classmethod
    def define_schema(cls):
        upload = io.Combo.Input("file", options=_folders().input_files("video"), upload=io.UploadType.video)
        return io.Schema("LoadVideo", "Load Video", "image/video", inputs=[upload], outputs=[io.Video.Output()])

    @classmethod
    def execute(cls, file):
        return io.NodeOutput(VideoFromFile(_folders().get_annotated_filepath(file)))

    @classmethod
    def fingerprint_inputs(cls, file):
        return _fingerprint(file)

    @classmethod
    def validate_inputs(cls, file):
        return _checked_name(file, "video")


class PreviewImage(io.ComfyNode):
    """Images shown on the node, written to the temp folder."""

    @classmethod
    def define_schema(cls):
        images = [io.Image.Input("images")]
        return io.Schema("PreviewImage", "Preview Image", "image", inputs=images, is_output_node=True)

    @classmethod
    def execute(cls, images):
        return io.NodeOutput(ui=ui.SavedImages(ui.save_images(images, "preview", io.FolderType.temp, cls.hidden)))


class SaveImage(io.ComfyNode):
    """Images written to the output folder as PNG."""

    @classmethod
    def define_schema(cls):
        inputs = [io.Image.Input("images"), io.String.Input("filename_prefix", default="ComfyUI")]
        return io.Schema("SaveImage", "Save Image", "image", inputs=inputs, is_output_node=True)

    @classmethod
    def execute(cls, images, filename_prefix="ComfyUI"):
        results = ui.save_images(images, filename_prefix, io.FolderType.output, cls.hidden)
        return io.NodeOutput(ui=ui.SavedImages(results))


class CreateVideo(io.ComfyNode):
    """Frames to a video."""

    @classmethod
    def define_schema(cls):
        rate = io.Float.Input("fps", default=30.0, min=1.0, max=120.0, step=1.0)
        inputs = [io.Image.Input("images"), rate, io.Audio.Input("audio", optional=True)]
        return io.Schema("CreateVideo", "Create Video", "image/video", inputs=inputs, outputs=[io.Video.Output()])

    @classmethod
    def execute(cls, images, fps, audio=None):
        return io.NodeOutput(VideoFromComponents(VideoComponents(images, Fraction(fps), audio)))


class GetVideoComponents(io.ComfyNode):
    """A video to its frames."""

    @classmethod
    def define_schema(cls):
        named = [("IMAGE", "images"), ("AUDIO", "audio"), ("FLOAT", "fps")]
        outputs = [io.Custom(kind).Output(display_name=name) for kind, name in named]
        inputs = [io.Video.Input("video")]
        return io.Schema("GetVideoComponents", "Get Video Components", "image/video", inputs=inputs, outputs=outputs)

    @classmethod
    def execute(cls, video):
        parts = video.get_components()
        return io.NodeOutput(parts.images, parts.audio, float(parts.frame_rate))


class SaveVideo(io.ComfyNode):
    """A video written to the output folder."""

    @classmethod
    def define_schema(cls):
        inputs = [
            io.Video.Input("video"),
            io.String.Input("filename_prefix", default="video/ComfyUI"),
            io.Combo.Input("format", options=VideoContainer.as_input(), default="auto"),
            io.Combo.Input("codec", options=VideoCodec.as_input(), default="auto"),
        ]
        return io.Schema("SaveVideo", "Save Video", "image/video", inputs=inputs, is_output_node=True)

    @classmethod
    def execute(cls, video, filename_prefix, format, codec):
        width, height = video.get_dimensions()
        root = _folders().get_output_directory()
        folder, filename, counter, subfolder, _ = _folders().get_save_image_path(filename_prefix, root, width, height)
        name = f"{filename}_{counter:05}_.{VideoContainer.get_extension(format)}"
        notes = {**(cls.hidden.extra_pnginfo or {}), "prompt": cls.hidden.prompt}
        video.save_to(str(Path(folder) / name), format=format, codec=codec, metadata=notes)
        return io.NodeOutput(ui=ui.PreviewVideo([ui.SavedResult(name, subfolder, io.FolderType.output)]))


class PreviewAny(io.ComfyNode):
    """Any value as a text."""

    @classmethod
    def define_schema(cls):
        source = [io.AnyType.Input("source")]
        return io.Schema("PreviewAny", "Preview Any", "utils", inputs=source, is_output_node=True)

    @classmethod
    def execute(cls, source=None):
        plain = isinstance(source, dict | list | bool | int | float)
        return io.NodeOutput(ui={"text": (json.dumps(source, default=str) if plain else str(source),)})


class MaskToImage(io.ComfyNode):
    """A mask as a gray image."""

    @classmethod
    def define_schema(cls):
        outputs = [io.Image.Output()]
        return io.Schema(
            "MaskToImage", "Convert Mask to Image", "mask", inputs=[io.Mask.Input("mask")], outputs=outputs
        )

    @classmethod
    def execute(cls, mask):
        return io.NodeOutput(mask.reshape(-1, *mask.shape[-2:], 1).expand(-1, -1, -1, 3))


class ImageToMask(io.ComfyNode):
    """One channel of an image as a mask."""

    CHANNELS = ("red", "green", "blue", "alpha")

    @classmethod
    def define_schema(cls):
        inputs = [io.Image.Input("image"), io.Combo.Input("channel", options=list(cls.CHANNELS))]
        return io.Schema("ImageToMask", "Convert Image to Mask", "mask", inputs=inputs, outputs=[io.Mask.Output()])

    @classmethod
    def execute(cls, image, channel):
        return io.NodeOutput(image[..., cls.CHANNELS.index(channel)])


def _primitive(name: str, title: str, widget: io.Input, kind: Any) -> type[io.ComfyNode]:
    """A node that holds one value."""

    class Primitive(io.ComfyNode):
        __doc__ = f"One value: {title}."

        @classmethod
        def define_schema(cls):
            return io.Schema(name, title, "utils/primitive", inputs=[widget], outputs=[kind.Output()])

        @classmethod
        def execute(cls, value):
            return io.NodeOutput(value)

    return Primitive


LIMITS = {"min": -sys.maxsize, "max": sys.maxsize}
CORE_NODES = [
    *(LoadImage, LoadVideo, PreviewImage, SaveImage, CreateVideo, GetVideoComponents, SaveVideo, PreviewAny),
    *(MaskToImage, ImageToMask),
    _primitive("PrimitiveInt", "Int", io.Int.Input("value", control_after_generate=True, **LIMITS), io.Int),
    _primitive("PrimitiveFloat", "Float", io.Float.Input("value", **LIMITS), io.Float),
    _primitive("PrimitiveString", "String", io.String.Input("value"), io.String),
    _primitive("PrimitiveStringMultiline", "String (Multiline)", io.String.Input("value", multiline=True), io.String),
    _primitive("PrimitiveBoolean", "Boolean", io.Boolean.Input("value"), io.Boolean),
]
