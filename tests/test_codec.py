"""The codecs: streams equal one shot, joins are exact or said not to be, sizes that do not fit are refused."""

import pytest
import torch
from spatial_memory.memory.grid import LatentGrid
from spatial_memory.models import wan_codec
from spatial_memory.models.codec import MiniCodec, decode_tail, frame_groups, signed
from spatial_memory.models.mini_codec import MiniCodecNetwork
from spatial_memory.models.wan_codec import WAN22_VAE, WanCodec, spans, tile_ramp

SIZE = (32, 64)


def images(count, height=SIZE[0], width=SIZE[1], seed=0):
    return torch.rand((count, 3, height, width), generator=torch.Generator().manual_seed(seed)) * 2 - 1


def awake(network):
    """Random weights everywhere, also where training starts from zeros, so that every layer has its say."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            scale = parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale + (parameter.ndim == 1))
    return network.eval()


@pytest.fixture(scope="module")
def mini():
    return MiniCodec(awake(MiniCodecNetwork(width=32, fine_width=16, motion_width=16, depth=1)))


@pytest.fixture(scope="module")
def wan():
    from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

    with torch.random.fork_rng():
        torch.manual_seed(0)
        return WanCodec(
            AutoencoderKLWan(
                **{**WAN22_VAE, "base_dim": 16, "decoder_base_dim": 16, "num_res_blocks": 1, "dim_mult": [1, 1, 2, 2]}
            )
        )


@pytest.fixture(params=["mini", "wan"])
def codec(request):
    return request.getfixturevalue(request.param)


def test_shapes_and_range(codec):
    grid = codec.grid
    latents = codec.encode(images(9))
    assert latents.shape == (grid.channels, 3, *grid.cells(*SIZE))
    decoded = codec.decode(3 * latents)
    assert decoded.shape == (9, 3, *SIZE) and decoded.dtype == torch.float32
    assert decoded.min() >= -1 and decoded.max() <= 1


@pytest.mark.parametrize("cuts", [(9,), (1, 4, 4), (2, 5, 1, 1), (0, 8, 1)])
def test_a_stream_is_encoded_to_the_bits_of_one_shot(codec, cuts):
    clip = images(9)
    pieces = list(codec.encode_stream(clip.split(list(cuts))))
    assert torch.equal(torch.cat(pieces, dim=1), codec.encode(clip))


def test_a_stream_is_decoded_to_the_bits_of_one_shot(codec):
    latents = codec.encode(images(9))
    pieces = list(codec.decode_stream(latents))
    assert [len(piece) for piece in pieces] == [1, 4, 4]
    assert torch.equal(torch.cat(pieces), codec.decode(latents))


def test_encoding_asks_for_no_more_frames_than_it_needs(codec):
    asked = []

    def camera():
        for frame in images(9).split(1):
            asked.append(1)
            yield frame

    stream = codec.encode_stream(camera())
    next(stream)
    assert len(asked) == 1
    next(stream)
    assert len(asked) == 5


def test_frames_alone_are_the_first_latents_of_clips(codec):
    clip = images(5)
    codes = codec.encode_frames(clip[[0, 3]])
    assert torch.equal(codes[:, :1], codec.encode(clip)[:, :1])
    assert torch.equal(codes[:, 1:], codec.encode(clip[3:4]))


def test_progress_is_told_and_may_interrupt(codec):
    latents = codec.encode(images(9))
    done = []
    list(codec.decode_stream(latents, on_latent=done.append))
    assert done == [1, 2, 3]

    def stop(count):
        raise InterruptedError(count)

    with pytest.raises(InterruptedError):
        next(codec.decode_stream(latents, on_latent=stop))
    assert torch.equal(torch.cat(list(codec.decode_stream(latents))), codec.decode(latents))


def test_raw_and_back(codec):
    latents = codec.encode(images(1))
    assert (codec.from_raw(codec.to_raw(latents)) - latents).abs().max() <= 1e-6


def test_nothing_is_written_into_what_is_given(codec):
    clip = images(5)
    before = clip.clone()
    latents = codec.encode(clip)
    kept = latents.clone()
    codec.decode(latents)
    assert torch.equal(clip, before) and torch.equal(latents, kept)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_the_tail_of_independent_latents_is_exact(mini, count):
    latents = mini.encode(images(13))
    whole = mini.decode(latents)
    tail = decode_tail(mini, latents, count)
    assert torch.equal(tail, whole[13 - 4 * count :])


def test_the_whole_stream_is_a_tail_too(codec):
    latents = codec.encode(images(9))
    assert torch.equal(decode_tail(codec, latents, 3), codec.decode(latents))


def test_a_tail_with_all_that_came_before_as_lead_is_exact(wan):
    latents = wan.encode(images(13))
    whole = wan.decode(latents)
    assert torch.equal(decode_tail(wan, latents, 2, lead=2), whole[5:])
    shorter = decode_tail(wan, latents, 1, lead=2)
    assert shorter.shape == (4, 3, *SIZE) and not torch.equal(shorter, whole[9:])


def test_mini_frames_belong_to_their_latents(mini):
    clip = images(5)
    with torch.no_grad():
        first = mini.network.encode_groups(clip[:1].repeat(4, 1, 1, 1)[None])[0]
        second = mini.network.encode_groups(clip[None, 1:5])[0]
        shown = torch.cat([mini.network.decode_groups(x[None]) for x in (first, second)]).clamp(-1, 1)
    latents = mini.encode(clip)
    assert (latents - torch.stack([first, second], dim=1)).abs().max() <= 1e-6
    expected = torch.cat([shown[0, 3:], shown[1]])  # of latent 0 the last of its four
    assert (mini.decode(latents) - expected).abs().max() <= 2e-5


@torch.no_grad()
def test_wan_equals_diffusers_own_loops(wan):
    clip = images(9)
    vae = wan.vae
    mode = vae.encode(clip.movedim(1, 0)[None]).latent_dist.mode()[0]
    latents = wan.encode(clip)
    assert (latents - wan.from_raw(mode)).abs().max() <= 1e-5  # one pass may sum in another order than a stream
    whole = vae.decode(wan.to_raw(latents)[None]).sample[0].movedim(1, 0)
    assert (wan.decode(latents) - whole).abs().max() <= 1e-5


def test_raw_is_normalised_by_the_released_statistics(wan):
    raw = torch.zeros(48, 1, 1, 1)
    # channel 0 of the Wan2.2 VAE: mean -0.2289, deviation 0.4765
    assert wan.from_raw(raw)[0].item() == pytest.approx(0.2289 / 0.4765)


def test_one_tile_is_the_plain_decode(wan):
    latents = wan.encode(images(5))
    assert torch.equal(torch.cat(list(wan.decode_tiled(latents, tile=8, overlap=2))), wan.decode(latents))


def test_tiles_decode_in_runs_what_they_decode_latent_by_latent(wan, monkeypatch):
    latents = torch.randn((48, 5, 4, 6), generator=torch.Generator().manual_seed(1))
    found, told = {}, {}
    for run in (1, 2, 8):
        monkeypatch.setattr(wan_codec, "RUN", run)
        told[run] = []
        pieces = list(wan.decode_tiled(latents, tile=3, overlap=1, on_latent=told[run].append))
        assert [len(piece) for piece in pieces] == [1, 4, 4, 4, 4]
        found[run] = torch.cat(pieces)
    assert torch.equal(found[1], found[2]) and torch.equal(found[1], found[8])
    for done in told.values():  # no step back, and all of them in the end
        assert done == sorted(done) and done[-1] == 5
    assert len(told[2]) == 3 * 2 * 3  # runs of 2, 2 and 1 latents, 2 x 3 tiles each: time to interrupt


def test_larger_tiles_come_closer_to_the_plain_decode(wan):
    latents = torch.randn((48, 2, 4, 6), generator=torch.Generator().manual_seed(0))
    plain = wan.decode(latents)
    errors = []
    for tile, overlap in ((3, 1), (4, 2), (5, 3)):
        tiled = torch.cat(list(wan.decode_tiled(latents, tile=tile, overlap=overlap)))
        assert tiled.shape == plain.shape
        errors.append((tiled - plain).abs().mean())
    assert errors[0] > errors[1] > errors[2] > 0
    assert errors[1] <= 0.5 * plain.abs().mean()  # noise as latents, random weights: the worst case


@pytest.mark.parametrize(
    ("length", "tile", "overlap"), [(10, 4, 1), (10, 4, 3), (7, 4, 2), (4, 4, 2), (3, 4, 2), (9, 4, 0)]
)
def test_tiles_cover_a_side_and_share_the_overlap(length, tile, overlap):
    tiles = spans(length, tile, overlap)
    assert tiles[0][0] == 0 and tiles[-1][1] == length
    assert all(stop - start == min(tile, length) for start, stop in tiles)
    assert all(one[1] - two[0] >= overlap and two[0] > one[0] for one, two in zip(tiles, tiles[1:]))
    weights = torch.zeros(length * 16)
    for start, stop in tiles:
        ramp = tile_ramp((start, stop), length, overlap, 16)
        assert ramp.min() > 0 and ramp.max() <= 1
        weights[start * 16 : stop * 16] += ramp
    assert weights.min() > 0.4  # no pixel hangs on a vanishing weight
    assert weights[0] == 1 and weights[-1] == 1  # the picture's own border is no seam


@pytest.mark.parametrize("count", [2, 4, 8])
def test_lengths_that_do_not_fit_are_refused(codec, count):
    with pytest.raises(ValueError, match="nearest are"):
        codec.encode(images(count))
    with pytest.raises(ValueError, match="nearest are"):
        list(codec.encode_stream([images(count)]))


def test_eighty_frames_are_refused_by_name():
    with pytest.raises(ValueError, match="77 and 81"):
        list(frame_groups([torch.zeros(80, 3, 1, 1)], 4))


def test_an_empty_stream_is_refused(codec):
    with pytest.raises(ValueError):
        list(codec.encode_stream([]))


@pytest.mark.parametrize("size", [(33, 64), (32, 60), (24, 64)])
def test_sizes_that_do_not_fit_are_refused(codec, size):
    with pytest.raises(ValueError, match="nearest are"):
        codec.encode(images(1, *size))
    with pytest.raises(ValueError, match="nearest are"):
        codec.encode_frames(images(1, *size))


def test_other_shapes_are_refused(codec):
    with pytest.raises(ValueError, match=r"\(T, 3, H, W\)"):
        codec.encode(torch.zeros(1, 32, 64, 3))
    with pytest.raises(ValueError, match="latents"):
        codec.decode(torch.zeros(codec.grid.channels + 1, 1, 4, 6))
    with pytest.raises(ValueError, match="count is 4"):
        decode_tail(codec, torch.zeros(codec.grid.channels, 3, 4, 6), 4)
    with pytest.raises(ValueError, match="lead is 0"):
        decode_tail(codec, torch.zeros(codec.grid.channels, 3, 4, 6), 1, lead=0)


def test_frame_groups_are_cut_whatever_the_clips():
    frames = torch.arange(13.0).view(13, 1, 1, 1)
    for cuts in ((13,), (3, 3, 3, 3, 1), (1,) * 13):
        groups = [group.flatten().tolist() for group in frame_groups(frames.split(list(cuts)), 4)]
        assert groups == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]]


def test_the_grids_are_what_the_papers_and_the_mini_models_use(mini, wan):
    assert mini.grid == LatentGrid(24, 4, 8, 2) and mini.independent
    assert wan.grid == LatentGrid(48, 4, 16, 2) and not wan.independent


def test_colours_are_signed_to_the_bit_and_left_as_they_were():
    colours = torch.rand(3, 3, 37, 53, generator=torch.Generator().manual_seed(4))
    colours[0, 0, 0, :4] = torch.tensor([0.0, 1.0, 0.5, 1e-8])
    before = colours.clone()
    for some in (colours, colours[::2], colours[:, :, ::3, 1:]):
        assert torch.equal(signed(some), some * 2 - 1)
    assert torch.equal(colours, before)
