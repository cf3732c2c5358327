"""Single pieces that worlds are furnished with: cabinets and shelves, tables and chairs, cars, trees, people."""

import math

import numpy as np

from . import textures
from .scene import Builder, Place


def materials(b: Builder, split: str, count: int) -> list[int]:
    return [b.texture(textures.material(b.rng, split)) for _ in range(count)]


def shade(b: Builder) -> tuple[float, float, float]:
    return tuple(b.rng.uniform(0.6, 1.15) * b.rng.uniform(0.85, 1.1, 3))


def turned(yaw: float, v: tuple) -> np.ndarray:
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([c * v[0] + s * v[2], v[1], -s * v[0] + c * v[2]])


def block(place: Place, low: tuple, high: tuple) -> None:
    """Keep cameras out of a local box, 0.25 m around it."""
    c, s = math.cos(place.yaw), math.sin(place.yaw)
    xs, zs = np.meshgrid([low[0], high[0]], [low[2], high[2]])
    x, z = place.at[0] + c * xs + s * zs, place.at[2] - s * xs + c * zs
    m = 0.25
    place.builder.obstacle(
        np.array([x.min() - m, low[1] - m, z.min() - m]), np.array([x.max() + m, high[1] + m, z.max() + m])
    )


def wall_piece(place: Place, width: float, height: float, stuff: list[int], pictures: list[int]) -> None:
    """Something that stands or hangs against a wall, in front of local z = 0."""
    b, rng = place.builder, place.builder.rng
    tall, deep = rng.uniform(0.4, min(2.2, height - 0.2)), rng.uniform(0.25, 0.6)
    front, body = int(rng.choice(stuff)), int(rng.choice(stuff))
    h = width / 2
    kind = rng.integers(6)
    if kind == 0:  # cabinet with doors or books
        place.box((-h, -tall, -deep), (h, 0, -0.01), body, 0.7, shade(b))
        doors = int(rng.integers(1, 4))
        for i in range(doors):
            x = -h + (i + 0.5) * width / doors
            place.panel((x, -tall / 2, -deep - 0.012), width / doors - 0.06, tall - 0.1, front, shade(b))
            place.box(
                (x + 0.05, -tall / 2, -deep - 0.05), (x + 0.08, -tall / 2 + 0.15, -deep - 0.012), body, 0.5, (0.4,) * 3
            )
        block(place, (-h, -tall, -deep), (h, 0, 0))
        ornaments(place, -tall, width, deep, stuff, pictures)
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
        block(place, (-h, -tall, -deep), (h, 0, 0))
    elif kind == 2:  # sofa or bed
        seat, deep = rng.uniform(0.35, 0.5), rng.uniform(0.7, 0.95)
        tint = shade(b)
        place.box((-h, -seat, -deep), (h, -0.08, -0.02), body, 0.9, tint)
        place.box((-h, -seat - 0.4, -0.25), (h, -seat, -0.02), body, 0.9, tint)
        for x in (-h, h - 0.15):
            place.box((x, -seat - 0.2, -deep), (x + 0.15, -seat, -0.02), front, 0.9, tint)
        block(place, (-h, -seat - 0.4, -deep), (h, 0, 0))
    elif kind == 3:  # desk with a screen or things on it
        top, deep = rng.uniform(0.68, 0.95), max(deep, 0.45)
        place.box((-h, -top, -deep), (h, -top + 0.04, -0.02), body, 0.9, shade(b))
        for x in (-h + 0.03, h - 0.08):
            place.box((x, -top + 0.04, -deep + 0.04), (x + 0.05, 0, -0.06), front, 0.7, (0.6,) * 3)
        place.box((-h, -top + 0.04, -deep + 0.04), (-h * 0.3, -0.05, -0.05), front, 0.7, shade(b))
        block(place, (-h, -top, -deep), (h, 0, 0))
        ornaments(place, -top, width, deep, stuff, pictures)
    if kind > 3 or rng.random() < 0.6:  # a picture, a window, a door
        if rng.random() < 0.3:
            place.box((-h, -2.05, -0.05), (h * 0.6, 0, -0.005), body, 2.1, shade(b))
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
                shade(b),
            )
            bright = rng.random() < 0.25
            place.panel((0, y, -0.034), pw, ph, int(rng.choice(pictures)), (1.1, 1.1, 1.1), 0.9 if bright else 0.0)


def ornaments(place: Place, top: float, width: float, deep: float, stuff: list[int], pictures: list[int]) -> None:
    rng = place.builder.rng
    for _ in range(int(rng.integers(0, 4))):
        x, z, r = (
            rng.uniform(-width / 2 + 0.15, width / 2 - 0.1),
            -rng.uniform(0.12, max(deep - 0.1, 0.13)),
            rng.uniform(0.04, 0.11),
        )
        texture, tint = int(rng.choice(stuff)), shade(place.builder)
        kind = rng.integers(4)
        if kind == 0:
            place.ball((x, top - r, z), r, texture, tint)
        elif kind == 1:
            place.box((x - r, top - 2.5 * r, z - r), (x + r, top, z + r), texture, 0.3, tint)
        elif kind == 2:
            stand = Place(place.builder, tuple(np.asarray(place.at) + turned(place.yaw, (x, top, z))), place.yaw)
            stand.post(r * 0.7, -2.5 * r, 0.0, texture, tint, 8)
            stand.ball((0, -2.6 * r, 0), r * 0.68, texture, tint)
        else:
            place.box((x - 0.2, top - 0.36, z - 0.02), (x + 0.2, top - 0.06, z + 0.02), texture, 0.5, (0.15,) * 3)
            place.panel((x, top - 0.21, z - 0.023), 0.37, 0.27, int(rng.choice(pictures)), (1.0,) * 3, 0.8)
            place.box((x - 0.03, top - 0.06, z - 0.04), (x + 0.03, top, z + 0.04), texture, 0.5, (0.15,) * 3)


def centre_piece(place: Place, stuff: list[int], pictures: list[int]) -> None:
    """A table with chairs, an armchair, a box, a plant or a column that stands free."""
    b, rng = place.builder, place.builder.rng
    body, other, tint = int(rng.choice(stuff)), int(rng.choice(stuff)), shade(b)
    kind = rng.integers(4)
    if kind == 0:
        top, x, z = rng.uniform(0.4, 0.8), rng.uniform(0.4, 0.9), rng.uniform(0.3, 0.6)
        place.box((-x, -top, -z), (x, -top + 0.04, z), body, 0.9, tint)
        for sx in (-1, 1):
            for sz in (-1, 1):
                cx, cz = sx * (x - 0.06), sz * (z - 0.06)
                place.box((cx - 0.03, -top + 0.04, cz - 0.03), (cx + 0.03, 0, cz + 0.03), body, 0.5, tint)
        for sz in rng.choice([-1, 1], int(rng.integers(0, 3)), replace=False):
            at = np.asarray(place.at) + turned(place.yaw, (0, 0, sz * (z + 0.25)))
            chair(Place(b, tuple(at), place.yaw + (math.pi if sz < 0 else 0.0) + rng.normal(0, 0.3)), other)
        block(place, (-x, -top, -z - 0.4), (x, 0, z + 0.4))
        on = Place(b, tuple(np.asarray(place.at) + turned(place.yaw, (0, 0, z))), place.yaw)
        ornaments(on, -top, 2 * x, 2 * z, stuff, pictures)
    elif kind == 1:
        chair(place, body)
        block(place, (-0.25, -0.95, -0.25), (0.25, 0, 0.25))
    elif kind == 2:
        r = rng.uniform(0.12, 0.2)
        place.post(r, -0.35, 0.0, body, tint, 10)
        place.post(0.02, -0.9, -0.3, body, (0.4, 0.3, 0.2), 5)
        for _ in range(int(rng.integers(4, 9))):
            at = rng.normal(0, 0.16, 3)
            place.ball((at[0], -0.95 + at[1], at[2]), rng.uniform(0.08, 0.2), other, (0.45, 0.7, 0.35))
        block(place, (-0.4, -1.4, -0.4), (0.4, 0, 0.4))
    else:
        x, y, z = rng.uniform(0.2, 0.5, 3)
        place.box((-x, -2 * y, -z), (x, 0, z), body, 0.7, tint)
        if rng.random() < 0.5:
            place.ball((0, -2 * y - min(x, z) * 0.6, 0), min(x, z) * 0.6, other, shade(b))
        block(place, (-x, -3 * y, -z), (x, 0, z))


def chair(place: Place, texture: int) -> None:
    tint = shade(place.builder)
    place.box((-0.22, -0.47, -0.22), (0.22, -0.42, 0.22), texture, 0.5, tint)
    place.box((-0.22, -0.92, 0.18), (0.22, -0.47, 0.22), texture, 0.5, tint)
    for x in (-0.2, 0.16):
        for z in (-0.2, 0.16):
            place.box((x, -0.42, z), (x + 0.04, 0, z + 0.04), texture, 0.5, tint)


def car(place: Place, paint: list[int]) -> None:
    b, rng = place.builder, place.builder.rng
    body, tint, long = int(rng.choice(paint)), shade(b), rng.uniform(1.8, 2.3)
    place.box((-long, -0.85, -0.8), (long, -0.3, 0.8), body, 2.0, tint)
    place.box((-long * 0.5, -1.4, -0.7), (long * 0.55, -0.85, 0.7), body, 2.0, tuple(0.4 * c for c in tint))
    place.box((-long * 0.48, -1.43, -0.68), (long * 0.53, -1.39, 0.68), body, 2.0, tint)
    for x in (-long * 0.62, long * 0.62):
        place.box((x - 0.3, -0.6, -0.83), (x + 0.3, 0, 0.83), body, 0.5, (0.12,) * 3)
    if place.actor < 0:
        block(place, (-long, -1.45, -0.85), (long, 0, 0.85))


def tree(place: Place, leaf: int, bark: int) -> None:
    rng = place.builder.rng
    tall, green = rng.uniform(1.8, 3.2), (rng.uniform(0.4, 0.8), rng.uniform(0.6, 0.95), rng.uniform(0.25, 0.5))
    place.post(rng.uniform(0.08, 0.16), -tall, 0.0, bark, (0.5, 0.4, 0.3), 6)
    for _ in range(int(rng.integers(4, 9))):
        at = rng.normal(0, 0.55, 3)
        place.ball((at[0], -tall - 0.6 + at[1], at[2]), rng.uniform(0.4, 0.9), leaf, green)
    block(place, (-0.4, -tall, -0.4), (0.4, 0, 0.4))
    block(place, (-1.5, -tall - 2.2, -1.5), (1.5, -tall + 0.6, 1.5))


def walker(b: Builder, split: str, at: tuple[float, float], span: float) -> None:
    """A figure of boxes and a ball that walks to and fro."""
    rng = b.rng
    heading, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0.3, max(0.4, min(span, 2.0)))
    step = np.array([math.cos(heading), 0.0, -math.sin(heading)])
    speed, phase = rng.uniform(0.05, 0.15), rng.uniform(0, 2 * math.pi)
    shirt, trousers, skin = *materials(b, split, 2), b.texture(textures.plain(rng))

    def limb(swing: float) -> Place:
        actor = b.actor([reach * step, swing * step], (speed, 1.2), (phase, 0.0))
        return Place(b, (at[0], 0.0, at[1]), heading, actor)

    body, tint = limb(0.0), shade(b)
    body.box((-0.14, -1.4, -0.22), (0.14, -0.8, 0.22), shirt, 0.6, tint)
    body.ball((0, -1.58, 0), 0.13, skin, (1.0, 0.78, 0.65))
    body.box((-0.1, -1.48, -0.06), (0.1, -1.4, 0.06), skin, 0.3, (0.95, 0.75, 0.6))
    for side, swing in ((-1, 0.15), (1, -0.15)):
        limb(swing).box((-0.08, -0.8, side * 0.11 - 0.08), (0.08, 0, side * 0.11 + 0.08), trousers, 0.5, shade(b))
        limb(-swing).box((-0.06, -1.38, side * 0.28 - 0.05), (0.06, -0.75, side * 0.28 + 0.05), shirt, 0.5, tint)
    swept = np.abs(step) * reach + 0.6
    b.obstacle(np.array([at[0] - swept[0], -1.9, at[1] - swept[2]]), np.array([at[0] + swept[0], 0, at[1] + swept[2]]))
