"""The sampler: solutions that are known, frames that stay clean, noise that is the same everywhere."""

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler
from spatial_memory.models.sampler import Sampling, guided, noise, sample

SHAPE = (3, 4, 2, 2)  # C t h w
SAMPLERS = ["euler", "unipc"]


@pytest.fixture
def start():
    return noise(SHAPE, 1, 0)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_straight_flow_ends_at_the_data(start, sampler, steps):
    data = noise(SHAPE, 2, 0)
    end = sample(lambda x, sigma, t: start - data, start, Sampling(sampler, steps, shift=3.0))
    # unipc starts from sigma just below 1 (0.999 shifted), as Wan does
    assert (end - data).abs().max() <= (1e-5 if sampler == "euler" else 5e-3)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_clean_frames_are_there_at_every_step_and_at_the_end(start, sampler):
    clean = noise((3, 2, 2, 2), 3, 0)
    seen, estimates = [], []

    def velocity(x, sigma, timestep):
        seen.append(x)
        return x.sin()

    end = sample(
        velocity,
        start,
        Sampling(sampler, 3),
        clean=clean,
        clean_frames=(0, 3),
        on_step=lambda step: estimates.append(step.clean),
    )
    for x in [*seen, *estimates, end]:
        assert torch.equal(x[:, [0, 3]], clean)
    assert len(seen) == 3 and len(estimates) == 3


def test_clean_frames_are_the_first_by_default(start):
    clean = noise((3, 2, 2, 2), 3, 0)
    end = sample(lambda x, sigma, t: x, start, Sampling("euler", 2), clean=clean)
    assert torch.equal(end[:, :2], clean) and not torch.equal(end[:, 2:], start[:, 2:])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_imposing_frames_leaves_the_others_to_the_bit(start, sampler):
    def velocity(x, sigma, timestep):
        return x.sin() * 0.3

    free = sample(velocity, start, Sampling(sampler, 5))
    held = sample(velocity, start, Sampling(sampler, 5), clean=torch.zeros(3, 1, 2, 2))
    assert torch.equal(free[:, 1:], held[:, 1:])


def test_steps_report_sigma_and_the_estimate(start):
    data = noise(SHAPE, 2, 0)
    steps = []
    sample(lambda x, sigma, t: start - data, start, Sampling("euler", 4, shift=5.0), on_step=steps.append)
    assert [(step.index, step.total) for step in steps] == [(0, 4), (1, 4), (2, 4), (3, 4)]
    # u = 1, 3/4, 1/2, 1/4 shifted by 5 u / (1 + 4 u)
    assert [step.sigma for step in steps] == pytest.approx([1, 3.75 / 4, 2.5 / 3, 1.25 / 2])
    assert all((step.clean - data).abs().max() <= 1e-5 for step in steps)


def test_euler_timesteps_are_sigmas_times_a_thousand(start):
    pairs = []
    sample(lambda x, sigma, t: (pairs.append((sigma, t)), x)[1], start, Sampling("euler", 4))
    assert all(t == pytest.approx(1000 * sigma) for sigma, t in pairs)


def test_unipc_survives_steps_that_share_an_integer_timestep(start):
    times = []
    end = sample(lambda x, sigma, t: (times.append(t), x)[1], start, Sampling("unipc", 300, shift=5.0))
    assert len(times) == 300 and len(set(times)) < 300 and end.isfinite().all()


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 40, 300])
@pytest.mark.parametrize("shift", [1.0, 5.0])
def test_unipc_takes_the_steps_of_the_scheduler_itself(start, steps, shift):
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)
    scheduler.set_timesteps(sigmas=np.linspace(0.999, 0.0, steps + 1)[:-1])
    scheduler.set_begin_index(0)
    expected, given, seen = start.double(), [], []
    for timestep in scheduler.timesteps:
        given.append(expected)
        expected = scheduler.step((3 * expected).sin(), timestep, expected, return_dict=False)[0]

    def velocity(x, sigma, timestep):
        seen.append((x, sigma, timestep))
        return (3 * x).sin()

    end = sample(velocity, start.double(), Sampling("unipc", steps, shift=shift))
    assert (end - expected).abs().max() <= 1e-12
    assert all((x - other).abs().max() <= 1e-12 for (x, _, _), other in zip(seen, given, strict=True))
    assert [sigma for _, sigma, _ in seen] == scheduler.sigmas[:-1].tolist()
    assert [timestep for _, _, timestep in seen] == scheduler.timesteps.tolist()


def test_a_film_of_unipc_does_not_hang_on_the_one_before(start):
    first, other = (sample(lambda x, s, t: x.sin(), x, Sampling("unipc", 4)) for x in (start, start + 1))
    assert torch.equal(sample(lambda x, s, t: x.sin(), start, Sampling("unipc", 4)), first)
    assert not torch.equal(first, other)


def test_on_step_interrupts_by_raising(start):
    before = start.clone()

    class Interrupted(Exception):
        pass

    def stop(step):
        if step.index == 1:
            raise Interrupted

    calls = []
    with pytest.raises(Interrupted):
        sample(lambda x, sigma, t: (calls.append(t), x)[1], start, Sampling("euler", 9), on_step=stop)
    assert len(calls) == 2 and torch.equal(start, before)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_deterministic_and_no_hand_on_the_global_generator(start, sampler):
    state = torch.get_rng_state()
    runs = [sample(lambda x, sigma, t: x.sin(), start, Sampling(sampler, 3)) for _ in range(2)]
    noise(SHAPE, 5, 5)
    assert torch.equal(*runs) and torch.equal(torch.get_rng_state(), state)


def test_noise_depends_on_seed_and_chunk_alone():
    assert torch.equal(noise(SHAPE, 7, 3), noise(SHAPE, 7, 3))
    draws = [noise(SHAPE, seed, chunk) for seed in (0, 1, 10) for chunk in (0, 1, 11)]
    assert all(not torch.equal(a, b) for i, a in enumerate(draws) for b in draws[:i])
    many = noise((100_000,), -4, 2**40)
    assert abs(many.mean()) < 0.02 and abs(many.std() - 1) < 0.02


def test_noise_is_pinned():
    # saved worlds go on with the same bits only while this holds
    assert noise((2, 2), 1, 0).flatten().tolist() == pytest.approx([0.2397, 0.1947, -0.3043, -0.9253], abs=5e-5)


def test_guidance_moves_away_from_the_unconditional(start):
    velocity = guided(lambda x, s, t: x + 2, lambda x, s, t: x + 1, 3.5)
    assert torch.allclose(velocity(start, 0.5, 500.0), start + 1 + 3.5)


def test_guidance_of_one_makes_no_second_forward(start):
    def never(x, sigma, timestep):
        raise AssertionError("the unconditional forward was made")

    velocity = guided(lambda x, s, t: x + 2, never, 1.0)
    assert torch.equal(velocity(start, 0.5, 500.0), start + 2)


@pytest.mark.parametrize(
    "arguments", [("heun", 4, 1.0, 3.0), ("euler", 0, 1.0, 3.0), ("euler", 4, 1.0, 0.0), ("euler", 4, -1.0, 3.0)]
)
def test_settings_that_mean_nothing_are_refused(arguments):
    with pytest.raises(ValueError):
        Sampling(*arguments)


@pytest.mark.parametrize(
    ("clean", "frames"),
    [((3, 5, 2, 2), None), ((3, 2, 2, 2), (0, 0)), ((3, 1, 2, 2), (4,)), ((3, 2, 2, 2), (1,)), (None, (0,))],
)
def test_clean_frames_that_do_not_fit_are_refused(start, clean, frames):
    given = None if clean is None else torch.zeros(clean)
    with pytest.raises(ValueError):
        sample(lambda x, s, t: x, start, Sampling("euler", 1), clean=given, clean_frames=frames)
