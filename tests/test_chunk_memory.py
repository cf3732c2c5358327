"""What a chunk teaches the memory: which points, from which depth, and what never enters."""

from dataclasses import dataclass, replace

import pytest
import tiny_rollout as tiny
import torch
from spatial_memory.memory.presets import hold
from spatial_memory.models.geometry import Estimate
from spatial_memory.rollout import chunk


@pytest.fixture(scope="module")
def first():
    return tiny.begin()


@pytest.fixture(scope="module")
def second(first):
    return tiny.one_chunk(first)


def test_a_camera_at_rest_teaches_nothing_new():
    path = hold(33)
    state = tiny.begin(path=path)
    assert tiny.one_chunk(state, path).memory.num_points == state.memory.num_points


def test_new_points_carry_chunk_and_frame_and_lie_on_the_wall(first, second):
    added = second.memory.observations[len(first.memory.observations) :]
    assert added and all(o.chunk == 0 and o.frame in range(4, 33, 4) for o in added)
    points = torch.cat([o.points for o in added])
    assert (points[:, 2] + 0.2 * points[:, 0] - 2).abs().max() < 0.02


@pytest.mark.parametrize("kind", ["latent", "rgb"])
@pytest.mark.parametrize("name", ["dynamic", "sky"])
def test_what_moves_or_is_sky_never_enters_memory(kind, name):
    state = tiny.begin(kind)
    everything = torch.ones(1, 64, 96)
    assert tiny.one_chunk(state, **{name: everything}).memory.num_points == state.memory.num_points
    some = torch.zeros(33, 64, 96)
    some[:, :, :10] = 1  # the side from which new places enter the picture
    done = tiny.one_chunk(state, **{name: some})
    added = [o for o in done.memory.observations if o.chunk == 0]
    columns = torch.cat([o.cells % o.camera.width for o in added])
    edge = 2 if kind == "latent" else 10  # a cell that the mask touches goes as a whole
    assert len(columns) and columns.min() == edge
    assert tiny.one_chunk(state).memory.num_points > done.memory.num_points


def test_depth_of_another_scale_is_aligned_to_the_memory(first):
    state, images = tiny.denoised(tiny.aimed(first))
    exact = chunk.chunk_geometry(tiny.WallGeometry(), state, images)
    scaled = chunk.chunk_geometry(tiny.WallGeometry(1.4), state, images)
    assert exact.alignment[0]["how"] == "kept" and torch.equal(exact.depth, tiny.wall_depth(exact.cameras))
    assert all(row["how"] == "aligned" for row in scaled.alignment)
    off = (scaled.depth / exact.depth - 1).abs()
    assert off.median() < 0.01 and off.max() < 0.06  # the fit extrapolates to what 8 x 12 cells do not show
    assert not scaled.metric and scaled.scene_unit == first.memory.scene_unit


def test_metric_depth_over_a_metric_memory_is_taken_as_it_is(first):
    class Metric(tiny.WallGeometry):
        def estimate(self, *given):
            return super().estimate(*given)._replace(metric=True)

    metric = replace(first, memory=replace(first.memory, metric=True))
    state, images = tiny.denoised(tiny.aimed(metric))
    found = chunk.chunk_geometry(Metric(1.4), state, images)
    assert {row["how"] for row in found.alignment} == {"metric"}
    assert torch.equal(found.depth, 1.4 * tiny.wall_depth(found.cameras))


def test_depth_that_overlaps_nothing_stays_as_it_is_and_the_record_says_so(first):
    state, images = tiny.denoised(tiny.aimed(first))
    away = replace(state, memory=state.memory.select(lambda o: o.points[:, 0] > 1e9))
    lost = chunk.chunk_geometry(tiny.WallGeometry(1.4), away, images)
    assert torch.equal(lost.depth, 1.4 * tiny.wall_depth(lost.cameras))
    assert {row["how"] for row in lost.alignment} == {"alone"}


def test_a_given_picture_is_remembered_however_unsure_its_depth_is_and_a_made_one_is_not():
    @dataclass(frozen=True)
    class Unsure:
        """The wall's depth in the left half, nothing in the right one, and hardly any confidence."""

        name: str = "unsure"

        def estimate(self, images, cameras, rendered, scene_unit):
            depth = tiny.wall_depth(cameras)
            depth[..., tiny.WIDTH // 2 :] = 0
            nothing = torch.zeros_like(depth, dtype=torch.bool)
            return Estimate(depth, torch.full_like(depth, 0.01), nothing, False)

    image, cameras = tiny.photograph(), tiny.PATH.bake(tiny.HEIGHT, tiny.WIDTH)[:1]
    state = chunk.start(tiny.WORLD, image, cameras)
    geometry = chunk.start_geometry(Unsure(), image, cameras)
    state = chunk.init_memory(tiny.WORLD, state, image, geometry, "latent")
    assert state.memory.num_points == 8 * 12 // 2
    done = tiny.one_chunk(state, provider=Unsure())
    assert done.memory.num_points == state.memory.num_points
