"""The history of records: who first reached the best score on an environment, and how soon.

`history.json` only grows: `python -m leaderboard.build` adds a line where a learner's entry is better than
every record before it. An entry that is taken off leaves its line, marked as withdrawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from klrl_envs.results.document import Document, Strict
from klrl_envs.results.entry import Entry
from klrl_envs.results.outcome import shown_score
from klrl_envs.results.record import Bounds, Date, EnvId, Finite, Name, NonEmpty, Tier
from klrl_envs.tasks.row import short_id
from leaderboard.aggregate import is_believed, is_final
from leaderboard.tables import Table

Tokens = Annotated[int, Field(ge=0)]

ABOUT = (
    "The learners that were the first to be better than all before them, by the mean over seeds; of a day "
    "the best. The tokens to a score of .5 and of .9 are the means over seeds of those after which the "
    "learning curve first was there; – where a seed never was, or wrote no curve."
)


class Record(Strict):
    """A learner that was better on an environment than all before it. Tokens are means over the seeds."""

    env_id: EnvId
    agent: Name
    score: Finite
    score_interval: Bounds
    tokens: Tokens
    tokens_to_half: Tokens | None
    tokens_to_nine_tenths: Tokens | None
    tier: Tier
    commit: NonEmpty
    date: Date


class History(Document):
    """All records, by environment and then in the order in which they were set."""

    records: tuple[Record, ...] = ()


def extended(history: History, entries: Sequence[Entry]) -> History:
    """A history with the records that entries have set since.

    An entry counts that ranks: of a learner, with every seed, and with log-probs that were checked.
    """
    records = list(history.records)
    there = {(entry.env_id, entry.agent.name) for entry in entries}
    for entry in sorted(filter(counts, entries), key=lambda entry: (entry.date, -(entry.score or 0.0))):
        rivals = (each for each in records if each.env_id == entry.env_id)
        # what was taken off keeps its line, and nobody has to beat it
        best = max(
            (each.score for each in rivals if (each.env_id, each.agent) in there), default=-float("inf")
        )
        record = record_of(entry)
        if record.score > best:
            records.append(record)
    return History(records=tuple(sorted(records, key=lambda each: (each.env_id, each.date, each.score))))


def counts(entry: Entry) -> bool:
    """Whether an entry may set a record."""
    scored = entry.agent.kind == "learner" and entry.score is not None
    return scored and is_final(entry) and is_believed(entry)


def record_of(entry: Entry) -> Record:
    """An entry as a record."""
    assert entry.score is not None and entry.score_interval is not None
    return Record(
        env_id=entry.env_id,
        agent=entry.agent.name,
        score=round(entry.score, 6),
        score_interval=(round(entry.score_interval[0], 6), round(entry.score_interval[1], 6)),
        tokens=round(entry.mean("tokens")),
        tokens_to_half=mean_of([seed.tokens_to_half for seed in entry.seeds]),
        tokens_to_nine_tenths=mean_of([seed.tokens_to_nine_tenths for seed in entry.seeds]),
        tier=entry.tier,
        commit=entry.commit,
        date=entry.date,
    )


def mean_of(tokens: Sequence[int | None]) -> int | None:
    """The mean, None where one is missing."""
    known = [each for each in tokens if each is not None]
    return round(sum(known) / len(known)) if len(known) == len(tokens) else None


def history_table(history: History, entries: Sequence[Entry]) -> Table:
    """Headings and rows: every record, and whether its entry is still there."""
    there = {(entry.env_id, entry.agent.name) for entry in entries}

    def shown(tokens: int | None) -> str:
        return "–" if tokens is None else f"{tokens:,}"

    headings = ("environment", "date", "agent", "score [95 %]", "tokens", "to .5", "to .9", "tier")
    rows = [
        (
            short_id(each.env_id),
            each.date,
            each.agent + ("" if (each.env_id, each.agent) in there else " (withdrawn)"),
            shown_score(each.score, each.score_interval),
            f"{each.tokens:,}",
            shown(each.tokens_to_half),
            shown(each.tokens_to_nine_tenths),
            each.tier,
        )
        for each in history.records
    ]
    return headings, rows
