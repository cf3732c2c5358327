"""Steps that are foretold: which are computed, what a polynomial says, and what a film loses by it."""

import pytest
import torch
from spatial_memory.models.forecast import Forecast, extrapolated, foretold
from spatial_memory.models.sampler import Sampling, guided, noise, sample


def test_the_first_steps_and_the_last_are_computed_and_then_every_so_many():
    def of(plan, steps):
        return [step for step in range(steps) if plan.computes(step, steps)]

    assert of(Forecast(1), 5) == [0, 1, 2, 3, 4]
    assert of(Forecast(2, first=3), 10) == [0, 1, 2, 4, 6, 8, 9]
    assert of(Forecast(3, first=2), 10) == [0, 1, 4, 7, 9]
    assert of(Forecast(8, first=2), 3) == [0, 1, 2]
    assert Forecast(2, first=3).forwards(20) == len(of(Forecast(2, first=3), 20)) == 12


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (dict(every=0), "every is 0, expected at least 1"),
        (dict(order=3), "order is 3, expected 0, 1 or 2"),
        (dict(first=2, order=2), "first is 2, expected more than order, which is 2"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(given, said):
    with pytest.raises(ValueError, match=said):
        Forecast(**given)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_polynomial_of_its_order_is_told_exactly(order):
    at = torch.tensor([[0.3, -2.0], [1.5, 0.25], [-0.75, 4.0]])[: order + 1]

    def value(sigma):
        return sum(row * sigma**power for power, row in enumerate(at))

    known = [(sigma, value(sigma)) for sigma in (0.9, 0.85, 0.6)[: order + 1]]
    assert torch.allclose(extrapolated(known, 0.4), value(0.4), atol=1e-5)


def test_each_sampling_asks_the_network_as_often_as_it_says_and_begins_anew():
    asked = []

    def velocity(x, sigma, timestep):
        asked.append(sigma)
        return x * sigma

    sampling = Sampling("euler", 9, 1.0, 3.0)
    for plan in (Forecast(2), Forecast(3, first=2, order=0), Forecast(1)):
        for _ in range(2):
            asked.clear()
            sample(foretold(velocity, 9, plan), noise((2, 1, 2, 2), 0, 0), sampling)
            assert len(asked) == plan.forwards(9)


def test_computing_every_step_changes_no_bit_and_guidance_is_foretold_from_its_own_past():
    def one(x, sigma, timestep):
        return x * sigma + 1

    def other(x, sigma, timestep):
        return x.sin() - sigma

    sampling, start = Sampling("unipc", 12, 2.0, 5.0), noise((2, 3, 4, 4), 1, 0)
    whole = sample(guided(one, other, 2.0), start, sampling)

    def by(plan):
        return sample(guided(*(foretold(v, 12, plan) for v in (one, other)), 2.0), start, sampling)

    assert torch.equal(by(Forecast(1)), whole)
    near, far = ((by(Forecast(every)) - whole).abs().max().item() for every in (2, 4))
    swapped = sample(guided(foretold(one, 12, Forecast(2)), foretold(one, 12, Forecast(2)), 2.0), start, sampling)
    assert 0 < near < far < 0.1 * whole.abs().max() < (swapped - whole).abs().max()


@pytest.mark.parametrize(("order", "expected"), [(0, 0.5**3), (1, 0.5**3 + (0.5**3 - 0.6**3) / -0.1 * -0.1)])
def test_only_the_last_steps_that_were_computed_count(order, expected):
    call = foretold(lambda x, sigma, timestep: x * 0 + sigma**3, 9, Forecast(2, first=4, order=order))
    x = torch.zeros(1)
    for sigma in (0.9, 0.8, 0.6, 0.5):
        assert call(x, sigma, 0.0).item() == pytest.approx(sigma**3)
    assert call(x, 0.4, 0.0).item() == pytest.approx(expected, abs=1e-6)
    assert call(x, 0.3, 0.0).item() == pytest.approx(0.3**3)
