"""One chunk at a tiny size: what each step reads, makes and leaves alone."""

from dataclasses import dataclass, replace

import pytest
import tiny_rollout as tiny
import torch
from spatial_memory.memory.camera import Cameras, concatenate
from spatial_memory.memory.presets import hold, pan
from spatial_memory.memory.splat import splat_centred
from spatial_memory.models.geometry import Estimate
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


def denoised(state, world=tiny.WORLD, references=None):
    return chunk.denoise_chunk(world, state, chunk.warp(world, state), references, world.defaults)


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
    done, images = denoised(state)
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
    with pytest.raises(ValueError, match="max_references is 4, expected 0 to 3"):
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
    state, images = denoised(tiny.aimed(first))
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
    state, images = denoised(tiny.aimed(metric))
    found = chunk.chunk_geometry(Metric(1.4), state, images)
    assert {row["how"] for row in found.alignment} == {"metric"}
    assert torch.equal(found.depth, 1.4 * tiny.wall_depth(found.cameras))


def test_depth_that_overlaps_nothing_stays_as_it_is_and_the_record_says_so(first):
    state, images = denoised(tiny.aimed(first))
    away = replace(state, memory=state.memory.select(lambda o: o.points[:, 0] > 1e9))
    lost = chunk.chunk_geometry(tiny.WallGeometry(1.4), away, images)
    assert torch.equal(lost.depth, 1.4 * tiny.wall_depth(lost.cameras))
    assert {row["how"] for row in lost.alignment} == {"alone"}


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
    done, images = denoised(aimed, MIRAGE, found)
    assert done.fresh.shape[1] == 8 and images.shape[0] == 32
    assert chunk.blank(MIRAGE, aimed).known.shape == (11, 8, 12)
    assert torch.equal(window_cameras(MIRAGE, aimed).c2w, path.c2w[32:65])


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


def test_aiming_refuses_a_slice_that_does_not_follow(first, second):
    with pytest.raises(ValueError, match="begins at frame 24, expected 33"):
        chunk.aim(second, tiny.PATH.slice(24, 57))
    with pytest.raises(ValueError, match="first pose is not the start frame's camera"):
        chunk.aim(first, hold(33, vertical_fov=60.0).slice(0, 33))
    with pytest.raises(ValueError, match="no memory"):
        chunk.aim(replace(first, memory=None), tiny.PATH.slice(0, 33))


def test_steps_out_of_order_or_of_another_chunk_are_refused(first, second):
    state = tiny.aimed(second)
    done, images = denoised(state)
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


def test_a_given_picture_is_remembered_however_unsure_its_depth_is_and_a_made_one_is_not():
    @dataclass(frozen=True)
    class Unsure:
        """The wall's depth in the left half, nothing in the right one, and hardly any confidence."""

        name: str = "unsure"

        def estimate(self, images, cameras, rendered_depth, rendered_known, scene_unit):
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
