"""The world model's training: its loss against one written window by window, and a whole short run with processes."""

import json
from contextlib import nullcontext

import pytest
import torch
from safetensors.torch import load_file, save_file
from spatial_memory.models import world as models
from spatial_memory.models.prior import Evidence, memory_residual_target
from spatial_memory.models.transformer import SpatialTransformer
from spatial_memory.training import flow, harvest, hurry, world
from spatial_memory.training.batches import draw_batch
from test_training_feed import encoded

SMALL = dict(
    models.MINI_TRANSFORMER, num_attention_heads=2, attention_head_dim=12, ffn_dim=32, num_layers=2, vace_layers=[0]
)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return SpatialTransformer(**SMALL).eval()


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_control_of_a_batch_is_that_of_its_windows():
    batch = draw_batch([encoded(4, 6)], 300, torch.Generator().manual_seed(2))
    readout, known, offset = (getattr(batch, name).float() for name in ("readout", "known", "offset"))
    assert known.any() and len(known) > 1
    together = flow.control(readout, known, offset)
    for shown, *parts in zip(together, readout, known[:, None], offset):
        assert torch.equal(shown, torch.cat(parts))


@pytest.mark.parametrize("seed", [1, 5])
def test_the_loss_is_the_mean_over_the_targets_of_every_window(network, seed, monkeypatch):
    monkeypatch.setattr(flow, "fast", lambda device: nullcontext())  # bfloat16 would hide small faults
    batch = draw_batch([encoded(4, 6)], 300, torch.Generator().manual_seed(seed))
    x0, readout, known, offset, references = (t.float() for t in batch.tensors())
    generator = torch.Generator().manual_seed(3)
    sigma = flow.draw_sigmas(len(x0), generator)
    noise = torch.randn(x0.shape, generator=generator)
    history = flow.perturbed(x0[:, :, : batch.history], generator)
    errors = []
    for i, s in enumerate(sigma.tolist()):
        x = (1 - s) * x0[i] + s * noise[i]
        target = memory_residual_target(x0[i], x, s, Evidence(readout[i], known[i], offset[i]))
        x[:, : batch.history] = history[i]
        count = references.shape[2]
        times = torch.tensor([0.0] * (count + batch.history) + [1000 * s] * (9 - batch.history))
        control = torch.cat([readout[i], known[i][None], offset[i]])
        tokens = torch.cat([references[i], x], 1)[None]
        with torch.no_grad():
            output = network(tokens, times[None], torch.zeros(1, 0, 64), control[None], num_references=count)[0]
        errors.append((output[:, count:] - target)[:, batch.history :] ** 2)
    with torch.no_grad():
        loss = flow.batch_loss(network, batch, torch.Generator().manual_seed(3))
    torch.testing.assert_close(loss, torch.stack(errors).mean(), rtol=1e-5, atol=1e-6)


def test_sigmas_lie_in_their_range_and_some_are_pure_noise():
    sigma = flow.draw_sigmas(4000, torch.Generator().manual_seed(0))
    assert sigma.min() >= 0.01 and sigma.max() == 1
    assert 0.1 < (sigma == 1).float().mean() < 0.14 and 0.72 < sigma.median() < 0.82


def written(folder, height, width):
    folder.mkdir()
    for number in range(4):
        save_file(encoded(height, width, number), folder / f"0_{number:05d}.safetensors")
    return str(folder)


@torch.no_grad()
def loss_on_what_it_saw(weights):
    """The mean loss over some windows of the clips of a short run, of weights or (None) of those it began with.

    Both rounded to float16, as they are written: weights that did not move have the same loss.
    """
    clips, network = [encoded(4, 6, number) for number in range(3)], world.new_network(weights, 0).half().float()
    draws = [torch.Generator().manual_seed(seed) for seed in range(12)]
    return torch.stack([flow.batch_loss(network, draw_batch(clips, 300, draw), draw) for draw in draws]).mean().item()


def test_a_short_run_trains_exports_and_goes_on_from_what_it_left(tmp_path, monkeypatch):
    monkeypatch.setattr(world, "MINI_TRANSFORMER", SMALL)
    monkeypatch.setattr(world, "VALIDATION_BATCHES", 2)
    latents = [written(tmp_path / "small", 4, 6), written(tmp_path / "demo", 6, 8)]
    shared = ["--latents", *latents, "--validation", "1", "--tokens", "200", "--checkpoint", str(tmp_path / "state")]
    first = tmp_path / "first.safetensors"
    begun = [*shared, "--out", str(first), "--processes", "2", "--uses", "2", "--minutes", "0.2"]
    assert world.main(begun) == 0
    account = json.loads(first.with_suffix(".json").read_text())
    assert account["steps"] >= 3 and account["minutes"] <= 0.21 and account["clips"] == {"small": 3, "demo": 3}
    weights = load_file(first)
    assert all(t.dtype == torch.float16 and t.isfinite().all() for t in weights.values())
    assert not any(models.is_text(name) for name in weights)
    rows = [json.loads(line) for line in (tmp_path / "state" / "log.jsonl").read_text().splitlines()]
    assert rows[0]["step"] == 0 and len(rows[0]["validation"]) == len(rows[-1]["validation"]) == 2
    assert loss_on_what_it_saw(first) < loss_on_what_it_saw(None)  # clips of noise: others say nothing

    second = tmp_path / "second.safetensors"
    assert world.main([*shared, "--out", str(second), "--minutes", "0.1"]) == 0  # its time is over: nothing but export
    assert json.loads(second.with_suffix(".json").read_text())["steps"] == account["steps"]
    again = load_file(second)
    assert all(torch.equal(again[name], weights[name]) for name in weights)

    third = tmp_path / "third.safetensors"
    fresh = [*shared[:-1], str(tmp_path / "other"), "--initial", str(first), "--out", str(third), "--minutes", "0.001"]
    assert world.main(fresh) == 0
    again = load_file(third)
    assert all(torch.equal(again[name], weights[name]) for name in weights)


def test_jobs_are_mixed_from_the_first_on_and_no_seed_comes_twice():
    jobs = [harvest.job_of(index) for index in range(80)]
    assert {(job.folder, job.split) for job in jobs[:4]} == {
        (folder, split) for folder in ("small", "demo") for split in ("train", "validation")
    }
    assert len({(job.folder, job.number) for job in jobs}) == len({(j.folder, j.seed, j.split) for j in jobs}) == 80
    for folder in harvest.SIZES:
        held = [job for job in jobs if job.split == "validation" and job.folder == folder]
        assert len(held) == harvest.HELD_BACK and all(job.variants == 1 for job in held)
        train = [job.number for job in jobs if job.split == "train" and job.folder == folder]
        assert max(train) < min(job.number for job in held)  # so they are the last in the folder


def test_a_hurried_run_leaves_weights_account_and_log_in_time(tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(harvest, "SIZES", {"small": (32, 48), "demo": (48, 64)})
    monkeypatch.setattr(harvest, "FRAMES", 37)
    monkeypatch.setattr(world, "VALIDATION_BATCHES", 1)
    arguments = ["--minutes", "0.45", "--share", "0.5", "--processes", "2", "--device", "cpu", "--tokens", "200"]
    assert hurry.main([*arguments, "--scratch", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"world.safetensors", "world.json", "log.jsonl"}
    account = json.loads((tmp_path / "out" / "world.json").read_text())
    assert account["steps"] >= 1 and min(account["clips"].values()) >= 1 and len(account["validation_loss"]) == 2
    models.load_mini_world(tmp_path / "out" / "world.safetensors")
    assert "encoding  small" in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["out"]  # the scratch is gone
