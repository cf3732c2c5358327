"""What a format cannot hold of given cameras, said before it is lost."""

from ..camera import Cameras
from .as_path import dropped_by_path
from .imported import vertical_fov
from .known import FORMATS


def dropped_by(kind: str, cameras: Cameras) -> tuple[str, ...]:
    """What is lost when these cameras (T,) are written as ``kind``, one sentence each.

    Raises:
        ValueError: no such format.
    """
    if kind == "path":
        return dropped_by_path(cameras)
    if kind not in FORMATS:
        raise ValueError(f"format {kind!r} is not known; expected one of {', '.join([*FORMATS, 'path'])}")
    keeps, K = FORMATS[kind].keeps, cameras.K.double()
    fov = vertical_fov(cameras)
    off = (K[:, :2, 2] - K.new_tensor([cameras.width / 2, cameras.height / 2])).abs().max().item()
    aspect = (K[:, 0, 0] / K[:, 1, 1] - 1).abs().max().item()
    zooms = (fov.max() / fov.min() - 1).item()
    has = "focal" in keeps
    sentences = (
        (not has, f"the field of view ({fov[0].item():.3g} degrees over the height in frame 0) and all intrinsics"),
        ("size" not in keeps, f"the size of the images, {cameras.height} x {cameras.width}"),
        (has and "zoom" not in keeps and zooms > 1e-4, "the zoom: the first frame's field of view holds for all"),
        (has and "centre" not in keeps and off > 0.5, f"the principal point, up to {off:.1f} pixels off the centre"),
        (has and "aspect" not in keeps and aspect > 1e-3, f"pixels that are not square (by {100 * aspect:.1f} %)"),
        (kind != "json" and "centre" in keeps and bool(K[:, 0, 1].any()), "the skew of K"),
    )
    return tuple(sentence for lost, sentence in sentences if lost)
