"""How a policy stands to the frontier at its own KL: which share of the reward that is to be had there it
has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from benchmarks.studies.laws import OperatingPoint, best_of, of_law
from klrl_envs.optima.result import FrontierPoint
from klrl_envs.optima.terminal_law import TerminalLaw

BestOf = Callable[[float], OperatingPoint]
"""n -> what the best of n reference texts reaches; n may lie between whole numbers."""

WIDTH = 1e4
"""The frontier is searched at coefficients up to so many times larger and smaller than the declared one."""
MOST = 2**30
"""The largest n of ``best_count``."""
EACH = 64
"""Up to here every n is tried, then n in a geometric row of ``RATIO``, then some about the best of these."""
RATIO = 2 ** (1 / 8)
NEAR = 24


@dataclass(frozen=True)
class Share:
    """A policy beside the frontier: its point, and the most reward that a policy of its KL can have."""

    point: OperatingPoint
    at_most: float
    reference_value: float

    @property
    def gap(self) -> float:
        """Reward below the frontier at equal KL."""
        return self.at_most - self.point.expected_reward

    @property
    def share(self) -> float:
        """Of the reward above pi0's that is to be had at this KL."""
        return (self.point.expected_reward - self.reference_value) / (self.at_most - self.reference_value)


def reward_at(law: TerminalLaw, kl: float, kl_coef: float) -> float:
    """The most reward at a KL (nats): min over c of J*(c) + c KL, which every policy obeys.

    Args:
        law: of the reward under pi0.
        kl: nats.
        kl_coef: about which c is sought.
    """
    found = minimize_scalar(
        lambda log_c: law.optimum(float(np.exp(log_c)))[0] + float(np.exp(log_c)) * kl,
        bounds=(np.log(kl_coef / WIDTH), np.log(kl_coef * WIDTH)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(found.fun)


def reward_on(frontier: Sequence[FrontierPoint], kl: float) -> float:
    """The same from points of a frontier: the lowest of their tangents, never below the frontier."""
    return min(point.value + point.kl_coef * kl for point in frontier)


def best_of_law(law: TerminalLaw, kl_coef: float) -> BestOf:
    """Best-of-n by the law of the reward."""
    return lambda n: of_law(law, best_of(law, n), kl_coef)


def best_of_samples(rewards: NDArray[np.floating[Any]], kl_coef: float) -> BestOf:
    """Best-of-n of the K samples of each of P prompts, for n far below K.

    Args:
        rewards: float [P, K].
        kl_coef: reward per nat.
    """
    laws: list[TerminalLaw] = []
    for row in rewards:
        values, counts = np.unique(row.astype(np.float64), return_counts=True)
        laws.append(TerminalLaw(np.ones(1), values, counts[None] / len(row)))

    def point(n: float) -> OperatingPoint:
        points = [of_law(law, best_of(law, n), kl_coef) for law in laws]
        reward = float(np.mean([one.expected_reward for one in points]))
        kl = float(np.mean([one.kl for one in points]))
        return OperatingPoint(reward, kl, reward - kl_coef * kl)

    return point


def best_count(point: BestOf, most: int = MOST) -> int:
    """The n with the largest objective, up to ``most``: where KL is cheap, it is in the thousands.

    ``laws.best_count`` tries every n; here the objective, which is smooth in n, is sought on a row first.
    """
    objective: Callable[[int], float] = lambda n: point(n).objective  # noqa: E731
    steps = int(np.log(most / EACH) / np.log(RATIO))
    row = [*range(1, EACH), *np.unique((EACH * RATIO ** np.arange(steps + 1)).astype(int)).tolist()]
    place = int(np.argmax([objective(n) for n in row]))
    low, high = row[max(place - 1, 0)], row[min(place + 1, len(row) - 1)]
    near = np.unique(np.linspace(low, high, min(high - low, NEAR) + 1).astype(int)).tolist()
    return max(near, key=objective)


def count_at(point: BestOf, kl: float, most: int = MOST) -> float | None:
    """The n, between whole numbers, whose best has a KL (nats); None where no n up to ``most`` has it."""
    low, high = 0.0, float(np.log(most))
    if point(np.exp(high)).kl < kl:
        return None
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if point(np.exp(middle)).kl > kl else (middle, high)
    return float(np.exp(high))
