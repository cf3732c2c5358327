"""What the editor shows of a frame is what a run conditions on, to the bit, away from the first pose."""

from dataclasses import replace

import pytest
import tiny_rollout
import torch
from spatial_memory.memory.path import CameraPath
from spatial_memory.memory.quaternion import from_axis
from spatial_memory.memory.spline import Keyframe
from spatial_memory.models.latent_rgb import rgb_factors, show_latents
from spatial_memory.rollout import chunk
from spatial_memory.rollout.control import window_cameras
from spatial_memory.rollout.scene_film import Film, film_of
from spatial_memory.rollout.scene_preview import (
    chunk_holes,
    conditioning_digest,
    frame_camera,
    holes,
    holes_within,
    preview,
    sampled_frames,
)

ROLL = from_axis((0.0, 0.0, 1.0), 180.0)
# a dolly to half the depth of the wall, then a roll upside down
PATH = CameraPath(
    (
        Keyframe(0.0, (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), 50.0),
        Keyframe(16.0, (0.1, 0.0, 0.5), (1.0, 0.0, 0.0, 0.0), 50.0),
        Keyframe(32.0, (0.1, 0.05, 0.5), ROLL, 50.0),
        Keyframe(56.0, (-0.4, 0.0, -0.1), ROLL, 60.0),
    ),
    57,
)


def warped(state):
    """The state after a chunk, aimed at the next, with what its window is conditioned on."""
    first = tiny_rollout.one_chunk(state, PATH)
    second = tiny_rollout.aimed(first, PATH)
    return second, chunk.warp(tiny_rollout.WORLD, second)


def test_a_latent_preview_is_the_conditioning_grid_to_the_bit():
    for state in (tiny_rollout.aimed(tiny_rollout.begin("latent", path=PATH), PATH), None):
        state, shown = (state, chunk.warp(tiny_rollout.WORLD, state)) if state else warped(tiny_rollout.begin("latent"))
        film, memory = film_of(state.memory, state), state.memory
        assert film == Film(64, 96, (8, 12), 4)
        cameras = window_cameras(tiny_rollout.WORLD, state)
        begin = state.target.stop - len(cameras)
        for latent in range(shown.control.shape[1]):
            seen = preview(memory, frame_camera(PATH, begin + 4 * latent, film, memory.scene_unit), film)
            assert torch.equal(seen.readout.features[0], shown.control[:, latent])
            assert torch.equal(seen.known, shown.known[latent])
            assert torch.equal(seen.readout.offset[0], shown.offset[:, latent])
            assert seen.exact and seen.stage == "as conditioned"
            assert seen.hole == pytest.approx(100 * (1 - shown.known[latent].mean().item()))
            colours = show_latents(shown.control[:, latent], rgb_factors("mini", tiny_rollout.CHANNELS))
            assert torch.equal(seen.picture, colours * shown.known[latent])
        assert 0 < shown.known.mean() < 1


def test_an_rgb_preview_at_the_films_size_is_the_render_before_it_is_encoded():
    state, shown = warped(tiny_rollout.begin("rgb", path=PATH))
    film, memory = film_of(state.memory, state), state.memory
    assert film == Film(64, 96, None, 4)
    begin = state.target.stop - len(shown.images)
    for place in (0, 7, 20, len(shown.images) - 1):
        camera = frame_camera(PATH, begin + place, film, memory.scene_unit)
        for side in (0, 96):
            seen = preview(memory, camera, film, side)
            assert torch.equal(seen.readout.features[0], shown.images[place])
            assert torch.equal(seen.known, shown.readout.known[place])
            assert seen.exact and seen.scale == 1 and seen.stage == "before encoding"
        assert torch.equal(seen.picture, shown.images[place].clamp(0, 1))


def test_a_small_rgb_preview_has_the_holes_and_the_look_of_the_film(tmp_path):
    state = tiny_rollout.begin("rgb", path=PATH)
    film = film_of(state.memory, state)
    for frame in (0, 16, 32, 56):
        camera = frame_camera(PATH, frame, film, state.memory.scene_unit)
        full, half = preview(state.memory, camera, film), preview(state.memory, camera, film, 48)
        assert half.picture.shape == (3, 32, 48) and half.scale == 0.5 and not half.exact
        assert half.hole == pytest.approx(full.hole, abs=4)
        smaller = torch.nn.functional.avg_pool2d(full.picture[None], 2)[0]
        assert (half.picture - smaller).abs().mean() < 0.03
    assert preview(state.memory, frame_camera(PATH, 56, film, state.memory.scene_unit), film).hole > 5


def test_latent_film_size_needs_no_state():
    state = tiny_rollout.begin("latent")
    assert film_of(state.memory) == film_of(state.memory, state)
    foreign = replace(state.memory, codec="foreign")
    assert film_of(foreign) == Film(8, 12, (8, 12)) and film_of(foreign, state) == Film(64, 96, (8, 12))
    camera = frame_camera(PATH, 32, film_of(foreign), foreign.scene_unit)
    ours = preview(
        state.memory, frame_camera(PATH, 32, film_of(state.memory), foreign.scene_unit), film_of(state.memory)
    )
    theirs = preview(foreign, camera, film_of(foreign))
    assert torch.equal(ours.readout.features, theirs.readout.features)  # strides are powers of two
    assert conditioning_digest(ours.readout) == conditioning_digest(theirs.readout)


def test_holes_of_a_whole_path_and_of_its_chunks():
    state = tiny_rollout.begin("latent", path=PATH)
    film = film_of(state.memory, state)
    frames = sampled_frames(PATH, 5)
    assert frames[:3] == [0, 5, 10] and frames[-1] == 56 and sampled_frames(PATH, 5, 50) == [55, 56]
    assert sampled_frames(PATH, 100) == [0, 56]
    found = dict(holes(state.memory, PATH, film, frames, 96))
    for frame in frames:
        camera = frame_camera(PATH, frame, film, state.memory.scene_unit)
        assert found[frame] == preview(state.memory, camera, film).hole
    assert found[0] == 0 < found[56]
    assert holes_within(state.memory, PATH, film, frames, 96, 60.0) == found
    assert holes_within(state.memory, PATH, film, frames, 96, 0.0) == {0: 0.0}
    rows = chunk_holes(found, [(0, 33), (33, 57), (57, 60)])
    inside = [hole for frame, hole in found.items() if frame < 33]
    assert rows[0] == {"start": 0, "stop": 33, "frames": 7, "hole": pytest.approx(sum(inside) / 7)}
    assert rows[2]["hole"] is None and rows[1]["frames"] == 6


def test_what_cannot_be_shown_is_refused():
    state = tiny_rollout.begin("rgb")
    film = film_of(state.memory)
    camera = frame_camera(PATH, 0, film, 1.0)
    for side in (-1, 1, 15, 2049, 10**9):
        with pytest.raises(ValueError, match="size is"):
            preview(state.memory, camera, film, side)
    for frame in (-1, 57):
        with pytest.raises(ValueError, match="57 frames"):
            frame_camera(PATH, frame, film, 1.0)
    with pytest.raises(ValueError, match="every is 0"):
        sampled_frames(PATH, 0)


def test_behind_all_points_everything_is_a_hole():
    path = CameraPath((Keyframe(0.0, (0, 0, 9.0)), Keyframe(4.0, (0, 0, 9.0))), 5, units="world")
    for kind in ("latent", "rgb"):
        memory = tiny_rollout.begin(kind).memory
        seen = preview(memory, frame_camera(path, 2, film_of(memory), 1.0), film_of(memory))
        assert seen.hole == 100 and not seen.picture.any()
