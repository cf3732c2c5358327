"""Procedural worlds: exact depth, honest masks, paths through free space."""

import math
from dataclasses import replace

import pytest
import torch
from spatial_memory.memory.camera import Cameras, check_cameras, intrinsics_from_fov, project, unproject
from spatial_memory.training import textures
from spatial_memory.training.render import look
from spatial_memory.training.worlds import make_world, out_and_back_path, random_path, render

KINDS = {"room": 2, "street": 0, "open": 3}  # training seeds of each kind, actors in all of them


@pytest.fixture(scope="module", params=sorted(KINDS))
def world(request):
    made = make_world(KINDS[request.param], "train")
    assert made.kind == request.param
    return made


def traced(world, origin, direction, time):
    """Distance along a ray to the nearest rectangle or ball and its index, by a plain loop. Infinite where sky."""
    rectangles, balls = world.rectangles, world.balls
    shift = world.actors.displacement(time[None])[0]
    best, index = math.inf, len(rectangles.corner) + len(balls.centre)
    for i in range(len(rectangles.corner)):
        u, v = rectangles.u[i], rectangles.v[i]
        carrier = int(rectangles.actor[i])
        corner = rectangles.corner[i] + (shift[carrier] if carrier >= 0 else 0)
        normal = torch.linalg.cross(v, u)
        slope = float(normal @ direction)
        if slope >= 0:
            continue
        t = float(normal @ (corner - origin)) / slope
        offset = origin + t * direction - corner
        a, b = float(offset @ u / (u @ u)), float(offset @ v / (v @ v))
        if 0 < t < best and 0 <= a <= 1 and 0 <= b <= 1:
            best, index = t, i
    for j in range(len(balls.centre)):
        carrier = int(balls.actor[j])
        offset = balls.centre[j] + (shift[carrier] if carrier >= 0 else 0) - origin
        along = float(offset @ direction / direction.norm())
        gap = float(balls.radius[j]) ** 2 - (float(offset @ offset) - along**2)
        t = (along - math.sqrt(max(gap, 0))) / float(direction.norm())
        if gap > 0 and 0 < t < best:
            best, index = t, len(rectangles.corner) + j
    return best, index


def test_depth_and_masks_equal_a_ray_traced_by_a_plain_loop(world):
    generator = torch.Generator().manual_seed(5)
    cameras = random_path(world, 3, generator, 24, 40)
    times = torch.tensor([0.0, 1.3, 2.9])
    view = render(world, cameras, times)
    actors = torch.cat([world.rectangles.actor, world.balls.actor])
    wrong = 0
    for frame in range(3):
        pose = cameras.c2w[frame].double()
        for _ in range(12):
            y, x = (int(torch.randint(n, (), generator=generator)) for n in (24, 40))
            K = cameras.K[frame].double()
            ray = torch.stack([(x + 0.5 - K[0, 2]) / K[0, 0], (y + 0.5 - K[1, 2]) / K[1, 1], torch.tensor(1.0)])
            depth, index = traced(world, pose[:3, 3], pose[:3, :3] @ ray.double(), times[frame].double())
            sky = math.isinf(depth)
            same = bool(view.sky[frame, y, x]) == sky
            same &= abs(float(view.depth[frame, y, x]) - (0.0 if sky else depth)) <= 1e-3 * (0 if sky else depth) + 1e-6
            same &= bool(view.dynamic[frame, y, x]) == (not sky and int(actors[index]) >= 0)
            wrong += not same
    assert wrong <= 1  # a pixel centre may lie on an edge to within float32


def test_a_second_view_sees_the_same_surfaces(world):
    cameras = out_and_back_path(world, 9, torch.Generator().manual_seed(1), 48, 80)
    view = render(world, cameras[:5], torch.zeros(5))
    points = unproject(view.depth[0], cameras[0])[(view.depth[0] > 0)]
    uv, z = project(points, cameras[2])
    u, v = uv[:, 0].floor().long(), uv[:, 1].floor().long()
    inside = (z > 0.1) & (u >= 0) & (u < 80) & (v >= 0) & (v < 48)
    seen = view.depth[2][v[inside], u[inside]]
    seen = torch.where(seen > 0, seen, torch.inf)
    assert inside.float().mean() > 0.3
    agreeing = (seen - z[inside]).abs() < 0.05 * z[inside]
    assert agreeing.float().mean() > 0.6  # the rest is hidden, at edges, or seen at a grazing angle
    assert (seen > 1.05 * z[inside]).float().mean() < 0.1  # nothing known may be seen through


def test_images_have_texture_and_do_not_flicker():
    world = make_world(KINDS["room"], "train")
    K = intrinsics_from_fov(50.0, 48, 80)
    low, high = world.free
    x = torch.linspace(-0.002, 0.002, 3, dtype=torch.float64)
    middle = (low + high) / 2
    position = torch.stack([middle[0] + x, middle[1].expand(3), middle[2].expand(3)], 1)
    zero = torch.zeros(3, dtype=torch.float64)
    cameras = Cameras(look(position, zero, zero, zero).float(), K.expand(3, 3, 3).clone(), 48, 80)
    view = render(world, cameras, torch.zeros(3))
    assert view.images.shape == (3, 3, 48, 80) and view.images.min() >= 0 and view.images.max() <= 1
    assert view.images[1].std() > 0.05
    assert (view.images[0] - view.images[2]).abs().mean() < 0.01  # 4 mm apart: nothing may jump


def test_actors_move_and_only_they_do():
    world = make_world(KINDS["open"], "train")
    cameras = random_path(world, 2, torch.Generator().manual_seed(0), 48, 80)
    still = Cameras(cameras.c2w[:1].expand(2, 4, 4).clone(), cameras.K, 48, 80)
    worlds = (make_world(seed, "train") for seed in range(12))
    world = next(made for made in worlds if bool(render(made, still, torch.zeros(2)).dynamic.any()))
    view = render(world, still, torch.tensor([0.0, 2.0]))
    moved = (view.images[0] - view.images[1]).abs().amax(0) > 0.02
    edge = torch.nn.functional.max_pool2d(view.dynamic.any(0).float()[None, None], 3, 1, 1)[0, 0] > 0
    assert moved.any() and not (moved & ~edge).any()


def test_dynamic_is_what_disappears_when_the_actors_leave(world):
    def without_actors(surfaces):
        rows = surfaces.actor < 0
        return type(surfaces)(**{name: column[rows] for name, column in vars(surfaces).items()})

    empty = replace(world, rectangles=without_actors(world.rectangles), balls=without_actors(world.balls))
    carriers = torch.cat([world.rectangles.corner, world.balls.centre])[
        torch.cat([world.rectangles.actor, world.balls.actor]) >= 0
    ]
    assert len(carriers)
    aim = carriers.mean(0)  # stand 3 m in front of the actors and look at them
    position = (aim + torch.tensor([0.0, -0.3, -3.0], dtype=torch.float64))[None]
    zero = torch.zeros(1, dtype=torch.float64)
    K = intrinsics_from_fov(60.0, 48, 80)[None]
    camera = Cameras(look(position, zero, zero, zero).float(), K, 48, 80)
    view, bare = (render(w, camera, torch.zeros(1)) for w in (world, empty))
    assert torch.equal(view.dynamic, view.depth != bare.depth)


def test_out_and_back_path_returns_to_the_bit(world):
    cameras = out_and_back_path(world, 33, torch.Generator().manual_seed(3), 48, 80)
    check_cameras(cameras)
    assert torch.equal(cameras.c2w, cameras.c2w.flip(0)) and torch.equal(cameras.K, cameras.K.flip(0))
    assert (cameras.position[16] - cameras.position[0]).norm() > 0.05


@pytest.mark.parametrize("seed", range(4))
def test_paths_are_smooth_and_stay_in_free_space(world, seed):
    cameras = random_path(world, 33, torch.Generator().manual_seed(seed), 48, 80)
    check_cameras(cameras)
    position = cameras.position.double()
    assert ((position > world.free[0] - 1e-4) & (position < world.free[1] + 1e-4)).all()
    inside = (position[:, None] > world.obstacles[:, 0] + 1e-4) & (position[:, None] < world.obstacles[:, 1] - 1e-4)
    assert not inside.all(-1).any()
    step = position.diff(dim=0).norm(dim=-1)
    assert step.diff().abs().max() <= 0.25 * step.max() + 1e-3  # no jerks
    depth = render(world, cameras[:1], torch.zeros(1)).depth
    assert depth[depth > 0].median() > 0.8


def test_worlds_repeat_and_splits_differ():
    a, b = make_world(4, "train"), make_world(4, "train")
    assert torch.equal(a.atlas, b.atlas) and torch.equal(a.rectangles.corner, b.rectangles.corner)
    other = make_world(4, "held_out")
    assert other.atlas.shape != a.atlas.shape or not torch.equal(other.atlas, a.atlas)
    names = [set(group) for group in textures.PHOTOGRAPHS.values()]
    assert sum(len(group) for group in names) == len(set().union(*names))


@pytest.mark.parametrize("kind", textures.MATERIALS)
def test_materials_tile(kind):
    import numpy as np

    image = np.clip(kind(np.random.default_rng(0)), 0, 1)
    assert image.shape == (textures.SIZE, textures.SIZE, 3)
    levels = textures.mipmap(image)
    assert levels.shape == (87381, 3) and np.allclose(levels[-1], image.mean((0, 1)), atol=1e-4)


def test_unknown_split_and_negative_seed_are_refused():
    with pytest.raises(ValueError, match="train, validation, held_out"):
        make_world(0, "test")
    with pytest.raises(ValueError, match="-1"):
        make_world(-1, "train")
