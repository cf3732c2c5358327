"""The benchmarks at a tiny size: their scenes obey what they claim, and every key of the issue's table is printed."""

import datetime
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from spatial_memory.memory.camera import Cameras, intrinsics_from_fov, project_planar, unproject
from spatial_memory.memory.splat import splat_nearest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def importable():
    """The benchmarks import one another as scripts do; what they are called is forgotten again."""
    before = set(sys.modules)
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))
    for path in BENCHMARKS.glob("*.py"):
        if path.stem not in before:
            sys.modules.pop(path.stem, None)


def bench(name):
    return importlib.import_module(name)


def asked(*names):
    """The keys that the issue asks for, of some benchmarks."""
    return {(a.bench, a.key) for a in bench("table").ASKED if a.bench in names}


def holds_keys(row, name):
    return {key for bench, key in asked(name)} <= set(row)


def test_scattered_points_are_all_in_view_and_no_observation_is_compact():
    clouds = bench("clouds")
    memory, cameras = clouds.scattered(3), clouds.arc()
    assert clouds.seen_by(memory.points, cameras).all()
    assert ((memory.points[:, 2] >= 2) & (memory.points[:, 2] <= 5)).all()
    for o in memory.observations:  # every quarter of the middle image has some of each observation
        u, v, _ = project_planar(o.planar, cameras[4])
        for right in (0, 1):
            for down in (0, 1):
                assert (((u > 40) == bool(right)) & ((v > 22) == bool(down))).float().mean() > 0.15


def test_points_around_are_mostly_out_of_view():
    clouds = bench("clouds")
    memory = clouds.all_around(3)
    directions = torch.nn.functional.normalize(memory.points, dim=1)
    assert directions.mean(0).abs().max() < 0.03
    assert 0.05 < clouds.seen_by(memory.points, clouds.arc()).float().mean() < 0.2
    assert clouds.seen_by(-memory.points[memory.points[:, 2] > 0], clouds.arc()).sum() == 0


def test_parted_points_are_those_all_around_and_each_observation_looks_at_its_own():
    clouds = bench("clouds")
    loose, parted = clouds.all_around(12).points, clouds.parted_around(12)
    assert sorted(map(tuple, loose.tolist())) == sorted(map(tuple, parted.points.tolist()))
    for o in parted.observations:
        assert torch.allclose(o.camera.c2w[:3, :3].T @ o.camera.c2w[:3, :3], torch.eye(3), atol=1e-5)
        assert torch.linalg.det(o.camera.c2w[:3, :3]) > 0 and o.depth.mean() > 2
        ahead = torch.nn.functional.normalize(o.points, dim=1) @ o.camera.c2w[:3, 2]
        assert ahead.min() > 0  # all of them lie before it
    assert clouds.parted_around(1).num_points == 3520


def test_frames_around_see_their_own_points():
    clouds = bench("clouds")
    memory = clouds.frames_around(4)
    for o in memory.observations:
        u, v, z = project_planar(o.planar, o.camera)
        assert torch.equal((v.floor() * 80 + u.floor()).int(), o.cells) and (z > 1.9).all() and (z < 5.1).all()
    assert not torch.equal(memory.points, clouds.frames_around(4, seed=1).points)
    turns = torch.stack([o.camera.c2w[:3, :3] for o in memory.observations])
    assert torch.allclose(turns.mT @ turns, torch.eye(3).expand(4, 3, 3), atol=1e-5)
    assert torch.allclose(torch.linalg.det(turns), torch.ones(4), atol=1e-5)


def test_a_walk_has_the_share_in_view_that_it_says():
    clouds = bench("clouds")
    whole, part = clouds.walk(40, 0.05)
    assert (len(whole.observations), part.num_points) == (40, 2 * 3520)
    assert clouds.seen_by(whole.points, clouds.arc()).sum() == part.num_points
    assert torch.equal(splat_nearest(whole, clouds.arc()).features, splat_nearest(part, clouds.arc()).features)


def test_the_baseline_finds_what_the_readout_finds_and_a_wrong_one_is_refused(monkeypatch):
    readout = bench("readout")
    memory, cameras = bench("clouds").scattered(1), bench("clouds").arc()
    assert holds_keys(readout.against_sorted(memory, cameras, 1), "readout") and readout.walked(1).num_points == 3520
    right = readout.readout_sorted
    monkeypatch.setattr(readout, "readout_sorted", lambda *a: (right(*a)[0], right(*a)[1].roll(1, -1)))
    with pytest.raises(ValueError, match="disagree"):
        readout.against_sorted(memory, cameras, 1)


def test_readout_rows_have_their_keys():
    row = bench("readout").large(1, 1)
    assert holds_keys(row, "readout_vs_sorted") and row["points"] == 3520 and row["ratio_centred"] > 0
    assert holds_keys(bench("readout_around").compared(1, 1, draws=2), "readout_around")
    row = bench("readout_visible").compared(40, 0.05, 1)
    assert holds_keys(row, "readout_visible") and row["points_in_view"] == 7040


def test_readout_around_reads_the_same_points_with_and_without_bounds(monkeypatch):
    asked, around = [], bench("readout_around")
    monkeypatch.setattr(
        around,
        "against_sorted",
        lambda memory, *a: asked.append(memory) or {"seconds": 1.0, "baseline_seconds": 2.0, "ratio": 2.0},
    )
    row = around.compared(12, 1, draws=2)
    loose, parted, *frames = asked
    assert sorted(map(tuple, loose.points.tolist())) == sorted(map(tuple, parted.points.tolist()))
    spread, compact = ((o.points - o.points.mean(0)).norm(dim=1).mean() for o in (loose.drawn[0], parted.drawn[0]))
    assert compact < 0.6 * spread and len(frames) == 2 == len(row["in_view_frames"])


def test_readouts_are_timed_as_the_host_runs_nodes(monkeypatch):
    readout, modes = bench("readout"), []
    timed = readout.fastest_on
    monkeypatch.setattr(readout, "fastest_on", lambda *a: modes.append(torch.is_inference_mode_enabled()) or timed(*a))
    readout.against_sorted(bench("clouds").scattered(1), bench("clouds").arc(), 1)
    assert modes == [True, True]


@pytest.fixture(scope="module")
def shown():
    """Half a lap of 16 views of 64 x 128 pixels."""
    filmed = bench("filmed")
    world = filmed.room(filmed.ROOMS[0])
    return filmed.film(world, filmed.loop(world, 32, 64, 128)[:16])


def test_a_loop_closes_and_what_is_beside_it_is_near(shown):
    filmed = bench("filmed")
    cameras = filmed.loop(filmed.room(filmed.ROOMS[0]), 8, 64, 128)
    steps = (cameras.position.roll(-1, 0) - cameras.position).norm(dim=1)
    assert torch.allclose(steps, steps[0].expand(8), atol=1e-5) and steps[0] > 0.1
    beside = filmed.jittered(cameras, torch.Generator().manual_seed(0))
    assert 0.005 < (beside.position - cameras.position).norm(dim=1).mean() < 0.1
    cosine = ((cameras.c2w[:, :3, :3] * beside.c2w[:, :3, :3]).sum((1, 2)) - 1) / 2
    assert (cosine > 0.998).all() and (cosine < 0.9999999).any()
    assert shown.geometry.keep.any() and shown.geometry.depth.amax() < 20


def test_bytes_of_what_is_stored(shown):
    stored = bench("stored")
    codes = torch.zeros(48, 16, 16, 32)
    beside = bench("filmed").jittered(shown.geometry.cameras[8:], torch.Generator().manual_seed(0)).resized(16, 32)
    row = stored.bytes_per_point(shown, codes, beside)
    assert holds_keys(row, "bytes_per_point")
    # features, place and cell are 112 bytes; contradictions are stored where there are any
    assert row["bytes"] > row["bytes_fresh"] + 3.5 and row["bytes_fresh"] > 112 and row["index_bytes"] > 4
    assert row["index_bytes_targets"] > row["index_bytes"] and row["copied_bytes"] > 100
    row = stored.one_chunk(shown, codes) | stored.chunks(shown, codes)
    assert holds_keys(row, "latent_vs_rgb_bytes") and {"ratio_voxels", "latent_bytes_per_point"} <= set(row)
    assert row["rgb_points"] >= row["rgb_points_voxels"] > row["latent_points"]
    assert row["ratio"] > 2 and min(row["cache_bytes_5"].values()) > 0


def test_a_second_lap_is_told_from_the_first(shown):
    second_lap = bench("second_lap")
    once, again, beside = second_lap.laps(shown, shown, "latent")
    assert once > 1000 and again == beside and again < 0.2 * once
    blind = second_lap.laps(shown, shown.part(slice(0, 8)), "latent")
    assert blind[0] == once  # the second lap is no part of the first


def test_growth_compares_the_same_part_of_the_way(shown):
    growth = bench("growth")
    for path, period in (("to_and_fro", 2), ("round", growth.LAP)):
        first, *_, last = growth.PATHS[path]
        assert (first, last) == (2, 100) and {(chunk - first) % period for chunk in growth.PATHS[path]} == {0}
    assert growth.PATHS["round"][1] == 2 + growth.LAP  # the first that passes there again
    row = growth.compared(shown.part(slice(0, 16)), "latent", (2, 4), 1)
    assert "readout_over_new" not in row and row["readout_ratio"] == row["readout_s_4"] / row["readout_s_2"]
    three = growth.compared(shown.part(slice(0, 16)), "latent", (2, 4, 6), 1)
    assert three["insert_ratio"] == three["insert_s_6"] / three["insert_s_4"]
    assert three["insert_over_new"] == three["insert_s_6"] / three["insert_s_2"]
    assert three["readout_over_new"] == three["readout_s_6"] / three["readout_s_2"]
    assert holds_keys(row, "growth") and row["points_4"] >= row["points_2"] > 0


def test_save_and_load_are_timed(tmp_path):
    save_load = bench("save_load")
    row = save_load.timed(bench("clouds").scattered(1), tmp_path, 1)
    assert holds_keys(row, "save_load") and row["points"] == 3520 and row["bytes"] > 3520 * 112


def test_released_latents_keep_their_faults():
    released = bench("released")
    h, w = 4, 6
    camera = Cameras(torch.eye(4), intrinsics_from_fov(60.0, 8 * h, 8 * w), 8 * h, 8 * w)
    codes = torch.arange(h * w).float().view(1, h, w)
    depth = torch.full((8 * h, 8 * w), 2.0)
    said, known = released.read_latents(codes, depth, camera, camera)
    assert known.all() and torch.equal(said, codes)  # the same rule forth and back: at the identity it hides
    rolled = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0]))
    turned = Cameras(rolled, camera.K, camera.height, camera.width)
    said, known = released.read_latents(codes, depth, camera, turned)
    assert not known.all()  # half a cell off: a border is left empty
    depth[:, :20] = 0.0
    depth[:, 20:] = 4.0
    assert ((released.plain_depth(depth, h, w) > 0) & (released.plain_depth(depth, h, w) < 4)).any()  # phantoms


def test_released_pixels_are_averaged_and_shine_through():
    released = bench("released")
    points = torch.tensor([[0.001, 0.0, 1.0], [0.003, 0.0, 1.0], [0.5, 0.0, 1.0]])
    places, colours = released.averaged(points, torch.tensor([[0.0] * 3, [1.0] * 3, [0.5] * 3]), 0.01)
    assert torch.allclose(places.sort(0)[0][:, 0], torch.tensor([0.002, 0.5]), atol=1e-6)
    assert torch.allclose(colours, torch.full((2, 3), 0.5))
    camera = Cameras(torch.eye(4), intrinsics_from_fov(60.0, 16, 16), 16, 16)
    image, depth = torch.ones(3, 16, 16), torch.ones(16, 16)
    said, coverage = released.read_pixels(image, depth, camera, camera)
    assert torch.allclose(said[0], coverage, atol=1e-5) and unproject(depth, camera).shape == (16, 16, 3)


def test_rgbd_pairs_go_forward_and_back():
    rgbd = bench("rgbd")
    for count in (2, 5, 53):
        found = rgbd.pairs(count)
        assert found and {(b, a) for a, b in found} == set(found) and max(map(max, found)) < count
    assert [p.name for p in rgbd.sequences(rgbd.BUNDLED)] == ["livingroom"]


def test_rgbd_row_of_the_bundled_sequence(livingroom, monkeypatch):
    rgbd = bench("rgbd")
    monkeypatch.setattr(rgbd, "GAPS", (1,))
    monkeypatch.setattr(rgbd, "STARTS", 2)
    rows = rgbd.rows(livingroom, rgbd.MiniCodec(rgbd.load_mini_codec()))
    assert [row["kind"] for row in rows] == ["cell", "latent", "rgb"]
    for row in rows:
        assert {"sequence", "ours", "released_rules", "ours_holes", "released_holes"} <= set(row)
        assert 0 < row["ours"] < row["released_rules"] and 0 < row["both_known"] <= 1


def test_the_table_says_what_holds_and_what_did_not_run():
    table = bench("table")
    rows = [
        {"bench": "readout_vs_sorted", "ratio": 21.0, "threads": 2},
        {"bench": "second_lap", "kind": "latent", "share": 0.01},
        {"bench": "second_lap", "kind": "rgb", "share": 0.2},
        {"bench": "conditioning", "rgb_over_latent": 9.0},
    ]
    lines = {(line[0], line[1][-10:]): line for line in table.figures(rows)}
    found = [line for line in lines.values() if "second_lap" in line[0]]
    assert [line[-1] for line in found] == ["yes", "no"] and "rgb memory" in found[1][1]
    assert [line[-1] for line in table.figures(rows) if "vs_sorted" in line[0]] == ["yes"]
    assert {line[2] for line in table.figures(rows) if "save_load" in line[0]} == {"did not run"}
    text = table.document(rows, datetime.date(2026, 1, 2))
    assert "2026-01-02" in text and "`conditioning`" in text and "torch" in text and "cores" in text


def test_a_row_is_one_json_object(capsys):
    bench("measure").say("some", value=1.23456789, name="x")
    assert json.loads(capsys.readouterr().out) == {
        "bench": "some",
        "value": 1.2346,
        "name": "x",
        "threads": torch.get_num_threads(),
    }


def test_one_that_fails_does_not_stop_the_others(tmp_path):
    scripts = []
    for name, text in (("bad", "raise SystemExit(3)"), ("good", "print('{}')")):
        scripts.append(tmp_path / f"{name}.py")
        scripts[-1].write_text(text)
    program = f"import sys; sys.path.insert(0, {str(BENCHMARKS)!r}); import run, os; from pathlib import Path; "
    program += f"print(run.run([Path(p) for p in {[str(p) for p in scripts]!r}], dict(os.environ)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "['bad']" and "{}" in done.stdout
    assert "bad: 0 s, exit status 3" in done.stderr and "good" in done.stderr


def test_every_benchmark_that_runs_is_there():
    run = bench("run")
    helpers = {"baseline", "clouds", "filmed", "measure", "released", "run", "table"}
    assert set(run.SCRIPTS) | helpers == {path.stem for path in BENCHMARKS.glob("*.py")}
