"""Who crowds around the optimum of an environment, and which part of the reward-KL plane holds them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from klrl_envs.results.entry import Entry
from leaderboard.extent import Best, Box, edge_of

CROWD = 4
"""Agents near the optimum from which on they are shown once more, enlarged."""
NEAR = (0.25, 0.15, 0.08)
"""What is near, the widest first: the share of the plane's width and height."""
WORTH = 1.8
"""How much larger a part must become, at least, to be shown once more."""


def close_ups(entries: Sequence[Entry], best: Best, extent: Box) -> Iterator[tuple[list[int], Box]]:
    """The places of the agents that stand close around the optimum, where they are too many to be told apart,
    and the part of the plane that holds them: of several, the widest first.

    Args:
        entries: of the environment.
        best: its optimum.
        extent: of the plane.
    """
    edge = edge_of(best)
    width, height = (high - low for low, high in extent)
    for share in NEAR:
        crowd = [
            place
            for place, entry in enumerate(entries)
            if abs(min(entry.mean("kl"), edge) - best.kl) < share * width
            and abs(entry.mean("expected_reward") - best.expected_reward) < share * height
        ]
        if len(crowd) < CROWD:
            return
        yield crowd, surroundings([entries[place] for place in crowd], best, edge)


def surroundings(entries: Sequence[Entry], best: Best, edge: float) -> Box:
    """What holds the optimum and all seeds of some agents, with a margin."""

    def reach(values: Sequence[float]) -> tuple[float, float]:
        margin = 0.12 * (max(values) - min(values)) or 0.01
        return min(values) - margin, max(values) + margin

    seeds = [seed for entry in entries for seed in entry.seeds]
    return (
        reach([best.kl, *(min(seed.kl, edge) for seed in seeds)]),
        reach([best.expected_reward, *(seed.expected_reward for seed in seeds)]),
    )
