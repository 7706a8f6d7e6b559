"""Facets: what the rows of the board are filtered by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from klrl_envs.results.entry import Entry
from klrl_envs.results.record import Tier
from klrl_envs.tasks.row import short_id
from leaderboard.aggregate import Aggregate

Facets = dict[str, list[str]]
"""What a row has of each facet; a row is shown where it has what is asked for of all."""

EVERY, SOME = "every environment", "not every environment"
FACETS = {
    "kind": "kind",
    "tier": "tier",
    "trains": "what it trains",
    "observes": "what it observes",
    "coverage": "where it stands",
}
"""The facets and their names."""


def facets_of(entry: Entry, coverage: Sequence[str]) -> Facets:
    """The facets of an entry, of an agent that stands on so much."""
    agent = entry.agent
    return {
        "kind": [agent.kind],
        "tier": [entry.tier],
        "trains": [agent.trains],
        "observes": [agent.observes],
        "coverage": list(coverage),
    }


def coverage_of(entries: Sequence[Entry], aggregated: Aggregate) -> dict[str, list[str]]:
    """Where each agent stands: on every environment or not, and on which."""
    complete = {row.agent for row in aggregated.rows if row.complete}
    found: dict[str, list[str]] = {}
    for entry in entries:
        name = entry.agent.name
        found.setdefault(name, [EVERY if name in complete else SOME]).append(short_id(entry.env_id))
    return found


def facets_by_agent(entries: Sequence[Entry], aggregated: Aggregate) -> dict[str, Facets]:
    """What the entries of each agent have of each facet, all together."""
    coverage = coverage_of(entries, aggregated)
    found: dict[str, Facets] = {}
    for entry in entries:
        name = entry.agent.name
        whole = found.setdefault(name, {facet: [] for facet in FACETS})
        for facet, values in facets_of(entry, coverage[name]).items():
            whole[facet] += [value for value in values if value not in whole[facet]]
    return found


def choices(agents: Mapping[str, Facets]) -> dict[str, list[str]]:
    """What can be asked for of each facet: tiers from the most trust down, all else by the alphabet."""
    tiers = {tier: -place for place, tier in enumerate(get_args(Tier))}
    first = {EVERY: -2, SOME: -1}
    found: dict[str, list[str]] = {}
    for facet in FACETS:
        values = {value for facets in agents.values() for value in facets[facet]}
        found[facet] = sorted(
            values, key=lambda value: (tiers.get(value, first.get(value, 0)), value.lower())
        )
    return found
