"""How far a reward-KL plane reaches: as far as the optimum, the reference and every seed, with a margin."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from klrl_envs.results.entry import Entry

Box = tuple[tuple[float, float], tuple[float, float]]
"""From where to where a part of the plane reaches, to the right and upwards."""

FARTHEST = 3.0
"""Times the optimum's KL: agents beyond stand at the edge, with their KL written there."""
SMALLEST = 1e-3
"""Nats that the plane shows at least."""
MARGIN = 0.12


class Point(Protocol):
    """A point of the plane, such as one of the frontier."""

    @property
    def kl(self) -> float:
        """Nats."""
        ...

    @property
    def expected_reward(self) -> float:
        """There."""
        ...


class Best(Point, Protocol):
    """The optimum of an environment: an ``Optimum``, or the card of one."""

    @property
    def reference_value(self) -> float:
        """J(pi0), which is its expected reward."""
        ...


def edge_of(best: Best) -> float:
    """The KL at which those beyond it stand, nats."""
    return max(FARTHEST * best.kl, SMALLEST)


def extent_of(best: Best, frontier: Iterable[Point], entries: Sequence[Entry]) -> Box:
    """The part of the plane that is shown.

    Args:
        best: the optimum.
        frontier: what of it lies within counts.
        entries: of the environment; no seed's KL counts beyond the edge.
    """
    seeds = [seed for entry in entries for seed in entry.seeds]
    right = 1.12 * max([1.4 * best.kl, SMALLEST, *(min(seed.kl, edge_of(best)) for seed in seeds)])
    rewards = [
        best.reference_value,
        best.expected_reward,
        *(point.expected_reward for point in frontier if point.kl <= right),
        *(seed.expected_reward for seed in seeds),
    ]
    margin = MARGIN * (max(rewards) - min(rewards) or 1.0)
    return (-0.02 * right, right), (min(rewards) - margin, max(rewards) + margin)
