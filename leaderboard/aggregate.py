"""Every agent over all its environments: `aggregate.json`, made from the entries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from klrl_envs.results.document import Document, Strict
from klrl_envs.results.entry import Entry, digest_of_entries
from klrl_envs.results.record import Bounds, EnvId, Finite, Name
from leaderboard.statistics import interquartile_mean, stratified_bootstrap


class AggregateRow(Strict):
    """One agent over several environments: the interquartile mean of all its scores, with its interval."""

    agent: Name
    environments: tuple[EnvId, ...]
    score: Finite
    score_interval: Bounds | None


class Aggregate(Document):
    """Every agent over its environments, made from the entries with this digest."""

    entries_digest: str
    rows: tuple[AggregateRow, ...]


def aggregate(entries: Sequence[Entry]) -> Aggregate:
    """Every agent's interquartile mean over all its environments and seeds, the widest and then the best
    first.
    """
    rows: list[AggregateRow] = []
    for agent in sorted({entry.agent.name for entry in entries}):
        scores = {
            entry.env_id: [seed.score for seed in entry.seeds if seed.score is not None]
            for entry in entries
            if entry.agent.name == agent and entry.score is not None
        }
        if not scores:
            continue
        several = all(len(values) > 1 for values in scores.values())
        rows.append(
            AggregateRow(
                agent=agent,
                environments=tuple(sorted(scores)),
                score=float(interquartile_mean(np.concatenate(list(scores.values())))),
                score_interval=stratified_bootstrap(scores, np.random.default_rng(0)) if several else None,
            )
        )
    rows.sort(key=lambda row: (-len(row.environments), -row.score, row.agent))
    return Aggregate(entries_digest=digest_of_entries(entries), rows=tuple(rows))
