"""What came out: the seeds of an agent on an environment, their mean score with its interval, and a table."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

from klrl_envs.registry import find_row
from klrl_envs.results.benchmark import Benchmark
from klrl_envs.results.entry import Entry, mean_score
from klrl_envs.results.guard import entry_interval, problems_of_entry
from klrl_envs.results.plan import PlannedRun, usual_seeds
from klrl_envs.results.record import Bounds, RunRecord
from klrl_envs.tasks.row import NAMESPACE, short_id


@dataclass(frozen=True)
class Outcome:
    """The seeds of an agent on an environment with the same arguments, in order; at least one."""

    records: tuple[RunRecord, ...]

    @property
    def agent(self) -> str:
        """Its name."""
        return self.records[0].agent.name

    @property
    def env_id(self) -> str:
        """The environment."""
        return self.records[0].env_id

    @property
    def label(self) -> str:
        """The environment in short, with the arguments that were changed: "Keywords-v0 horizon=12"."""
        changed = (f"{name}={json.dumps(value)}" for name, value in self.records[0].env_kwargs.items())
        return " ".join((short_id(self.env_id), *changed))

    @property
    def seeds(self) -> str:
        """Their numbers: "0, 1, 2"."""
        return ", ".join(str(record.seed) for record in self.records)

    @property
    def score(self) -> float | None:
        """The mean over the seeds; None where one has none."""
        return mean_score(self.records)

    @property
    def interval(self) -> Bounds | None:
        """95 %, of the mean score: as the leaderboard has it. A single seed's is its own."""
        return entry_interval(self.env_id, self.records)

    def mean(self, field: str) -> float:
        """The mean over the seeds of one of their numbers."""
        return math.fsum(getattr(record, field) for record in self.records) / len(self.records)


def outcomes_of(records: Iterable[RunRecord]) -> list[Outcome]:
    """Records by environment, arguments and agent, in the order in which these first come."""
    found: dict[tuple[str, str, str], list[RunRecord]] = {}
    for record in records:
        settings = json.dumps(record.env_kwargs, sort_keys=True)
        found.setdefault((record.env_id, settings, record.agent.name), []).append(record)
    return [Outcome(tuple(sorted(seeds, key=lambda record: record.seed))) for seeds in found.values()]


def finished(runs: Sequence[PlannedRun], benchmark: Benchmark) -> list[RunRecord]:
    """The records of a suite's runs; what is not done is left out."""
    found: list[RunRecord] = []
    for run in runs:
        recorded = (record for record in benchmark.recorded(run) if record.seed == run.seed)
        record = benchmark.finished(run) or next(recorded, None)
        if record is not None:
            found.append(record)
    return found


def summary_table(found: Sequence[Outcome]) -> Table:
    """Score with its interval, KL and tokens of each environment, means over the seeds."""
    table = Table(title="0 is the reference, 1 the optimum", caption=unfinished(found) or None)
    several = len({outcome.agent for outcome in found}) > 1
    for name in (*(["agent"] if several else []), "environment", "seeds", "score [95 %]"):
        table.add_column(name)
    for name in ("KL (nats)", "tokens"):
        table.add_column(name, justify="right")
    for outcome in found:
        cells = [
            *([outcome.agent] if several else []),
            outcome.label,
            outcome.seeds,
            shown_score(outcome.score, outcome.interval),
            f"{outcome.mean('kl'):.3g}",
            f"{outcome.mean('tokens'):,.0f}",
        ]
        table.add_row(*map(Text, cells))
    return table


def plain_scores(found: Sequence[Outcome]) -> list[dict[str, Any]]:
    """Outcomes as JSON has them."""
    return [
        {"agent": each.agent, "env_id": each.env_id, "env_kwargs": each.records[0].env_kwargs}
        | {"seeds": [record.seed for record in each.records], "score": each.score, "interval": each.interval}
        | {name: each.mean(name) for name in ("expected_reward", "kl", "tokens")}
        for each in found
    ]


def unfinished(found: Sequence[Outcome]) -> str:
    """That some environments have fewer seeds than a final entry, or nothing."""
    entries = (
        each
        for each in found
        if each.label == short_id(each.env_id) and each.env_id.startswith(f"{NAMESPACE}/")
    )
    few = any(len(each.records) < len(usual_seeds(find_row(each.env_id))) for each in entries)
    return "not final: an entry has seeds 0 to 4, on neural environments 0 to 2" if few else ""


def shown_score(score: float | None, bounds: Bounds | None) -> str:
    """A score with its interval."""
    if score is None or bounds is None:
        return "none (J* = J(pi0))"
    return f"{score:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]"


def refusals(runs: Sequence[PlannedRun], benchmark: Benchmark) -> dict[str, list[str]]:
    """Why the leaderboard would not take entries that runs have made: a reason, and the entries' files."""
    found: dict[str, list[str]] = {}
    for run in {run.group: run for run in runs}.values():
        path = benchmark.entry(run)
        if path is not None and path.exists():
            for problem in problems_of_entry(Entry.load(path)):
                found.setdefault(problem, []).append(path.name)
    return found
