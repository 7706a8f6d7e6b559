"""The points of sweeps that agents have run: which records are of one setting, and their means over seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from klrl_envs.envs.initial_policy import initial_policy_of
from klrl_envs.evaluation.comparison import ExactEvaluation, evaluate_exactly
from klrl_envs.registry import find_row, make_task, sweeps
from klrl_envs.results.record import FILE, ComparisonRecord, RunRecord
from klrl_envs.tasks.row import Settings

Identity = tuple[str, str, str, int]
"""Agent, environment, settings and seed."""


@dataclass(frozen=True)
class SweepPoint:
    """The seeds of an agent at one setting of a sweep."""

    env_id: str
    settings: Settings
    runs: tuple[RunRecord, ...]

    def mean(self, name: str) -> float:
        """The mean over the seeds of `score`, `kl`, `regret` or `kl_coef`.

        Raises:
            ValueError: a seed has none.
        """
        return average([getattr(run, name) for run in self.runs], f"{name} on {self.env_id}")

    @property
    def comparisons(self) -> list[ComparisonRecord]:
        """The seeds' comparisons with pi*; empty where one has none."""
        found = [run.comparison for run in self.runs if run.comparison is not None]
        return found if len(found) == len(self.runs) else []

    def metric(self, name: str, *, optimal: bool = False) -> float:
        """The mean over the seeds of a metric of the task, under the policy or under pi*."""
        parts = [each.optimal_metrics if optimal else each.metrics for each in self.comparisons]
        return average([part.get(name) for part in parts], f"the metric {name} on {self.env_id}")

    @property
    def forward_kl(self) -> float:
        """The mean over the seeds of KL(pi* || pi), nats; infinite where one is."""
        values = [each.forward_kl for each in self.comparisons]
        return math.fsum(math.inf if value is None else value for value in values) / len(values)

    def exactly(self, policy: str) -> ExactEvaluation:
        """The exact evaluation of "reference", "optimal" or "initial" (the task's own) at this setting.

        Raises:
            ValueError: the task names no initial policy.
        """
        return _exactly(policy, self.env_id, tuple(sorted(self.settings.items())))


@cache
def _exactly(policy: str, env_id: str, settings: tuple[tuple[str, Any], ...]) -> ExactEvaluation:
    arguments = dict(settings)
    named = initial_policy_of(make_task(env_id, **arguments)) if policy == "initial" else policy
    if named is None:
        raise ValueError(f"{env_id} names no initial policy")
    return evaluate_exactly(named, env_id, **arguments)


def average(values: Sequence[float | None], name: str) -> float:
    """The mean; ValueError that names what is missing."""
    found = [value for value in values if value is not None]
    if not found or len(found) < len(values):
        raise ValueError(f"a result has no value of {name}")
    return math.fsum(found) / len(found)


def read_records(folder: Path) -> list[RunRecord]:
    """The records of runs in all `result.json` under a folder.

    Raises:
        ValueError: no such folder, a damaged file, two files of one run, or nothing to report.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}")
    paths = sorted(folder.rglob(FILE))
    found: dict[Identity, Path] = {}
    records: list[RunRecord] = []
    for path in paths:
        record = RunRecord.load(path)
        run = identity(record.agent.name, record.env_id, record.env_kwargs, record.seed)
        if run in found:
            raise ValueError(
                f"{found[run]} and {path} are both seed {record.seed} of {record.agent.name} on "
                f"{record.env_id} with {record.env_kwargs}: name a folder that holds one of them"
            )
        found[run] = path
        records.append(record)
    if not records:
        raise ValueError(
            f"{str(folder)!r} holds no {FILE}: klrl benchmark --suite diagnostics --out {folder} makes them"
        )
    return records


def identity(agent: str, env_id: str, settings: Mapping[str, Any], seed: int) -> Identity:
    """What tells a run from all others, however its settings are written, where a sweep knows them."""
    same = key(env_id, settings) if env_id in sweeps() else repr(sorted(settings.items()))
    return agent, env_id, same, seed


def outside(records: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs whose settings no sweep has, and which no number holds."""
    inside = {(env_id, key(env_id, settings)) for env_id, sweep in sweeps().items() for settings in sweep}
    return [each for each in records if (each.env_id, key(each.env_id, each.env_kwargs)) not in inside]


def key(env_id: str, settings: Mapping[str, Any]) -> str:
    """Settings with the environment's defaults filled in, so that `{"delay": 4}` and `{}` may be alike."""
    whole = {**find_row(env_id).arguments(), **settings}
    plain = {
        name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in whole.items()
    }
    return repr(sorted(plain.items()))
