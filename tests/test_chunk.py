"""One chunk at a tiny size: what each step reads, makes and leaves alone."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import tiny_rollout as tiny
import torch
from spatial_memory.memory.camera import concatenate
from spatial_memory.memory.presets import hold, pan
from spatial_memory.memory.splat import splat_centred
from spatial_memory.models.layout import Layout, control_with_offset
from spatial_memory.models.sampler import Sampling
from spatial_memory.rollout import chunk
from spatial_memory.rollout.control import rendered_control, window_cameras
from spatial_memory.rollout.observe import fresh_frames

MIRAGE = replace(
    tiny.WORLD, layout=Layout("mirage", 33, 33, "preceding", 8, 3, "stream", tiny.CHANNELS + 3, control_with_offset)
)


@pytest.fixture(scope="module")
def first():
    return tiny.begin()


@pytest.fixture(scope="module")
def second(first):
    return tiny.one_chunk(first)


def test_a_chunk_ends_with_its_frames_in_the_past(first, second):
    assert second.chunk == 1 and second.target is None and second.fresh is None
    assert second.latents.shape == (tiny.CHANNELS, 9, 8, 12) and torch.equal(second.latents[:, :1], first.latents)
    assert second.code_frames == (0, 4, 8, 12, 16, 20, 24, 28, 32) and second.codes.shape == (tiny.CHANNELS, 9, 8, 12)
    assert len(second.cameras) == 33
    third = tiny.one_chunk(second)
    assert third.latents.shape[1] == 15 and third.code_frames[-6:] == (36, 40, 44, 48, 52, 56)
    path = tiny.PATH.bake(tiny.HEIGHT, tiny.WIDTH, first.memory.scene_unit)
    assert torch.equal(third.cameras.c2w, path.c2w[:57]) and torch.equal(third.cameras.K, path.K[:57])
    every = path[[*third.code_frames]].resized(8, 12)
    assert torch.equal(third.code_cameras.c2w, every.c2w) and torch.equal(third.code_cameras.K, every.K)
    assert torch.equal(third.latents[:, :9], second.latents)


def test_codes_are_the_latents_of_the_stream_or_the_decoded_frames_encoded_alone(second):
    assert torch.equal(second.codes, second.latents)  # the mini model: no pixel in between
    world = replace(tiny.WORLD, layout=replace(tiny.WORLD.layout, codes="frames"))
    done = tiny.one_chunk(tiny.begin(world=world), world=world)
    frames = world.codec.decode(done.latents)[[4, 20, 32]]
    images = ((frames + 1) / 2).clamp(0, 1)
    expected = world.codec.encode_frames(images * 2 - 1)
    assert torch.equal(done.codes[:, [1, 5, 8]], expected)


def test_no_step_writes_into_its_arguments(first):
    before = [t.clone() for t in tiny.tensors(first)]
    state = tiny.aimed(first)
    held = [t.clone() for t in tiny.tensors(state)]
    warp = chunk.warp(tiny.WORLD, state)
    shown = warp.control.clone(), warp.known.clone()
    done, images = tiny.denoised(state)
    geometry = chunk.chunk_geometry(tiny.WallGeometry(), done, images)
    pictures, depth = images.clone(), geometry.depth.clone()
    chunk.update(tiny.WORLD, done, images, geometry)
    assert all(torch.equal(a, b) for a, b in zip(before, tiny.tensors(first)))
    assert all(torch.equal(a, b) for a, b in zip(held, tiny.tensors(state))) and state.fresh is None
    assert torch.equal(warp.control, shown[0]) and torch.equal(warp.known, shown[1])
    assert torch.equal(images, pictures) and torch.equal(geometry.depth, depth)


def test_latent_warp_is_the_memory_at_every_fourth_frame_of_the_window(second):
    state = tiny.aimed(second)
    warp = chunk.warp(tiny.WORLD, state)
    path = tiny.PATH.bake(tiny.HEIGHT, tiny.WIDTH, second.memory.scene_unit)
    for i, frame in enumerate(range(24, 57, 4)):
        view = splat_centred(second.memory, path[frame : frame + 1].resized(8, 12))
        assert torch.equal(warp.control[:, i], view.features[0]) and torch.equal(warp.known[i], view.known[0])
    assert warp.control.shape == (tiny.CHANNELS, 9, 8, 12) and warp.images is None
    assert (warp.control[:, warp.known == 0] == 0).all()


def test_rgb_warp_encodes_the_render_and_knows_what_the_latents_frame_covers():
    state = tiny.aimed(tiny.begin("rgb", path=pan(33, 60.0)), pan(33, 60.0))
    warp = chunk.warp(tiny.WORLD, state)
    assert warp.images.shape == (33, 3, 64, 96) and warp.control.shape == (tiny.CHANNELS, 9, 8, 12)
    cell = warp.readout.known[32, 8:16, 24:32].mean()
    assert warp.known[8, 1, 3].item() == pytest.approx(cell.item(), abs=1e-6)
    assert 0 < (warp.known[8] == 0).sum() < 96 and (warp.control[:, warp.known == 0] == 0).all()
    whole = warp.known[:2].amin(dim=0) > 0
    encoded = tiny.WORLD.codec.encode(warp.images[:5] * 2 - 1)
    assert torch.equal(warp.control[:, :2, whole], encoded[:, :, whole])
    again, known = rendered_control(tiny.WORLD.codec, warp.readout)
    assert torch.equal(again, warp.control) and torch.equal(known, warp.known)


def test_history_is_the_last_nine_frames_encoded_as_a_clip(second):
    state = tiny.aimed(second)
    frames = tiny.WORLD.codec.decode(second.latents)[24:33]
    assert torch.equal(chunk.history(tiny.WORLD, state), tiny.WORLD.codec.encode(frames))
    assert torch.equal(chunk.history(tiny.WORLD, tiny.aimed(tiny.begin())), tiny.begin().latents)


def test_references_are_past_frames_that_history_does_not_show(second):
    third = tiny.one_chunk(second)
    state = tiny.aimed(third)
    for policy in ("algorithm1", "set_cover"):
        found = chunk.retrieve(tiny.WORLD, state, policy, 3)
        assert 0 < len(found.frames) <= 3 and all(frame < 48 for frame in found.frames)
        assert [row["frame"] for row in found.considered] == [f for f in third.code_frames if f < 48]
        index = [third.code_frames.index(frame) for frame in found.frames]
        assert torch.equal(found.latents, third.codes[:, index]) and found.seconds > 0
        assert found.coverage.shape == (len(found.frames), 6) and found.coverage.amax() > 0.5
    nothing = chunk.retrieve(tiny.WORLD, state, "set_cover", 0)
    assert nothing.latents.shape == (tiny.CHANNELS, 0, 8, 12) and nothing.frames == ()
    early = chunk.retrieve(tiny.WORLD, tiny.aimed(tiny.begin()), "algorithm1", 3)
    assert early.frames == ()  # the start frame is chunk 0's history


def test_a_reference_shows_the_target_again_when_the_camera_returns(second):
    state = tiny.aimed(tiny.one_chunk(second))  # frames 57..80 mirror frames 23..0
    found = chunk.retrieve(tiny.WORLD, state, "algorithm1", 1)
    assert found.scores[0] > 0.8 and found.frames[0] <= 24


def test_retrieval_refuses_what_the_world_was_not_trained_for(second):
    state = tiny.aimed(second)
    with pytest.raises(ValueError, match="max_references is 4, expected -1 to 3"):
        chunk.retrieve(tiny.WORLD, state, "algorithm1", 4)
    with pytest.raises(ValueError, match="policy is 'best'"):
        chunk.retrieve(tiny.WORLD, state, "best", 2)
    with pytest.raises(ValueError, match="no target"):
        chunk.retrieve(tiny.WORLD, second, "algorithm1", 2)


def test_denoising_repeats_to_the_bit_and_heeds_memory_references_seed_and_chunk(second):
    state = tiny.aimed(second)
    warp = chunk.warp(tiny.WORLD, state)
    found = chunk.retrieve(tiny.WORLD, state, "algorithm1", 2)
    sampling = tiny.WORLD.defaults
    base = chunk.denoise(tiny.WORLD, state, warp, found, sampling).fresh
    assert base.shape == (tiny.CHANNELS, 6, 8, 12)
    assert torch.equal(base, chunk.denoise(tiny.WORLD, state, warp, found, sampling).fresh)
    blank = chunk.blank(tiny.WORLD, state)
    others = [
        chunk.denoise(tiny.WORLD, state, warp, None, sampling),
        chunk.denoise(tiny.WORLD, state, blank, found, sampling),
        chunk.denoise(tiny.WORLD, replace(state, seed=1), warp, found, sampling),
        chunk.denoise(tiny.WORLD, replace(state, chunk=2), warp, found, sampling),
    ]
    assert not any(torch.equal(base, other.fresh) for other in others)


def test_guidance_costs_a_second_forward_only_when_it_is_on(first):
    state, calls = tiny.aimed(first), []
    handle = tiny.WORLD.transformer.register_forward_hook(lambda *_: calls.append(1))
    try:
        for scale, expected in ((1.0, 2), (2.0, 4)):
            calls.clear()
            chunk.denoise(tiny.WORLD, state, chunk.warp(tiny.WORLD, state), None, Sampling("euler", 2, scale, 3.0))
            assert len(calls) == expected
    finally:
        handle.remove()


def test_interrupting_a_step_leaves_the_state_as_it_was(first):
    state, seen = tiny.aimed(first), []

    def stop(step):
        seen.append(step.index)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chunk.denoise(tiny.WORLD, state, chunk.warp(tiny.WORLD, state), None, tiny.WORLD.defaults, stop)
    assert seen == [0] and state.fresh is None and state.records == ()


def test_the_record_says_what_the_chunk_saw(second):
    (record,) = second.records
    assert record["chunk"] == 0 and record["frames"] == [0, 33] and record["references"] == []
    assert 0.5 < record["coverage"] <= 1 and record["hole_rate"] == pytest.approx(1 - record["coverage"])
    assert record["points"] == second.memory.num_points
    assert record["memory_bytes"] == second.memory.get_ram_usage() > 0
    assert [row["how"] for row in record["alignment"]] == ["kept"] * 8
    assert set(record["seconds"]) == {"retrieve", "warp", "denoise", "decode", "geometry", "update"}
    assert record["sampling"] == {"sampler": "euler", "steps": 2, "guidance_scale": 1.0, "shift": 3.0, "forwards": 2}


def test_the_baseline_keeps_its_history_and_forgets_the_rest(first):
    state = tiny.aimed(first)
    state, images = chunk.denoise_chunk(tiny.WORLD, state, chunk.blank(tiny.WORLD, state), None, tiny.WORLD.defaults)
    done = chunk.forget(tiny.WORLD, state)
    assert done.memory is first.memory and done.codes is first.codes and done.chunk == 1
    assert done.latents.shape[1] == 9 and images.shape == (33, 3, 64, 96)
    assert done.records[0]["coverage"] == 0 and done.records[0]["hole_rate"] == 1
    assert tiny.aimed(done).target.start == 33


def test_fresh_frames_end_with_the_chunk(first):
    state = replace(tiny.aimed(first), fresh=torch.zeros(tiny.CHANNELS, 8, 8, 12))
    assert fresh_frames(state) == tuple(range(4, 33, 4))
    with pytest.raises(ValueError, match="no new latents"):
        fresh_frames(tiny.aimed(first))


def test_mirage_repeats_the_last_latent_and_puts_two_behind_the_target():
    state = tiny.begin(world=MIRAGE)
    state = tiny.one_chunk(state, world=MIRAGE)
    assert torch.equal(state.codes[:, 1:], state.latents[:, 1:])
    aimed = chunk.aim(state, tiny.PATH.slice(33, 65))
    assert torch.equal(chunk.history(MIRAGE, aimed), state.latents[:, -1:])
    warp = chunk.warp(MIRAGE, aimed)
    path = tiny.PATH.bake(tiny.HEIGHT, tiny.WIDTH, state.memory.scene_unit)
    cameras = concatenate([path[[*range(32, 65, 4)]], path[[24, 28]]]).resized(8, 12)
    assert torch.equal(warp.control, splat_centred(state.memory, cameras).features.transpose(0, 1))
    found = chunk.retrieve(MIRAGE, aimed, "algorithm1", 3)
    assert max(row["frame"] for row in found.considered) == 20  # 24 and 28 stand behind the target
    done, images = tiny.denoised(aimed, MIRAGE, found)
    assert done.fresh.shape[1] == 8 and images.shape[0] == 32
    assert chunk.blank(MIRAGE, aimed).known.shape == (11, 8, 12)
    assert torch.equal(window_cameras(MIRAGE, aimed).c2w, path.c2w[32:65])


@pytest.mark.parametrize("independent", [True, False])
def test_of_the_stream_only_what_warms_the_decoder_up_is_decoded_again(first, second, independent):
    codec, given = tiny.WORLD.codec, []
    told = SimpleNamespace(
        grid=codec.grid, independent=independent, decode=lambda z: given.append(z) or codec.decode(z)
    )
    for state, lead in ((first, 0), (second, 1 if independent else 2)):
        done, images = tiny.denoised(tiny.aimed(state))
        given.clear()
        frames = chunk.decode_fresh(replace(tiny.WORLD, codec=told), done)
        stream = torch.cat([done.latents, done.fresh], 1)
        count = done.fresh.shape[1] + lead + (state is first)
        assert torch.equal(given[0], stream[:, -count:]) and torch.equal(frames, images)


def test_aiming_refuses_a_slice_that_does_not_follow(first, second):
    with pytest.raises(ValueError, match="begins at frame 24, expected 33"):
        chunk.aim(second, tiny.PATH.slice(24, 57))
    with pytest.raises(ValueError, match="first pose is not the start frame's camera"):
        chunk.aim(first, hold(33, vertical_fov=60.0).slice(0, 33))
    with pytest.raises(ValueError, match="no memory"):
        chunk.aim(replace(first, memory=None), tiny.PATH.slice(0, 33))


def test_steps_out_of_order_or_of_another_chunk_are_refused(first, second):
    state = tiny.aimed(second)
    done, images = tiny.denoised(state)
    geometry = chunk.chunk_geometry(tiny.WallGeometry(), done, images)
    with pytest.raises(ValueError, match="no new latents"):
        chunk.update(tiny.WORLD, state, images, geometry)
    with pytest.raises(ValueError, match="images has 9 frames, expected the 24"):
        chunk.update(tiny.WORLD, done, images[:9], geometry)
    with pytest.raises(ValueError, match="geometry has 1 views, expected 6"):
        one = chunk.start_geometry(tiny.WallGeometry(), images[:1], first.cameras)
        chunk.update(tiny.WORLD, done, images, one)
    with pytest.raises(ValueError, match="dynamic is 5 mask"):
        chunk.chunk_geometry(tiny.WallGeometry(), done, images, dynamic=torch.zeros(5, 64, 96))
    with pytest.raises(ValueError, match="control is"):
        chunk.denoise(
            tiny.WORLD,
            state,
            chunk.blank(MIRAGE, tiny.aimed(tiny.begin())).__class__(
                torch.zeros(tiny.CHANNELS, 5, 8, 12), torch.zeros(5, 8, 12), torch.zeros(2, 5, 8, 12)
            ),
            None,
            tiny.WORLD.defaults,
        )
    with pytest.raises(ValueError, match="world model 'other'"):
        chunk.warp(tiny.WORLD, replace(state, world="other"))
    with pytest.raises(ValueError, match="codec 'wan'"):
        chunk.warp(tiny.WORLD, replace(state, memory=replace(state.memory, codec="wan")))
