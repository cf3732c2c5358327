"""The mini geometry network: shapes, completion of what is rendered, what ships, and one step of its recipe."""

import json
from dataclasses import replace

import pytest
import torch
from spatial_memory.memory.camera import intrinsics_from_fov
from spatial_memory.models.mini_depth import WEIGHTS, MiniDepthNetwork, completed, load_mini_depth
from spatial_memory.training.clips import load_clip, render_clip, save_clip
from spatial_memory.training.geometry import draw_batch, draw_sample, held_out_scores, loss_of


@pytest.fixture(scope="module")
def clip():
    return render_clip(6, "held_out", 9, 64, 96)


@pytest.fixture(scope="module")
def samples(clip):
    generator = torch.Generator().manual_seed(0)
    return [sample for _ in range(8) if (sample := draw_sample(clip, generator)) is not None]


def random_network(seed: int = 0) -> MiniDepthNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MiniDepthNetwork(widths=(8, 8, 16, 16))


def test_holes_are_filled_from_what_surrounds_them():
    values = torch.full((1, 1, 64, 96), 0.5)
    values[..., 48:] = 2.0
    known = torch.zeros(1, 1, 64, 96)
    known[..., :16] = known[..., 80:] = 1.0
    filled = completed(values, known)[0, 0]
    assert torch.equal(filled[:, :16], values[0, 0, :, :16]) and torch.equal(filled[:, 80:], values[0, 0, :, 80:])
    assert filled.min() >= 0.5 and filled.max() <= 2.0
    assert filled[:, 20].mean() < 0.8 and filled[:, 76].mean() > 1.5
    assert torch.equal(completed(values, torch.zeros_like(known)), torch.ones(1, 1, 64, 96))


def test_an_untrained_network_hands_on_what_is_rendered():
    inverse = torch.rand(1, 64, 96, generator=torch.Generator().manual_seed(0)) + 0.5
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    network = random_network()
    torch.nn.init.zeros_(network.leave.bias)
    prediction = network(images, inverse, torch.ones(1, 64, 96), intrinsics_from_fov(50.0, 64, 96)[None])
    torch.testing.assert_close(prediction.inverse_depth, inverse)


def test_what_is_hidden_cannot_leak():
    network = random_network()
    torch.nn.init.normal_(network.leave.weight, std=0.1, generator=torch.Generator().manual_seed(5))
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    known = (torch.arange(96) < 48).float().expand(1, 64, 96)
    inverse = torch.rand(1, 64, 96, generator=torch.Generator().manual_seed(2)) + 0.5
    K = intrinsics_from_fov(50.0, 64, 96)[None]
    spoiled = torch.where(known > 0, inverse, torch.nan)
    a, b = network(images, inverse, known, K), network(images, spoiled, known, K)
    assert torch.equal(a.inverse_depth, b.inverse_depth) and b.inverse_depth.isfinite().all()


def test_shipped_network_keeps_what_is_shown_and_knows_more_than_a_plain_fill(samples):
    scores = held_out_scores(load_mini_depth(), samples)
    assert scores["median_shown"] < 0.1, scores
    assert scores["median_hidden"] < 0.8 * scores["median_hidden_fill"], scores
    assert scores["median_monocular"] < 0.4, scores
    assert scores["sky_iou"] > 0.7, scores


@pytest.mark.parametrize("size", [(64, 96), (192, 320), (96, 32)])
def test_any_multiple_of_32_goes_in_and_confidence_is_a_share(size):
    images = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros(1, *size)
    with torch.no_grad():
        prediction = load_mini_depth()(images, nothing, nothing, intrinsics_from_fov(50.0, *size)[None])
    assert prediction.inverse_depth.shape == (1, *size) and (prediction.inverse_depth > 0).all()
    assert (prediction.confidence > 0).all() and (prediction.confidence <= 1).all()


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="multiples of 32"):
        random_network()(torch.zeros(1, 3, 60, 96), torch.zeros(1, 60, 96), torch.zeros(1, 60, 96), torch.eye(3)[None])


def test_missing_weights_name_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="spatial_memory.training.geometry"):
        load_mini_depth(tmp_path / "geometry.safetensors")


def test_shipped_weights_are_small_fp16_and_accounted_for():
    from safetensors import safe_open

    with safe_open(WEIGHTS, framework="pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}
    assert WEIGHTS.stat().st_size < 5e6
    scores = json.loads(WEIGHTS.with_suffix(".json").read_text())["held_out_relative_errors_at_192x320"]
    assert scores["median_shown"] < scores["median_hidden"] < scores["median_hidden_fill"]


def test_rendered_depth_of_a_sample_is_that_of_the_frame(samples):
    errors = []
    for sample in samples:
        shown = (sample.rendered > 0) & (sample.depth > 0) & ((sample.masks & 1) == 0)
        error = (sample.rendered.float() - sample.depth.float()).abs() / sample.depth.float()
        errors.append(error[shown].median())
    assert len(samples) >= 4 and torch.stack(errors).median() < 0.05


def test_batches_hide_all_some_or_nothing(samples):
    batch = draw_batch(samples, 32, torch.Generator().manual_seed(0))
    share = batch["known"].mean((1, 2))
    assert (share == 0).any() and ((share > 0.05) & (share < 0.7)).any() and (share > 0.7).any()
    assert (batch["given"][batch["known"] == 0] == 0).all()
    known = batch["known"] * (1 - batch["sky"]) * (1 - batch["dynamic"])
    off = ((batch["given"] - batch["truth"]).abs() * known).sum() / (batch["truth"] * known).sum()
    assert off < 0.15  # noise, and the cells' coarseness


def test_a_mirrored_sample_mirrors_its_camera(samples):
    K = samples[0].K.clone()
    K[0, 2] = 30.0
    image = torch.arange(96, dtype=torch.uint8).expand(3, 64, 96)
    batch = draw_batch([replace(samples[0], K=K, image=image)], 16, torch.Generator().manual_seed(0))
    mirrored = batch["images"][:, 0, 0, 0] > batch["images"][:, 0, 0, -1]
    assert mirrored.any() and not mirrored.all()
    assert torch.equal(batch["K"][:, 0, 2], torch.where(mirrored, 66.0, 30.0))


def test_a_few_steps_of_the_recipe_lower_the_loss(samples):
    network = random_network()
    batch = draw_batch(samples, 6, torch.Generator().manual_seed(1))
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(15):
        prediction = network(batch["images"], batch["given"], batch["known"], batch["K"])
        loss, _ = loss_of(prediction, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.85 * losses[0]


def test_clips_come_back_from_disk(clip, tmp_path):
    save_clip(clip, tmp_path / "clip.safetensors")
    loaded = load_clip(tmp_path / "clip.safetensors")
    assert torch.equal(loaded.images, clip.images) and torch.equal(loaded.cameras.c2w, clip.cameras.c2w)
    assert torch.equal(loaded.sky, clip.sky) and torch.equal(loaded.dynamic, clip.dynamic)
    torch.testing.assert_close(loaded.depth, clip.depth, rtol=1e-3, atol=0)
    assert [path.name for path in tmp_path.iterdir()] == ["clip.safetensors"]
