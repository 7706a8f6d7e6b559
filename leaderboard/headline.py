"""Agents over all environments as tables: the headline, who stands apart, and which of two wins.

python -m leaderboard.headline [--tag exact]    print the headline of a tag of the registry
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from klrl_envs.results.entry import load_entries
from klrl_envs.results.record import Bounds
from klrl_envs.tasks.row import short_id
from leaderboard.aggregate import Aggregate, AggregateRow, aggregate
from leaderboard.folder import ENTRIES
from leaderboard.pairwise import Pair
from leaderboard.tables import NO_ENTRIES, Table, markdown, standing

RANKS = (
    "The mean over environments of the mean over seeds, with its 95 % interval. A rank in parentheses is of "
    "scores that were not all reproduced here; bounds are no learners and have none."
)
APART = "Agents without every environment: means of different environments do not rank."
PAIRS = (
    "The chance that a run of the agent at the left scores higher than one of the agent above, ties half: "
    "the mean over the environments that both have [95 %]. On one environment three runs against three never "
    "exclude one half."
)


def headline(aggregated: Aggregate) -> Table:
    """The agents that have every environment, the best first."""
    headings = ("rank", "agent", "mean score [95 %]", "lowest", "tier")
    rows = [
        [_rank(row), row.agent, _score(row), _lowest(row), standing(row.tier, final=row.final)]
        for row in aggregated.rows
        if row.complete
    ]
    return headings, rows


def apart(aggregated: Aggregate) -> Table:
    """The agents that lack an environment."""
    headings = ("agent", "mean over its own [95 %]", "lowest", "environments", "tier")
    count = len(aggregated.environments)
    rows = [
        [
            row.agent,
            _score(row),
            _lowest(row),
            f"{len(row.environments)} of {count}: {', '.join(map(short_id, row.environments))}",
            standing(row.tier, final=row.final),
        ]
        for row in aggregated.rows
        if not row.complete
    ]
    return headings, rows


def left_out(aggregated: Aggregate) -> str:
    """Which environments count in no mean, in a sentence; "" for none."""
    names = ", ".join(map(short_id, aggregated.without_score))
    return f"Not in the mean, as J* = J(pi0) there: {names}." if names else ""


def winners(aggregated: Aggregate, env_id: str | None = None) -> Table:
    """The chances to win, a row and a column an agent: on one environment, or the mean over the shared."""
    chances: dict[tuple[str, str], str] = {}
    for pair in aggregated.pairs:
        for each in (pair, pair.reversed()):
            chances[each.first, each.second] = _chance(each, env_id)
    names = [row.agent for row in aggregated.rows if env_id is None or env_id in row.environments]
    rows = [[first, *(chances.get((first, second), "-") for second in names)] for first in names]
    return ("", *names), rows


def _chance(pair: Pair, env_id: str | None) -> str:
    """The cell of a pair; "-" where it does not meet."""
    if env_id is None:
        return shown_chance(pair.chance, pair.interval)
    found = [each for each in pair.environments if each.env_id == env_id]
    return shown_chance(found[0].chance, found[0].interval) if found else "-"


def shown_chance(chance: float, interval: Bounds) -> str:
    """A chance with its interval."""
    return f"{chance:.2f} [{interval[0]:.2f}, {interval[1]:.2f}]"


def _rank(row: AggregateRow) -> str:
    """The rank, in parentheses where it rests on trust."""
    if row.rank is None:
        return row.kind
    return str(row.rank) if row.trusted else f"({row.rank})"


def _score(row: AggregateRow) -> str:
    """The mean with its interval, which a single seed somewhere does not give."""
    bounds = row.score_interval
    return f"{row.score:.3f}" + (f" [{bounds[0]:.3f}, {bounds[1]:.3f}]" if bounds else "")


def _lowest(row: AggregateRow) -> str:
    """The smallest score and where."""
    return f"{row.lowest:.3f} {short_id(row.lowest_on)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m leaderboard.headline", description="Print the headline of a group of environments."
    )
    parser.add_argument("--tag", help="only the environments that the registry gives this tag")
    options = parser.parse_args(arguments)
    try:
        aggregated = aggregate(load_entries(ENTRIES), tag=options.tag)
    except ValueError as error:
        parser.error(str(error))
    parts = [", ".join(map(short_id, aggregated.environments)), markdown(*headline(aggregated))]
    if apart(aggregated)[1]:
        parts.append(markdown(*apart(aggregated)))
    print("\n\n".join(parts) if aggregated.rows else NO_ENTRIES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
