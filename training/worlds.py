"""Procedural RGB-D worlds: furnished rooms, streets, open ground; seeded, metric, with moving actors.

``make_world`` builds one, ``render`` gives images with exact z-depth and dynamic and sky masks, ``random_path`` and
``out_and_back_path`` send a camera through its free space. Splits share neither seeds nor photographs.
"""

import math

import numpy as np
import torch

from . import textures
from .moves import out_and_back_path, random_path
from .render import Rendering, render
from .scene import Builder, Light, Place, World

__all__ = ["FRAMES_PER_SECOND", "Rendering", "World", "make_world", "out_and_back_path", "random_path", "render"]

FRAMES_PER_SECOND = 16.0
SPLITS = ("train", "validation", "held_out")


def make_world(seed: int, split: str) -> World:
    """Build the world of a seed.

    Args:
        seed: not negative; the same seed in two splits gives unrelated worlds.
        split: ``train``, ``validation`` or ``held_out``.

    Raises:
        ValueError: an unknown split or a negative seed.
    """
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, expected one of {', '.join(SPLITS)}")
    if seed < 0:
        raise ValueError(f"seed is {seed}, expected 0 or more")
    rng = np.random.default_rng([SPLITS.index(split), seed])
    kind = str(rng.choice(["room", "street", "open"], p=[0.6, 0.22, 0.18]))
    builder = Builder(rng)
    sky_texture, sky_colours = _sky(builder)
    light, free = {"room": _room, "street": _street, "open": _open}[kind](builder, split)
    rectangles, balls, actors, atlas = builder.tensors()
    obstacles = torch.from_numpy(np.asarray(builder.obstacles, np.float64).reshape(-1, 2, 3))
    return World(
        seed,
        split,
        kind,
        rectangles,
        balls,
        actors,
        atlas,
        sky_texture,
        sky_colours,
        light,
        torch.tensor(free),
        obstacles,
    )


def _sky(b: Builder) -> tuple[int, torch.Tensor]:
    cloud = textures.spectral_noise(b.rng, 1.6, (2.0, 1.0)) + b.rng.uniform(-1.5, 0.8)
    cover = np.repeat(np.clip(0.6 * cloud, 0, 1)[..., None], 3, 2) * b.rng.uniform(0.3, 0.9)
    zenith = np.array([0.25, 0.45, 0.8]) * b.rng.uniform(0.6, 1.2) + b.rng.uniform(-0.05, 0.1, 3)
    horizon = np.array([0.8, 0.85, 0.92]) * b.rng.uniform(0.7, 1.05) + b.rng.uniform(-0.08, 0.05, 3)
    return b.texture(cover), torch.from_numpy(np.stack([horizon, zenith])).clamp(0, 1).float()


def _daylight(b: Builder) -> Light:
    azimuth, height = b.rng.uniform(0, 2 * math.pi), b.rng.uniform(0.4, 1.2)
    towards = np.array([math.cos(azimuth) * math.cos(height), -math.sin(height), math.sin(azimuth) * math.cos(height)])
    warm = np.array([1.0, b.rng.uniform(0.92, 1.0), b.rng.uniform(0.82, 1.0)])
    sun = torch.from_numpy(towards * b.rng.uniform(0.2, 0.6)).float()
    return Light(b.rng.uniform(0.5, 0.7), sun, torch.zeros(3), 0.0, 1.0, torch.from_numpy(warm).float())


def _materials(b: Builder, split: str, count: int) -> list[int]:
    return [b.texture(textures.material(b.rng, split)) for _ in range(count)]


def _shade(b: Builder) -> tuple[float, float, float]:
    return tuple(b.rng.uniform(0.6, 1.15) * b.rng.uniform(0.85, 1.1, 3))


# --- rooms ---------------------------------------------------------------------------------------------------------


def _room(b: Builder, split: str) -> tuple[Light, np.ndarray]:
    rng = b.rng
    width, depth, height = rng.uniform(3.5, 7.5), rng.uniform(3.5, 8.5), rng.uniform(2.4, 3.3)
    w, d = width / 2, depth / 2
    room = Place(b, (0.0, 0.0, 0.0))
    floor = (
        b.texture((textures.wood if rng.random() < 0.45 else textures.masonry)(rng))
        if rng.random() < 0.7
        else _materials(b, split, 1)[0]
    )
    walls = (
        b.texture((textures.plain if rng.random() < 0.5 else textures.pattern)(rng))
        if rng.random() < 0.6
        else _materials(b, split, 1)[0]
    )
    accent, ceiling = _materials(b, split, 1)[0], b.texture(0.45 + 0.55 * textures.plain(rng))
    period = rng.uniform(1.0, 2.5)
    sides = (
        ((-w, -height, -d), (width, 0, 0), (0, 0, 1)),
        ((-w, -height, d), (width, 0, 0), (0, 0, -1)),
        ((-w, -height, -d), (0, 0, depth), (1, 0, 0)),
        ((w, -height, -d), (0, 0, depth), (-1, 0, 0)),
    )
    for i, (corner, u, facing) in enumerate(sides):
        room.surface(corner, u, (0, height, 0), facing, accent if i == 0 and rng.random() < 0.7 else walls, period)
    room.surface((-w, 0, -d), (width, 0, 0), (0, 0, depth), (0, -1, 0), floor, rng.uniform(1.0, 2.0))
    room.surface((-w, -height, -d), (width, 0, 0), (0, 0, depth), (0, 1, 0), ceiling, 3.0, (1.1, 1.1, 1.1))
    skirting = _materials(b, split, 1)[0]
    for x0, x1, z0, z1 in ((-w, w, -d, -d + 0.02), (-w, w, d - 0.02, d), (-w, -w + 0.02, -d, d), (w - 0.02, w, -d, d)):
        room.box((x0, -0.1, z0), (x1, 0.0, z1), skirting, 0.5, (0.9, 0.9, 0.9))

    pictures = [b.texture(textures.picture(rng, split)) for _ in range(4)]
    stuff = _materials(b, split, 6) + [b.texture(textures.wood(rng)), b.texture(textures.books(rng))]
    # each wall: yaw turns the local back (z = 0, pieces reach to -z) against it
    against = (
        ((0, d), 0.0, width),
        ((w, 0), math.pi / 2, depth),
        ((0, -d), math.pi, width),
        ((-w, 0), -math.pi / 2, depth),
    )
    for (x, z), yaw, length in against:
        along = np.array([math.cos(yaw), -math.sin(yaw)])
        spot = -length / 2 + rng.uniform(0.2, 0.8)
        while spot < length / 2 - 0.7:
            size = rng.uniform(0.5, min(2.0, length / 2 - spot))
            here = np.array([x, z]) + along * (spot + size / 2)
            place = Place(b, (here[0], 0.0, here[1]), yaw)
            _wall_piece(place, size, height, stuff, pictures)
            spot += size + rng.uniform(0.05, 1.0)
    for _ in range(int(rng.integers(1, 4))):
        place = Place(
            b, (rng.uniform(-w + 1.3, w - 1.3), 0.0, rng.uniform(-d + 1.3, d - 1.3)), rng.uniform(0, 2 * math.pi)
        )
        _centre_piece(place, stuff, pictures)
    if rng.random() < 0.6:
        rw, rd = rng.uniform(0.5, w - 0.4), rng.uniform(0.5, d - 0.4)
        room.surface(
            (-rw, -0.006, -rd),
            (2 * rw, 0, 0),
            (0, 0, 2 * rd),
            (0, -1, 0),
            _materials(b, split, 1)[0],
            rng.uniform(0.7, 2),
        )
    lamp = np.array([rng.uniform(-w / 2, w / 2), -height + 0.35, rng.uniform(-d / 2, d / 2)])
    bulb = b.texture(textures.plain(rng))
    room.ball(tuple(lamp), 0.12, bulb, (1.3, 1.25, 1.1), 1.0)
    room.box(
        (lamp[0] - 0.01, -height, lamp[2] - 0.01),
        (lamp[0] + 0.01, lamp[1] - 0.1, lamp[2] + 0.01),
        bulb,
        0.5,
        (0.3,) * 3,
    )
    if rng.random() < 0.5:
        _walker(b, split, (rng.uniform(-w + 1, w - 1), rng.uniform(-d + 1, d - 1)), min(w, d) - 0.9)
    warm = np.array([1.0, rng.uniform(0.9, 1.0), rng.uniform(0.78, 1.0)])
    sun = torch.from_numpy(rng.normal(0, 0.12, 3)).float()
    light = Light(
        rng.uniform(0.35, 0.6),
        sun,
        torch.from_numpy(lamp).float(),
        rng.uniform(0.6, 1.0),
        2.5,
        torch.from_numpy(warm).float(),
    )
    return light, np.array([[-w + 0.35, -height + 0.5, -d + 0.35], [w - 0.35, -0.5, d - 0.35]])


def _block(place: Place, low: tuple, high: tuple) -> None:
    """Keep cameras out of a local box, 0.25 m around it."""
    c, s = math.cos(place.yaw), math.sin(place.yaw)
    xs, zs = np.meshgrid([low[0], high[0]], [low[2], high[2]])
    x, z = place.at[0] + c * xs + s * zs, place.at[2] - s * xs + c * zs
    m = 0.25
    place.builder.obstacle(
        np.array([x.min() - m, low[1] - m, z.min() - m]), np.array([x.max() + m, high[1] + m, z.max() + m])
    )


def _wall_piece(place: Place, width: float, height: float, stuff: list[int], pictures: list[int]) -> None:
    """Something that stands or hangs against a wall, in front of local z = 0."""
    b, rng = place.builder, place.builder.rng
    tall, deep = rng.uniform(0.4, min(2.2, height - 0.2)), rng.uniform(0.25, 0.6)
    front, body = int(rng.choice(stuff)), int(rng.choice(stuff))
    h = width / 2
    kind = rng.integers(6)
    if kind == 0:  # cabinet with doors or books
        place.box((-h, -tall, -deep), (h, 0, -0.01), body, 0.7, _shade(b))
        doors = int(rng.integers(1, 4))
        for i in range(doors):
            x = -h + (i + 0.5) * width / doors
            place.panel((x, -tall / 2, -deep - 0.012), width / doors - 0.06, tall - 0.1, front, _shade(b))
            place.box(
                (x + 0.05, -tall / 2, -deep - 0.05), (x + 0.08, -tall / 2 + 0.15, -deep - 0.012), body, 0.5, (0.4,) * 3
            )
        _block(place, (-h, -tall, -deep), (h, 0, 0))
        _ornaments(place, -tall, width, deep, stuff, pictures)
    elif kind == 1:  # shelf
        tall = max(tall, 1.2)
        place.box((-h, -tall, -0.03), (h, 0, -0.01), body, 0.7, (0.7,) * 3)
        for x in (-h, h - 0.03):
            place.box((x, -tall, -deep), (x + 0.03, 0, -0.03), body, 0.7)
        for i in range(int(rng.integers(3, 6))):
            y = -tall + i * tall / 5
            place.box((-h, y, -deep), (h, y + 0.03, -0.03), body, 0.7)
            if rng.random() < 0.7:
                place.box(
                    (-h + 0.04, y + 0.08, -deep + 0.05), (h * rng.uniform(0, 0.9), y + tall / 5, -0.04), stuff[-1], 0.6
                )
        _block(place, (-h, -tall, -deep), (h, 0, 0))
    elif kind == 2:  # sofa or bed
        seat, deep = rng.uniform(0.35, 0.5), rng.uniform(0.7, 0.95)
        tint = _shade(b)
        place.box((-h, -seat, -deep), (h, -0.08, -0.02), body, 0.9, tint)
        place.box((-h, -seat - 0.4, -0.25), (h, -seat, -0.02), body, 0.9, tint)
        for x in (-h, h - 0.15):
            place.box((x, -seat - 0.2, -deep), (x + 0.15, -seat, -0.02), front, 0.9, tint)
        _block(place, (-h, -seat - 0.4, -deep), (h, 0, 0))
    elif kind == 3:  # desk with a screen or things on it
        top, deep = rng.uniform(0.68, 0.95), max(deep, 0.45)
        place.box((-h, -top, -deep), (h, -top + 0.04, -0.02), body, 0.9, _shade(b))
        for x in (-h + 0.03, h - 0.08):
            place.box((x, -top + 0.04, -deep + 0.04), (x + 0.05, 0, -0.06), front, 0.7, (0.6,) * 3)
        place.box((-h, -top + 0.04, -deep + 0.04), (-h * 0.3, -0.05, -0.05), front, 0.7, _shade(b))
        _block(place, (-h, -top, -deep), (h, 0, 0))
        _ornaments(place, -top, width, deep, stuff, pictures)
    if kind > 3 or rng.random() < 0.6:  # a picture, a window, a door
        if rng.random() < 0.3:
            place.box((-h, -2.05, -0.05), (h * 0.6, 0, -0.005), body, 2.1, _shade(b))
            place.ball((h * 0.45, -1.0, -0.1), 0.035, front, (1.4, 1.3, 1.0))
        else:
            ph = rng.uniform(0.35, 0.9)
            pw, y = (
                min(width * 0.9, ph * rng.uniform(0.7, 1.6)),
                -min(height - ph / 2 - 0.1, tall + ph / 2 + rng.uniform(0.15, 0.5)),
            )
            place.box(
                (-pw / 2 - 0.04, y - ph / 2 - 0.04, -0.03),
                (pw / 2 + 0.04, y + ph / 2 + 0.04, -0.005),
                body,
                0.5,
                _shade(b),
            )
            bright = rng.random() < 0.25
            place.panel((0, y, -0.034), pw, ph, int(rng.choice(pictures)), (1.1, 1.1, 1.1), 0.9 if bright else 0.0)


def _ornaments(place: Place, top: float, width: float, deep: float, stuff: list[int], pictures: list[int]) -> None:
    rng = place.builder.rng
    for _ in range(int(rng.integers(0, 4))):
        x, z, r = (
            rng.uniform(-width / 2 + 0.15, width / 2 - 0.1),
            -rng.uniform(0.12, max(deep - 0.1, 0.13)),
            rng.uniform(0.04, 0.11),
        )
        texture, tint = int(rng.choice(stuff)), _shade(place.builder)
        kind = rng.integers(4)
        if kind == 0:
            place.ball((x, top - r, z), r, texture, tint)
        elif kind == 1:
            place.box((x - r, top - 2.5 * r, z - r), (x + r, top, z + r), texture, 0.3, tint)
        elif kind == 2:
            stand = Place(place.builder, tuple(np.asarray(place.at) + _turned(place.yaw, (x, top, z))), place.yaw)
            stand.post(r * 0.7, -2.5 * r, 0.0, texture, tint, 8)
            stand.ball((0, -2.6 * r, 0), r * 0.68, texture, tint)
        else:
            place.box((x - 0.2, top - 0.36, z - 0.02), (x + 0.2, top - 0.06, z + 0.02), texture, 0.5, (0.15,) * 3)
            place.panel((x, top - 0.21, z - 0.023), 0.37, 0.27, int(rng.choice(pictures)), (1.0,) * 3, 0.8)
            place.box((x - 0.03, top - 0.06, z - 0.04), (x + 0.03, top, z + 0.04), texture, 0.5, (0.15,) * 3)


def _turned(yaw: float, v: tuple) -> np.ndarray:
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([c * v[0] + s * v[2], v[1], -s * v[0] + c * v[2]])


def _centre_piece(place: Place, stuff: list[int], pictures: list[int]) -> None:
    """A table with chairs, an armchair, a box, a plant or a column that stands free."""
    b, rng = place.builder, place.builder.rng
    body, other, tint = int(rng.choice(stuff)), int(rng.choice(stuff)), _shade(b)
    kind = rng.integers(4)
    if kind == 0:
        top, x, z = rng.uniform(0.4, 0.8), rng.uniform(0.4, 0.9), rng.uniform(0.3, 0.6)
        place.box((-x, -top, -z), (x, -top + 0.04, z), body, 0.9, tint)
        for sx in (-1, 1):
            for sz in (-1, 1):
                cx, cz = sx * (x - 0.06), sz * (z - 0.06)
                place.box((cx - 0.03, -top + 0.04, cz - 0.03), (cx + 0.03, 0, cz + 0.03), body, 0.5, tint)
        for sz in rng.choice([-1, 1], int(rng.integers(0, 3)), replace=False):
            at = np.asarray(place.at) + _turned(place.yaw, (0, 0, sz * (z + 0.25)))
            _chair(Place(b, tuple(at), place.yaw + (math.pi if sz < 0 else 0.0) + rng.normal(0, 0.3)), other)
        _block(place, (-x, -top, -z - 0.4), (x, 0, z + 0.4))
        on = Place(b, tuple(np.asarray(place.at) + _turned(place.yaw, (0, 0, z))), place.yaw)
        _ornaments(on, -top, 2 * x, 2 * z, stuff, pictures)
    elif kind == 1:
        _chair(place, body)
        _block(place, (-0.25, -0.95, -0.25), (0.25, 0, 0.25))
    elif kind == 2:
        r = rng.uniform(0.12, 0.2)
        place.post(r, -0.35, 0.0, body, tint, 10)
        place.post(0.02, -0.9, -0.3, body, (0.4, 0.3, 0.2), 5)
        for _ in range(int(rng.integers(4, 9))):
            at = rng.normal(0, 0.16, 3)
            place.ball((at[0], -0.95 + at[1], at[2]), rng.uniform(0.08, 0.2), other, (0.45, 0.7, 0.35))
        _block(place, (-0.4, -1.4, -0.4), (0.4, 0, 0.4))
    else:
        x, y, z = rng.uniform(0.2, 0.5, 3)
        place.box((-x, -2 * y, -z), (x, 0, z), body, 0.7, tint)
        if rng.random() < 0.5:
            place.ball((0, -2 * y - min(x, z) * 0.6, 0), min(x, z) * 0.6, other, _shade(b))
        _block(place, (-x, -3 * y, -z), (x, 0, z))


def _chair(place: Place, texture: int) -> None:
    tint = _shade(place.builder)
    place.box((-0.22, -0.47, -0.22), (0.22, -0.42, 0.22), texture, 0.5, tint)
    place.box((-0.22, -0.92, 0.18), (0.22, -0.47, 0.22), texture, 0.5, tint)
    for x in (-0.2, 0.16):
        for z in (-0.2, 0.16):
            place.box((x, -0.42, z), (x + 0.04, 0, z + 0.04), texture, 0.5, tint)


def _walker(b: Builder, split: str, at: tuple[float, float], span: float) -> None:
    """A figure of boxes and a ball that walks to and fro."""
    rng = b.rng
    heading, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0.3, max(0.4, min(span, 2.0)))
    step = np.array([math.cos(heading), 0.0, -math.sin(heading)])
    speed, phase = rng.uniform(0.05, 0.15), rng.uniform(0, 2 * math.pi)
    shirt, trousers, skin = *_materials(b, split, 2), b.texture(textures.plain(rng))

    def limb(swing: float) -> Place:
        actor = b.actor([reach * step, swing * step], (speed, 1.2), (phase, 0.0))
        return Place(b, (at[0], 0.0, at[1]), heading, actor)

    body, tint = limb(0.0), _shade(b)
    body.box((-0.14, -1.4, -0.22), (0.14, -0.8, 0.22), shirt, 0.6, tint)
    body.ball((0, -1.58, 0), 0.13, skin, (1.0, 0.78, 0.65))
    body.box((-0.1, -1.48, -0.06), (0.1, -1.4, 0.06), skin, 0.3, (0.95, 0.75, 0.6))
    for side, swing in ((-1, 0.15), (1, -0.15)):
        limb(swing).box((-0.08, -0.8, side * 0.11 - 0.08), (0.08, 0, side * 0.11 + 0.08), trousers, 0.5, _shade(b))
        limb(-swing).box((-0.06, -1.38, side * 0.28 - 0.05), (0.06, -0.75, side * 0.28 + 0.05), shirt, 0.5, tint)
    swept = np.abs(step) * reach + 0.6
    b.obstacle(np.array([at[0] - swept[0], -1.9, at[1] - swept[2]]), np.array([at[0] + swept[0], 0, at[1] + swept[2]]))


# --- outdoors ------------------------------------------------------------------------------------------------------


def _street(b: Builder, split: str) -> tuple[Light, np.ndarray]:
    rng = b.rng
    half, walk, length = rng.uniform(2.5, 4.5), rng.uniform(1.5, 3.0), rng.uniform(30, 60)
    ground = Place(b, (0.0, 0.0, 0.0))
    asphalt = b.texture(
        np.clip(textures.spectral_noise(rng, 0.4)[..., None] * 0.05 + rng.uniform(0.25, 0.5), 0, 1).repeat(3, 2)
    )
    paving, line = b.texture(textures.masonry(rng)), b.texture(textures.plain(rng))
    ground.surface((-60, 0, -80), (120, 0, 0), (0, 0, 160), (0, -1, 0), asphalt, 2.0)
    for side in (-1, 1):
        x0, x1 = sorted((side * half, side * (half + walk)))
        ground.box((x0, -0.12, -length), (x1, 0, length), paving, 1.5)
    for z in np.arange(-length, length, 4.0):
        ground.surface((-0.08, -0.005, z), (0.16, 0, 0), (0, 0, 2.0), (0, -1, 0), line, 1.0, (1.3, 1.3, 1.2))
    fronts = [b.texture(textures.facade(rng)) for _ in range(4)]
    doors = _materials(b, split, 3)
    for side in (-1, 1):
        z = -length
        while z < length:
            wide, tall, set_back = rng.uniform(5, 12), rng.uniform(5, 16), rng.uniform(0, 1.0)
            x0 = side * (half + walk + set_back)
            x0, x1 = sorted((x0, x0 + side * rng.uniform(6, 10)))
            front, tint = int(rng.choice(fronts)), _shade(b)
            ground.box((x0, -tall, z), (x1, 0, z + wide), front, rng.uniform(4.5, 7), tint)
            face = Place(b, (side * (half + walk + set_back), 0.0, z + wide / 2), side * math.pi / 2)
            face.panel((rng.uniform(-1.5, 1.5), -1.05, -0.03), 1.0, 2.1, int(rng.choice(doors)), _shade(b))
            if rng.random() < 0.5:
                sign = b.texture(textures.picture(rng, split)) if len(b.textures) < 16 else int(rng.choice(doors))
                face.panel((rng.uniform(-1.5, 1.5), -2.9, -0.06), rng.uniform(1, 3), 0.8, sign)
                face.box((-2.0, -2.45, -0.9), (2.0, -2.38, -0.01), int(rng.choice(doors)), 1.0, _shade(b))
            b.obstacle(np.array([x0 - 0.4, -tall, z]), np.array([x1 + 0.4, 0, z + wide]))
            z += wide + (rng.uniform(1.5, 6) if rng.random() < 0.3 else 0.0)
    paint, leaf = _materials(b, split, 3), b.texture(textures.marbled(rng))
    for side in (-1, 1):
        for z in np.arange(-length / 2, length / 2, rng.uniform(5, 9)):
            if rng.random() < 0.6:
                _car(Place(b, (side * (half - 1.0), 0.0, z + rng.uniform(-1, 1)), math.pi / 2), paint)
            if rng.random() < 0.5:
                _tree(Place(b, (side * (half + 0.4), 0.0, z + 2.5)), leaf, paint[0])
    if rng.random() < 0.8:
        for _ in range(int(rng.integers(1, 4))):
            _walker(b, split, (rng.choice([-1, 1]) * (half + walk / 2), rng.uniform(-8, 8)), 2.0)
    if rng.random() < 0.4:
        z, reach = rng.uniform(-6, 6), rng.uniform(4, 9)
        actor = b.actor([[0, 0, reach], [0, 0, 0]], (rng.uniform(0.04, 0.09), 0.0), (rng.uniform(0, 6), 0.0))
        _car(Place(b, (rng.choice([-1, 1]) * 0.9, 0.0, z), math.pi / 2, actor), paint)
        b.obstacle(np.array([-2.2, -2, z - reach - 3]), np.array([2.2, 0, z + reach + 3]))
    return _daylight(b), np.array([[-half - walk + 0.3, -2.6, -length / 3], [half + walk - 0.3, -0.8, length / 3]])


def _car(place: Place, paint: list[int]) -> None:
    b, rng = place.builder, place.builder.rng
    body, tint, long = int(rng.choice(paint)), _shade(b), rng.uniform(1.8, 2.3)
    place.box((-long, -0.85, -0.8), (long, -0.3, 0.8), body, 2.0, tint)
    place.box((-long * 0.5, -1.4, -0.7), (long * 0.55, -0.85, 0.7), body, 2.0, tuple(0.4 * c for c in tint))
    place.box((-long * 0.48, -1.43, -0.68), (long * 0.53, -1.39, 0.68), body, 2.0, tint)
    for x in (-long * 0.62, long * 0.62):
        place.box((x - 0.3, -0.6, -0.83), (x + 0.3, 0, 0.83), body, 0.5, (0.12,) * 3)
    if place.actor < 0:
        _block(place, (-long, -1.45, -0.85), (long, 0, 0.85))


def _tree(place: Place, leaf: int, bark: int) -> None:
    rng = place.builder.rng
    tall, green = rng.uniform(1.8, 3.2), (rng.uniform(0.4, 0.8), rng.uniform(0.6, 0.95), rng.uniform(0.25, 0.5))
    place.post(rng.uniform(0.08, 0.16), -tall, 0.0, bark, (0.5, 0.4, 0.3), 6)
    for _ in range(int(rng.integers(4, 9))):
        at = rng.normal(0, 0.55, 3)
        place.ball((at[0], -tall - 0.6 + at[1], at[2]), rng.uniform(0.4, 0.9), leaf, green)
    _block(place, (-0.4, -tall, -0.4), (0.4, 0, 0.4))
    _block(place, (-1.5, -tall - 2.2, -1.5), (1.5, -tall + 0.6, 1.5))


def _open(b: Builder, split: str) -> tuple[Light, np.ndarray]:
    rng = b.rng
    ground = Place(b, (0.0, 0.0, 0.0))
    turf = b.texture((textures.marbled if rng.random() < 0.6 else textures.masonry)(rng))
    ground.surface((-150, 0, -150), (300, 0, 0), (0, 0, 300), (0, -1, 0), turf, rng.uniform(1.5, 4))
    stuff, leaf = _materials(b, split, 6), b.texture(textures.marbled(rng))
    fronts, pictures = (
        [b.texture(textures.facade(rng)) for _ in range(2)],
        [b.texture(textures.picture(rng, split)) for _ in range(3)],
    )
    for angle in np.arange(0, 2 * math.pi, 0.35):  # a far ring of hills and houses
        far = rng.uniform(35, 90)
        place = Place(b, (far * math.sin(angle), 0.0, far * math.cos(angle)), angle + rng.normal(0, 0.2))
        wide, tall = rng.uniform(6, 22), rng.uniform(3, 12)
        if rng.random() < 0.5:
            place.box((-wide / 2, -tall, 0), (wide / 2, 0, 8), int(rng.choice(fronts)), rng.uniform(4, 7), _shade(b))
        elif rng.random() < 0.6:
            place.ball((0, 0.3 * wide, 0), 0.8 * wide, leaf, (0.6, 0.75, 0.5))
    for _ in range(int(rng.integers(9, 18))):
        angle, far = rng.uniform(0, 2 * math.pi), rng.uniform(3.0, 12.0)
        place = Place(b, (far * math.sin(angle), 0.0, far * math.cos(angle)), rng.uniform(0, 2 * math.pi))
        body, tint, kind = int(rng.choice(stuff)), _shade(b), rng.integers(6)
        if kind == 0:
            _tree(place, leaf, body)
        elif kind == 1:
            _car(place, stuff)
        elif kind == 2:  # wall with a picture
            wide, tall = rng.uniform(1.5, 5), rng.uniform(1.2, 2.8)
            place.box((-wide / 2, -tall, -0.12), (wide / 2, 0, 0.12), body, 1.2, tint)
            place.panel((0, -tall * 0.55, -0.13), min(wide * 0.8, tall), tall * 0.7, int(rng.choice(pictures)))
            _block(place, (-wide / 2, -tall, -0.12), (wide / 2, 0, 0.12))
        elif kind == 3:  # steps and a block
            x, y, z = rng.uniform(0.4, 1.4, 3)
            place.box((-x - 0.3, -0.2, -z - 0.3), (x + 0.3, 0, z + 0.3), int(rng.choice(stuff)), 0.9, _shade(b))
            place.box((-x, -0.2 - 2 * y, -z), (x, -0.2, z), body, 0.9, tint)
            _block(place, (-x - 0.3, -0.2 - 2 * y, -z - 0.3), (x + 0.3, 0, z + 0.3))
        elif kind == 4:  # column with a ball
            r, tall = rng.uniform(0.15, 0.5), rng.uniform(1.0, 3.5)
            place.post(r, -tall, 0.0, body, tint, 10)
            place.ball((0, -tall - 1.1 * r, 0), 1.3 * r, int(rng.choice(stuff)), _shade(b))
            _block(place, (-1.3 * r, -tall - 2.5 * r, -1.3 * r), (1.3 * r, 0, 1.3 * r))
        else:
            r = rng.uniform(0.3, 1.1)
            place.ball((0, -0.9 * r, 0), r, body, tint)
            _block(place, (-r, -2 * r, -r), (r, 0, r))
    if rng.random() < 0.8:
        for _ in range(int(rng.integers(1, 4))):
            angle, far = rng.uniform(0, 2 * math.pi), rng.uniform(3.0, 7.0)
            _walker(b, split, (far * math.sin(angle), far * math.cos(angle)), 2.0)
    return _daylight(b), np.array([[-9.0, -3.0, -9.0], [9.0, -0.7, 9.0]])
