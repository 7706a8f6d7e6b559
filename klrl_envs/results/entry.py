"""An entry of the leaderboard: one agent on one environment, all seeds together, in one file."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from klrl_envs.results.record import (
    Bounds,
    Date,
    Finite,
    Hardware,
    Measured,
    NonEmpty,
    RunRecord,
    Setup,
    Tier,
    Versions,
    check_objective,
    check_score,
)
from klrl_envs.tasks.row import short_id

SHARED = ("agent", "env_id", "env_kwargs", "kl_coef", "task_sha256")
"""What all seeds of an entry have in common."""
OWN = ("commit", "date", "hardware", "versions")
"""What a seed says where it differs from its entry."""


class Seed(Measured):
    """One seed of an entry; its commit, date, hardware and versions only where they differ from the entry."""

    commit: str | None = None
    date: Date | None = None
    hardware: Hardware | None = None
    versions: Versions | None = None


class Entry(Setup):
    """One agent on one environment. `command` has `{seed}` and `{out}` where a run's own values go.

    `score` is the mean over the seeds and `score_interval` its 95 % interval; `tier` says who saw it (see
    leaderboard/RULES.md): seeds without their ``evaluation`` make an "older" entry.
    """

    commit: NonEmpty
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    score: Finite | None
    score_interval: Bounds | None
    hardware: Hardware
    versions: Versions
    date: Date
    tier: Tier

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
        if self.tier != "older" and any(seed.evaluation is None for seed in self.seeds):
            raise ValueError(f"tier {self.tier!r} asks for seeds that say how they were evaluated")
        upper = any(seed.bound == "upper" for seed in self.seeds)
        check_score(self.score, self.score_interval, "upper" if upper else "exact")
        for seed in self.seeds:
            check_objective(seed, self.kl_coef)
        mean = mean_score(self.seeds)
        if (self.score is None) != (mean is None):
            raise ValueError("score is None exactly where the seeds' scores are")
        if self.score is None or mean is None:
            return self
        if not math.isclose(self.score, mean, rel_tol=1e-9, abs_tol=1e-9):
            raise ValueError(f"score must be the mean of the seeds' scores, {mean}, not {self.score}")
        return self

    def plain(self) -> dict[str, Any]:
        """The fields; seeds without what they share with the entry."""
        data = super().plain()
        for seed in data["seeds"]:
            for name in OWN:
                if seed[name] is None:
                    del seed[name]
        return data

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read an entry; ValueError that names the file where it is not one or lies under another's name."""
        entry = super().load(path)
        expected = entry_path(entry.env_id, entry.agent.name, Path(path).parent).name
        if Path(path).name != expected:
            raise ValueError(f"{path}: this entry's file must be called {expected}")
        return entry

    def mean(self, field: str) -> float:
        """The mean over the seeds of one of their numbers."""
        return math.fsum(getattr(seed, field) for seed in self.seeds) / len(self.seeds)

    def distinct(self, field: str) -> list[Any]:
        """The values that `commit`, `date`, `hardware` or `versions` takes over the seeds, each once."""
        values = [getattr(seed, field) or getattr(self, field) for seed in self.seeds]
        return [value for index, value in enumerate(values) if value not in values[:index]]

    def records(self) -> list[RunRecord]:
        """The seeds as records of runs again, so that later seeds can be merged with them."""
        whole = {name: getattr(self, name) for name in (*SHARED, "command")}
        return [
            RunRecord(
                schema_version=self.schema_version,
                **whole,
                **{name: getattr(seed, name) for name in Measured.model_fields},
                **{name: getattr(seed, name) or getattr(self, name) for name in OWN},
            )
            for seed in self.seeds
        ]


def merge(records: Iterable[RunRecord], *, command: str, tier: str, score_interval: Bounds | None) -> Entry:
    """An entry from the records of one agent on one environment.

    The entry's commit, date, hardware and versions are those of the latest record; seeds that differ say so
    themselves.

    Args:
        records: one of each seed, in any order.
        command: the template with `{seed}` and `{out}`.
        tier: who saw the numbers.
        score_interval: of the mean score; None where there is no score.

    Raises:
        ValueError: no record, records of different tasks, or an entry that does not hold together.
    """
    ordered = sorted(records, key=lambda record: record.seed)
    if not ordered:
        raise ValueError("records must hold at least one seed")
    latest = max(ordered, key=lambda record: (record.date, record.seed))
    for name in SHARED[1:]:
        values = {json.dumps(getattr(record, name), sort_keys=True) for record in ordered}
        if len(values) > 1:
            raise ValueError(f"results of one entry must agree in {name}, not {sorted(values)}")
    return Entry.model_validate(
        {
            "schema_version": min(record.schema_version for record in ordered),
            **{name: getattr(latest, name) for name in (*SHARED, *OWN)},
            "command": command,
            "seeds": tuple(seed_of(record, latest) for record in ordered),
            "score": mean_score(ordered),
            "score_interval": score_interval,
            "tier": tier,
        }
    )


def mean_score(seeds: Sequence[Measured]) -> float | None:
    """The mean of the seeds' scores; None where one has none."""
    scores = [seed.score for seed in seeds if seed.score is not None]
    return math.fsum(scores) / len(scores) if len(scores) == len(seeds) else None


def seed_of(record: RunRecord, latest: RunRecord) -> Seed:
    """A record as a seed of the entry that has the latest one's commit, date, hardware and versions."""
    fields = {name: getattr(record, name) for name in Measured.model_fields}
    own = {name: getattr(record, name) for name in OWN if getattr(record, name) != getattr(latest, name)}
    return Seed(**fields, **own)


def file_id(env_id: str) -> str:
    """An environment in a file's name: in short, and with a dot for the slash of another namespace."""
    return short_id(env_id).replace("/", ".")


def file_stem(env_id: str, agent: str) -> str:
    """What the files of an agent on an environment are called."""
    return f"{file_id(env_id)}--{agent}"


def entry_path(env_id: str, agent: str, folder: Path) -> Path:
    """Where an entry lies."""
    return folder / f"{file_stem(env_id, agent)}.json"


def load_entries(folder: Path) -> list[Entry]:
    """Every entry of a folder, by environment and then from the best score down.

    Raises:
        ValueError: a line for each file that is no entry.
    """
    entries, faults = read_entries(folder)
    if faults:
        raise ValueError("\n".join(faults))
    return entries


def read_entries(folder: Path) -> tuple[list[Entry], list[str]]:
    """Every entry of a folder, as ``load_entries`` has them, and a line for each file that is none."""
    entries: list[Entry] = []
    faults: list[str] = []
    for path in sorted(folder.glob("*.json")):
        try:
            entries.append(Entry.load(path))
        except ValueError as error:
            faults.append(str(error))
    return sorted(entries, key=rank), faults


def rank(entry: Entry) -> tuple[str, float, str]:
    """The order of the table. Where there is no score, the least regret comes first."""
    merit = entry.score if entry.score is not None else -entry.mean("regret")
    return entry.env_id, -merit, entry.agent.name


def digest_of_entries(entries: Sequence[Entry]) -> str:
    """A short fingerprint of entries, which their figures carry so that stale ones are found."""
    ordered = sorted(entries, key=lambda entry: (entry.env_id, entry.agent.name))
    return hashlib.sha256("".join(entry.to_json() for entry in ordered).encode()).hexdigest()[:16]
