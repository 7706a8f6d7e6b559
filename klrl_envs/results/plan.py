"""From a suite to the runs that it asks for: one seed of one agent on one environment each."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from klrl_envs.registry import all_rows
from klrl_envs.results.suites import Experiment
from klrl_envs.tasks.row import NAMESPACE, Row, short_id

EXACT_SEEDS = (0, 1, 2, 3, 4)
NEURAL_SEEDS = (0, 1, 2)

Group = tuple[str, str, str]
"""What the seeds of one experiment share: agent, environment and settings."""


@dataclass(frozen=True)
class PlannedRun:
    """One seed of one agent on one environment: what the runner starts, and what a ``RunRecord`` comes of.

    `settings` are the environment's arguments as a JSON object with its names in order: "{}" for none.
    """

    agent: str
    command: str
    env_id: str
    seed: int
    tokens: int
    settings: str = "{}"

    @property
    def template(self) -> str:
        """The command with `{seed}` and `{out}` open; runs are alike where this and the seed are."""
        changed = f" --env-kwargs {shlex.quote(self.settings)}" if self.env_kwargs else ""
        return (
            f"{self.command} --env-id {self.env_id}{changed} --tokens {self.tokens} "
            "--seed {seed} --out {out}"
        )

    @property
    def env_kwargs(self) -> dict[str, Any]:
        """The settings as a dict."""
        return json.loads(self.settings)

    @property
    def group(self) -> Group:
        """What the seeds of one experiment share."""
        return self.agent, self.env_id, self.settings

    @property
    def slug(self) -> str:
        """The settings as a part of a file's name, "horizon=64,kl_coef=0.1"; "" for none.

        Where a name cannot hold them, or would be long, the SHA-256 tells them apart.
        """
        text = ",".join(f"{name}={json.dumps(value)}" for name, value in self.env_kwargs.items())
        plain = re.sub(r"[^A-Za-z0-9_.,=+-]", "", text)[:60]
        return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    def __str__(self) -> str:
        """What a person calls it."""
        return " ".join(filter(None, (self.agent, self.env_id, self.slug, f"seed {self.seed}")))


def expand(suite: Sequence[Experiment], registry: Sequence[Row] | None = None) -> list[PlannedRun]:
    """Every run of a suite, environment by environment within an agent.

    Args:
        suite: its experiments.
        registry: what ids, tags and "all" mean; None for the suite's environments and those of users, which
            "all" leaves out, and a tag that the suite has.

    Raises:
        ValueError: an environment, a tag or an argument of an environment that the registry lacks, or a
            run that appears twice.
    """
    known = all_rows() if registry is None else registry
    runs: list[PlannedRun] = []
    for each in suite:
        settings = json.dumps(dict(each.settings), sort_keys=True)
        for row in _rows(each, known):
            _check_settings(each, row)
            tokens = row.token_budget if each.tokens is None else each.tokens
            runs += [
                PlannedRun(each.agent, each.command, row.gym_id, seed, tokens, settings)
                for seed in (usual_seeds(row) if each.seeds is None else each.seeds)
            ]
    counts = Counter((*run.group, run.seed) for run in runs)
    twice = sorted(key for key, count in counts.items() if count > 1)
    if twice:
        raise ValueError(
            f"a suite runs an agent, environment, settings and seed once, but these come twice: {twice}"
        )
    return runs


def usual_seeds(row: Row) -> tuple[int, ...]:
    """The seeds that an entry on an environment has when it is final."""
    return NEURAL_SEEDS if "neural" in row.tags else EXACT_SEEDS


def _check_settings(experiment: Experiment, row: Row) -> None:
    """Raise ValueError where an environment lacks an argument that is set, or which is the runner's."""
    if not experiment.settings:
        return
    allowed = [name for name in row.arguments() if name != "prompts"]
    unknown = sorted(set(experiment.settings) - set(allowed))
    if unknown:
        raise ValueError(
            f"settings of {experiment.agent!r} on {row.gym_id} may be {', '.join(allowed)}, "
            f"not {', '.join(unknown)}"
        )


def _rows(experiment: Experiment, registry: Sequence[Row]) -> list[Row]:
    """The registry's rows that an experiment names."""
    named = experiment.environments
    if named == "all":
        return [row for row in registry if row.namespace == NAMESPACE and "diagnostic" not in row.tags]
    if isinstance(named, str) and "/" not in named:
        tagged = [row for row in registry if named in row.tags]
        chosen = [row for row in tagged if row.namespace == NAMESPACE] or tagged
        if not chosen:
            tags = sorted({tag for row in registry for tag in row.tags})
            raise ValueError(
                f"environments of {experiment.agent!r} must be 'all', ids or a tag of {tags}, not {named!r}"
            )
        return chosen
    by_id = {row.gym_id: row for row in registry}
    wanted = (named,) if isinstance(named, str) else named
    unknown = [env_id for env_id in wanted if env_id not in by_id]
    if unknown:
        raise ValueError(
            f"environments of {experiment.agent!r} hold the unknown {unknown}; known: {sorted(by_id)}"
        )
    return [by_id[env_id] for env_id in wanted]


def choose(runs: Sequence[PlannedRun], conditions: Sequence[str]) -> list[PlannedRun]:
    """The runs that meet every condition `agent=NAME`, `env=ID` or `seed=N`; commas part alternatives.

    Raises:
        ValueError: a condition of another form, or one that leaves nothing.
    """
    chosen = list(runs)
    for condition in conditions:
        key, _, text = condition.partition("=")
        if key not in ("agent", "env", "seed") or not text:
            raise ValueError(f"only must be agent=NAME, env=ID or seed=N, not {condition!r}")
        wanted = set(text.split(","))
        missing = sorted(name for name in wanted if not any(name in _names(run, key) for run in runs))
        if missing and len(missing) < len(wanted):
            raise ValueError(f"only {condition!r}: no run has the {key} {', '.join(missing)}")
        chosen = [run for run in chosen if wanted & _names(run, key)]
        if not chosen:
            known = sorted({str({"agent": r.agent, "env": r.env_id, "seed": r.seed}[key]) for r in runs})
            raise ValueError(f"only {condition!r} leaves no run; {key} is one of {known}")
    return chosen


def _names(run: PlannedRun, key: str) -> set[str]:
    """What a run may be called in a condition on its "agent", "env" or "seed"."""
    if key == "env":
        return {run.env_id, short_id(run.env_id)}
    return {run.agent if key == "agent" else str(run.seed)}
