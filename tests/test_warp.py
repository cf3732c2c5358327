"""``spatial-memory warp`` on four real frames: keys, quality, picture, refusals."""

import argparse
import json
import math
import shutil

import pytest
import torch
from PIL import Image
from spatial_memory.headless import warp
from spatial_memory.headless.sequence import load_sequence
from spatial_memory.memory.camera import project, unproject

KEYS = ["psnr", "ssim", "latent_error", "coverage", "hole_rate", "points", "bytes", "seconds"]


def command(capsys, *words):
    parser = argparse.ArgumentParser()
    warp.add_arguments(parser)
    assert warp.run(parser.parse_args([str(word) for word in words])) == 0
    return json.loads(capsys.readouterr().out)


def test_k_with_integer_centres_is_moved_by_half_a_pixel(livingroom):
    seen = load_sequence(livingroom, [0])
    assert seen.cameras.K[0].tolist() == [[525, 0, 320], [0, 525, 240], [0, 0, 1]]
    assert seen.images.shape == (1, 3, 480, 640) and 0.5 < seen.depth[seen.depth > 0].median() < 10


def test_poses_and_depth_agree_to_a_thousandth(livingroom):
    seen = load_sequence(livingroom, [0, 2])
    points = unproject(seen.depth[0], seen.cameras[0])[::8, ::8].reshape(-1, 3)
    uv, z = project(points, seen.cameras[1])
    inside = (z > 0) & (uv >= 0).all(1) & (uv < torch.tensor([640, 480])).all(1)
    u, v = uv[inside].floor().long().T
    error = (z[inside] / seen.depth[1][v, u] - 1).abs()
    assert inside.float().mean() > 0.5 and error.median() < 2e-3


def test_colours_land_where_they_belong(livingroom, capsys, tmp_path):
    picture = tmp_path / "out.png"
    args = (livingroom, "--target", 1, "--kind", "rgb", "--size", "96x128", "--json")
    one = command(capsys, *args, "--source", 0, "--image", picture)
    assert list(one) == KEYS and one["latent_error"] is None
    assert one["psnr"] > 26 and one["ssim"] > 0.85 and one["coverage"] > 0.75 and one["hole_rate"] < 0.2
    assert one["bytes"] == one["points"] * 20 + 6  # the normal and the two stamps are one value for all
    with Image.open(picture) as image:
        assert image.size == (3 * 128, 96)
    assert list(tmp_path.iterdir()) == [picture]
    both = command(capsys, *args, "--source", 0, 2)
    assert both["points"] > one["points"] and both["hole_rate"] < one["hole_rate"]


@pytest.mark.parametrize("resample", ["bilinear", "nearest", "area", "median"])
def test_latents_land_where_they_belong(livingroom, capsys, resample):
    args = (livingroom, "--kind", "latent", "--size", "192x256", "--resample", resample, "--json")
    itself = command(capsys, *args, "--source", 0, "--target", 0)
    assert itself["latent_error"] < 1e-5 and itself["psnr"] > 20 and itself["coverage"] > 0.9
    other = command(capsys, *args, "--source", 0, "--target", 1)
    assert list(other) == KEYS and 0.01 < other["latent_error"] < 1.2 and other["psnr"] > 15
    assert other["coverage"] > 0.6 and other["coverage"] == pytest.approx(1 - other["hole_rate"])


def test_what_the_target_cannot_see_scores_nothing(livingroom, capsys, tmp_path):
    shutil.copytree(livingroom, tmp_path / "room")
    listing = tmp_path / "room" / "frames.json"
    described = json.loads(listing.read_text())
    for row in (0, 2):  # turn the second camera round
        described["frames"][1]["c2w"][row] = [-x for x in described["frames"][1]["c2w"][row][:3]] + [0.0]
    turned = torch.tensor(described["frames"][1]["c2w"])[:3, :3] @ torch.diag(torch.tensor([1.0, 1.0, 1.0]))
    assert torch.linalg.det(turned) == pytest.approx(1.0, abs=1e-3)
    listing.write_text(json.dumps(described))
    out = command(capsys, listing.parent, "--source", 0, "--target", 1, "--kind", "rgb", "--size", "96x128", "--json")
    assert out["psnr"] is None and out["ssim"] is None and out["coverage"] == 0 and out["hole_rate"] == 1


@pytest.mark.parametrize(
    "words, message",
    [
        (("--source", 0, "--target", 4), "frame 4 is not in .* lists 4: expected 0 to 3"),
        (("--source", -1, "--target", 0), "frame -1"),
        (("--source", 0, "--target", 1, "--size", "12"), "--size is '12'"),
        (("--source", 0, "--target", 1, "--size", "100x128", "--kind", "latent"), "height is 100.* 96 and 112"),
    ],
)
def test_what_does_not_fit_is_refused(livingroom, capsys, words, message):
    with pytest.raises(ValueError, match=message):
        command(capsys, livingroom, "--kind", "rgb", *words)


def test_a_folder_that_is_no_sequence_is_refused(livingroom, tmp_path):
    with pytest.raises(ValueError, match="no frames.json"):
        load_sequence(tmp_path, [0])
    described = json.loads((livingroom / "frames.json").read_text())
    for change, message in (
        ({"frames": [{"rgb": "a.png"}]}, "not in the format"),
        ({"frames": [{**described["frames"][0], "rgb": "gone.jpg"}]}, "names gone.jpg"),
        ({"frames": [{**described["frames"][0], "c2w": [[math.nan] * 4] * 4}]}, "NaN"),
    ):
        (tmp_path / "frames.json").write_text(json.dumps({**described, **change}))
        for name in ("image/00000.jpg", "depth/00000.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            shutil.copy(livingroom / name, tmp_path / name)
        with pytest.raises(ValueError, match=message):
            load_sequence(tmp_path, [0])
    (tmp_path / "frames.json").write_text(json.dumps({**described, "width": 320}))
    with pytest.raises(ValueError, match="as frames.json says"):
        load_sequence(tmp_path, [0])
