"""The results that agents left: what is read of a `result.json`, and which runs are of one setting."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from klrl_envs.registry import find_row, sweeps
from klrl_envs.tasks.row import Settings

Finite = Annotated[float, Field(allow_inf_nan=False)]


class Differences(BaseModel):
    """How a policy pi differs from pi*: the part of a result's diagnostics that is read; KL in nats."""

    forward_kl: Finite | None  # None where infinite
    metrics: dict[str, Finite]
    optimal_metrics: dict[str, Finite]


class Named(BaseModel):
    """An agent."""

    name: Annotated[str, Field(min_length=1)]


class RunResult(BaseModel):
    """The part of a `result.json` that is read; other fields may be there."""

    agent: Named
    env_id: str
    env_kwargs: dict[str, Any]
    kl_coef: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    seed: int
    score: Finite | None
    kl: Finite
    regret: Finite
    tokens: Annotated[int, Field(ge=0)]
    diagnostics: Differences | None = None


@dataclass(frozen=True)
class Point:
    """The seeds of an agent at one setting of a sweep."""

    env_id: str
    settings: Settings
    runs: tuple[RunResult, ...]

    def mean(self, name: str) -> float:
        """The mean over the seeds of `score`, `kl`, `regret` or `kl_coef`.

        Raises:
            ValueError: a seed has none.
        """
        return average([getattr(run, name) for run in self.runs], f"{name} on {self.env_id}")

    @property
    def differences(self) -> list[Differences]:
        """The seeds' diagnostics; empty where one has none."""
        found = [run.diagnostics for run in self.runs if run.diagnostics is not None]
        return found if len(found) == len(self.runs) else []

    def metric(self, name: str, *, optimal: bool = False) -> float:
        """The mean over the seeds of a metric of the task, under the policy or under pi*."""
        parts = [each.optimal_metrics if optimal else each.metrics for each in self.differences]
        return average([part.get(name) for part in parts], f"the metric {name} on {self.env_id}")

    @property
    def forward_kl(self) -> float:
        """The mean over the seeds of KL(pi* || pi), nats; infinite where one is."""
        values = [each.forward_kl for each in self.differences]
        return math.fsum(math.inf if value is None else value for value in values) / len(values)


def average(values: Sequence[float | None], name: str) -> float:
    """The mean; ValueError that names what is missing."""
    found = [value for value in values if value is not None]
    if not found or len(found) < len(values):
        raise ValueError(f"a result has no value of {name}")
    return math.fsum(found) / len(found)


def read_runs(folder: Path) -> list[RunResult]:
    """The results on diagnostics among all `result.json` under a folder.

    Raises:
        ValueError: no such folder, a damaged file, two files of one run, or nothing to report.
    """
    if not folder.is_dir():
        raise ValueError(f"there is no folder {str(folder)!r}")
    paths = sorted(folder.rglob("result.json"))
    found: dict[tuple[str, str, str, int], Path] = {}
    runs: list[RunResult] = []
    for path in paths:
        run = read_run(path)
        if run.env_id not in sweeps():
            continue
        identity = (run.agent.name, run.env_id, key(run.env_id, run.env_kwargs), run.seed)
        if identity in found:
            raise ValueError(
                f"{found[identity]} and {path} are both seed {run.seed} of {run.agent.name} on {run.env_id} "
                f"with {run.env_kwargs}: name a folder that holds one of them"
            )
        found[identity] = path
        runs.append(run)
    if not runs:
        raise ValueError(
            f"{str(folder)!r} holds {len(paths)} result.json, none of them on a diagnostic: "
            "python -m benchmarks.run --suite diagnostics makes them"
        )
    return runs


def read_run(path: Path) -> RunResult:
    """Read one `result.json`; ValueError that names the file, the field and the fault."""
    try:
        return RunResult.model_validate_json(path.read_bytes())
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, fault["loc"]))
        raise ValueError(f"{path} is no result: {place + ': ' if place else ''}{fault['msg']}") from None


def outside(runs: Sequence[RunResult]) -> list[RunResult]:
    """The runs whose settings no sweep has, and which no number holds."""
    inside = {(env_id, key(env_id, settings)) for env_id, sweep in sweeps().items() for settings in sweep}
    return [run for run in runs if (run.env_id, key(run.env_id, run.env_kwargs)) not in inside]


def key(env_id: str, settings: Mapping[str, Any]) -> str:
    """Settings with the environment's defaults filled in, so that `{"delay": 4}` and `{}` may be alike."""
    row = find_row(env_id)
    defaults = {
        name: parameter.default
        for name, parameter in inspect.signature(row.function()).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    whole = {**defaults, "kl_coef": row.kl_coef, **settings}
    plain = {
        name: float(value) if isinstance(value, int) and not isinstance(value, bool) else value
        for name, value in whole.items()
    }
    return repr(sorted(plain.items()))
