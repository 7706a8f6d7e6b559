"""What came out of a suite: the seeds that were run, means over them, and the table that says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from klrl_envs.registry import find_row
from klrl_envs.results.benchmark import Benchmark
from klrl_envs.results.entry import Entry
from klrl_envs.results.guard import problems_of_entry
from klrl_envs.results.plan import Group, PlannedRun, usual_seeds
from klrl_envs.results.record import Bounds, RunRecord
from klrl_envs.tasks.row import short_id


@dataclass(frozen=True)
class Outcome:
    """The seeds of an agent on an environment that were run, in order; at least one.

    Attributes:
        run: one of them as it was planned.
        records: their records.
        interval: of the mean score; None where there is no score.
    """

    run: PlannedRun
    records: tuple[RunRecord, ...]
    interval: Bounds | None

    @property
    def score(self) -> float | None:
        """The mean over the seeds; None where one has none."""
        scores = [record.score for record in self.records if record.score is not None]
        return math.fsum(scores) / len(scores) if len(scores) == len(self.records) else None

    def mean(self, field: str) -> float:
        """The mean over the seeds of one of their numbers."""
        return math.fsum(getattr(record, field) for record in self.records) / len(self.records)


def outcomes(runs: Sequence[PlannedRun], benchmark: Benchmark) -> list[Outcome]:
    """What is finished of a suite's runs, by agent, environment and settings; what is not is left out."""
    found: dict[Group, list[RunRecord]] = {}
    first = {run.group: run for run in reversed(runs)}
    for run in runs:
        recorded = (record for record in benchmark.recorded(run) if record.seed == run.seed)
        record = benchmark.finished(run) or next(recorded, None)
        if record is not None:
            found.setdefault(run.group, []).append(record)
    return [
        Outcome(first[group], tuple(records), benchmark.score_interval(records))
        for group, records in found.items()
    ]


def summary_table(found: Sequence[Outcome]) -> Table:
    """Score with its interval, KL and tokens of each environment, means over the seeds."""
    table = Table(title="0 is the reference, 1 the optimum", caption=unfinished(found) or None)
    several = len({outcome.run.agent for outcome in found}) > 1
    for name in (
        *(["agent"] if several else []),
        "environment",
        "seeds",
        "score [95 %]",
        "KL (nats)",
        "tokens",
    ):
        table.add_column(name, justify="right" if name in ("KL (nats)", "tokens") else "left")
    for outcome in found:
        run = outcome.run
        cells = [
            " ".join(filter(None, (short_id(run.env_id), run.slug))),
            ", ".join(str(record.seed) for record in outcome.records),
            shown_score(outcome.score, outcome.interval),
            f"{outcome.mean('kl'):.3g}",
            f"{outcome.mean('tokens'):,.0f}",
        ]
        table.add_row(*(Text(cell) for cell in ([run.agent, *cells] if several else cells)))
    return table


def unfinished(found: Sequence[Outcome]) -> str:
    """That some environments have fewer seeds than a final entry, or nothing."""
    few = [
        outcome for outcome in found if len(outcome.records) < len(usual_seeds(find_row(outcome.run.env_id)))
    ]
    return "not final: an entry has all seeds, 0 to 4 (0 to 2 on neural environments)" if few else ""


def shown_score(score: float | None, bounds: Bounds | None) -> str:
    """A score with its interval."""
    if score is None or bounds is None:
        return "none (J* = J(pi0))"
    return f"{score:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]"


def refusals(runs: Sequence[PlannedRun], benchmark: Benchmark) -> dict[str, list[str]]:
    """Why the leaderboard would not take entries that runs have made, each reason with the entries' names."""
    found: dict[str, list[str]] = {}
    for run in {run.group: run for run in runs}.values():
        path = benchmark.entry(run)
        if path is not None and path.exists():
            for problem in problems_of_entry(Entry.load(path)):
                found.setdefault(problem, []).append(path.name)
    return found
