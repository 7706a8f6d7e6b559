"""The suites as data: which agents run on which environments, with which seeds and budgets.

An agent is a command. The runner adds `--env-id ID --tokens N --seed S --out DIR` to it, and `--env-kwargs
JSON` where a row has settings; nothing else is known of it, so that a program in any language enters on
equal terms. A suite of one's own is a JSON file with a list of such rows: `[{"agent": "mine", "command":
"python -m mine", "environments": ["klrl/Keywords-v0"], "seeds": [0, 1, 2], "settings": {"horizon": 12}}]`.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from klrl_envs.registry import sweeps

SWEEPS = sweeps()

EXACT_SEEDS = (0, 1, 2, 3, 4)
NEURAL_SEEDS = (0, 1, 2)
DIAGNOSTIC_SEEDS = (0, 1, 2)

RESULTS_ONLY = ("smoke", "diagnostics")
"""Suites that write results, and no leaderboard entries."""

SMALL_TABLES = tuple(
    f"klrl/Diagnostic{name}-v0"
    for name in ("ZeroReward", "Length", "Sparsity", "Coefficient", "Reference", "Gold", "Modes")
)
"""Diagnostics without prompts, luck or thousands of states, which a table of states and tokens fits."""


@dataclass(frozen=True)
class Row:
    """One agent of a suite.

    Attributes:
        agent: its name on the leaderboard.
        command: what starts it, before the runner's own arguments.
        environments: ids, or a tag of the registry (`"exact"`, `"neural"`, `"grid"`, `"text"`), or `"all"`.
        seeds: the seeds, or None for five on exact environments and three on neural ones.
        tokens: the token budget, or None for the environment's own.
        settings: arguments of the environments, what JSON can hold; its runs are no leaderboard entries.
    """

    agent: str
    command: str
    environments: str | tuple[str, ...] = "all"
    seeds: tuple[int, ...] | None = None
    tokens: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """One seed of one agent on one environment: what the runner starts.

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
    def group(self) -> tuple[str, str, str]:
        """What the seeds of one experiment share: agent, environment and settings."""
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


def sweep(agent: str, command: str, env_ids: Sequence[str] = tuple(SWEEPS)) -> tuple[Row, ...]:
    """An agent on diagnostics, over the sweep of each."""
    return tuple(
        Row(agent, command, (env_id,), DIAGNOSTIC_SEEDS, settings=settings)
        for env_id in env_ids
        for settings in SWEEPS[env_id]
    )


SUITES: dict[str, tuple[Row, ...]] = {
    # What the leaderboard shows: every baseline on every environment; the tabular one where states are few.
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
    # What each baseline can and cannot do, one property at a time: `klrl report` reads it.
    "diagnostics": (
        *sweep("reference", "python -m agents.reference"),
        *sweep("q_learning", "python -m agents.q_learning", SMALL_TABLES),
        *sweep("reinforce", "python -m agents.reinforce"),
        *sweep("ppo", "python -m agents.ppo"),
        *sweep("sb3_ppo", "python -m agents.sb3_ppo"),
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
        if not isinstance(item.get("settings", {}), dict):
            raise ValueError(
                f"{path}: settings of row {number} must be an object of arguments, not {item['settings']!r}"
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
        ValueError: an environment, a tag or an argument of an environment that the registry lacks, or a
            run that appears twice.
    """
    if registry is None:
        from klrl_envs.registry import REGISTRY

        registry = REGISTRY
    runs: list[Run] = []
    for row in rows:
        settings = json.dumps(dict(row.settings), sort_keys=True)
        for environment in _environments(row, registry):
            _check_settings(row, environment)
            neural = "neural" in environment.tags
            seeds = row.seeds if row.seeds is not None else NEURAL_SEEDS if neural else EXACT_SEEDS
            tokens = row.tokens if row.tokens is not None else environment.token_budget
            for seed in seeds:
                runs.append(Run(row.agent, row.command, environment.gym_id, seed, tokens, settings))
    counts = Counter((*run.group, run.seed) for run in runs)
    twice = sorted(key for key, count in counts.items() if count > 1)
    if twice:
        raise ValueError(
            f"a suite runs an agent, environment, settings and seed once, but these come twice: {twice}"
        )
    return runs


def _check_settings(row: Row, environment: Any) -> None:
    """Raise ValueError where an environment lacks an argument that a row sets, or which is the runner's."""
    if not row.settings:
        return
    allowed = [name for name in inspect.signature(environment.function()).parameters if name != "prompts"]
    unknown = sorted(set(row.settings) - set(allowed))
    if unknown:
        raise ValueError(
            f"settings of {row.agent!r} on {environment.gym_id} may be {', '.join(allowed)}, "
            f"not {', '.join(unknown)}"
        )


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
