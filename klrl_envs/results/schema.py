"""The records of the leaderboard: which fields a result and an entry have, and what must hold of them.

A *result* is one seed, written by an agent as `result.json`. An *entry* is one agent on one environment,
all seeds together, one file in `leaderboard/entries/`. Both refuse unknown fields, so that a misspelt one
cannot go unseen.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION = 1
BUDGET_SLACK = 1.01  # the last batch may run over the token budget by this factor
SCORE_SLACK = 1e-6  # rounding: the optimum scores 1, and no interval may lie wholly above it

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
EnvId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+/[A-Za-z0-9_-]+-v[0-9]+$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Date = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
Finite = Annotated[float, Field(allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Interval = tuple[Finite, Finite]


class Strict(BaseModel):
    """A frozen record that refuses unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Agent(Strict):
    """Who ran: a unique name, where its code is (on the web, or a path of this repository), its licence."""

    name: Name
    url: Annotated[str, Field(pattern=r"^(https?://[^\s()<>]+|[A-Za-z0-9_-][A-Za-z0-9_./-]*)$")]
    license: Annotated[str, Field(min_length=1)]


class Hardware(Strict):
    """What it ran on. `gpu` is None on a CPU; memory in gigabytes."""

    cpu: Annotated[str, Field(min_length=1)]
    cores: Annotated[int, Field(ge=1)]
    gpu: str | None
    memory_gb: Annotated[float, Field(gt=0)] | None

    def __str__(self) -> str:
        """The short form of the table."""
        memory = "" if self.memory_gb is None else f", {self.memory_gb:.0f} GB"
        return f"{self.gpu or self.cpu}, {self.cores} cores{memory}"


class Versions(Strict):
    """The versions that a rerun needs; what an agent does not use is None."""

    python: str
    klrl_envs: str
    torch: str | None = None
    gymnasium: str
    stable_baselines3: str | None = None

    def __str__(self) -> str:
        """The short form of the table."""
        return ", ".join(f"{name} {value}" for name, value in self.model_dump(exclude_none=True).items())


class AggregateRow(Strict):
    """One agent over several environments: the interquartile mean of all its scores, with its interval."""

    agent: Name
    environments: tuple[EnvId, ...]
    score: Finite
    score_interval: Interval | None


class Aggregate(Strict):
    """`aggregate.json`: every agent over its environments, made from the entries with this digest."""

    entries_digest: str
    rows: tuple[AggregateRow, ...]


class Measured(Strict):
    """What one seed measured, at the environment's declared kl_coef.

    `score` is None where J* = J(pi0). `objective`, `expected_reward` and `regret` are in units of reward,
    `kl` in nats, `seconds` of wall time for training and evaluation. `regret` may fall below 0 by sampling
    error.
    """

    seed: Annotated[int, Field(ge=0)]
    score: Finite | None
    score_interval: Interval | None
    objective: Finite
    expected_reward: Finite
    kl: Finite
    regret: Finite
    tokens: Annotated[int, Field(ge=0)]
    seconds: NonNegative

    @model_validator(mode="after")
    def _check(self) -> Measured:
        check_score(self.score, self.score_interval)
        return self


class Diagnostics(Strict):
    """How the agent's policy differs from the optimum pi*, on an exact environment; nats, of whole texts.

    `exact` says whether they were computed or sampled; `reverse_kl` is KL(pi || pi*); `forward_kl` is
    KL(pi* || pi), None where it is infinite; `metrics` and `optimal_metrics` are means of the task's metrics
    under pi and under pi*.
    """

    exact: bool
    reverse_kl: Finite
    forward_kl: Finite | None
    entropy: Finite
    optimal_entropy: Finite
    metrics: dict[str, Finite]
    optimal_metrics: dict[str, Finite]


class Result(Measured):
    """`result.json`: one seed of one agent on one environment, complete in itself.

    `diagnostics` may be left out, and are not kept in entries.
    """

    schema_version: Literal[1]
    agent: Agent
    env_id: EnvId
    env_kwargs: dict[str, Any]
    kl_coef: Annotated[float, Field(gt=0)]
    task_sha256: Sha256
    command: Annotated[str, Field(min_length=1)]
    hardware: Hardware
    versions: Versions
    commit: Annotated[str, Field(min_length=1)]
    date: Date
    diagnostics: Diagnostics | None = None

    @model_validator(mode="after")
    def _check_objective(self) -> Result:
        check_objective(self, self.kl_coef)
        return self


class Seed(Measured):
    """One seed of an entry; its commit, date, hardware and versions only where they differ from the entry."""

    commit: str | None = None
    date: Date | None = None
    hardware: Hardware | None = None
    versions: Versions | None = None


class Entry(Strict):
    """One agent on one environment. `command` has `{seed}` and `{out}` where a run's own values go.

    `score` is the mean over the seeds and `score_interval` its 95 % interval; `tier` says who ran it (see
    RULES.md).
    """

    schema_version: Literal[1]
    agent: Agent
    env_id: EnvId
    env_kwargs: dict[str, Any]
    kl_coef: Annotated[float, Field(gt=0)]
    task_sha256: Sha256
    command: Annotated[str, Field(min_length=1)]
    commit: Annotated[str, Field(min_length=1)]
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    score: Finite | None
    score_interval: Interval | None
    hardware: Hardware
    versions: Versions
    date: Date
    tier: Literal["reproduced", "submitted"]

    @model_validator(mode="after")
    def _check(self) -> Entry:
        numbers = [seed.seed for seed in self.seeds]
        if numbers != sorted(set(numbers)):
            raise ValueError(f"seeds must be distinct and ascending, not {numbers}")
        for placeholder in ("{seed}", "{out}"):
            if placeholder not in self.command:
                raise ValueError(
                    f"command must hold {placeholder} where a run's own value goes: {self.command!r}"
                )
        check_score(self.score, self.score_interval)
        for seed in self.seeds:
            check_objective(seed, self.kl_coef)
        scores = [seed.score for seed in self.seeds]
        if (self.score is None) != (None in scores):
            raise ValueError("score is None exactly where the seeds' scores are")
        if self.score is not None:
            mean = math.fsum(score for score in scores if score is not None) / len(scores)
            if not math.isclose(self.score, mean, rel_tol=1e-9, abs_tol=1e-9):
                raise ValueError(f"score must be the mean of the seeds' scores, {mean}, not {self.score}")
        return self

    def mean(self, field: str) -> float:
        """The mean over the seeds of one of their numbers."""
        return math.fsum(getattr(seed, field) for seed in self.seeds) / len(self.seeds)

    def distinct(self, field: str) -> list[Any]:
        """The values that `commit`, `date`, `hardware` or `versions` takes over the seeds, each once."""
        values = [getattr(seed, field) or getattr(self, field) for seed in self.seeds]
        return [value for index, value in enumerate(values) if value not in values[:index]]


def check_score(score: float | None, interval: Interval | None) -> None:
    """Raise ValueError unless the interval is ordered, holds the score, and does not lie above 1."""
    if (score is None) != (interval is None):
        raise ValueError("score and score_interval are both numbers or both None")
    if score is None or interval is None:
        return
    lower, upper = interval
    if not lower - SCORE_SLACK <= score <= upper + SCORE_SLACK:
        raise ValueError(f"score_interval must be ordered and hold the score {score}, not [{lower}, {upper}]")
    if lower > 1 + SCORE_SLACK:
        raise ValueError(
            f"score {score} [{lower}, {upper}] is above 1 beyond its interval: no policy beats the optimum, "
            "so the log-probabilities, the KL or the rewards of this run are wrong"
        )


def check_objective(measured: Measured, kl_coef: float) -> None:
    """Raise ValueError unless objective = expected_reward - kl_coef kl, but for the estimators' own errors.

    The three may be estimated each in its best way (control variates), so they agree within sampling error
    only; what is caught here is another kl_coef, a KL in bits, or a sign.
    """
    expected = measured.expected_reward - kl_coef * measured.kl
    optimum = measured.objective + measured.regret
    scale = max(abs(measured.expected_reward), abs(kl_coef * measured.kl), abs(optimum))
    if abs(measured.objective - expected) > 0.25 * scale + 1e-6:
        raise ValueError(
            f"objective {measured.objective} is far from expected_reward - kl_coef kl = {expected} "
            f"(seed {measured.seed}, kl_coef {kl_coef}, kl {measured.kl} nats)"
        )


def budget_of(env_id: str) -> tuple[float, int]:
    """(kl_coef, token_budget) that the registry declares; ValueError for an unknown environment."""
    from klrl_envs.registry import REGISTRY

    for row in REGISTRY:
        if row.gym_id == env_id:
            return row.kl_coef, row.token_budget
    raise ValueError(f"env_id must be one of {', '.join(row.gym_id for row in REGISTRY)}, not {env_id!r}")


@cache
def task_sha256(env_id: str, settings: str = "{}") -> str:
    """The fingerprint of the task as it is scored, which is with its evaluation prompts where it has
    prompts; `settings` are its arguments as a JSON object.
    """
    from klrl_envs.registry import find_row, make_task

    has_prompts = "prompts" in inspect.signature(find_row(env_id).function()).parameters
    prompts = {"prompts": "evaluation"} if has_prompts else {}
    return make_task(env_id, **{**json.loads(settings), **prompts}).fingerprint


def check_rules(record: Result | Entry) -> None:
    """Raise ValueError where a record breaks a rule: default task, declared kl_coef, token budget."""
    if record.env_kwargs:
        raise ValueError(f"env_kwargs must be empty on the leaderboard, not {record.env_kwargs}")
    check_run(record)


def check_run(record: Result | Entry) -> None:
    """Raise ValueError where a record breaks a rule that holds with any arguments of the environment: the
    kl_coef that they name, else the declared one, and the token budget.
    """
    declared, budget = budget_of(record.env_id)
    kl_coef = record.env_kwargs.get("kl_coef", declared)
    if record.kl_coef != kl_coef:
        named = "set" if "kl_coef" in record.env_kwargs else "declared"
        raise ValueError(f"kl_coef must be the {named} {kl_coef} of {record.env_id}, not {record.kl_coef}")
    seeds = record.seeds if isinstance(record, Entry) else (record,)
    for commit in {record.commit, *(seed.commit or record.commit for seed in seeds)}:
        if isinstance(record, Entry) and not re.fullmatch(r"[0-9a-f]{40}", commit):
            raise ValueError(f"commit must be the 40 digits of one that can be checked out, not {commit!r}")
    for measured in seeds:
        if measured.tokens > budget * BUDGET_SLACK:
            raise ValueError(
                f"seed {measured.seed} took {measured.tokens:,} tokens; {record.env_id} allows {budget:,} "
                f"(and {BUDGET_SLACK - 1:.0%} for the last batch)"
            )


def entry_path(env_id: str, agent: str, folder: Path) -> Path:
    """Where an entry lies: `<env>--<agent>.json`, without the namespace of the suite."""
    return folder / f"{env_id.removeprefix('klrl/').replace('/', '.')}--{agent}.json"


def merge(results: Iterable[Result], *, command: str, tier: str, interval: Interval | None) -> Entry:
    """An entry from the results of one agent on one environment.

    `command` is the template with `{seed}` and `{out}`; `interval` that of the mean score. The entry's
    commit, date, hardware and versions are those of the latest result; seeds that differ say so themselves.
    """
    ordered = sorted(results, key=lambda result: result.seed)
    if not ordered:
        raise ValueError("results must hold at least one seed")
    latest = max(ordered, key=lambda result: (result.date, result.seed))
    shared = ("agent", "env_id", "env_kwargs", "kl_coef", "task_sha256")
    for name in shared[1:]:
        values = {json.dumps(getattr(result, name), sort_keys=True) for result in ordered}
        if len(values) > 1:
            raise ValueError(f"results of one entry must agree in {name}, not {sorted(values)}")
    seeds: list[Seed] = []
    for result in ordered:
        fields = {name: getattr(result, name) for name in Measured.model_fields}
        for name in ("commit", "date", "hardware", "versions"):
            if getattr(result, name) != getattr(latest, name):
                fields[name] = getattr(result, name)
        seeds.append(Seed(**fields))
    scores = [seed.score for seed in seeds if seed.score is not None]
    return Entry.model_validate(
        {
            "schema_version": SCHEMA_VERSION,
            **{name: getattr(latest, name) for name in (*shared, "commit", "hardware", "versions", "date")},
            "command": command,
            "seeds": tuple(seeds),
            "score": math.fsum(scores) / len(scores) if len(scores) == len(seeds) else None,
            "score_interval": interval,
            "tier": tier,
        }
    )


def results_of(entry: Entry) -> list[Result]:
    """The seeds of an entry as results again, so that later seeds can be merged with them."""
    shared = ("agent", "env_id", "env_kwargs", "kl_coef", "task_sha256", "command")
    whole = {name: getattr(entry, name) for name in shared}
    own = ("commit", "date", "hardware", "versions")
    return [
        Result(
            schema_version=SCHEMA_VERSION,
            **whole,
            **{name: getattr(seed, name) for name in Measured.model_fields},
            **{name: getattr(seed, name) or getattr(entry, name) for name in own},
        )
        for seed in entry.seeds
    ]


def to_json(record: Strict) -> str:
    """The text of a record: fields in the schema's order, seeds without what they share with the entry."""
    data = record.model_dump(mode="json")
    for seed in data.get("seeds", ()):
        for name in ("commit", "date", "hardware", "versions"):
            if seed[name] is None:
                del seed[name]
    return json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_atomically(path: Path, text: str) -> None:
    """Write a file whole or not at all, whatever kills the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def load_result(path: Path) -> Result:
    """Read a `result.json`; ValueError that names the file where it is not one."""
    return _load(Result, path)


def load_entry(path: Path) -> Entry:
    """Read an entry; ValueError that names the file where it is not one or lies under another's name."""
    entry = _load(Entry, path)
    expected = entry_path(entry.env_id, entry.agent.name, path.parent).name
    if path.name != expected:
        raise ValueError(f"{path}: this entry's file must be called {expected}")
    return entry


def _load(kind: type[Any], path: Path) -> Any:
    """Read one record of a kind, with the file's name in the error."""
    try:
        return kind.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error


def load_aggregate(path: Path) -> Aggregate:
    """Read an `aggregate.json`; ValueError that names the file where it is not one."""
    return _load(Aggregate, path)


def load_entries(folder: Path) -> list[Entry]:
    """Every entry of a folder, by environment and then from the best score down."""
    entries = [load_entry(path) for path in sorted(folder.glob("*.json"))]
    return sorted(entries, key=rank)


def rank(entry: Entry) -> tuple[str, float, str]:
    """The order of the table. Where there is no score, the least regret comes first."""
    merit = entry.score if entry.score is not None else -entry.mean("regret")
    return entry.env_id, -merit, entry.agent.name


def digest(entries: Sequence[Entry]) -> str:
    """A short fingerprint of entries, which their figures carry so that stale ones are found."""
    text = "".join(
        to_json(entry) for entry in sorted(entries, key=lambda entry: (entry.env_id, entry.agent.name))
    )
    return hashlib.sha256(text.encode()).hexdigest()[:16]
