"""Streets and open ground."""

import math

import numpy as np
import torch

from . import textures
from .pieces import block, car, materials, shade, tree, walker
from .scene import Builder, Light, Place


def street(b: Builder, split: str) -> tuple[Light, np.ndarray]:
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
    doors = materials(b, split, 3)
    for side in (-1, 1):
        z = -length
        while z < length:
            wide, tall, set_back = rng.uniform(5, 12), rng.uniform(5, 16), rng.uniform(0, 1.0)
            x0 = side * (half + walk + set_back)
            x0, x1 = sorted((x0, x0 + side * rng.uniform(6, 10)))
            front, tint = int(rng.choice(fronts)), shade(b)
            ground.box((x0, -tall, z), (x1, 0, z + wide), front, rng.uniform(4.5, 7), tint)
            face = Place(b, (side * (half + walk + set_back), 0.0, z + wide / 2), side * math.pi / 2)
            face.panel((rng.uniform(-1.5, 1.5), -1.05, -0.03), 1.0, 2.1, int(rng.choice(doors)), shade(b))
            if rng.random() < 0.5:
                sign = b.texture(textures.picture(rng, split)) if len(b.textures) < 16 else int(rng.choice(doors))
                face.panel((rng.uniform(-1.5, 1.5), -2.9, -0.06), rng.uniform(1, 3), 0.8, sign)
                face.box((-2.0, -2.45, -0.9), (2.0, -2.38, -0.01), int(rng.choice(doors)), 1.0, shade(b))
            b.obstacle(np.array([x0 - 0.4, -tall, z]), np.array([x1 + 0.4, 0, z + wide]))
            z += wide + (rng.uniform(1.5, 6) if rng.random() < 0.3 else 0.0)
    paint, leaf = materials(b, split, 3), b.texture(textures.marbled(rng))
    for side in (-1, 1):
        for z in np.arange(-length / 2, length / 2, rng.uniform(5, 9)):
            if rng.random() < 0.6:
                car(Place(b, (side * (half - 1.0), 0.0, z + rng.uniform(-1, 1)), math.pi / 2), paint)
            if rng.random() < 0.5:
                tree(Place(b, (side * (half + 0.4), 0.0, z + 2.5)), leaf, paint[0])
    if rng.random() < 0.8:
        for _ in range(int(rng.integers(1, 4))):
            walker(b, split, (rng.choice([-1, 1]) * (half + walk / 2), rng.uniform(-8, 8)), 2.0)
    if rng.random() < 0.4:
        z, reach = rng.uniform(-6, 6), rng.uniform(4, 9)
        actor = b.actor([[0, 0, reach], [0, 0, 0]], (rng.uniform(0.04, 0.09), 0.0), (rng.uniform(0, 6), 0.0))
        car(Place(b, (rng.choice([-1, 1]) * 0.9, 0.0, z), math.pi / 2, actor), paint)
        b.obstacle(np.array([-2.2, -2, z - reach - 3]), np.array([2.2, 0, z + reach + 3]))
    return _daylight(b), np.array([[-half - walk + 0.3, -2.6, -length / 3], [half + walk - 0.3, -0.8, length / 3]])


def open_ground(b: Builder, split: str) -> tuple[Light, np.ndarray]:
    rng = b.rng
    ground = Place(b, (0.0, 0.0, 0.0))
    turf = b.texture((textures.marbled if rng.random() < 0.6 else textures.masonry)(rng))
    ground.surface((-150, 0, -150), (300, 0, 0), (0, 0, 300), (0, -1, 0), turf, rng.uniform(1.5, 4))
    stuff, leaf = materials(b, split, 6), b.texture(textures.marbled(rng))
    fronts, pictures = (
        [b.texture(textures.facade(rng)) for _ in range(2)],
        [b.texture(textures.picture(rng, split)) for _ in range(3)],
    )
    for angle in np.arange(0, 2 * math.pi, 0.35):  # a far ring of hills and houses
        far = rng.uniform(35, 90)
        place = Place(b, (far * math.sin(angle), 0.0, far * math.cos(angle)), angle + rng.normal(0, 0.2))
        wide, tall = rng.uniform(6, 22), rng.uniform(3, 12)
        if rng.random() < 0.5:
            place.box((-wide / 2, -tall, 0), (wide / 2, 0, 8), int(rng.choice(fronts)), rng.uniform(4, 7), shade(b))
        elif rng.random() < 0.6:
            place.ball((0, 0.3 * wide, 0), 0.8 * wide, leaf, (0.6, 0.75, 0.5))
    for _ in range(int(rng.integers(9, 18))):
        angle, far = rng.uniform(0, 2 * math.pi), rng.uniform(3.0, 12.0)
        place = Place(b, (far * math.sin(angle), 0.0, far * math.cos(angle)), rng.uniform(0, 2 * math.pi))
        body, tint, kind = int(rng.choice(stuff)), shade(b), rng.integers(6)
        if kind == 0:
            tree(place, leaf, body)
        elif kind == 1:
            car(place, stuff)
        elif kind == 2:  # wall with a picture
            wide, tall = rng.uniform(1.5, 5), rng.uniform(1.2, 2.8)
            place.box((-wide / 2, -tall, -0.12), (wide / 2, 0, 0.12), body, 1.2, tint)
            place.panel((0, -tall * 0.55, -0.13), min(wide * 0.8, tall), tall * 0.7, int(rng.choice(pictures)))
            block(place, (-wide / 2, -tall, -0.12), (wide / 2, 0, 0.12))
        elif kind == 3:  # steps and a block
            x, y, z = rng.uniform(0.4, 1.4, 3)
            place.box((-x - 0.3, -0.2, -z - 0.3), (x + 0.3, 0, z + 0.3), int(rng.choice(stuff)), 0.9, shade(b))
            place.box((-x, -0.2 - 2 * y, -z), (x, -0.2, z), body, 0.9, tint)
            block(place, (-x - 0.3, -0.2 - 2 * y, -z - 0.3), (x + 0.3, 0, z + 0.3))
        elif kind == 4:  # column with a ball
            r, tall = rng.uniform(0.15, 0.5), rng.uniform(1.0, 3.5)
            place.post(r, -tall, 0.0, body, tint, 10)
            place.ball((0, -tall - 1.1 * r, 0), 1.3 * r, int(rng.choice(stuff)), shade(b))
            block(place, (-1.3 * r, -tall - 2.5 * r, -1.3 * r), (1.3 * r, 0, 1.3 * r))
        else:
            r = rng.uniform(0.3, 1.1)
            place.ball((0, -0.9 * r, 0), r, body, tint)
            block(place, (-r, -2 * r, -r), (r, 0, r))
    if rng.random() < 0.8:
        for _ in range(int(rng.integers(1, 4))):
            angle, far = rng.uniform(0, 2 * math.pi), rng.uniform(3.0, 7.0)
            walker(b, split, (far * math.sin(angle), far * math.cos(angle)), 2.0)
    return _daylight(b), np.array([[-9.0, -3.0, -9.0], [9.0, -0.7, 9.0]])


def _daylight(b: Builder) -> Light:
    azimuth, height = b.rng.uniform(0, 2 * math.pi), b.rng.uniform(0.4, 1.2)
    towards = np.array([math.cos(azimuth) * math.cos(height), -math.sin(height), math.sin(azimuth) * math.cos(height)])
    warm = np.array([1.0, b.rng.uniform(0.92, 1.0), b.rng.uniform(0.82, 1.0)])
    sun = torch.from_numpy(towards * b.rng.uniform(0.2, 0.6)).float()
    return Light(b.rng.uniform(0.5, 0.7), sun, torch.zeros(3), 0.0, 1.0, torch.from_numpy(warm).float())
