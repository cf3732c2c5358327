"""How a film begins: one picture or several with their poses, the first memory, and what is refused."""

import pytest
import tiny_rollout as tiny
import torch
from spatial_memory.memory.camera import Cameras, concatenate
from spatial_memory.memory.presets import pan
from spatial_memory.rollout import chunk


def test_more_posed_pictures_are_remembered_and_referred_to():
    path = pan(33, 40.0)
    cameras = concatenate([path.bake(64, 96)[:1], path.bake(64, 96)[32:]])
    images = torch.cat([tiny.photograph(0), tiny.photograph(1)])
    state = chunk.start(tiny.WORLD, images, cameras)
    geometry = chunk.start_geometry(tiny.WallGeometry(1.0), images, cameras)
    state = chunk.init_memory(tiny.WORLD, state, images, geometry, "latent")
    assert [(o.frame, o.chunk) for o in state.memory.observations] == [(0, -1), (-1, -1)]
    found = chunk.retrieve(tiny.WORLD, tiny.aimed(state, path), "algorithm1", 2)
    assert found.frames == (-1,)  # frame 0 is history
    with pytest.raises(ValueError, match="1 images.*expected the 2"):
        chunk.init_memory(tiny.WORLD, state, images[:1], geometry, "latent")


def test_later_pictures_are_aligned_to_the_first():
    cameras = pan(33, 10.0).bake(64, 96)[[0, 32]]
    images = torch.cat([tiny.photograph(0), tiny.photograph(1)])

    class Unequal(tiny.WallGeometry):
        def estimate(self, *given):
            found = super().estimate(*given)
            return found._replace(depth=found.depth * torch.tensor([1.0, 1.5])[:, None, None])

    geometry = chunk.start_geometry(Unequal(), images, cameras)
    assert ((geometry.depth / tiny.wall_depth(cameras) - 1).abs() < 0.02).all()


def test_the_first_memory_leaves_sky_and_movers_out():
    image, cameras = tiny.photograph(), tiny.PATH.bake(64, 96)[:1]
    mask = torch.zeros(1, 64, 96)
    mask[:, :20] = 1
    state = chunk.start(tiny.WORLD, image, cameras)
    for name in ("dynamic", "sky"):
        geometry = chunk.start_geometry(tiny.WallGeometry(), image, cameras, **{name: mask})
        memory = chunk.init_memory(tiny.WORLD, state, image, geometry, "latent").memory
        assert (memory.observations[0].cells // 12).min() == 3  # rows 0..2 are touched by pixels 0..19
        assert geometry.scene_unit == tiny.wall_depth(cameras)[0, 20:].median().item()


@pytest.mark.parametrize(
    "images, cameras, match",
    [
        (torch.rand(1, 3, 60, 96), (60, 96), "height is 60, expected a multiple of 16; the nearest are 48 and 64"),
        (torch.rand(1, 3, 64, 96) * 2, (64, 96), r"outside \[0, 1\]"),
        (torch.full((1, 3, 64, 96), float("nan")), (64, 96), "NaN"),
        (torch.rand(0, 3, 64, 96), (64, 96), "empty"),
        (torch.rand(2, 3, 64, 96), (64, 96), "1 cameras on 64 x 96, expected one for each of the 2"),
        (torch.rand(1, 3, 64, 96), (32, 96), "1 cameras on 32 x 96"),
        (torch.rand(3, 64, 96), (64, 96), "images has shape"),
    ],
)
def test_start_refuses(images, cameras, match):
    with pytest.raises(ValueError, match=match):
        chunk.start(tiny.WORLD, images, tiny.PATH.bake(*cameras)[:1])


def test_start_refuses_a_pose_that_is_no_rotation():
    cameras = tiny.PATH.bake(64, 96)[:1]
    with pytest.raises(ValueError, match="no rotation"):
        chunk.start(tiny.WORLD, tiny.photograph(), Cameras(cameras.c2w * 2, cameras.K, 64, 96))
