"""Steps that are foretold instead of computed: the velocity of the flow changes slowly, and goes on as it went before.

What is foretold is the output of the whole network, its control branch and the branch's hints in it. Caches that skip a
part of the blocks add the hints of a branch twice; this one cannot. Every chunk begins anew, and what guidance moves
away from is foretold from its own past.
"""

from dataclasses import dataclass

from torch import Tensor

from .sampler import Velocity


@dataclass(frozen=True)
class Forecast:
    """Which steps are computed: the first ones, then every so many, and the last. The others are extrapolated.

    Raises:
        ValueError: a number out of its range.
    """

    every: int = 2  # 1 = each
    first: int = 3  # steps at the start that are always computed
    order: int = 1  # 0 = the last velocity stays, 1 = it goes on in a line over sigma, 2 = in a parabola

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every is {self.every}, expected at least 1 (1 computes every step)")
        if not 0 <= self.order <= 2:
            raise ValueError(f"order is {self.order}, expected 0, 1 or 2")
        if self.first <= self.order:
            raise ValueError(f"first is {self.first}, expected more than order, which is {self.order}")

    def computes(self, step: int, steps: int) -> bool:
        """Whether the network is asked in this step, counted from 0."""
        return step < self.first or step == steps - 1 or (step - self.first) % self.every == self.every - 1

    def forwards(self, steps: int) -> int:
        """How many of so many steps are computed."""
        return sum(self.computes(step, steps) for step in range(steps))


def foretold(velocity: Velocity, steps: int, plan: Forecast) -> Velocity:
    """A velocity that is asked for one sampling of so many steps, and asks the network in some of them only."""
    if plan.every == 1:
        return velocity
    known: list[tuple[float, Tensor]] = []  # sigma and velocity, the last ones that were computed
    asked = 0

    def call(x: Tensor, sigma: float, timestep: float) -> Tensor:
        nonlocal asked
        step, asked = asked, asked + 1
        if plan.computes(step, steps):
            known.append((sigma, velocity(x, sigma, timestep)))
            del known[: -plan.order - 1]
            return known[-1][1]
        return extrapolated(known, sigma)

    return call


def extrapolated(known: list[tuple[float, Tensor]], sigma: float) -> Tensor:
    """The polynomial through what is known, at sigma (Lagrange's form)."""
    total = None
    for i, (here, value) in enumerate(known):
        weight = 1.0
        for j, (there, _) in enumerate(known):
            if i != j:
                weight *= (sigma - there) / (here - there)
        total = value * weight if total is None else total + value * weight
    assert total is not None
    return total
