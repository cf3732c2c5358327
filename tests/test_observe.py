"""Depth of new frames in the memory's units: what is taken when, how much each pixel counts, what the record says."""

import json
from dataclasses import dataclass, replace

import pytest
import tiny_rollout as tiny
import torch
from spatial_memory.memory.camera import Cameras, intrinsics_from_fov, stack
from spatial_memory.memory.presets import dolly
from spatial_memory.models.geometry import GivenGeometry
from spatial_memory.rollout import chunk, observe
from spatial_memory.rollout.align import ALONE, GIVEN, Way, brought, compared, fitted, last_good, trust
from spatial_memory.rollout.observe import fallback, fresh_frames
from spatial_memory.rollout.seen import look
from spatial_memory.rollout.state import load_state, recorded, save_state

CAMERA = Cameras(torch.eye(4), intrinsics_from_fov(60.0, 48, 80), 48, 80)
SURE = torch.ones(48, 80)
EVERYWHERE = SURE > 0


@dataclass(frozen=True)
class Scaled(tiny.WallGeometry):
    """The wall's depth, each view times its own scale; metric or not."""

    scales: tuple[float, ...] = (1.0,) * 8
    metric: bool = False

    def estimate(self, images, cameras, *rest):
        found = super().estimate(images, cameras, *rest)
        return found._replace(depth=found.depth * torch.tensor(self.scales)[:, None, None], metric=self.metric)


@dataclass(frozen=True)
class Beyond(tiny.WallGeometry):
    """The wall's depth times ``scale``, and 3 beyond the wall."""

    def estimate(self, images, cameras, *rest):
        found = super().estimate(images, cameras, *rest)
        return found._replace(depth=torch.where(found.depth > 0, found.depth, 3.0))


def aligned(depth, *given):
    """A view's depth in the memory's units, and the record."""
    target, known, confidence, camera, *otherwise = given
    way, row = fitted(depth, target, known, trust(depth[None], confidence[None], camera.alone())[0], *otherwise)
    return brought(depth, way), row


def relief(seed=0):
    return 2 + 3 * torch.rand(48, 80, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def fresh():
    """A state whose first chunk is denoised, and its frames."""
    state = tiny.aimed(tiny.begin())
    return chunk.denoise_chunk(tiny.WORLD, state, chunk.warp(tiny.WORLD, state), None, tiny.WORLD.defaults)


def blind(state):
    """The state with a memory that shows nothing."""
    return replace(state, memory=state.memory.select(lambda o: torch.zeros(len(o), dtype=torch.bool)))


def metric(state):
    return replace(state, memory=replace(state.memory, metric=True))


def told(state, *rows):
    """The state as if an earlier chunk had written these records of its views."""
    return recorded(state, alignment=list(rows))


def test_every_record_says_how_well_the_depth_agrees_and_survives_the_world_file(fresh, tmp_path):
    state, images = fresh
    cases = {
        "kept": (state, tiny.WallGeometry()),
        "aligned": (state, tiny.WallGeometry(1.4)),
        "metric": (metric(state), Scaled(metric=True)),
        "alone": (blind(state), tiny.WallGeometry()),
    }
    for how, (before, provider) in cases.items():
        geometry = chunk.chunk_geometry(provider, before, images)
        assert [row["how"] for row in geometry.alignment] == [how] * 8
        for row in geometry.alignment:
            assert 0 <= row["overlap"] <= 1 and {"scale", "shift"} <= row.keys()
            if how == "alone":
                assert row["overlap"] == 0 and row["why"] == "the memory shows nothing here"
                assert "inlier_share" not in row
            else:
                assert row["overlap"] > 0.3 and row["inlier_share"] > 0.9 and row["residual"] < 0.02
                assert "why" not in row and "warning" not in row
        assert json.loads(json.dumps(geometry.alignment, allow_nan=False)) == [dict(r) for r in geometry.alignment]
    done = chunk.update(tiny.WORLD, state, images, chunk.chunk_geometry(tiny.WallGeometry(1.4), state, images))
    save_state(tmp_path / "world.safetensors", done)
    assert load_state(tmp_path / "world.safetensors").records == done.records


def test_the_record_is_of_the_depth_that_is_returned(fresh):
    state, images = fresh
    (row, *_) = chunk.chunk_geometry(Scaled(metric=True, scales=(1.2,) * 8), metric(state), images).alignment
    assert row["inlier_share"] < 0.01 and row["residual"] == pytest.approx(0.2, abs=0.02)
    assert (row["scale"], row["shift"]) == (1.0, 0.0)


def test_metres_over_metres_are_taken_as_they_are_and_the_record_warns_where_the_memory_disagrees(fresh, caplog):
    state, images = fresh
    scales = (1.0, 1.03, 1.2, 3.0, 1.0, 0.5, 1.0, 1.0)
    geometry = chunk.chunk_geometry(Scaled(metric=True, scales=scales), metric(state), images)
    exact = tiny.wall_depth(geometry.cameras)
    assert torch.equal(geometry.depth, exact * torch.tensor(scales)[:, None, None])
    assert [("warning" in row) for row in geometry.alignment] == [s in (1.2, 3.0, 0.5) for s in scales]
    assert "agree with what the memory shows" in geometry.alignment[3]["warning"] and len(caplog.records) == 3
    assert geometry.alignment[3]["residual"] == 1.0  # three times as far is off by all of it, at most


@pytest.mark.parametrize("path", [tiny.PATH, dolly(33)])
def test_where_the_control_saw_the_memory_is_not_asked_again_and_says_the_same(monkeypatch, path):
    first = tiny.begin(path=path)
    state, images = tiny.denoised(tiny.aimed(metric(first), path))
    asked = []
    monkeypatch.setattr(observe, "look", lambda *given: asked.append(given) or look(*given))
    provider = Scaled(metric=True, scales=(1.0, 1.03, 1.2, 3.0, 1.0, 0.5, 1.0, 1.0))
    known = chunk.chunk_geometry(provider, state, images).alignment
    assert not asked and state.seen.memory is state.memory and state.get_ram_usage() > first.get_ram_usage()
    again = chunk.chunk_geometry(provider, replace(state, seen=None), images).alignment
    assert len(asked) == 1 and again == known and min(row["overlap"] for row in known) > 0.1
    half = replace(state, memory=state.memory.select(lambda o: o.points[:, 0] < 0))  # another memory
    other = chunk.chunk_geometry(provider, half, images).alignment
    assert len(asked) == 2 and other[0]["overlap"] < known[0]["overlap"]
    assert chunk.aim(state, path.slice(0, 24)).seen is None
    done = chunk.update(tiny.WORLD, state, images, chunk.chunk_geometry(provider, state, images))
    assert done.seen is None and chunk.forget(tiny.WORLD, state).seen is None


def test_colours_are_asked_where_they_are_seen():
    state, images = tiny.denoised(tiny.aimed(metric(tiny.begin("rgb"))))
    assert state.seen is None
    rows = chunk.chunk_geometry(Scaled(metric=True), state, images).alignment
    assert all(row["overlap"] > 0.3 and row["residual"] < 0.02 for row in rows)


def test_little_overlap_is_no_reason_to_warn():
    few = torch.zeros_like(EVERYWHERE)
    few[:2, :80] = True  # 160 of 3840 pixels
    row = compared(3 * relief(), relief(), few, SURE, Way("metric"))
    assert row["overlap"] == pytest.approx(160 / 3840) and row["inlier_share"] < 0.25 and "warning" not in row
    few[:3] = True
    assert "warning" in compared(3 * relief(), relief(), few, SURE, Way("metric"))


def test_what_cannot_be_fitted_takes_the_way_it_is_told_and_says_why():
    few = torch.zeros_like(EVERYWHERE)
    few[0, :63] = True
    for mask, why in ((few, "only 63 pixels"), (~EVERYWHERE, "the memory shows nothing here")):
        depth, row = aligned(2 * relief(), relief(), mask, SURE, CAMERA)
        assert torch.equal(depth, 2 * relief()) and row["how"] == "alone" and why in row["why"]
        depth, row = aligned(2 * relief(), relief(), mask, SURE, CAMERA, Way("last", 2.0, 0.01))
        expected = 1 / (2.0 / (2 * relief()) + 0.01)
        assert torch.allclose(depth, expected) and (row["how"], row["scale"], row["shift"]) == ("last", 2.0, 0.01)
        assert why in row["why"]
    depth, row = aligned(relief(1) ** 3, relief(2) ** 3, EVERYWHERE, SURE, CAMERA, GIVEN)  # it shows something else
    assert torch.equal(depth, relief(1) ** 3) and row["how"] == "given" and "agree on" in row["why"]
    assert row["overlap"] == 1 and row["inlier_share"] < 0.25 and row["residual"] > 0.1


def test_a_handful_of_pixels_is_no_proof_that_depth_agrees():
    few = torch.zeros_like(EVERYWHERE)
    few[0, :10] = True
    assert aligned(relief(), relief(), few, SURE, CAMERA)[1]["how"] == "alone"
    few[0, :64] = True
    assert aligned(relief(), relief(), few, SURE, CAMERA)[1]["how"] == "kept"


def test_unknown_depth_stays_unknown_on_every_way():
    depth, little = relief(), torch.zeros_like(EVERYWHERE)
    depth[5:9] = 0.0
    for target, mask in ((relief(), EVERYWHERE), (relief() * 1.5, EVERYWHERE), (relief(), little)):
        moved, _ = aligned(depth, target, mask, SURE, CAMERA, Way("last", 1.2, 0.0))
        assert not moved[5:9].any() and (moved[:5] > 0).all() and (moved[9:] > 0).all()


def test_a_pixel_counts_by_its_confidence_and_the_cosine_at_which_its_surface_is_seen():
    v, u = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(80) + 0.5, indexing="ij")
    ray = torch.stack([(u - 40) / CAMERA.K[0, 0], (v - 24) / CAMERA.K[1, 1], torch.ones(48, 80)], -1)
    plane = torch.nn.functional.normalize(torch.tensor([0.5, 0.1, 0.8]), dim=0)
    depth = 3 / (ray * plane).sum(-1)
    confidence = torch.rand(48, 80, generator=torch.Generator().manual_seed(0))
    cosine = (torch.nn.functional.normalize(ray, dim=-1) * plane).sum(-1)
    assert depth.min() > 0 and cosine.min() < 0.35
    two = torch.stack([depth, 5 * depth])
    near, far = trust(two, torch.stack([confidence] * 2), stack([CAMERA, CAMERA]))
    assert torch.allclose(near, confidence * cosine, atol=0.01) and torch.allclose(near, far, atol=1e-4)


def test_unsure_pixels_are_outvoted():
    wall = 3 + 0.004 * torch.arange(80).expand(48, 80)
    unsure = torch.rand(48, 80, generator=torch.Generator().manual_seed(1)) < 0.7
    depth = torch.where(unsure, wall / 2, wall)  # most pixels say half of it
    _, row = aligned(depth, wall, EVERYWHERE, torch.where(unsure, 0.05, 1.0), CAMERA)
    assert row["how"] == "kept" and row["inlier_share"] > 0.85
    _, row = aligned(depth, wall, EVERYWHERE, SURE, CAMERA)
    assert row["how"] == "aligned" and row["scale"] == pytest.approx(0.5, rel=0.01)


def test_grazing_pixels_are_outvoted():
    rows = (torch.arange(48) + 0.5 - 24) / CAMERA.K[1, 1]
    steep, straight = rows > 0.3, rows <= 0.3  # a floor at a slant below a wall across the view
    depth = torch.where(steep, 0.45 / rows.clamp(min=0.1), 3.0)[:, None].expand(48, 80).contiguous()
    weights = trust(depth[None], SURE[None], CAMERA.alone())[0]
    assert weights[steep].mean() < 0.5 < 0.85 < weights[straight].mean()
    both = depth.clone()
    both[:28] = 0.0  # more rows of the floor are left than of the wall
    target = torch.where(steep[:, None], 1.5 * both, both)
    assert steep.sum() > 0.54 * (both[:, 0] > 0).sum()
    _, row = aligned(both, target, EVERYWHERE, SURE, CAMERA)
    assert row["how"] == "kept"  # the wall is believed, though the floor has more pixels
    assert aligned(both, target, EVERYWHERE, 1 / weights.clamp(min=0.1), CAMERA)[1]["how"] == "aligned"


def test_the_last_good_scale_is_that_of_the_latest_view_that_held():
    rows = [
        {"how": "aligned", "scale": 1.1, "shift": 0.1},
        {"how": "kept", "scale": 1.0, "shift": 0.0},
        {"how": "aligned", "scale": 1.3, "shift": 0.2},
        {"how": "last", "scale": 9.0, "shift": 0.0},
        {"how": "metric", "scale": 1.0, "shift": 0.0},
        {"how": "alone", "scale": 1.0, "shift": 0.0},
    ]
    assert last_good(rows) == Way("last", 1.3, 0.2) and last_good(rows[:2]) == Way("last", 1.0, 0.0)
    assert last_good([]) == last_good(rows[3:]) == ALONE


def test_ways_come_in_the_stated_order(fresh):
    state, images = fresh
    frames = [frame - state.target.start for frame in fresh_frames(state)]
    exact = tiny.wall_depth(state.target.cameras[frames])
    before = ({"how": "aligned", "scale": 1.5, "shift": 0.0}, {"how": "alone", "scale": 1.0, "shift": 0.0})

    def ways(state, provider):
        geometry = chunk.chunk_geometry(provider, state, images)
        (how,) = {row["how"] for row in geometry.alignment}
        return how, (geometry.depth / exact).median().item()

    given, metres, plain = GivenGeometry(3 * exact), GivenGeometry(3 * exact, metric=True), tiny.WallGeometry(3.0)
    assert ways(told(state, *before), given) == ("aligned", pytest.approx(1.0, abs=0.02))  # 1: a fit
    lost = told(blind(state), *before)
    assert ways(lost, given) == ("given", pytest.approx(3.0))  # 2: the scale that was given, before the last good one
    assert ways(metric(lost), metres) == ("metric", pytest.approx(3.0))  # 3: metres over metres
    assert ways(lost, plain) == ("last", pytest.approx(2.0, rel=1e-5))  # 4: 1/z' = 1.5/z
    assert ways(blind(state), plain) == ("alone", pytest.approx(3.0))  # 5
    assert ways(lost, metres) == ("last", pytest.approx(2.0, rel=1e-5))  # metres, but the memory is not in metres
    assert ways(metric(lost), given) == ("last", pytest.approx(2.0, rel=1e-5))  # and the other way round


def test_the_last_good_scale_may_be_of_an_earlier_view_of_the_same_chunk(fresh):
    state, images = fresh
    seen = state.target.cameras[fresh_frames(state)[0] - state.target.start]
    away = seen.c2w[:3, 3] + 100 * seen.c2w[:3, 2]
    turned = state.target.cameras.c2w.clone()
    for frame in fresh_frames(state)[1:]:
        turned[frame - state.target.start, :3, 3] = away  # past the wall: these views see nothing of it
    cameras = replace(state.target.cameras, c2w=turned)
    moved = replace(state, target=replace(state.target, cameras=cameras))
    geometry = chunk.chunk_geometry(Beyond(1.5), moved, images)
    first, *others = geometry.alignment
    assert first["how"] == "aligned" and first["scale"] == pytest.approx(1.5, rel=0.03)
    for row in others:
        assert (row["how"], row["scale"], row["shift"]) == ("last", first["scale"], first["shift"])
    assert fallback(moved, Beyond(1.5), geometry, [first]) == Way("last", first["scale"], first["shift"])
