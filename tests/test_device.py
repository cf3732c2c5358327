"""Memories on a GPU: the same readouts as on the CPU, and the same bits however often and in whatever order.

What needs a GPU runs twice: on one, where there is one, and on ``elsewhere``, which computes on the CPU and refuses
what a GPU would refuse, everywhere.
"""

import contextlib
import gc
import time
import weakref
from dataclasses import replace

import pytest
import torch
from elsewhere import PLACE, Elsewhere, WrongDevice, is_far
from scenes import geometry, memory_of, pose
from spatial_memory.memory import cloud, discs
from spatial_memory.memory.camera import Cameras, intrinsics_from_fov
from spatial_memory.memory.edits import Delete
from spatial_memory.memory.front import front
from spatial_memory.memory.lift import lift_pixels
from spatial_memory.memory.observation import NEVER, PER_POINT, Observation
from spatial_memory.memory.regions import Selection, Sphere
from spatial_memory.memory.sight import visible_voxels
from spatial_memory.memory.splat import Readout, render_depth, splat_centred, splat_discs, splat_nearest
from spatial_memory.models.codec import appended, as_colours, signed
from spatial_memory.models.control_layout import Shown
from spatial_memory.models.world import load_random_world
from spatial_memory.rollout.control import reading_device, warp
from tiny_rollout import aimed, begin

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA here")
SOMEWHERE = [pytest.param(Elsewhere, id="elsewhere"), pytest.param(contextlib.nullcontext, id="cuda", marks=GPU)]
FAMILIES = [splat_nearest, splat_centred, splat_discs, render_depth]
BORDER = 1e-4  # cells, or relative depth: nearer than this to a border or to a tie devices may differ
SHARE = 1e-3  # of the pixels of soft discs: those over which a tie or a rim decides

somewhere = pytest.mark.parametrize("somewhere", SOMEWHERE)
sizes = pytest.mark.parametrize("count, height, width", [(10_000, 24, 40), (200_000, 120, 200)])


def scattered(count, observations=4, channels=4):
    """Random points around the origin; of each observation the first twentieth lies where points of the first lie."""
    generator = torch.Generator().manual_seed(count)
    camera, made = Cameras(torch.eye(4), intrinsics_from_fov(60.0, 300, 400), 300, 400), []
    for number in range(observations):
        points = torch.rand(count // observations, 3, generator=generator) * torch.tensor([4.0, 3.0, 3.0])
        points += torch.tensor([-2.0, -1.5, -0.5])
        if made:
            points[: len(points) // 20] = made[0].points[: len(points) // 20]
        features = torch.randn(len(points), channels, generator=generator).half()
        cells = torch.randperm(300 * 400, generator=generator)[: len(points)].sort().values.int()
        made.append(Observation(points, features, cells, camera, 4 * number, number // 2 - 1))
    return made


def shuffled(observations):
    """The same points in another order, within and across observations."""
    generator, mixed = torch.Generator().manual_seed(5), []
    for index in torch.randperm(len(observations), generator=generator).tolist():
        o = observations[index]
        order = torch.randperm(len(o), generator=generator)
        mixed.append(replace(o, **{name: getattr(o, name)[order] for name in ("points", "features", "cells")}))
    return mixed


def views(height=24, width=40):
    """As it was seen, rolled by 180 degrees, from aside, and after a dolly."""
    roll = pose(axis=(0.0, 0.0, 1.0), degrees=180.0)
    c2w = torch.stack([torch.eye(4), roll, pose((0.3, 0.1, -0.5), (0.3, 1.0, 0.2), 25.0), pose((0.0, 0.0, 0.9))])
    return Cameras(c2w, intrinsics_from_fov(60.0, height, width).expand(4, 3, 3), height, width)


def tensors(found):
    return list(vars(found).values()) if isinstance(found, Readout) else list(found)


def read_there(somewhere, readout, memory, cameras):
    """A readout on the other device, seen to lie there, brought back: its tensors, and where each lay."""
    with somewhere():
        found = tensors(readout(memory.to("cuda"), cameras))
        assert all(t.device.type == "cuda" for t in found)
        return [t.cpu() for t in found]


def sure(memory, cameras):
    """Cells (V, h, w) that no point within ``BORDER`` of their border and no tie decides."""
    found, size = front(memory.laid, cameras, BORDER), cameras.height * cameras.width
    view, cell = found.seen
    crowd = torch.bincount(view * size + cell, minlength=len(cameras) * size)
    certain = (crowd < 2).view(-1, cameras.height, cameras.width)
    here = splat_nearest(memory, cameras).winner
    for right, down in ((1, 1), (1, -1), (-1, 1), (-1, -1)):
        K = cameras.K.clone()
        K[:, :2, 2] += BORDER * torch.tensor([right, down])
        certain &= splat_nearest(memory, replace(cameras, K=K)).winner == here
    return certain


@somewhere
@sizes
def test_nearest_says_the_same_but_for_ties_and_borders(somewhere, count, height, width):
    memory, cameras = memory_of(scattered(count)), views(height, width)
    here, there = tensors(splat_nearest(memory, cameras)), read_there(somewhere, splat_nearest, memory, cameras)
    certain = sure(memory, cameras)
    assert certain.float().mean() > 0.9 and (here[3] >= 0).float().mean() > 0.3
    assert torch.equal(here[3][certain], there[3][certain])
    same = (here[3] == there[3])[:, None].expand_as(here[0])
    assert torch.equal(here[0][same], there[0][same])
    if somewhere is Elsewhere:  # the same arithmetic
        assert all(torch.equal(a, b) for a, b in zip(here, there))


@somewhere
@sizes
@pytest.mark.parametrize("readout", [splat_centred, splat_discs, render_depth])
def test_what_is_read_there_is_what_is_read_here(somewhere, readout, count, height, width):
    memory, cameras = memory_of(scattered(count)), views(height, width)
    here, there = tensors(readout(memory, cameras)), read_there(somewhere, readout, memory, cameras)
    assert here[1].float().mean() > 0.2
    for a, b in zip(here, there):
        off = (a.double() - b.double()).abs() > 1e-4 * a.double().abs().clamp(min=1)
        assert off.float().mean() <= (0 if somewhere is Elsewhere else SHARE)


@somewhere
def test_what_is_visible_there_is_visible_here(somewhere):
    memory, cameras = memory_of(scattered(10_000)), views()
    here = visible_voxels(memory, cameras, 0.1)
    with somewhere():
        there = [keys.cpu() for keys in visible_voxels(memory.to("cuda"), cameras, 0.1)]
    for a, b in zip(here, there):
        both = torch.isin(a, b).sum()
        assert len(a) > 50 and both >= (1 - 10 * SHARE) * max(len(a), len(b))
        assert somewhere is not Elsewhere or torch.equal(a, b)


@somewhere
@pytest.mark.parametrize("readout", FAMILIES)
def test_repeats_and_shuffles_give_the_same_bits_there(somewhere, readout):
    made, cameras = scattered(200_000), views(48, 80)
    memory = memory_of(made)
    first = read_there(somewhere, readout, memory, cameras)
    for again in (memory, memory_of(made), memory_of(shuffled(made))):
        cloud.COPIES.forget()
        told = zip(first, read_there(somewhere, readout, again, cameras))
        assert all(torch.equal(a, b) for i, (a, b) in enumerate(told) if i != 3)  # the winner's number is another
    assert first[0].any()


@somewhere
@pytest.mark.parametrize("readout", FAMILIES)
def test_a_view_alone_equals_the_view_in_a_batch_there(somewhere, readout):
    memory, cameras = memory_of(scattered(40_000)), views()
    batch = read_there(somewhere, readout, memory, cameras)
    alone = [read_there(somewhere, readout, memory, cameras[view : view + 1]) for view in range(len(cameras))]
    assert all(torch.equal(torch.cat(parts), whole) for parts, whole in zip(zip(*alone), batch))


@somewhere
def test_sums_add_in_the_order_of_the_pairs_on_every_device(somewhere):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(500, (20_000,), generator=generator) ** 2 // 500  # some of them crowded, some empty
    values = torch.rand(2, 20_000, generator=generator).double() ** 9
    here = discs.sums(pixels, values, 600)
    with somewhere():
        there = discs.sums(pixels.to("cuda"), values.to("cuda"), 600).cpu()
    assert torch.equal(here, there) and not torch.equal(here, discs.sums(pixels.flip(0), values.flip(1), 600))


@somewhere
def test_what_is_brought_is_what_draws_and_nothing_given_changes(somewhere):
    made, cameras = scattered(10_000), views()
    retired = torch.where(torch.arange(len(made[1])) % 2 == 0, 3, NEVER).to(torch.int16)
    made[1] = replace(made[1], retired=retired)
    ball = Selection(Sphere((0.0, 0.0, 1.0), 0.3))
    memory = replace(memory_of(made), edits=(Delete(ball, 9),))
    before = dict(vars(memory))
    assert 0 < sum(map(len, memory.drawn)) < memory.num_points - len(made[1]) // 2
    here = tensors(splat_centred(memory, cameras))
    with somewhere():
        there = memory.to("cuda")
        assert memory.to("cuda") is there and there.to("cuda") is there and memory.to("cpu") is memory
        for mine, theirs in zip(memory.drawn, there.observations):
            for name in PER_POINT:
                given, brought = getattr(mine, name), getattr(theirs, name)
                assert brought.device.type == "cuda" and brought.stride() == given.stride()
                assert torch.equal(brought.cpu(), given)
            assert theirs.tiles.order.device.type == "cuda" and torch.equal(theirs.tiles.low.cpu(), mine.tiles.low)
        found = [t.cpu() for t in tensors(splat_centred(there, cameras))]
    assert all(vars(memory)[name] is value for name, value in before.items())
    assert all(torch.equal(a, b) for a, b in zip(here, found)) or somewhere is not Elsewhere
    assert torch.equal(memory.points, there.points.cpu()) or somewhere is not Elsewhere


@somewhere
def test_nothing_and_an_empty_memory_are_holes_there(somewhere):
    cameras = views()
    behind = [replace(o, points=o.points - torch.tensor([0.0, 0.0, 9.0])) for o in scattered(400)]
    with somewhere():
        for kind, readout in (("latent", splat_centred), ("rgb", splat_discs)):
            assert not readout(memory_of([], 4, kind).to("cuda"), cameras).known.any()
        assert not render_depth(memory_of(behind).to("cuda"), cameras)[1].any()


@somewhere
def test_a_memory_that_grows_brings_what_is_new_and_one_copy_lives_until_the_next(somewhere):
    made = scattered(4000)
    small, grown = memory_of(made[:3]), memory_of(made)
    with somewhere():
        first = small.to("cuda")
        second = grown.to("cuda")
        assert all(a is b for a, b in zip(first.observations, second.observations))
        gone, kept = weakref.ref(first), weakref.ref(second)
        del first, second
        gc.collect()
        assert gone() is None and kept() is grown.to("cuda")
        points = weakref.ref(kept().observations[3])
        del grown, made[3]
        gc.collect()
        assert kept() is None and points() is None  # with the last that was given


@somewhere
@pytest.mark.parametrize("kind", ["rgb", "latent"])
def test_a_warp_reads_colours_beside_the_network_and_gives_them_back(somewhere, kind):
    world, state = load_random_world(0), aimed(begin(kind))
    here = warp(world, state)
    assert reading_device(world, state.memory).type == "cpu"
    for parameter in world.transformer.parameters():
        parameter.data = parameter.data if somewhere is Elsewhere else parameter.data.to("cuda")
        parameter.lies_far = True
    with somewhere():
        assert reading_device(world, state.memory).type == ("cuda" if kind == "rgb" else "cpu")
        there = warp(world, state)
        assert there.readout.known.device.type == there.control.device.type == "cpu"
    assert torch.allclose(here.control, there.control, atol=1e-4) and torch.allclose(here.known, there.known, atol=1e-4)
    assert here.known.mean() > 0.3
    if somewhere is Elsewhere:
        assert torch.equal(here.control, there.control) and torch.equal(here.readout.features, there.readout.features)


@GPU
def test_a_chunk_of_colours_is_rendered_in_a_second_or_two():
    generator = torch.Generator().manual_seed(0)
    hills = torch.nn.functional.interpolate(torch.rand(4, 1, 11, 20, generator=generator), (704, 1280), mode="bicubic")
    c2w = torch.stack([pose((0.2 * i, 0.0, 0.0), degrees=10.0 * i) for i in range(4)])
    made = geometry(2 + hills[:, 0], c2w=c2w)
    seen = lift_pixels(torch.rand(4, 3, 704, 1280, generator=generator), made, range(4), 0, 2.0 / 300)
    memory, c2w = memory_of(seen, 3, "rgb"), torch.stack([pose((0.02 * i, 0.0, 0.1)) for i in range(33)])
    frames = Cameras(c2w, made.cameras.K[:1].expand(33, 3, 3), 704, 1280)
    seconds = []
    for _ in range(2):
        begun = time.perf_counter()
        found = splat_discs(memory.to("cuda"), frames).to(torch.device("cpu"))
        seconds.append(time.perf_counter() - begun)
    assert found.known.mean() > 0.5 and min(seconds) < 5, (memory.num_points, seconds)
    print(f"{memory.num_points} points, 33 frames at 704 x 1280: {seconds[0]:.2f} s, then {seconds[1]:.2f} s")


@somewhere
def test_pictures_and_what_a_window_shows_are_worked_on_where_they_lie(somewhere):
    generator = torch.Generator().manual_seed(6)
    colours, latents = (torch.rand(3, 3, 8, 12, generator=generator) for _ in range(2))
    with somewhere():
        there, far = torch.device("cuda"), colours.to("cuda")
        back, grown = as_colours(signed(far)), appended(latents.to("cuda"), latents[:, :1].to("cuda"))
        shown = Shown(latents, latents[0], latents[:2], latents)
        brought = shown.to(there)
        for kept, moved in zip(vars(shown).values(), vars(brought).values(), strict=True):
            assert moved.is_cuda and torch.equal(moved.cpu(), kept)
        assert replace(shown, code=None).to(there).code is None and back.is_cuda and grown.is_cuda
        assert torch.equal(signed(far).cpu(), colours * 2 - 1) and (back.cpu() - colours).abs().max() < 1e-6
        assert torch.equal(grown.cpu(), torch.cat([latents, latents[:, :1]], 1))


def test_elsewhere_refuses_what_a_gpu_refuses():
    near = torch.arange(4.0)
    with Elsewhere():
        far = near.to("cuda")
        assert far.device == PLACE and far.is_cuda and near.device.type == "cpu" and not near.is_cuda
        assert is_far(far[1:] * 2 + near[0]) and is_far(torch.zeros_like(far)) and is_far(far.new_zeros(2))
        assert not is_far(far.cpu()) and not is_far(near) and near.to(far) is not near and is_far(near.to(far))
        assert is_far(torch.zeros(3, device=far.device)) and not is_far(torch.zeros(3, device="cpu"))
        for mixed in (
            lambda: far + near,
            lambda: torch.cat([far, near[:0]]),
            lambda: near[far.long()],
            lambda: far.index_select(0, near.long()),
            lambda: torch.mul(near, 2, out=far),
            lambda: far.numpy(),
            lambda: torch.zeros(3),
            lambda: torch.arange(3),
        ):
            with pytest.raises(WrongDevice):
                mixed()
