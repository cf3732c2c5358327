"""Camera files of other tools, in and out, one file a format.

A reader returns cameras in the pack's conventions and says what it assumed, since hardly any such file states its own.
The format is found by content; where two look alike it can be named.
"""

from .as_path import dropped_by_path, path_from_cameras
from .corrections import flipped, inverted, scaled
from .drops import dropped_by
from .files import format_by_name, read_camera_bytes, read_cameras, write_cameras
from .imported import Imported
from .known import FORMATS, READERS, WRITERS
from .timing import every_frame

__all__ = [
    "FORMATS",
    "READERS",
    "WRITERS",
    "Imported",
    "dropped_by",
    "dropped_by_path",
    "every_frame",
    "flipped",
    "format_by_name",
    "inverted",
    "path_from_cameras",
    "read_camera_bytes",
    "read_cameras",
    "scaled",
    "write_cameras",
]
