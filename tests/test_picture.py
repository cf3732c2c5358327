from dataclasses import replace

import pytest
import torch
from spatial_memory.memory.camera import Cameras, intrinsics_from_fov
from spatial_memory.memory.cloud import FEATURES, SpatialMemory
from spatial_memory.memory.observation import Observation
from spatial_memory.memory.path import CameraPath
from spatial_memory.memory.picture import BACKGROUND, PANEL, draw_path
from spatial_memory.memory.presets import PRESETS, arc
from spatial_memory.memory.spline import Keyframe

ABOVE = (slice(80, 516), slice(28, 736))  # rows and columns inside the view from above


def cloud(points, kind="rgb", scene_unit=1.0):
    n = len(points)
    camera = Cameras(torch.eye(4), intrinsics_from_fov(50, 8, 12), 8, 12)
    channels = 3 if kind == "rgb" else 16
    features = torch.zeros(n, channels, dtype=FEATURES[kind])
    features[:, 0] = 255 if kind == "rgb" else 1.0
    observation = Observation(points, features, torch.zeros(n, dtype=torch.int32), camera, 0, -1)
    return SpatialMemory(kind, "", channels, scene_unit, False, (observation,))


def room(n=20_000):
    g = torch.Generator().manual_seed(0)
    return (torch.rand(n, 3, generator=g) * 2 - 1) * torch.tensor([1.0, 0.5, 1.0]) + torch.tensor([0.0, 0.0, 0.5])


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_drawn_and_fills_no_border(name):
    picture = draw_path(PRESETS[name](57))
    assert picture.shape == (760, 1280, 3) and picture.dtype == torch.uint8
    assert torch.equal(picture[:, :20], torch.tensor(BACKGROUND, dtype=torch.uint8).expand(760, 20, 3))
    drawn = (picture[ABOVE].int() - torch.tensor(PANEL)).abs().sum(-1) > 90
    assert 200 < drawn.sum() < 40_000


def extent(picture):
    """Rows and columns of the coloured track in the view from above: saturated pixels."""
    view = picture[ABOVE].int()
    rows, columns = ((view.amax(-1) - view.amin(-1)) > 140).nonzero(as_tuple=True)
    return rows.min().item(), rows.max().item(), columns.min().item(), columns.max().item()


def test_the_view_from_above_shows_right_to_the_right_and_forward_up():
    for amount, ahead in ((0.5, lambda low, high: high > low), (-0.5, lambda low, high: high < low)):
        path = PRESETS["truck"](57, amount)
        view = draw_path(path)[ABOVE].int()
        green = ((view - torch.tensor([94, 226, 142])).abs().sum(-1) < 12).nonzero().float().mean(0)
        red = ((view - torch.tensor([255, 104, 104])).abs().sum(-1) < 12).nonzero().float().mean(0)
        assert ahead(green[1], red[1])
    view = draw_path(PRESETS["dolly"](57, 0.5))[ABOVE].int()
    start = ((view - torch.tensor([94, 226, 142])).abs().sum(-1) < 12).nonzero().float().mean(0)
    end = ((view - torch.tensor([255, 104, 104])).abs().sum(-1) < 12).nonzero().float().mean(0)
    assert end[0] < start[0]


def test_axes_have_one_scale():
    keys = [Keyframe(i, p) for i, p in enumerate([(0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1), (0, 0, 0)])]
    square = CameraPath(tuple(replace(key, position=tuple(map(float, key.position))) for key in keys), 5, tension=1.0)
    top, bottom, left, right = extent(draw_path(square))
    assert abs((bottom - top) - (right - left)) <= 14


def test_memory_points_are_faint_dots_in_the_units_of_the_path():
    path = arc(57)
    plain, dotted = draw_path(path), draw_path(path, cloud(room()))
    reddish = lambda p: ((p[ABOVE][..., 0].int() - p[ABOVE][..., 1].int()) > 30).sum().item()  # noqa: E731
    assert reddish(dotted) > reddish(plain) + 2000
    scaled = draw_path(path, cloud(4 * room(), scene_unit=4.0))  # the same place in other world units
    assert (scaled != dotted).any(-1).float().mean() < 1e-3
    assert (draw_path(replace(path, units="world"), cloud(4 * room(), scene_unit=4.0)) != dotted).any(
        -1
    ).float().mean() > 1e-2


def test_an_empty_and_a_latent_memory_are_drawn():
    path = arc(57)
    assert torch.equal(draw_path(path, SpatialMemory("rgb", "", 3, 1.0, False)), draw_path(path))
    assert not torch.equal(draw_path(path, cloud(room(), kind="latent")), draw_path(path))


def test_extremes_are_drawn():
    far = CameraPath(
        (Keyframe(0, (0.0, 0.0, 0.0)), Keyframe(4095, (1e6, -1e6, 1e6), (0.0, 1.0, 0.0, 0.0), 170.0)), 4096
    )
    small = CameraPath((Keyframe(0, (0.0, 0.0, 0.0)), Keyframe(1, (2e-6, 0.0, 0.0))), 2)
    for path in (far, small):
        assert draw_path(path).shape == (760, 1280, 3)
    assert draw_path(arc(57), cloud(torch.full((3, 3), 1e30))).shape == (760, 1280, 3)
