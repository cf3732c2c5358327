"""What a world is made of: rectangles and balls in space, actors that carry some of them, one atlas of textures."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from .textures import mipmap

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Rectangles:
    """Textured one-sided rectangles: seen from the side that v x u points to. World axes: +Y down, metres."""

    corner: Tensor  # (N, 3)
    u: Tensor  # (N, 3) the whole edge along which the texture's x runs
    v: Tensor  # (N, 3) the whole edge along which the texture's y runs
    texture: Tensor  # (N,) row of the atlas
    periods: Tensor  # (N, 4) texture periods along u and v, then the offset of each
    tint: Tensor  # (N, 3) multiplies the texture
    glow: Tensor  # (N,) 0 lit by the world's light, 1 shines by itself
    actor: Tensor  # (N,) which actor carries it, -1 none


@dataclass(frozen=True)
class Balls:
    """Textured spheres."""

    centre: Tensor  # (M, 3)
    radius: Tensor  # (M,)
    texture: Tensor  # (M,)
    tint: Tensor  # (M, 3)
    glow: Tensor  # (M,)
    actor: Tensor  # (M,)


@dataclass(frozen=True)
class Actors:
    """Carriers that move: displacement(time) = sum over two terms of amplitude * sin(2 pi frequency * time + phase)."""

    amplitude: Tensor  # (A, 2, 3) metres
    frequency: Tensor  # (A, 2) hertz
    phase: Tensor  # (A, 2) radians

    def displacement(self, times: Tensor) -> Tensor:  # (V,) seconds -> (V, A, 3) metres
        wave = torch.sin(2 * math.pi * self.frequency * times.double()[:, None, None] + self.phase)
        return (wave[..., None] * self.amplitude).sum(-2)


@dataclass(frozen=True)
class Light:
    """Ambient light, one sun, one lamp whose light falls off with distance."""

    ambient: float
    sun: Tensor  # (3,) unit vector towards the sun times its strength
    lamp: Tensor  # (3,) position
    lamp_power: float
    lamp_reach: float  # metres at which half of the power is left
    colour: Tensor  # (3,)


@dataclass(frozen=True)
class World:
    """A place to send a camera through. World axes: +Y down, the floor at y = 0, metres, seconds."""

    seed: int
    split: str
    kind: str  # room, street, open
    rectangles: Rectangles
    balls: Balls
    actors: Actors
    atlas: Tensor  # (textures, texels of all mipmap levels, 3) float32 in [0, 1]
    sky_texture: int
    sky_colours: Tensor  # (2, 3) horizon, zenith
    light: Light
    free: Tensor  # (2, 3) lowest and highest corner of where a camera may be
    obstacles: Tensor  # (B, 2, 3) lowest and highest corners of boxes where it may not, actors' whole ways included


def _rotation(yaw: float) -> np.ndarray:
    c, s = math.cos(yaw), math.sin(yaw)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


@dataclass
class Builder:
    """Collects surfaces while a world is built; ``Frame`` places whole pieces."""

    rng: np.random.Generator
    textures: list[np.ndarray] = field(default_factory=list)
    rectangles: list[tuple] = field(default_factory=list)
    balls: list[tuple] = field(default_factory=list)
    actors: list[tuple] = field(default_factory=list)
    obstacles: list[np.ndarray] = field(default_factory=list)

    def texture(self, image: np.ndarray) -> int:
        self.textures.append(mipmap(image))
        return len(self.textures) - 1

    def actor(self, amplitude: np.ndarray, frequency: tuple[float, float], phase: tuple[float, float]) -> int:
        """A carrier; ``amplitude`` (2, 3) metres."""
        self.actors.append((np.asarray(amplitude, np.float64), frequency, phase))
        return len(self.actors) - 1

    def obstacle(self, low: np.ndarray, high: np.ndarray) -> None:
        self.obstacles.append(np.stack([low, high]))

    def rectangle(self, corner, u, v, texture, period=0.0, tint=(1.0, 1.0, 1.0), glow=0.0, actor=-1) -> None:
        """``period`` is the length of one texture period in metres; 0 stretches the texture over the rectangle."""
        corner, u, v = (np.asarray(x, np.float64) for x in (corner, u, v))
        count = [np.linalg.norm(e) / period if period else 1.0 for e in (u, v)]
        offset = self.rng.random(2) if period else np.zeros(2)
        self.rectangles.append((corner, u, v, texture, [*count, *offset], tint, glow, actor))

    def ball(self, centre, radius, texture, tint=(1.0, 1.0, 1.0), glow=0.0, actor=-1) -> None:
        self.balls.append((np.asarray(centre, np.float64), radius, texture, tint, glow, actor))

    def tensors(self) -> tuple[Rectangles, Balls, Actors, Tensor]:
        def columns(rows: list[tuple], shapes: tuple[tuple[int, ...], ...]) -> list[Tensor]:
            parts = list(zip(*rows)) if rows else [()] * len(shapes)
            return [torch.from_numpy(np.asarray(p, np.float64).reshape(-1, *s)) for p, s in zip(parts, shapes)]

        corner, u, v, texture, periods, tint, glow, actor = columns(
            self.rectangles, ((3,), (3,), (3,), (), (4,), (3,), (), ())
        )
        rectangles = Rectangles(corner, u, v, texture.long(), periods, tint, glow, actor.long())
        centre, radius, texture, tint, glow, actor = columns(self.balls, ((3,), (), (), (3,), (), ()))
        balls = Balls(centre, radius, texture.long(), tint, glow, actor.long())
        actors = Actors(*columns(self.actors, ((2, 3), (2,), (2,))))
        return rectangles, balls, actors, torch.from_numpy(np.stack(self.textures))


@dataclass(frozen=True)
class Place:
    """A local frame standing on the ground: x to the right, y down, z to the front, turned by ``yaw``."""

    builder: Builder
    at: Vector
    yaw: float = 0.0
    actor: int = -1

    def surface(self, corner, u, v, facing, texture: int, period=0.0, tint=(1.0, 1.0, 1.0), glow=0.0) -> None:
        """A rectangle in local coordinates, its picture turned so that it reads from where ``facing`` points to."""
        R = _rotation(self.yaw)
        corner, u, v = (np.asarray(x, np.float64) for x in (corner, u, v))
        if np.dot(np.cross(v, u), facing) < 0:
            corner, u = corner + u, -u
        self.builder.rectangle(np.asarray(self.at) + R @ corner, R @ u, R @ v, texture, period, tint, glow, self.actor)

    def box(
        self, low: Vector, high: Vector, texture: int, period=0.8, tint=(1.0, 1.0, 1.0), glow=0.0, inward=False
    ) -> None:
        """The six faces between two local corners, seen from outside, or from inside where ``inward``."""
        corners = np.asarray([low, high], np.float64)
        extent = corners[1] - corners[0]
        for axis in range(3):
            along, down = ((2, 1), (0, 2), (0, 1))[axis]
            for side in (0, 1):
                corner = corners[0].copy()
                corner[axis] = corners[side, axis]
                facing = np.eye(3)[axis] * (2 * side - 1) * (-1 if inward else 1)
                u, v = np.eye(3)[along] * extent[along], np.eye(3)[down] * extent[down]
                self.surface(corner, u, v, facing, texture, period, tint, glow)

    def panel(self, centre: Vector, width: float, height: float, texture: int, tint=(1.0, 1.0, 1.0), glow=0.0) -> None:
        """An upright picture that faces local -z, where a viewer looks along +z."""
        corner = np.asarray(centre) - np.array([width / 2, height / 2, 0.0])
        self.surface(corner, (width, 0, 0), (0, height, 0), (0, 0, -1), texture, 0.0, tint, glow)

    def ball(self, centre: Vector, radius: float, texture: int, tint=(1.0, 1.0, 1.0), glow=0.0) -> None:
        R = _rotation(self.yaw)
        self.builder.ball(np.asarray(self.at) + R @ np.asarray(centre), radius, texture, tint, glow, self.actor)

    def post(
        self, radius: float, top: float, bottom: float, texture: int, tint=(1.0, 1.0, 1.0), sides: int = 6
    ) -> None:
        """An upright prism from local y = top (negative is up) to y = bottom."""
        angles = np.arange(sides + 1) / sides * 2 * np.pi
        ring = np.stack([np.cos(angles), np.zeros_like(angles), np.sin(angles)], 1) * radius
        for p, q in zip(ring[:-1], ring[1:]):
            self.surface(p + (0, top, 0), q - p, (0, bottom - top, 0), p + q, texture, 0.6, tint)
