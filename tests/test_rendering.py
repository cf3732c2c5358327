"""Depth that a memory renders: drawn for who looks at it, compared on a grid that does not grow with the picture."""

from dataclasses import dataclass, replace

import pytest
import tiny_rollout as tiny
import torch
from spatial_memory.memory import rendering
from spatial_memory.memory.camera import Cameras, intrinsics_from_fov
from spatial_memory.memory.geometry import Geometry
from spatial_memory.memory.lift import at_centres, resample_depth
from spatial_memory.memory.rendering import Rendering
from spatial_memory.memory.splat import render_depth
from spatial_memory.models.geometry import Estimate
from spatial_memory.rollout import chunk, start
from spatial_memory.rollout.align import COMPARED, compared_size


@pytest.fixture
def drawn(monkeypatch):
    """The grids on which a memory's depth is rendered."""
    grids = []

    def counted(memory, cameras):
        grids.append((len(cameras), cameras.height, cameras.width))
        return render_depth(memory, cameras)

    monkeypatch.setattr(rendering, "render_depth", counted)
    return grids


@pytest.fixture
def made():
    """A state whose first chunk is denoised, and its frames."""
    return tiny.denoised(tiny.aimed(tiny.begin()))


def test_nothing_is_drawn_before_it_is_asked_for_and_then_once(drawn, made):
    state, _ = made
    shown = Rendering(state.memory, state.target.cameras[:2])
    small = shown.resized(32, 48)
    assert not drawn and shown.resized(tiny.HEIGHT, tiny.WIDTH) is shown
    expected = render_depth(state.memory, state.target.cameras[:2])
    for _ in range(2):
        assert torch.equal(shown.depth, expected[0]) and torch.equal(shown.known, expected[1])
    assert drawn == [(2, tiny.HEIGHT, tiny.WIDTH)]
    assert small.depth.shape == (2, 32, 48) and drawn[1:] == [(2, 32, 48)]


def test_a_memory_is_brought_to_the_device_when_it_is_looked_at(made, monkeypatch):
    state, images = made
    brought, there = [], torch.device("cuda", 3)
    monkeypatch.setattr(type(state.memory), "to", lambda memory, device: brought.append(device) or memory)
    shown = Rendering(state.memory, state.target.cameras[:1], there)
    small = shown.resized(32, 48)
    assert not brought and small.device == there
    assert shown.known.any() and brought == [there]
    metric = replace(state, memory=replace(state.memory, metric=True))

    @dataclass(frozen=True)
    class Metres(tiny.WallGeometry):
        def estimate(self, *args):
            return Estimate(*super().estimate(*args)[:3], True)

    chunk.chunk_geometry(Metres(), metric, images, device=there)
    assert brought == [there]  # nobody looked: nothing was brought


def test_a_provider_that_does_not_look_costs_only_the_grid_on_which_depth_is_compared(drawn, made, monkeypatch):
    state, images = made
    monkeypatch.setattr("spatial_memory.rollout.observe.COMPARED", 32 * 48)
    chunk.chunk_geometry(tiny.WallGeometry(), state, images)
    assert drawn == [(8, 32, 48)]

    @dataclass(frozen=True)
    class Looks(tiny.WallGeometry):
        def estimate(self, images, cameras, rendered, scene_unit):
            assert rendered.depth.shape == rendered.known.shape == (8, tiny.HEIGHT, tiny.WIDTH)
            return super().estimate(images, cameras, rendered, scene_unit)

    drawn.clear()
    chunk.chunk_geometry(Looks(), state, images)
    assert drawn == [(8, tiny.HEIGHT, tiny.WIDTH), (8, 32, 48)]


def test_depth_in_metres_over_metres_is_only_reported_on_and_nothing_is_rendered(drawn, made):
    state, images = made
    metric = replace(state, memory=replace(state.memory, metric=True))
    whole = chunk.chunk_geometry(tiny.WallGeometry(), state, images)

    @dataclass(frozen=True)
    class Metres(tiny.WallGeometry):
        def estimate(self, *args):
            return Estimate(*super().estimate(*args)[:3], True)

    told = chunk.chunk_geometry(Metres(), metric, images)
    assert drawn == [(8, tiny.HEIGHT, tiny.WIDTH)]  # the first geometry's
    for row, other in zip(whole.alignment, told.alignment):
        assert other["how"] == "metric" and other["overlap"] == pytest.approx(row["overlap"], abs=0.08)
        assert other["inlier_share"] > 0.9
    assert torch.equal(told.depth, tiny.wall_depth(told.cameras))


def test_where_the_grids_are_one_it_is_drawn_once(drawn, made):
    state, images = made

    @dataclass(frozen=True)
    class Looks(tiny.WallGeometry):
        def estimate(self, images, cameras, rendered, scene_unit):
            assert rendered.known.any()
            return super().estimate(images, cameras, rendered, scene_unit)

    chunk.chunk_geometry(Looks(), state, images)
    assert drawn == [(8, tiny.HEIGHT, tiny.WIDTH)]


@pytest.mark.parametrize("cells", [32 * 48, 17 * 31])
def test_the_scale_found_on_a_coarser_grid_is_that_of_the_whole_view(made, monkeypatch, cells):
    state, images = made
    whole = chunk.chunk_geometry(tiny.WallGeometry(1.4), state, images)
    monkeypatch.setattr("spatial_memory.rollout.observe.COMPARED", cells)
    coarse = chunk.chunk_geometry(tiny.WallGeometry(1.4), state, images)
    for row, other in zip(whole.alignment, coarse.alignment):
        assert row["how"] == other["how"] == "aligned" and other["scale"] == pytest.approx(1.4, rel=0.02)
        assert other["overlap"] == pytest.approx(row["overlap"], abs=0.05) and other["inlier_share"] > 0.9
    assert coarse.depth.shape == whole.depth.shape == (8, tiny.HEIGHT, tiny.WIDTH)
    assert (coarse.depth / tiny.wall_depth(coarse.cameras) - 1).abs().median() < 0.01


def test_what_may_not_be_remembered_is_not_compared_on_the_coarser_grid_either(made, monkeypatch):
    state, images = made
    monkeypatch.setattr("spatial_memory.rollout.observe.COMPARED", 32 * 48)
    right = torch.zeros(1, tiny.HEIGHT, tiny.WIDTH)
    right[..., tiny.WIDTH // 2 :] = 1
    every = chunk.chunk_geometry(tiny.WallGeometry(), state, images)
    half = chunk.chunk_geometry(tiny.WallGeometry(), state, images, right)
    for row, other in zip(every.alignment, half.alignment):
        assert 0 < other["overlap"] < 0.75 * row["overlap"]


def test_the_second_start_picture_is_fitted_on_the_coarser_grid(drawn, monkeypatch):
    monkeypatch.setattr("spatial_memory.rollout.start.COMPARED", 32 * 48)

    @dataclass(frozen=True)
    class Uneven(tiny.WallGeometry):
        def estimate(self, images, cameras, rendered, scene_unit):
            assert rendered is None and scene_unit is None
            depth = tiny.wall_depth(cameras) * torch.tensor([1.0, 1.7])[:, None, None]
            return Estimate(depth, torch.ones_like(depth), torch.zeros_like(depth, dtype=torch.bool), False)

    cameras = tiny.PATH.bake(tiny.HEIGHT, tiny.WIDTH)[[0, 8]]
    found = start.start_geometry(Uneven(), torch.rand(2, 3, tiny.HEIGHT, tiny.WIDTH), cameras)
    assert isinstance(found, Geometry) and drawn == [(1, 32, 48)]
    assert (found.depth / tiny.wall_depth(cameras) - 1).abs().flatten(1).median(1).values.max() < 0.01


@pytest.mark.parametrize("most", [COMPARED, 1 << 12])
@pytest.mark.parametrize("height, width", [(704, 1280), (1280, 704), (480, 640), (2160, 3840)])
def test_views_are_compared_on_a_bounded_grid_of_their_own_shape(height, width, most):
    h, w = compared_size(height, width, most)
    assert h * w <= most
    assert h * w > 0.98 * most and h / w == pytest.approx(height / width, rel=0.01)


def test_small_views_are_compared_as_they_are():
    for size in ((64, 96), (192, 320), (256, 256), (1, 1)):
        assert compared_size(*size, COMPARED) == size


def test_cells_take_the_pixel_that_holds_their_centre():
    maps = torch.rand(2, 9, 14, generator=torch.Generator().manual_seed(0)) + 1
    for h, w in ((3, 7), (4, 5), (9, 14), (1, 1)):
        picked = at_centres(maps, h, w)
        assert torch.equal(picked, resample_depth(maps, maps > 0, h, w, "nearest")[0])
        for i in range(h):
            for j in range(w):
                assert torch.equal(picked[:, i, j], maps[:, int((i + 0.5) * 9 / h), int((j + 0.5) * 14 / w)])
    assert torch.equal(at_centres(maps[0] > 1.5, 3, 7), at_centres(maps, 3, 7)[0] > 1.5)


def test_a_memory_that_moved_and_turned_is_drawn_the_same_on_the_coarser_grid(made):
    state, _ = made
    rolled = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0]))  # by 180 degrees
    rolled[2, 3] = 0.9  # nearly half way to the wall
    cameras = Cameras(rolled[None], intrinsics_from_fov(50.0, 64, 96)[None], 64, 96)
    fine, coarse = Rendering(state.memory, cameras), Rendering(state.memory, cameras).resized(32, 48)
    both = (at_centres(fine.known, 32, 48) & coarse.known).flatten()
    off = (at_centres(fine.depth, 32, 48) / coarse.depth - 1).abs().flatten()[both]
    assert both.float().mean() > 0.3 and off.median() < 0.01 and off.max() < 0.1
