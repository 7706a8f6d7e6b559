"""The rules that a record or an entry can be held to: the task, its price of KL, the budget, the commit."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from functools import cache

from klrl_envs.envs.lookup import evaluation_task
from klrl_envs.registry import REGISTRY, find_row
from klrl_envs.results.entry import Entry
from klrl_envs.results.record import NOT_SAID, Measured, RunRecord, Setup

BUDGET_SLACK = 1.01
"""The last batch may run over the token budget by this factor."""


@cache
def task_sha256(env_id: str, settings: str = "{}") -> str:
    """The fingerprint of a task as it is scored, which is with its evaluation prompts where it has prompts.

    Args:
        env_id: the environment.
        settings: its arguments as a JSON object.
    """
    return evaluation_task(env_id, json.loads(settings)).fingerprint


def check_run(record: RunRecord) -> None:
    """Raise ValueError where a record breaks a rule that holds with any arguments of any environment."""
    check_price(record)
    check_budget(record.env_id, [record])


def check_rules(entry: Entry) -> None:
    """Raise ValueError where an entry breaks a rule of the leaderboard.

    It is of a task of the suite as it is registered, at the declared kl_coef, within the token budget, from
    commits that can be checked out of where the agent says that its code is.
    """
    known = [row.gym_id for row in REGISTRY]
    if entry.env_id not in known:
        raise ValueError(f"env_id must be one of {', '.join(known)}, not {entry.env_id!r}")
    if entry.env_kwargs:
        raise ValueError(f"env_kwargs must be empty on the leaderboard, not {entry.env_kwargs}")
    check_price(entry)
    check_budget(entry.env_id, entry.seeds)
    if entry.agent.url is None:
        raise ValueError("agent.url must be that of the git repository with the agent's code, not None")
    if entry.agent.license == NOT_SAID:
        raise ValueError(f"agent.license must be that of the agent's code, such as MIT, not {NOT_SAID!r}")
    for commit in {entry.commit, *(seed.commit or entry.commit for seed in entry.seeds)}:
        if not re.fullmatch(r"[0-9a-f]{40}", commit):
            raise ValueError(f"commit must be the 40 digits of one that can be checked out, not {commit!r}")


def check_price(setup: Setup) -> None:
    """Raise ValueError unless kl_coef is that of the arguments, or else the declared one."""
    declared = find_row(setup.env_id).kl_coef
    kl_coef = setup.env_kwargs.get("kl_coef", declared)
    if setup.kl_coef != kl_coef:
        named = "set" if "kl_coef" in setup.env_kwargs else "declared"
        raise ValueError(f"kl_coef must be the {named} {kl_coef} of {setup.env_id}, not {setup.kl_coef}")


def check_budget(env_id: str, seeds: Sequence[Measured]) -> None:
    """Raise ValueError where a seed took more tokens than the environment allows."""
    budget = find_row(env_id).token_budget
    for seed in seeds:
        if seed.tokens > budget * BUDGET_SLACK:
            raise ValueError(
                f"seed {seed.seed} took {seed.tokens:,} tokens; {env_id} allows {budget:,} "
                f"(and {BUDGET_SLACK - 1:.0%} for the last batch)"
            )
