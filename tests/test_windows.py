"""Training windows: what they show agrees with the clip they are drawn from, away from the identity."""

import pytest
import torch
from scenes import pose
from spatial_memory.memory.camera import Cameras, compose, intrinsics_from_fov
from spatial_memory.memory.splat import splat_centred
from spatial_memory.training.windows import WINDOW, draw_window, latent_memory, perturbed

TIMES, CHANNELS, H, W = 15, 4, 8, 12
ROLL = pose(axis=(0.0, 0.0, 1.0), degrees=180.0)


@pytest.fixture(scope="module")
def clip():
    """An encoded clip before a wall at depth 2, the camera upside down and going to half depth."""
    generator = torch.Generator().manual_seed(0)
    forward = torch.linspace(0, 1, TIMES).tolist()
    c2w = torch.stack([compose(pose((0.0, 0.0, z)), ROLL) for z in forward])
    codes = torch.randn(TIMES, CHANNELS, H, W, generator=generator).half()
    return {
        "codes": codes,
        "stream": torch.cat([codes[:1], (codes[1:] + 5).half()]),
        "depth": (2 - torch.tensor(forward))[:, None, None].expand(TIMES, H, W).contiguous(),
        "c2w": c2w,
        "K": intrinsics_from_fov(60.0, H, W).expand(TIMES, 3, 3).contiguous(),
    }


def test_a_window_begins_with_a_frame_of_its_own_and_goes_on_with_the_stream(clip):
    for seed in range(8):
        window = draw_window(clip, 3, 2, torch.Generator().manual_seed(seed))
        assert window.x0.shape == window.readout.shape == (CHANNELS, WINDOW, H, W)
        assert window.known.shape == (WINDOW, H, W) and window.offset.shape == (2, WINDOW, H, W)
        first = [torch.equal(window.x0[:, 0], code.float()) for code in clip["codes"]].index(True)
        rest = clip["stream"][first + 1 : first + WINDOW].float().transpose(0, 1)
        assert torch.equal(window.x0[:, 1:], rest)
        assert all(any(torch.equal(r, s.float()) for s in clip["stream"]) for r in window.references.transpose(0, 1))


def test_holes_show_nothing_and_offsets_stay_in_their_cell(clip):
    windows = [draw_window(clip, 1, 0, torch.Generator().manual_seed(seed)) for seed in range(24)]
    for window in windows:
        hole = window.known == 0
        assert not window.readout[:, hole].any() and not window.offset[:, hole].any()
        assert window.offset.abs().max() <= 0.5 + 1e-4
    shares = [window.known.mean().item() for window in windows]
    assert min(shares) == 0 and max(shares) > 0.8  # some windows have no memory at all


def test_a_memory_of_one_frame_gives_it_back_at_its_own_camera_and_its_middle_at_half_depth(clip):
    drawn = (latent_memory(clip, [0], torch.Generator().manual_seed(seed), exact=True) for seed in range(20))
    memory = next(m for m in drawn if m.num_points == H * W)  # one without a random hole
    cameras = Cameras(clip["c2w"][[0, TIMES - 1]], clip["K"][:2], H, W)
    read = splat_centred(memory, cameras)
    assert read.offset[0].abs().max() < 1e-3 and (read.features[0] - clip["codes"][0].float()).std() < 0.3
    shown = read.winner[1][read.known[1] > 0]
    rows, columns = shown // W, shown % W
    assert rows.min() >= H // 4 and rows.max() < H - H // 4 and columns.min() >= W // 4 and columns.max() < W - W // 4


def test_history_is_disturbed_by_at_most_a_twentieth_and_by_as_much_as_each_window_drew(clip):
    clean = torch.stack([draw_window(clip, 3, 0, torch.Generator().manual_seed(5)).x0[:, :3]] * 6)
    disturbed = perturbed(clean, torch.Generator().manual_seed(6))
    assert disturbed.shape == (6, CHANNELS, 3, H, W)
    wrong = (disturbed - clean).flatten(1).std(dim=1)
    assert (wrong > 0).all() and (wrong < 0.05 * (clean.std() ** 2 + 1) ** 0.5 * 1.1).all()
    assert len(set(wrong.tolist())) == 6 and wrong.max() > 1.5 * wrong.min()
