"""Exact images and z-depth of a world: rectangles are linear in the pixel, balls a quadratic, textures mipmapped.

In a camera's frame a rectangle's plane gives 1/z = A . d for the ray d = (x, y, 1), and its texture coordinates are
B . d / A . d and C . d / A . d. So coverage is a handful of comparisons of linear functions, and z is exact.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..memory.camera import Cameras, compose, transform_points
from ..memory.shapes import sizes
from .scene import World
from .textures import LEVELS, SIZE

NEAR = 0.02  # metres
RAYS = 1 << 18  # traced in one call
_LEVEL_SIZE = torch.tensor([SIZE >> level for level in range(LEVELS)], dtype=torch.int32)
_LEVEL_START = (torch.cumsum(_LEVEL_SIZE**2, 0) - _LEVEL_SIZE**2).int()


@dataclass(frozen=True)
class Rendering:
    """V views of a world."""

    images: Tensor  # (V, 3, H, W) in [0, 1]
    depth: Tensor  # (V, H, W) z-depth in metres at the pixels' centres, 0 at sky
    dynamic: Tensor  # (V, H, W) bool, what an actor covers
    sky: Tensor  # (V, H, W) bool


def render(world: World, cameras: Cameras, times: Tensor) -> Rendering:
    """Render a world.

    Args:
        cameras: (V,) views.
        times: (V,) seconds, where the actors stand.

    Raises:
        ValueError: shapes do not fit.
    """
    sizes("V 4 4 | V", c2w=cameras.c2w, times=times)
    fine = cameras.resized(2 * cameras.height, 2 * cameras.width)
    actors = torch.cat([world.rectangles.actor, world.balls.actor, torch.tensor([-1])])
    views = []
    together = max(1, RAYS // (4 * cameras.height * cameras.width))  # small views share the cost of each call
    for start in range(0, len(cameras), together):
        part = slice(start, start + together)
        scene = _place(world, cameras[part], times[part])
        traces = zip(*_trace(world, scene, cameras[part]), *_trace(world, scene, fine[part]))
        for view, (inverse, index, fine_inverse, fine_index) in enumerate(traces):
            sky = index == len(actors) - 1
            depth = torch.where(sky, 0.0, 1.0 / inverse.clamp(min=1e-9))
            image = _image(world, cameras[start + view], scene.view(view), inverse, index, fine_inverse, fine_index)
            views.append((image, depth, actors[index] >= 0, sky))
    images, depth, dynamic, sky = (torch.stack(part) for part in zip(*views))
    return Rendering(images, depth, dynamic, sky)


@dataclass(frozen=True)
class _Surfaces:
    """The surfaces in the frames of V cameras."""

    planes: Tensor  # (V, N, 3, 3) the linear functions A, B, C of the ray
    corners: Tensor  # (V, N, 4, 3)
    front: Tensor  # (V, N) bool, the side that is seen points to the camera
    centres: Tensor  # (V, M, 3)

    def view(self, index: int) -> "_Surfaces":
        return _Surfaces(self.planes[index], self.corners[index], self.front[index], self.centres[index])


def _place(world: World, cameras: Cameras, times: Tensor) -> _Surfaces:
    """Bring the surfaces into the cameras' frames, the actors where they stand then."""
    r, b = world.rectangles, world.balls
    w2c = cameras.w2c.double()
    shift = torch.cat([world.actors.displacement(times), torch.zeros(len(times), 1, 3, dtype=torch.float64)], 1)
    turn = w2c.clone()
    turn[:, :3, 3] = 0.0
    corner = transform_points(w2c, r.corner + shift[:, r.actor])
    u, v = transform_points(turn, r.u), transform_points(turn, r.v)
    normal = torch.linalg.cross(v, u)
    offset = (normal * corner).sum(-1, keepdim=True)
    A = normal / offset
    u_hat, v_hat = u / (u * u).sum(-1, keepdim=True), v / (v * v).sum(-1, keepdim=True)
    B = u_hat - (u_hat * corner).sum(-1, keepdim=True) * A
    C = v_hat - (v_hat * corner).sum(-1, keepdim=True) * A
    corners = torch.stack([corner, corner + u, corner + u + v, corner + v], 2)
    centres = transform_points(w2c, b.centre + shift[:, b.actor])
    return _Surfaces(torch.stack([A, B, C], 2), corners, offset[..., 0] < 0, centres)


def _trace(world: World, scene: _Surfaces, cameras: Cameras) -> tuple[Tensor, Tensor]:
    """Inverse depth (V, H, W) and index of the nearest surface (V, H, W): rectangles, then balls, then the sky."""
    H, W = cameras.height, cameras.width
    views, rectangles = scene.front.shape
    balls = scene.centres.shape[1]
    K = cameras.K.double()
    x = (torch.arange(W, dtype=torch.float64) + 0.5 - K[:, 0, 2, None]) / K[:, 0, 0, None]  # (V, W)
    y = (torch.arange(H, dtype=torch.float64) + 0.5 - K[:, 1, 2, None]) / K[:, 1, 1, None]  # (V, H)
    best = torch.zeros(views, H, W)
    index = torch.full((views, H, W), rectangles + balls)

    boxes = _bounds(scene, K, H, W)
    over_x = (scene.planes[..., 0, None] * x[:, None, None]).float()  # (V, N, 3, W)
    over_y = (scene.planes[..., 1, None] * y[:, None, None] + scene.planes[..., 2, None]).float()  # (V, N, 3, H)
    over_y = torch.where(scene.front[..., None, None], over_y, -torch.inf)  # never covers
    # the near ones first: whatever lies behind then fails its depth test
    for i in torch.argsort(scene.corners[..., 2].mean((0, 2))).tolist():
        x0, x1, y0, y1 = boxes[i]
        if x0 >= x1 or y0 >= y1:
            continue
        a, p, q = (over_y[:, i, :, y0:y1, None] + over_x[:, i, :, None, x0:x1]).unbind(1)
        seen = torch.minimum(torch.minimum(p, a - p), torch.minimum(q, a - q)) >= 0
        seen &= a > best[:, y0:y1, x0:x1]
        best[:, y0:y1, x0:x1] = torch.where(seen, a, best[:, y0:y1, x0:x1])
        index[:, y0:y1, x0:x1].masked_fill_(seen, i)

    x, y = x.float(), y.float()
    for j in range(balls):
        c, radius = scene.centres[:, j].float(), float(world.balls.radius[j])
        near = c[:, 2] - radius
        if (near < NEAR).all():
            continue
        reach = 1.5 * (radius / near + radius / c[:, 2])
        window = []
        for axis, grid in ((0, x), (1, y)):
            touched = ((grid - (c[:, axis] / c[:, 2])[:, None]).abs() <= reach[:, None]) & (near >= NEAR)[:, None]
            hit = touched.any(0).nonzero()[:, 0].tolist()
            window.append(slice(hit[0], hit[-1] + 1) if hit else slice(0, 0))
        dx, dy = x[:, None, window[0]], y[:, window[1], None]
        d2 = dx * dx + dy * dy + 1.0
        cx, cy, cz = (c[:, axis, None, None] for axis in range(3))
        dc = cx * dx + cy * dy + cz
        root = dc * dc - d2 * (cx * cx + cy * cy + cz * cz - radius * radius)
        a = d2 / (dc - root.clamp(min=0).sqrt()).clamp(min=1e-6)
        here = (slice(None), window[1], window[0])
        seen = (root > 0) & (a > best[here]) & (near >= NEAR)[:, None, None]
        best[here] = torch.where(seen, a, best[here])
        index[here] = torch.where(seen, rectangles + j, index[here])
    return best, index


def _bounds(scene: _Surfaces, K: Tensor, height: int, width: int) -> list[list[int]]:
    """Pixel boxes [x0, x1, y0, y1], one a rectangle, that hold what any view sees of it, clipped at NEAR."""
    corners, following = scene.corners, scene.corners.roll(-1, 2)
    z, z_next = corners[..., 2], following[..., 2]
    crosses = (z - NEAR) * (z_next - NEAR) < 0
    part = torch.where(crosses, (NEAR - z) / torch.where(crosses, z_next - z, 1.0), 0.0)
    points = torch.cat([corners, corners + part[..., None] * (following - corners)], 2)  # (V, N, 8, 3)
    valid = torch.cat([z >= NEAR, crosses], 2) & scene.front[..., None]
    depth = torch.where(valid, points[..., 2], 1.0)
    sides = []
    for axis, limit in ((0, width), (1, height)):
        pixel = points[..., axis] / depth * K[:, axis, axis, None, None] + K[:, axis, 2, None, None]
        low = torch.where(valid, pixel, math.inf).amin((0, 2)).floor() - 1
        high = torch.where(valid, pixel, -math.inf).amax((0, 2)).ceil() + 1
        sides += [low.clamp(0, limit), high.clamp(0, limit)]
    return torch.stack(sides, 1).long().tolist()


def _image(
    world: World,
    camera: Cameras,
    scene: _Surfaces,
    inverse: Tensor,
    index: Tensor,
    fine_inverse: Tensor,
    fine_index: Tensor,
) -> Tensor:
    """The image (3, H, W): one sample where a pixel's quarters show one surface, the mean of four on edges."""
    H, W = index.shape
    quarters = [(slice(i, None, 2), slice(j, None, 2)) for i in (0, 1) for j in (0, 1)]
    edge = torch.stack([fine_index[q] != index for q in quarters]).any(0)
    y, x = torch.meshgrid(torch.arange(H) + 0.5, torch.arange(W) + 0.5, indexing="ij")
    samples = [(x[~edge], y[~edge], inverse[~edge], index[~edge])]
    for q, dy, dx in zip(quarters, (-0.25, -0.25, 0.25, 0.25), (-0.25, 0.25, -0.25, 0.25)):
        samples.append((x[edge] + dx, y[edge] + dy, fine_inverse[q][edge], fine_index[q][edge]))
    colours = _shade(world, camera, scene, *(torch.cat(part) for part in zip(*samples)))
    image = torch.empty(3, H, W)
    whole = len(samples[0][0])
    image[:, ~edge] = colours[:, :whole]
    image[:, edge] = colours[:, whole:].view(3, 4, -1).mean(1)
    return image


def _shade(
    world: World, camera: Cameras, scene: _Surfaces, px: Tensor, py: Tensor, inverse: Tensor, index: Tensor
) -> Tensor:
    """Colours (3, P) of points of the image: texture times tint times light; the sky where nothing was hit."""
    r, b, light = world.rectangles, world.balls, world.light
    N, M = len(r.corner), len(b.centre)
    fx = float(camera.K[0, 0])
    x, y = (px - camera.K[0, 2]) / camera.K[0, 0], (py - camera.K[1, 2]) / camera.K[1, 1]
    R = camera.c2w[:3, :3]
    ray = [R[i, 0] * x + R[i, 1] * y + R[i, 2] for i in range(3)]
    z = 1.0 / inverse.clamp(min=1e-6)
    where = [ray[i] * z + camera.c2w[i, 3] for i in range(3)]

    pad = torch.zeros(M + 1, 3)
    edge = torch.stack([r.u.norm(dim=-1), r.v.norm(dim=-1)], 1)
    density = SIZE * (r.periods[:, :2] / edge).prod(1).sqrt()  # texels a metre
    rows = torch.cat(
        [scene.planes[:, 1:].flatten(1).float(), r.periods.float(), density[:, None].float(), r.glow[:, None].float()],
        1,
    )
    rows = torch.cat([rows, rows.new_zeros(M + 1, rows.shape[1])])
    rows[N : N + M, -1] = b.glow
    rows[N : N + M, -2] = SIZE / (3.0 * b.radius)
    rows[-1, -1] = 1.0
    tint = torch.cat([r.tint.float(), b.tint.float(), torch.ones(1, 3)])
    normals = torch.cat([normalize(torch.linalg.cross(r.v, r.u), dim=-1).float(), pad])
    table = torch.cat([rows, normals, tint], 1).T.contiguous()  # (18, N + M + 1)
    b0, b1, b2, c0, c1, c2, nu, nv, ou, ov, density, glow, n0, n1, n2, t0, t1, t2 = table[:, index]
    s = (b0 * x + b1 * y + b2) * z * nu + ou
    t = (c0 * x + c1 * y + c2) * z * nv + ov

    round_ = ((index >= N) & (index < N + M)).nonzero()[:, 0]
    if len(round_):
        j = index[round_] - N
        centre = transform_points(camera.c2w, scene.centres.float())[j]
        p = torch.stack([w[round_] for w in where], 1)
        n = (p - centre) / b.radius[j, None].float()
        n0[round_], n1[round_], n2[round_] = n.unbind(1)
        s[round_] = torch.atan2(n[:, 0], n[:, 2]) / math.pi
        t[round_] = torch.acos(n[:, 1].clamp(-1, 1)) / math.pi
    length = (ray[0] ** 2 + ray[1] ** 2 + ray[2] ** 2).sqrt()
    facing = (n0 * ray[0] + n1 * ray[1] + n2 * ray[2]).abs() / length
    lod = torch.log2((density * z / fx).clamp(min=1e-3)) - 0.6 * torch.log2(facing.clamp(min=0.05))

    sky = (index == N + M).nonzero()[:, 0]
    up = (-ray[1] / length)[sky]
    s[sky] = torch.atan2(ray[0][sky], ray[2][sky]) / math.pi
    t[sky] = 1.0 - up.clamp(0, 1) * 0.9
    lod[sky] = math.log2(SIZE / math.pi / fx + 1e-3)
    texture = torch.cat([r.texture, b.texture, torch.tensor([world.sky_texture])])[index]
    albedo = _sample(world.atlas, texture, s, t, lod)

    sun, lamp = light.sun.tolist(), light.lamp.tolist()
    to_lamp = [lamp[i] - where[i] for i in range(3)]
    far2 = to_lamp[0] ** 2 + to_lamp[1] ** 2 + to_lamp[2] ** 2
    towards = (n0 * to_lamp[0] + n1 * to_lamp[1] + n2 * to_lamp[2]) / far2.clamp(min=1e-4).sqrt()
    lit = light.ambient * (1.0 - 0.25 * n1)
    lit = lit + (n0 * sun[0] + n1 * sun[1] + n2 * sun[2]).clamp(min=0)
    lit = lit + light.lamp_power * (0.3 + 0.7 * towards.clamp(min=0)) / (1.0 + far2 / light.lamp_reach**2)
    image = []
    for channel, shade in enumerate((t0, t1, t2)):
        image.append(albedo[:, channel] * shade * (glow + (1 - glow) * lit * float(light.colour[channel])))
    horizon, zenith = world.sky_colours
    blend = up.clamp(0, 1).sqrt()[:, None]
    cloud = albedo[sky]
    back = (horizon + blend * (zenith - horizon)) * (1 - cloud) + 0.95 * cloud
    for channel in range(3):
        image[channel][sky] = back[:, channel]
    return torch.stack(image).clamp(0, 1)


def _sample(atlas: Tensor, texture: Tensor, s: Tensor, t: Tensor, lod: Tensor) -> Tensor:
    """Trilinear, wrapping look-up of P texture coordinates (in periods) at P levels: (P, 3)."""
    texels = atlas.view(-1, 3)
    lod = lod.clamp(0, LEVELS - 1.001)
    level = lod.int()
    fraction = lod - level
    out = torch.zeros(len(s), 3)
    texture = texture.int()
    s, t = s - s.floor(), t - t.floor()
    for step, weight in ((0, 1 - fraction), (1, fraction)):
        size = _LEVEL_SIZE[level + step]
        start = texture * atlas.shape[1] + _LEVEL_START[level + step]
        px, py = s * size - 0.5, t * size - 0.5
        x0, y0 = px.floor(), py.floor()
        fx, fy = px - x0, py - y0
        x0, y0, wrap = x0.int(), y0.int(), size - 1
        xs, ys = (x0 & wrap, (x0 + 1) & wrap), (start + (y0 & wrap) * size, start + ((y0 + 1) & wrap) * size)
        for row, wy in zip(ys, (weight * (1 - fy), weight * fy)):
            for column, wx in zip(xs, (1 - fx, fx)):
                out.addcmul_(texels.index_select(0, row + column), (wy * wx)[:, None])
    return out


def look(position: Tensor, yaw: Tensor, pitch: Tensor, roll: Tensor) -> Tensor:
    """Camera-to-world (..., 4, 4) float64: yaw turns right, pitch looks down, roll clockwise; radians, +Y down."""
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)

    def matrix(*rows: list[Tensor]) -> Tensor:
        return torch.stack([torch.stack(row, -1) for row in rows], -2)

    bottom = [zero, zero, zero, one]
    cy, sy, cp, sp, cr, sr = yaw.cos(), yaw.sin(), pitch.cos(), pitch.sin(), roll.cos(), roll.sin()
    turn = matrix(
        [cy, zero, sy, position[..., 0]], [zero, one, zero, position[..., 1]], [-sy, zero, cy, position[..., 2]], bottom
    )
    nod = matrix([one, zero, zero, zero], [zero, cp, sp, zero], [zero, -sp, cp, zero], bottom)
    lean = matrix([cr, -sr, zero, zero], [sr, cr, zero, zero], [zero, zero, one, zero], bottom)
    return compose(compose(turn, nod), lean)
