"""Which of two agents wins: the chance that a seed of one scores higher than a seed of the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import combinations

from klrl_envs.results.document import Strict
from klrl_envs.results.entry import Entry
from klrl_envs.results.record import Bounds, EnvId, Finite, Name
from leaderboard.shares import chance_to_win, chances_interval

DIGITS = 6
"""What is kept, so that the last digits of another machine make no other file."""


class Chance(Strict):
    """On one environment, the chance that the first agent's score is the higher, and its interval."""

    env_id: EnvId
    chance: Finite
    interval: Bounds


class Pair(Strict):
    """Two agents on the environments that both have, and the mean of their chances there.

    What the seeds of an environment share, the errors of J* and J(pi0), moves all scores in one direction
    and leaves their order.
    """

    first: Name
    second: Name
    chance: Finite
    interval: Bounds
    environments: tuple[Chance, ...]

    def reversed(self) -> Pair:
        """The same, seen from the second agent."""
        turned = tuple(
            each.model_copy(update={"chance": 1 - each.chance, "interval": turn(each.interval)})
            for each in self.environments
        )
        return Pair(
            first=self.second,
            second=self.first,
            chance=1 - self.chance,
            interval=turn(self.interval),
            environments=turned,
        )


def turn(interval: Bounds) -> Bounds:
    """The interval of one minus a chance."""
    return 1 - interval[1], 1 - interval[0]


def compare_pairs(entries: Sequence[Entry], agents: Sequence[str]) -> tuple[Pair, ...]:
    """Every two agents that share an environment.

    Args:
        entries: with scores.
        agents: in the order in which they stand in pairs.
    """
    scores = {(entry.agent.name, entry.env_id): scores_of(entry) for entry in entries}
    pairs: list[Pair] = []
    for first, second in combinations(agents, 2):
        shared = sorted({env_id for name, env_id in scores if name == first and (second, env_id) in scores})
        if not shared:
            continue
        both = [(scores[first, env_id], scores[second, env_id]) for env_id in shared]
        chances = [chance_to_win(ours, theirs) for ours, theirs in both]
        seeds = [(len(ours), len(theirs)) for ours, theirs in both]
        alone = [
            Chance(env_id=env_id, chance=round(chance, DIGITS), interval=_interval((chance,), (numbers,)))
            for env_id, chance, numbers in zip(shared, chances, seeds)
        ]
        pairs.append(
            Pair(
                first=first,
                second=second,
                chance=round(math.fsum(chances) / len(chances), DIGITS),
                interval=_interval(tuple(chances), tuple(seeds)),
                environments=tuple(alone),
            )
        )
    return tuple(pairs)


def scores_of(entry: Entry) -> list[float]:
    """The scores of an entry's seeds; none where J* = J(pi0)."""
    return [seed.score for seed in entry.seeds if seed.score is not None]


@cache
def _interval(chances: tuple[float, ...], seeds: tuple[tuple[int, int], ...]) -> Bounds:
    """The interval of a mean of chances, found once: few seeds make few different ones."""
    lower, upper = chances_interval(chances, seeds)
    return round(float(lower), DIGITS), round(float(upper), DIGITS)
