"""Square, tileable textures: materials, facades, and photographs to hang on walls.

The photographs are the ones inside scikit-image's wheel (nothing is downloaded). Their licences, as stated there:

====================  ==========================================================================
astronaut, camera     NASA, public domain; CC0 (Lav Varshney)
brick, grass, gravel  CC0Textures.com, CC0
cell, retina          CC0
chelsea, coffee       CC0 (Stefan van der Walt; Rachel Michetti)
clock, text           public domain (Stefan van der Walt; hand written)
coins, ihc            no known copyright restrictions (Brooklyn Museum; Human Protein Atlas crop)
hubble, rocket        NASA and SpaceX, public domain
====================  ==========================================================================

Splits never share a photograph. All functions are pure in their ``numpy.random.Generator``.
"""

from functools import cache

import numpy as np

SIZE = 256  # texels a side
LEVELS = 9  # of the mipmap, 256 to 1
PHOTOGRAPHS = {
    "train": (
        "astronaut", "camera", "brick", "grass", "cell", "retina", "chelsea", "clock", "text", "immunohistochemistry",
        "hubble_deep_field",
    ),
    "validation": ("coffee", "coins"),
    "held_out": ("rocket", "gravel"),
}  # fmt: skip


@cache
def photographs(split: str) -> tuple[np.ndarray, ...]:
    """The photographs of a split, each (h, w, 3) float32 in [0, 1]."""
    from skimage import data

    images = []
    for name in PHOTOGRAPHS[split]:
        image = np.asarray(getattr(data, name)())
        image = image[..., :3] if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)
        images.append(image.astype(np.float32) / 255.0)
    return tuple(images)


def spectral_noise(rng: np.random.Generator, exponent: float, stretch: tuple[float, float] = (1.0, 1.0)) -> np.ndarray:
    """Periodic noise (SIZE, SIZE) of zero mean and unit deviation whose amplitude falls as frequency^-exponent.

    ``stretch`` (y, x) above one elongates the grain along that axis.
    """
    fy = np.fft.fftfreq(SIZE)[:, None] * SIZE * stretch[0]
    fx = np.fft.rfftfreq(SIZE)[None, :] * SIZE * stretch[1]
    amplitude = np.maximum(np.hypot(fy, fx), 1.0) ** -exponent
    amplitude[0, 0] = 0.0
    noise = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((SIZE, SIZE))) * amplitude, (SIZE, SIZE))
    return (noise / noise.std()).astype(np.float32)


def colour(rng: np.random.Generator, low: float = 0.15, high: float = 0.9, saturation: float = 0.6) -> np.ndarray:
    """A random colour (3,) of the given brightness and at most that saturation; warm tones are likelier."""
    hue = rng.normal(0.09, 0.12) if rng.random() < 0.6 else rng.random()
    wheel = np.clip(np.abs((hue * 6 + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1)
    s = saturation * rng.random() ** 1.5
    return ((1 - s + s * wheel) * rng.uniform(low, high)).astype(np.float32)


def plain(rng: np.random.Generator) -> np.ndarray:
    """Plaster, paint, carpet: one colour with soft blotches and fine grain."""
    blotch = spectral_noise(rng, rng.uniform(1.2, 2.0))
    grain = spectral_noise(rng, rng.uniform(0.0, 0.8))
    shade = 1 + rng.uniform(0.01, 0.12) * blotch + rng.uniform(0.0, 0.08) * grain
    return colour(rng, 0.3, 0.95) * shade[..., None]


def marbled(rng: np.random.Generator) -> np.ndarray:
    """Two or three colours mixed along noise: stone, rust, foliage, clouds of dirt."""
    mix = 1 / (1 + np.exp(-rng.uniform(1, 4) * spectral_noise(rng, rng.uniform(0.9, 1.8))))[..., None]
    third = np.clip(spectral_noise(rng, rng.uniform(0.7, 1.4)) - 0.8, 0, 1)[..., None]
    image = colour(rng) * mix + colour(rng) * (1 - mix)
    image = image * (1 - third) + colour(rng) * third
    return image * (1 + 0.06 * spectral_noise(rng, 0.5))[..., None]


def wood(rng: np.random.Generator) -> np.ndarray:
    """Planks along x, each with its own shade and grain offset."""
    planks = int(rng.integers(2, 9))
    row = np.arange(SIZE) * planks // SIZE
    grain = spectral_noise(rng, 1.1, (1.0, rng.uniform(8, 20)))
    shift = rng.integers(0, SIZE, planks)[row]
    grain = grain[np.arange(SIZE)[:, None], (np.arange(SIZE)[None, :] + shift[:, None]) % SIZE]
    shade = 1 + 0.14 * grain + rng.normal(0, 0.1, planks)[row][:, None]
    edge = (np.arange(SIZE) * planks % SIZE) < planks * 2
    base = np.array([0.62, 0.42, 0.26]) * rng.uniform(0.5, 1.5) * rng.uniform(0.85, 1.15, 3)
    return base * (shade * np.where(edge, 0.55, 1.0)[:, None])[..., None]


def masonry(rng: np.random.Generator) -> np.ndarray:
    """Bricks or tiles: a grid of blocks with jittered colours, joints between them, rows shifted or not."""
    rows, columns = int(rng.integers(2, 13)) * 2, int(rng.integers(2, 9))
    y, x = np.meshgrid(np.arange(SIZE) / SIZE * rows, np.arange(SIZE) / SIZE * columns, indexing="ij")
    row = y.astype(int)
    x = x + np.where(row % 2, rng.choice([0.0, 0.5]), 0.0)
    column = x.astype(int) % columns
    block = (
        colour(rng)
        + rng.normal(0, rng.uniform(0.01, 0.09), (rows, columns, 1))
        + rng.normal(0, 0.015, (rows, columns, 3))
    )
    if rng.random() < 0.3:
        block = np.where(((np.arange(rows)[:, None] + np.arange(columns)) % 2)[..., None], block, colour(rng))
    width = rng.uniform(0.02, 0.1)
    joint = (y % 1 < width * rows / columns) | (x % 1 < width)
    image = np.where(joint[..., None], colour(rng, 0.3, 0.8, 0.2), block[row, column])
    return image * (1 + 0.08 * spectral_noise(rng, rng.uniform(0.3, 1.0)))[..., None]


def pattern(rng: np.random.Generator) -> np.ndarray:
    """Wallpaper and cloth: stripes, checks, dots or waves in two or three colours."""
    n, m = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    y, x = np.meshgrid(np.arange(SIZE) / SIZE * 2 * np.pi, np.arange(SIZE) / SIZE * 2 * np.pi, indexing="ij")
    kind = rng.integers(4)
    if kind == 0:
        wave = np.sin(n * x)
    elif kind == 1:
        wave = np.sin(n * x) * np.sin(n * y)
    elif kind == 2:
        wave = np.cos(n * x) + np.cos(n * y) - 1.0
    else:
        wave = np.sin(n * x + 2 * np.sin(m * y))
    sharp = 1 / (1 + np.exp(-rng.uniform(2, 25) * (wave + rng.uniform(-0.3, 0.3))))[..., None]
    image = colour(rng) * sharp + colour(rng) * (1 - sharp)
    return image * (1 + 0.05 * spectral_noise(rng, 0.6))[..., None]


def leaves(rng: np.random.Generator) -> np.ndarray:
    """Dead leaves: discs and boxes of power-law sizes over one another, the statistics of cluttered photographs."""
    image = np.broadcast_to(colour(rng), (SIZE, SIZE, 3)).copy()
    axis = np.arange(SIZE)
    texture = spectral_noise(rng, 0.9)
    scale = rng.uniform(4, 9)
    for radius in np.sort(scale * rng.random(160) ** -0.6)[::-1]:
        cy, cx = rng.integers(0, SIZE, 2)
        dy = np.abs((axis - cy + SIZE // 2) % SIZE - SIZE // 2)
        dx = np.abs((axis - cx + SIZE // 2) % SIZE - SIZE // 2)
        radius = min(radius, SIZE / 3)
        ys, xs = axis[dy <= radius], axis[dx <= radius * rng.uniform(0.4, 1.0)]
        tile = np.ix_(ys, xs)
        ink = colour(rng, 0.05, 1.0, 0.8) * (1 + rng.uniform(0, 0.2) * texture[tile])[..., None]
        inside = (dy[ys][:, None] ** 2 + dx[xs][None, :] ** 2 <= radius**2) if rng.random() < 0.6 else True
        image[tile] = np.where(np.broadcast_to(inside, ink.shape[:2])[..., None], ink, image[tile])
    return image


def facade(rng: np.random.Generator) -> np.ndarray:
    """A house front: a grid of framed windows, dark or lit, on a wall of plaster or brick."""
    wall = plain(rng) if rng.random() < 0.5 else masonry(rng)
    rows, columns = int(rng.integers(2, 5)), int(rng.integers(2, 5))
    frame, glass = colour(rng, 0.4, 0.95, 0.3), colour(rng, 0.08, 0.4, 0.5)
    h, w = SIZE // rows, SIZE // columns
    top, left = int(h * rng.uniform(0.15, 0.3)), int(w * rng.uniform(0.15, 0.3))
    reflection = 1 + 0.3 * spectral_noise(rng, 1.5)
    image = wall.copy()
    for row in range(rows):
        for column in range(columns):
            y, x = row * h, column * w
            image[y + top : y + h - top, x + left : x + w - left] = frame
            lit = glass if rng.random() < 0.8 else colour(rng, 0.6, 1.0)
            for x0, x1 in ((x + left + 3, x + w // 2 - 1), (x + w // 2 + 1, x + w - left - 3)):
                pane = reflection[y + top + 3 : y + h - top - 3, x0:x1, None]
                image[y + top + 3 : y + h - top - 3, x0:x1] = lit * pane
    return image


def books(rng: np.random.Generator) -> np.ndarray:
    """Rows of book spines between boards."""
    image = np.empty((SIZE, SIZE, 3), np.float32)
    rows = int(rng.integers(2, 5))
    for y0, y1 in zip(np.arange(rows) * SIZE // rows, np.arange(1, rows + 1) * SIZE // rows):
        image[y0:y1] = colour(rng, 0.05, 0.2)
        x = 0
        while x < SIZE:
            width, top = int(rng.integers(6, 24)), int(rng.integers(4, (y1 - y0) // 3))
            spine = colour(rng, 0.1, 0.9, 0.9)
            image[y0 + top : y1 - 6, x : x + width - 1] = spine
            band = y0 + top + int(rng.integers(4, 16))
            image[band : band + 4, x : x + width - 1] = spine[::-1] * 0.5 + 0.4
            x += width
        image[y1 - 6 : y1] = (0.5, 0.38, 0.25)
    return image * (1 + 0.05 * spectral_noise(rng, 0.5))[..., None]


def resized(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Area-averaged when shrinking, bilinear when growing: (h, w, 3) to (height, width, 3)."""
    import torch
    from torch.nn.functional import interpolate

    batch = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    smaller = height < image.shape[0] and width < image.shape[1]
    out = interpolate(batch, (height, width), mode="bilinear", align_corners=False, antialias=smaller)
    return out[0].permute(1, 2, 0).numpy()


def crop(rng: np.random.Generator, split: str, low: float = 0.35) -> np.ndarray:
    """A random square crop of a photograph of the split, (SIZE, SIZE, 3)."""
    images = photographs(split)
    image = images[int(rng.integers(len(images)))]
    side = int(min(image.shape[:2]) * rng.uniform(low, 1.0))
    y, x = (int(rng.integers(0, s - side + 1)) for s in image.shape[:2])
    tile = image[y : y + side, x : x + side]
    return resized(tile[:, ::-1] if rng.random() < 0.5 else tile, SIZE, SIZE)


def recoloured(rng: np.random.Generator, image: np.ndarray, strength: float) -> np.ndarray:
    """Mix the channels, change the contrast and the gamma; ``strength`` 0 keeps the image as it is."""
    mix = np.eye(3) + strength * rng.normal(0, 0.35, (3, 3))
    mix = mix / np.abs(mix.sum(1, keepdims=True)).clip(0.3)
    image = np.clip(image @ mix.T.astype(np.float32), 0, 1) ** np.exp(strength * rng.normal(0, 0.3))
    return image * (1 - 0.4 * strength * rng.random()) + 0.2 * strength * rng.random()


def picture(rng: np.random.Generator, split: str) -> np.ndarray:
    """What hangs on a wall or shows on a screen: a photograph's crop, now and then with other colours."""
    return recoloured(rng, crop(rng, split), 0.8 if rng.random() < 0.5 else 0.0)


def photographic(rng: np.random.Generator, split: str) -> np.ndarray:
    """A material from a photograph: a crop, mirrored so that it tiles, recoloured, its contrast lowered."""
    half = resized(crop(rng, split, 0.2), SIZE // 2, SIZE // 2)
    half = np.concatenate([half, half[::-1]], 0)
    image = recoloured(rng, np.concatenate([half, half[:, ::-1]], 1), 1.0)
    return colour(rng, 0.3, 0.9) + rng.uniform(0.3, 1.0) * (image - image.mean((0, 1)))


MATERIALS = (plain, plain, marbled, marbled, wood, wood, masonry, masonry, pattern, pattern, leaves)


def material(rng: np.random.Generator, split: str) -> np.ndarray:
    """Any tileable material: (SIZE, SIZE, 3) float32 in [0, 1]."""
    if rng.random() < 0.3:
        return np.clip(photographic(rng, split), 0, 1).astype(np.float32)
    return np.clip(MATERIALS[int(rng.integers(len(MATERIALS)))](rng), 0, 1).astype(np.float32)


def mipmap(image: np.ndarray) -> np.ndarray:
    """All levels of (SIZE, SIZE, 3), each the 2 x 2 means of the one before, one after another: (87381, 3)."""
    levels = [np.clip(image, 0, 1).astype(np.float32)]
    while levels[-1].shape[0] > 1:
        h = levels[-1].shape[0] // 2
        levels.append(levels[-1].reshape(h, 2, h, 2, 3).mean((1, 3)))
    return np.concatenate([level.reshape(-1, 3) for level in levels])
