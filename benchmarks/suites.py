"""The suites as data: which agents run on which environments, with which seeds and budgets.

An agent is a command. The runner adds `--env-id ID --tokens N --seed S --out DIR` to it; nothing else is
known of it, so that a program in any language enters on equal terms. A suite of one's own is a JSON file
with a list of such rows: `[{"agent": "mine", "command": "python -m mine", "environments":
["klrl/Keywords-v0"], "seeds": [0, 1, 2]}]`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

EXACT_SEEDS = (0, 1, 2, 3, 4)
NEURAL_SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Row:
    """One agent of a suite.

    Attributes:
        agent: its name on the leaderboard.
        command: what starts it, before the runner's own arguments.
        environments: ids, or a tag of the registry (`"exact"`, `"neural"`, `"grid"`, `"text"`), or `"all"`.
        seeds: the seeds, or None for five on exact environments and three on neural ones.
        tokens: the token budget, or None for the environment's own.
    """

    agent: str
    command: str
    environments: str | tuple[str, ...] = "all"
    seeds: tuple[int, ...] | None = None
    tokens: int | None = None


@dataclass(frozen=True)
class Run:
    """One seed of one agent on one environment: what the runner starts."""

    agent: str
    command: str
    env_id: str
    seed: int
    tokens: int

    @property
    def template(self) -> str:
        """The command with `{seed}` and `{out}` open; runs are alike where this and the seed are."""
        return f"{self.command} --env-id {self.env_id} --tokens {self.tokens} --seed {{seed}} --out {{out}}"


SUITES: dict[str, tuple[Row, ...]] = {
    # What the leaderboard shows: every baseline on every environment that it fits.
    "core": (
        Row("reference", "python -m agents.reference"),
        Row("posterior", "python -m agents.posterior", "exact"),
        # two texts a prompt: each takes a thousand draws on average
        Row("posterior", "python -m agents.posterior --episodes 128", "neural"),
        Row("q_learning", "python -m agents.q_learning", "grid"),
        Row("reinforce", "python -m agents.reinforce"),
        Row("ppo", "python -m agents.ppo"),
        Row("sb3_ppo", "python -m agents.sb3_ppo"),
    ),
    # Minutes: does every command start, write what it must, and get read? Its numbers mean nothing.
    "smoke": (
        Row("reference", "python -m agents.reference", "exact", (0,), 2_000),
        Row("posterior", "python -m agents.posterior", "exact", (0,), 2_000),
        Row("q_learning", "python -m agents.q_learning", "grid", (0,), 20_000),
        Row("reinforce", "python -m agents.reinforce", "exact", (0,), 20_000),
        Row("ppo", "python -m agents.ppo", "exact", (0,), 20_000),
        Row("sb3_ppo", "python -m agents.sb3_ppo", "exact", (0,), 20_000),
    ),
}


def load_suite(name: str) -> tuple[Row, ...]:
    """The rows of a suite, by its name or from a JSON file.

    Raises:
        ValueError: no such suite, or a file that is not a list of rows.
    """
    if name in SUITES:
        return SUITES[name]
    path = Path(name)
    if not name.endswith(".json") or not path.exists():
        raise ValueError(f"suite must be one of {', '.join(SUITES)} or an existing .json file, not {name!r}")
    data = json.loads(path.read_text(encoding="utf-8"))
    allowed = [field.name for field in fields(Row)]
    if not isinstance(data, list) or not data:
        raise ValueError(f"{path}: a suite is a list of rows with the fields {', '.join(allowed)}")
    rows: list[Row] = []
    for number, item in enumerate(data):
        unknown = set(item) - set(allowed) if isinstance(item, dict) else {repr(item)}
        if unknown or not {"agent", "command"} <= set(item):
            raise ValueError(
                f"{path}: row {number} needs agent and command, and may have {', '.join(allowed[2:])}; "
                f"unknown: {', '.join(sorted(unknown)) or 'none'}"
            )
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in item.items()
        }
        rows.append(Row(**values))
    return tuple(rows)


def expand(rows: Sequence[Row], registry: Sequence[Any] | None = None) -> list[Run]:
    """Every run of a suite, environment by environment within an agent.

    Args:
        rows: the suite.
        registry: rows with `gym_id`, `token_budget` and `tags`; None for that of klrl_envs.

    Raises:
        ValueError: an environment or a tag that the registry lacks, or a name that appears twice.
    """
    if registry is None:
        from klrl_envs.registry import REGISTRY

        registry = REGISTRY
    runs: list[Run] = []
    for row in rows:
        for environment in _environments(row, registry):
            neural = "neural" in environment.tags
            seeds = row.seeds if row.seeds is not None else NEURAL_SEEDS if neural else EXACT_SEEDS
            tokens = row.tokens if row.tokens is not None else environment.token_budget
            for seed in seeds:
                runs.append(Run(row.agent, row.command, environment.gym_id, seed, tokens))
    keys = [(run.agent, run.env_id, run.seed) for run in runs]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise ValueError(f"a suite runs an agent, environment and seed once, but these come twice: {twice}")
    return runs


def _environments(row: Row, registry: Sequence[Any]) -> list[Any]:
    """The registry's rows that a suite's row names."""
    if row.environments == "all":
        return list(registry)
    if isinstance(row.environments, str) and "/" not in row.environments:
        chosen = [entry for entry in registry if row.environments in entry.tags]
        if not chosen:
            tags = sorted({tag for entry in registry for tag in entry.tags})
            raise ValueError(
                f"environments of {row.agent!r} must be 'all', ids or a tag of {tags}, "
                f"not {row.environments!r}"
            )
        return chosen
    by_id = {entry.gym_id: entry for entry in registry}
    wanted = (row.environments,) if isinstance(row.environments, str) else row.environments
    unknown = [env_id for env_id in wanted if env_id not in by_id]
    if unknown:
        raise ValueError(f"environments of {row.agent!r} hold the unknown {unknown}; known: {sorted(by_id)}")
    return [by_id[env_id] for env_id in wanted]
