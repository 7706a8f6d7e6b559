"""Which of two agents wins: the chance that a seed of one scores higher than a seed of the other."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from klrl_envs.results.document import Strict
from klrl_envs.results.entry import Entry
from klrl_envs.results.record import Bounds, EnvId, Finite, Name
from leaderboard.statistics import chance_interval, chance_to_win, mean_of_independent


class Chance(Strict):
    """On one environment, the chance that the first agent's score is the higher, ties half, and its interval."""

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
    scores = {
        (entry.agent.name, entry.env_id): [seed.score for seed in entry.seeds if seed.score is not None]
        for entry in entries
    }
    pairs: list[Pair] = []
    for first, second in combinations(agents, 2):
        shared = sorted({env_id for name, env_id in scores if name == first and (second, env_id) in scores})
        chances = [_chance(env_id, scores[first, env_id], scores[second, env_id]) for env_id in shared]
        if not chances:
            continue
        chance, interval = mean_of_independent(
            [each.chance for each in chances], [each.interval for each in chances]
        )
        pairs.append(
            Pair(first=first, second=second, chance=chance, interval=interval, environments=tuple(chances))
        )
    return tuple(pairs)


def _chance(env_id: str, first: Sequence[float], second: Sequence[float]) -> Chance:
    """The chance to win on one environment, from the scores of seeds."""
    chance = chance_to_win(first, second)
    return Chance(env_id=env_id, chance=chance, interval=chance_interval(chance, len(first), len(second)))
