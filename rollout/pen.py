"""What reports are drawn with: a pen over a picture twice as fine."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from PIL import Image

FINE = 2  # drawn so many times larger, then reduced: smooth lines
BACKGROUND, PANEL, GRID = (15, 17, 23), (22, 25, 33), (44, 49, 62)
TEXT, FAINT = (222, 227, 237), (134, 143, 161)
START, RETURN = (94, 226, 142), (255, 104, 104)

Box = tuple[float, float, float, float]  # left, top, right, bottom
Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Pen:
    """Draws in picture pixels onto a finer canvas."""

    canvas: "Image.Image"

    @staticmethod
    def blank(width: int, height: int) -> "Pen":
        from PIL import Image

        return Pen(Image.new("RGB", (width * FINE, height * FINE), BACKGROUND))

    def picture(self) -> Tensor:
        """(height, width, 3) uint8."""
        from PIL import Image

        size = self.canvas.width // FINE, self.canvas.height // FINE
        return torch.from_numpy(np.array(self.canvas.resize(size, Image.Resampling.LANCZOS)))

    def text(self, at: tuple[float, float], text: str, size: float, colour: Colour, anchor: str = "la") -> None:
        from PIL import ImageDraw, ImageFont

        font = ImageFont.load_default(size * FINE)
        ImageDraw.Draw(self.canvas).text((at[0] * FINE, at[1] * FINE), text, font=font, fill=colour, anchor=anchor)

    def width_of(self, text: str, size: float) -> float:
        from PIL import ImageFont

        return ImageFont.load_default(size * FINE).getlength(text) / FINE

    def box(self, box: Box, fill: Colour, radius: float = 0) -> None:
        from PIL import ImageDraw

        left, top, right, bottom = (x * FINE for x in box)
        if min(right - left, bottom - top) >= 1:
            ImageDraw.Draw(self.canvas).rounded_rectangle((left, top, right - 1, bottom - 1), radius * FINE, fill=fill)

    def line(self, points: Sequence[tuple[float, float]], colour: Colour, width: float = 1) -> None:
        from PIL import ImageDraw

        fine = [(x * FINE, y * FINE) for x, y in points]
        if len(fine) > 1:
            ImageDraw.Draw(self.canvas).line(fine, fill=colour, width=max(1, round(width * FINE)), joint="curve")

    def dot(self, at: tuple[float, float], colour: Colour, radius: float) -> None:
        from PIL import ImageDraw

        x, y, r = at[0] * FINE, at[1] * FINE, radius * FINE
        ImageDraw.Draw(self.canvas).ellipse((x - r, y - r, x + r, y + r), fill=colour)

    def image(self, image: Tensor, box: tuple[int, int, int, int]) -> None:  # image: (3, H, W) in [0, 1]
        from PIL import Image

        pixels = (image.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        size = (box[2] - box[0]) * FINE, (box[3] - box[1]) * FINE
        self.canvas.paste(
            Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC), (box[0] * FINE, box[1] * FINE)
        )

    def dots(self, box: Box, places: np.ndarray, colours: np.ndarray, radius: int) -> None:
        """Square dots: places (N, 2) in picture pixels, colours (N, 3) uint8; later ones lie above."""
        from PIL import Image

        left, top, right, bottom = (round(x * FINE) for x in box)
        region = np.array(self.canvas.crop((left, top, right, bottom)))
        at = np.round(places * FINE).astype(int) - (left, top)
        for dy in range(-radius, radius + 1):
            for dx in range(-radius, radius + 1):
                x, y = at[:, 0] + dx, at[:, 1] + dy
                inside = (x >= 0) & (x < right - left) & (y >= 0) & (y < bottom - top)
                region[y[inside], x[inside]] = colours[inside]
        self.canvas.paste(Image.fromarray(region), (left, top))


def nice_step(span: float, most: int = 5) -> float:
    """A step of 1, 2 or 5 times a power of ten that parts ``span`` into at most ``most`` pieces."""
    raw = max(span, 1e-9) / most
    power = 10 ** math.floor(math.log10(raw))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= raw)
