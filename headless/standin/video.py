"""VIDEO values of the stand-in: from frames or from a file, written as H.264 in MP4 with PyAV."""

import json
import os
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

# with its macroblock tree x264 (av 18.1, AVX-512) reads memory that nobody wrote: the same frames gave other files
SAME_BYTES = {"x264-params": "mbtree=0"}


class _Choice(StrEnum):
    @classmethod
    def as_input(cls) -> list[str]:
        return [member.value for member in cls]


class VideoCodec(_Choice):
    AUTO = "auto"
    H264 = "h264"


class VideoContainer(_Choice):
    AUTO = "auto"
    MP4 = "mp4"

    @classmethod
    def get_extension(cls, value: str) -> str:
        cls(value)
        return "mp4"


@dataclass
class VideoComponents:
    """What a video is made of."""

    images: Tensor  # (T, H, W, 3) in [0, 1]
    frame_rate: Fraction
    audio: dict | None = None
    metadata: dict | None = None


class VideoFromComponents:
    """A video that is still frames in memory."""

    def __init__(self, components: VideoComponents):
        self._components = components

    def get_components(self) -> VideoComponents:
        return self._components

    def get_dimensions(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self._components.images.shape[2], self._components.images.shape[1]

    def get_duration(self) -> float:
        return float(len(self._components.images) / self._components.frame_rate)

    def save_to(self, path: str, format: str = "auto", codec: str = "auto", metadata: dict[str, Any] | None = None):
        """Encode to ``path``; it appears there only when it is complete.

        Raises:
            ValueError: Another format or codec than MP4 and H.264, odd sizes, or a sound track, which is not written.
        """
        import av

        VideoContainer(format), VideoCodec(codec)
        images = self._components.images
        count, height, width, _ = images.shape
        if not count or height % 2 or width % 2:
            raise ValueError(f"H.264 needs frames of even size, got {count} of {width} x {height}: crop or resize them")
        if self._components.audio:
            raise ValueError("this runner writes no sound: leave the audio input of the video unconnected")
        rate = Fraction(round(self._components.frame_rate * 1000), 1000)
        unfinished = Path(path).with_name(f".{Path(path).name}.{os.getpid()}.mp4")
        try:
            with av.open(str(unfinished), mode="w", options={"movflags": "use_metadata_tags"}) as container:
                for key, value in (metadata or {}).items():
                    container.metadata[key] = json.dumps(value)
                stream = container.add_stream("h264", rate=rate, options=SAME_BYTES)
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                for image in images:
                    pixels = (image[..., :3] * 255).clamp(0, 255).to(torch.uint8).cpu().numpy()  # (H, W, 3)
                    container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), "rgb24")))
                container.mux(stream.encode(None))
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)


class VideoFromFile:
    """A video that lies in a file."""

    def __init__(self, file: str):
        self._file = file

    def get_components(self) -> VideoComponents:
        """Decode every frame.

        Raises:
            ValueError: The file holds no video.
        """
        import av

        with av.open(self._file) as container:
            if not container.streams.video:
                raise ValueError(f"{self._file} holds no video stream: choose another file")
            rate = container.streams.video[0].average_rate
            frames = [torch.from_numpy(frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
        if not frames:
            raise ValueError(f"{self._file} holds no frame that can be decoded: choose another file")
        return VideoComponents(torch.stack(frames).float() / 255.0, Fraction(rate or 1))

    def get_dimensions(self) -> tuple[int, int]:
        return VideoFromComponents(self.get_components()).get_dimensions()

    def get_duration(self) -> float:
        return VideoFromComponents(self.get_components()).get_duration()

    def get_stream_source(self) -> str:
        return self._file

    def save_to(self, path: str, format: str = "auto", codec: str = "auto", metadata: dict[str, Any] | None = None):
        VideoFromComponents(self.get_components()).save_to(path, format, codec, metadata)
