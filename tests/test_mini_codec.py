"""The mini codec's network: shapes, normalisation, what ships, and one step of its recipe."""

import json

import pytest
import torch
from spatial_memory.models.mini_codec import APPEARANCE, WEIGHTS, MiniCodecNetwork, load_mini_codec, pulled
from spatial_memory.training import groups as groups_of
from spatial_memory.training.codec import measured_statistics, reconstruction_loss
from spatial_memory.training.worlds import make_world, random_path, render

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def codec():
    return load_mini_codec()


@pytest.fixture(scope="module")
def held_out():
    """Groups (2, 4, 3, 96, 160) of held-out worlds: a moving camera, and a single frame four times."""
    world = make_world(3, "held_out")
    cameras = random_path(world, 33, torch.Generator().manual_seed(0), 96, 160)[:4]
    images = render(world, cameras, torch.arange(4) / 16.0).images * 2 - 1
    return torch.stack([images, images[:1].expand(4, -1, -1, -1)])


def random_network(seed: int = 0) -> MiniCodecNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return MiniCodecNetwork(width=16, fine_width=8, motion_width=16, depth=1).eval()


def test_shipped_codec_reconstructs_worlds_it_has_never_seen(codec, held_out):
    with torch.no_grad():
        decoded = codec.decode_groups(codec.encode_groups(held_out))
    assert decoded.shape == held_out.shape
    scores = groups_of.psnr(decoded, held_out).mean(1)
    assert scores.min() > 24.0, scores  # a blurred average scores below 20


def test_shipped_latents_have_unit_scale(codec, held_out):
    latents = codec.encode_groups(held_out)
    assert latents.shape == (2, 24, 12, 20)
    assert latents.mean().abs() < 0.5 and 0.5 < latents.std() < 1.6


def test_shipped_weights_are_small_fp16_and_accounted_for():
    from safetensors import safe_open

    with safe_open(WEIGHTS, framework="pt") as file:
        assert {file.get_tensor(name).dtype for name in file.keys()} == {torch.float16}
    assert WEIGHTS.stat().st_size < 9e6
    account = json.loads(WEIGHTS.with_suffix(".json").read_text())
    assert account["held_out_psnr_db_at_192x320"]["worlds_moving"] > 29.0


def test_groups_of_a_batch_do_not_depend_on_one_another(codec, held_out):
    alone = torch.cat([codec.encode_groups(group[None]) for group in held_out])
    # float32 convolutions may sum in another order for another batch
    torch.testing.assert_close(codec.encode_groups(held_out), alone, atol=1e-4, rtol=1e-4)


def test_statistics_normalise_what_the_encoder_gives():
    network = random_network()
    images = torch.rand(8, 4, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    network.load_state_dict(measured_statistics(network, images), strict=False)
    latents = network.encode_groups(images)
    assert latents.mean((0, 2, 3)).abs().max() < 1e-3
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(24), atol=1e-3, rtol=0)


def test_a_frame_encoded_alone_agrees_with_the_moving_latent_that_ends_at_it(codec, held_out):
    moving = held_out[:1]
    alone = codec.encode_groups(moving[:, -1:].expand(-1, 4, -1, -1, -1))
    latents = codec.encode_groups(moving)
    assert torch.equal(alone[:, :APPEARANCE], latents[:, :APPEARANCE])
    assert (alone[:, APPEARANCE:] - latents[:, APPEARANCE:]).abs().mean() > 0.1  # what moves is told in the rest
    last = [codec.decode_groups(x)[:, -1] for x in (alone, latents)]
    assert torch.equal(*last)


def test_motion_channels_pull_the_earlier_frames_from_the_last():
    ramp = torch.arange(32.0).expand(1, 3, 16, 32)
    right = torch.tensor([2.0, 0.0])[None, :, None, None].expand(1, 2, 16, 32)
    assert torch.equal(pulled(ramp, right)[..., :-2], ramp[..., 2:])
    assert torch.equal(pulled(ramp, -right)[..., 2:], ramp[..., :-2])


def test_wrong_sizes_are_refused_with_the_nearest():
    network = random_network()
    with pytest.raises(ValueError, match="32 x 40"):
        network.encode_groups(torch.zeros(1, 4, 3, 36, 40))
    with pytest.raises(ValueError, match="groups has shape"):
        network.encode_groups(torch.zeros(1, 3, 3, 32, 32))


def test_missing_weights_name_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match="spatial_memory.training.codec"):
        load_mini_codec(tmp_path / "codec.safetensors")


def test_a_few_steps_of_the_recipe_lower_the_loss():
    network = random_network().train()
    levels = [level for level in groups_of.photograph_pyramid("validation") if level.shape[-2] < 200]
    groups = groups_of.moving_photographs(levels, (32, 32), 8, torch.Generator().manual_seed(0))
    assert groups.shape == (8, 4, 3, 32, 32) and groups.abs().max() <= 1
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(12):
        loss = reconstruction_loss(network.decode_groups(network.encode_groups(groups)), groups)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]
    assert reconstruction_loss(groups, groups) < 1e-3


def test_some_groups_move_and_some_stand_still():
    clip = torch.randint(0, 256, (9, 3, 40, 48), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    groups = groups_of.crops([clip], (32, 32), 16, torch.Generator().manual_seed(1))
    still = (groups[:, 0] == groups[:, 3]).flatten(1).all(1)
    assert groups.shape == (16, 4, 3, 32, 32) and 0 < still.sum() < 16
