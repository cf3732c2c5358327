"""The report's numbers against plain twins, and its picture."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import tiny_rollout as tiny
import torch
from spatial_memory.memory.presets import hold, orbit, out_and_back, truck
from spatial_memory.rollout import loop
from spatial_memory.rollout.chunk import decode_film
from spatial_memory.rollout.metrics import psnr, ssim
from spatial_memory.rollout.report import closed_loop_report, draw_report, return_frame, revisits


@pytest.fixture(scope="module")
def films():
    state = tiny.begin()
    settings = loop.Settings(tiny.WORLD.defaults, 2)
    film = loop.run(tiny.WORLD, state, tiny.PATH, settings, tiny.WallGeometry())
    twin = loop.run_baseline(tiny.WORLD, state, tiny.PATH, tiny.WORLD.defaults)
    return (film, decode_film(tiny.WORLD, film)), (twin, decode_film(tiny.WORLD, twin))


def plain_ssim(a, b):
    """The definition, window by window."""
    x = np.arange(-5, 6)
    w = np.exp(-(x[:, None] ** 2 + x[None] ** 2) / (2 * 1.5**2))
    w /= w.sum()
    found = []
    for c in range(a.shape[0]):
        for i in range(a.shape[1] - 10):
            for j in range(a.shape[2] - 10):
                p, q = a[c, i : i + 11, j : j + 11], b[c, i : i + 11, j : j + 11]
                m, n = (w * p).sum(), (w * q).sum()
                v, u, cov = (w * (p - m) ** 2).sum(), (w * (q - n) ** 2).sum(), (w * (p - m) * (q - n)).sum()
                c1, c2 = 0.01**2, 0.03**2
                found.append((2 * m * n + c1) * (2 * cov + c2) / ((m * m + n * n + c1) * (v + u + c2)))
    return float(np.mean(found))


def test_metrics_equal_their_definitions():
    g = torch.Generator().manual_seed(0)
    a = torch.rand(3, 14, 17, generator=g)
    b = (a + 0.2 * torch.randn(3, 14, 17, generator=g)).clamp(0, 1)
    assert psnr(a, b) == pytest.approx(-10 * math.log10(((a - b).double() ** 2).mean().item()))
    assert ssim(a, b) == pytest.approx(plain_ssim(a.double().numpy(), b.double().numpy()), abs=1e-9)
    assert psnr(a, a) == 100 and ssim(a, a) == pytest.approx(1)
    assert psnr(torch.zeros(3, 4, 4), torch.full((3, 4, 4), 0.1)) == pytest.approx(20)
    with pytest.raises(ValueError, match="b has shape"):
        psnr(a, b[:, 1:])
    with pytest.raises(ValueError, match="11 x 11"):
        ssim(a[:, :10], b[:, :10])


def test_ssim_equals_scikit_images():
    skimage = pytest.importorskip("skimage.metrics")
    g = torch.Generator().manual_seed(1)
    a = torch.rand(3, 40, 50, generator=g)
    b = (a + 0.1 * torch.randn(3, 40, 50, generator=g)).clamp(0, 1)
    expected = skimage.structural_similarity(
        a.double().numpy(),
        b.double().numpy(),
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1.0,
        channel_axis=0,
    )
    assert ssim(a, b) == pytest.approx(expected, abs=1e-6)


def test_frames_that_share_a_camera_are_found_by_their_bits():
    cameras = out_and_back(81).bake(64, 96)
    assert return_frame(cameras) == 80
    assert revisits(cameras) == [(80 - j, j) for j in range(45, 80)]  # not frame 0, which is no generated frame
    still = hold(33).bake(64, 96)
    assert return_frame(still) == 32 and revisits(still) == [(1, j) for j in range(10, 33)]
    assert return_frame(truck(33).bake(64, 96)) is None and revisits(truck(33).bake(64, 96)) == []
    assert return_frame(orbit(33).bake(64, 96)) == 32


def test_report_holds_the_promised_keys_with_twins(films):
    (film, frames), (twin, twin_frames) = films
    report = closed_loop_report(film, frames, tiny.PATH, (twin, twin_frames))
    assert (report["frames"], report["chunks"], report["return_frame"], report["revisit_pairs"]) == (81, 3, 80, 35)
    assert (report["steps"], report["guidance"], report["memory"], report["seed"]) == (2, 1.0, "latent", 0)
    assert report["psnr_return"] == pytest.approx(psnr(film.image, frames[80]), abs=1e-4)
    assert report["ssim_return"] == pytest.approx(ssim(film.image, frames[80]), abs=1e-4)
    pairs = [(80 - j, j) for j in range(45, 80)]
    mean = sum(psnr(twin_frames[i], twin_frames[j]) for i, j in pairs) / 35
    assert report["baseline_psnr_revisit"] == pytest.approx(mean, abs=1e-4)
    for name in ("psnr_return", "ssim_return", "psnr_revisit", "ssim_revisit"):
        assert report[f"gain_{name}"] == pytest.approx(report[name] - report[f"baseline_{name}"], abs=1e-3)
    assert [row["chunk"] for row in report["per_chunk"]] == [0, 1, 2]
    for row, record in zip(report["per_chunk"], film.records):
        assert row["coverage"] == pytest.approx(record["coverage"], abs=1e-4)
        assert row["memory_bytes"] == record["memory_bytes"]
        assert [r["frame"] for r in row["references"]] == [r["frame"] for r in record["references"]]
        stages = {stage: value for stage, value in row["seconds"].items() if stage != "total"}
        assert set(stages) == {"retrieve", "warp", "denoise", "decode", "geometry", "update"}
        assert row["seconds"]["total"] == pytest.approx(sum(stages.values()), abs=1e-3)
    assert len(report["curves"]["psnr_start"]) == len(report["curves"]["baseline_psnr_revisit"]) == 81
    assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_a_path_that_never_returns_has_no_return_score(films):
    (film, frames), _ = films
    cut = replace(film, cameras=film.cameras[:57], chunk=2)
    report = closed_loop_report(cut, frames[:57], tiny.PATH)
    assert report["psnr_return"] is None and report["ssim_return"] is None and report["return_frame"] is None
    assert report["revisit_pairs"] == 12 and not any(key.startswith("baseline") for key in report)
    picture = draw_report(report, cut, frames[:57], tiny.PATH)
    assert picture.dtype == torch.uint8 and picture.shape[1:] == (1600, 3)
    away = replace(cut, cameras=film.cameras[:33], chunk=1)
    report = closed_loop_report(away, frames[:33], tiny.PATH)
    assert report["psnr_revisit"] is None and draw_report(report, away, frames[:33], tiny.PATH).shape[1] == 1600


def test_the_picture_shows_what_it_is_given(films):
    (film, frames), (twin, twin_frames) = films
    report = closed_loop_report(film, frames, tiny.PATH, (twin, twin_frames))
    picture = draw_report(report, film, frames, tiny.PATH, (twin, twin_frames))
    assert picture.dtype == torch.uint8 and picture.shape[1:] == (1600, 3)
    assert torch.equal(picture, draw_report(report, film, frames, tiny.PATH, (twin, twin_frames)))
    red = frames.clone()
    red[80] = torch.tensor([1.0, 0.0, 0.0])[:, None, None]
    shown = draw_report(report, film, red, tiny.PATH, (twin, twin_frames))
    pure = (shown == torch.tensor([255, 0, 0], dtype=torch.uint8)).all(dim=-1).sum()
    assert pure > 40_000 and (picture == torch.tensor([255, 0, 0], dtype=torch.uint8)).all(dim=-1).sum() < 1000


def test_frames_of_another_film_are_refused(films):
    (film, frames), (twin, twin_frames) = films
    with pytest.raises(ValueError, match="the film has 80 frames of 64 x 96, its state 81"):
        closed_loop_report(film, frames[:80], tiny.PATH)
    with pytest.raises(ValueError, match="the baseline has 80 frames"):
        closed_loop_report(film, frames, tiny.PATH, (twin, twin_frames[:80]))
    with pytest.raises(ValueError, match="another path"):
        other = replace(twin, image=1 - twin.image)
        closed_loop_report(film, frames, tiny.PATH, (other, twin_frames))
