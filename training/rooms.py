"""Furnished rooms."""

import math

import numpy as np
import torch

from . import textures
from .pieces import centre_piece, materials, walker, wall_piece
from .scene import Builder, Light, Place


def room(b: Builder, split: str) -> tuple[Light, np.ndarray]:
    rng = b.rng
    width, depth, height = rng.uniform(3.5, 7.5), rng.uniform(3.5, 8.5), rng.uniform(2.4, 3.3)
    w, d = width / 2, depth / 2
    whole = Place(b, (0.0, 0.0, 0.0))
    floor = (
        b.texture((textures.wood if rng.random() < 0.45 else textures.masonry)(rng))
        if rng.random() < 0.7
        else materials(b, split, 1)[0]
    )
    walls = (
        b.texture((textures.plain if rng.random() < 0.5 else textures.pattern)(rng))
        if rng.random() < 0.6
        else materials(b, split, 1)[0]
    )
    accent, ceiling = materials(b, split, 1)[0], b.texture(0.45 + 0.55 * textures.plain(rng))
    period = rng.uniform(1.0, 2.5)
    sides = (
        ((-w, -height, -d), (width, 0, 0), (0, 0, 1)),
        ((-w, -height, d), (width, 0, 0), (0, 0, -1)),
        ((-w, -height, -d), (0, 0, depth), (1, 0, 0)),
        ((w, -height, -d), (0, 0, depth), (-1, 0, 0)),
    )
    for i, (corner, u, facing) in enumerate(sides):
        whole.surface(corner, u, (0, height, 0), facing, accent if i == 0 and rng.random() < 0.7 else walls, period)
    whole.surface((-w, 0, -d), (width, 0, 0), (0, 0, depth), (0, -1, 0), floor, rng.uniform(1.0, 2.0))
    whole.surface((-w, -height, -d), (width, 0, 0), (0, 0, depth), (0, 1, 0), ceiling, 3.0, (1.1, 1.1, 1.1))
    skirting = materials(b, split, 1)[0]
    for x0, x1, z0, z1 in ((-w, w, -d, -d + 0.02), (-w, w, d - 0.02, d), (-w, -w + 0.02, -d, d), (w - 0.02, w, -d, d)):
        whole.box((x0, -0.1, z0), (x1, 0.0, z1), skirting, 0.5, (0.9, 0.9, 0.9))

    pictures = [b.texture(textures.picture(rng, split)) for _ in range(4)]
    stuff = materials(b, split, 6) + [b.texture(textures.wood(rng)), b.texture(textures.books(rng))]
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
            wall_piece(place, size, height, stuff, pictures)
            spot += size + rng.uniform(0.05, 1.0)
    for _ in range(int(rng.integers(1, 4))):
        place = Place(
            b, (rng.uniform(-w + 1.3, w - 1.3), 0.0, rng.uniform(-d + 1.3, d - 1.3)), rng.uniform(0, 2 * math.pi)
        )
        centre_piece(place, stuff, pictures)
    if rng.random() < 0.6:
        rw, rd = rng.uniform(0.5, w - 0.4), rng.uniform(0.5, d - 0.4)
        whole.surface(
            (-rw, -0.006, -rd),
            (2 * rw, 0, 0),
            (0, 0, 2 * rd),
            (0, -1, 0),
            materials(b, split, 1)[0],
            rng.uniform(0.7, 2),
        )
    lamp = np.array([rng.uniform(-w / 2, w / 2), -height + 0.35, rng.uniform(-d / 2, d / 2)])
    bulb = b.texture(textures.plain(rng))
    whole.ball(tuple(lamp), 0.12, bulb, (1.3, 1.25, 1.1), 1.0)
    whole.box(
        (lamp[0] - 0.01, -height, lamp[2] - 0.01),
        (lamp[0] + 0.01, lamp[1] - 0.1, lamp[2] + 0.01),
        bulb,
        0.5,
        (0.3,) * 3,
    )
    if rng.random() < 0.5:
        walker(b, split, (rng.uniform(-w + 1, w - 1), rng.uniform(-d + 1, d - 1)), min(w, d) - 0.9)
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
