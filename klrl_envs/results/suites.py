"""Suites as data: which agents run on which environments, with which seeds and budgets.

An agent is a command. The runner adds `--env-id ID --tokens N --seed S --out DIR` to it, and `--env-kwargs
JSON` where an experiment has settings; nothing else is known of it, so that a program in any language
enters on equal terms. A suite of one's own is a JSON file with a list of experiments: `[{"agent": "mine",
"command": "python -m mine", "environments": ["klrl/Keywords-v0"], "seeds": [0, 1, 2], "settings":
{"horizon": 12}}]`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from klrl_envs.registry import sweeps

SWEEP_SEEDS = (0, 1, 2)

QUICK_ENVIRONMENTS = tuple(f"klrl/Diagnostic{name}-v0" for name in ("Delay", "Gold", "Modes"))
"""Exact environments that a small agent moves in within seconds."""
QUICK_SEEDS = (0, 1)
QUICK_TOKENS = 20_000


@dataclass(frozen=True)
class Experiment:
    """One agent of a suite on some environments.

    Attributes:
        agent: its name on the leaderboard.
        command: what starts it, before the runner's own arguments.
        environments: ids, or a tag of the registry (`"exact"`, `"neural"`, `"grid"`, `"text"`), or `"all"`:
            every task that is no diagnostic.
        seeds: the seeds, or None for five on exact environments and three on neural ones.
        tokens: the token budget, or None for the environment's own.
        settings: arguments of the environments, what JSON can hold; its runs are no leaderboard entries.
    """

    agent: str
    command: str
    environments: str | tuple[str, ...] = "all"
    seeds: tuple[int, ...] | None = None
    tokens: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])


Suite = tuple[Experiment, ...]


def core(agent: str, command: str) -> Suite:
    """An agent on every task that is no diagnostic, with all seeds and the whole budget: what the leaderboard
    shows.
    """
    return (Experiment(agent, command),)


def quick(agent: str, command: str) -> Suite:
    """An agent on a few environments with a tenth of the budget and two seeds: does it run, does it learn?

    Minutes on a laptop; the entries that it makes are not final.
    """
    return (Experiment(agent, command, QUICK_ENVIRONMENTS, QUICK_SEEDS, QUICK_TOKENS),)


def over_sweeps(agent: str, command: str, env_ids: Sequence[str] | None = None) -> Suite:
    """An agent on diagnostics, all by default, over the sweep of each."""
    known = sweeps()
    return tuple(
        Experiment(agent, command, (env_id,), SWEEP_SEEDS, settings=settings)
        for env_id in (known if env_ids is None else env_ids)
        for settings in known[env_id]
    )


SUITES_OF_AN_AGENT: Mapping[str, Callable[[str, str], Suite]] = {
    "core": core,
    "diagnostics": over_sweeps,
    "quick": quick,
}
"""Name -> (agent, command) -> the suite: what `klrl benchmark` knows."""


def load_suite(name: str, suites: Mapping[str, Suite]) -> Suite:
    """A suite by its name, or from a JSON file.

    Raises:
        ValueError: no such suite, or a file that is not a list of experiments.
    """
    if name in suites:
        return suites[name]
    path = Path(name)
    if not name.endswith(".json") or not path.exists():
        raise ValueError(f"suite must be one of {', '.join(suites)} or an existing .json file, not {name!r}")
    data = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(data, list) or not data:
        names = ", ".join(each.name for each in fields(Experiment))
        raise ValueError(f"{path}: a suite is a list of experiments with the fields {names}")
    items = cast(list[Any], data)
    return tuple(read_experiment(item, f"{path}: experiment {number}") for number, item in enumerate(items))


def read_experiment(item: Any, place: str) -> Experiment:
    """An experiment from what JSON has of it; `place` is its name in errors."""
    allowed = [each.name for each in fields(Experiment)]
    given: dict[str, Any] = cast(dict[str, Any], item) if isinstance(item, dict) else {repr(item): None}
    unknown = set(given) - set(allowed)
    if unknown or not {"agent", "command"} <= set(given):
        raise ValueError(
            f"{place} needs agent and command, and may have {', '.join(allowed[2:])}; "
            f"unknown: {', '.join(sorted(unknown)) or 'none'}"
        )
    if not isinstance(given.get("settings", {}), dict):
        raise ValueError(f"{place}: settings must be an object of arguments, not {given['settings']!r}")
    values: dict[str, Any] = {
        name: tuple(cast(list[Any], value)) if isinstance(value, list) else value
        for name, value in given.items()
    }
    return Experiment(**values)
