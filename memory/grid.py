"""The latent grid of a codec: which latent stands for which frames and pixels. Only here strides divide."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LatentGrid:
    """A causal video codec's grid: ``num_frames = 1 + temporal * (n - 1)``, ``spatial`` x ``spatial`` cells.

    Latent i stands for pixel frame ``temporal * i`` and uses that frame's camera; latent 0 covers one frame, every
    other one the ``temporal`` frames that end there. ``patch``: what the transformer folds into one token, in cells.
    """

    channels: int
    temporal: int = 4
    spatial: int = 16
    patch: int = 2

    def latent_frames(self, num_frames: int) -> int:
        """How many latents carry ``num_frames`` pixel frames.

        Raises:
            ValueError: no multiple of the stride plus one; names the nearest counts that are.
        """
        if num_frames < 1 or (num_frames - 1) % self.temporal:
            low = 1 + max(0, (num_frames - 1) // self.temporal) * self.temporal
            raise ValueError(
                f"num_frames is {num_frames}, expected 1 + {self.temporal} n; "
                f"the nearest are {low} and {low + self.temporal}"
            )
        return 1 + (num_frames - 1) // self.temporal

    def num_frames(self, latent_frames: int) -> int:
        """How many pixel frames ``latent_frames`` latents carry."""
        return 1 + self.temporal * (latent_frames - 1)

    def frame_of(self, latent: int) -> int:
        """The pixel frame whose camera latent ``latent`` uses."""
        return self.temporal * latent

    def cells(self, height: int, width: int) -> tuple[int, int]:
        """(h, w) of the latents of an image of ``height`` x ``width`` pixels.

        Raises:
            ValueError: a side is no multiple of stride x patch; names the nearest sizes that are.
        """
        step = self.spatial * self.patch
        for name, size in (("height", height), ("width", width)):
            if size < step or size % step:
                low = max(step, size // step * step)
                raise ValueError(
                    f"{name} is {size}, expected a multiple of {step}; the nearest are {low} and {low + step}"
                )
        return height // self.spatial, width // self.spatial
