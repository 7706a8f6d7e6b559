"""Entries that were really measured, for the tests of the guard: committed ones and fresh ones."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import klrl_envs
from klrl_envs import ledger, make_task, write_result
from klrl_envs.policies import LanesPolicy
from klrl_envs.results.entry import Entry, entry_path, merge
from klrl_envs.results.guard import check_entry, entry_interval
from klrl_envs.results.record import RunRecord
from leaderboard.folder import ENTRIES
from tests.results.records import COMMAND

GRID, KEYWORDS, SENTIMENT = "klrl/GridNavigation-v0", "klrl/Keywords-v0", "klrl/Sentiment-v0"
EPISODES = {GRID: 4096, KEYWORDS: 1024, SENTIMENT: 256}
SEEDS = {GRID: 3, KEYWORDS: 2, SENTIMENT: 2}
COMMIT = "0123456789" * 4

OLDER = tuple(
    json.loads((ENTRIES / f"{name}.json").read_text(encoding="utf-8"))
    for name in (
        "GridNavigation-v0--ppo",
        "Keywords-v0--reinforce",
        "Sentiment-v0--sb3_ppo",
        "Keywords-v0--posterior",
    )
)
"""Committed entries of schema version 1, as JSON has them."""


def normalised(rows: np.ndarray) -> np.ndarray:
    return rows - np.logaddexp.reduce(rows, axis=1, keepdims=True)


class Between:
    """A policy between pi0 and pi*, in log-probs."""

    def __init__(self, env_id: str, share: float) -> None:
        self._solution, self._reference = klrl_envs.optimum(env_id).policy, make_task(env_id).reference
        self._share = share

    def state_log_probs(self, context: Any, state: Any, time: Any) -> np.ndarray:
        optimal = self._solution.log_probs(context, state, time)  # type: ignore[union-attr]
        reference = self._reference.rows(context)  # type: ignore[attr-defined]
        return normalised(self._share * optimal + (1 - self._share) * reference)


class Louder:
    """A policy of texts: the reference with some tokens made likelier; others for each number."""

    def __init__(self, env_id: str, number: int) -> None:
        task = make_task(env_id, prompts="evaluation")
        self._policy = LanesPolicy(task.reference.lanes, task)
        self._bonus = np.random.default_rng(number).normal(size=task.vocab_size) / 6

    def log_probs(self, observations: np.ndarray) -> np.ndarray:
        return normalised(self._policy.log_probs(observations) + self._bonus)

    def start(self, prompts: np.ndarray) -> np.ndarray:
        return normalised(self._policy.start(prompts) + self._bonus)

    def step(self, tokens: np.ndarray) -> np.ndarray:
        return normalised(self._policy.step(tokens) + self._bonus)


def policy_of(env_id: str, number: int) -> Any:
    """The policy that stands for a learner's, of one seed."""
    return Between(env_id, 0.7 + 0.05 * number) if env_id == GRID else Louder(env_id, number)


@cache
def fresh_record(env_id: str, number: int) -> RunRecord:
    """The record of a policy that was evaluated just now."""
    evaluation = klrl_envs.evaluate(policy_of(env_id, number), env_id, episodes=EPISODES[env_id])
    with tempfile.TemporaryDirectory() as out:
        agent = {"name": "mine", "url": "https://example.org/mine", "license": "MIT"}
        written = write_result(
            evaluation, out, agent=agent, command="python -m mine", tokens=1000 + number,
            seconds=1.0, seed=number, checkout=out, since=ledger.mark(),
        )  # fmt: skip
    return written.model_copy(update={"commit": COMMIT})


@cache
def fresh_entry(env_id: str) -> Entry:
    """An entry of a few seeds that were evaluated just now."""
    records = [fresh_record(env_id, number) for number in range(SEEDS[env_id])]
    interval = entry_interval(env_id, records)
    entry = merge(records, command=COMMAND, tier="submitted", score_interval=interval)
    check_entry(entry)
    return entry


def fresh(env_id: str) -> dict[str, Any]:
    """A fresh entry as JSON has it."""
    return json.loads(fresh_entry(env_id).to_json())


def refusal(data: Mapping[str, Any], folder: Path) -> str | None:
    """What is said of an entry that is read from a file: None where it is taken."""
    path = entry_path(str(data["env_id"]), str(data["agent"]["name"]), folder)
    path.write_text(json.dumps(data), encoding="utf-8")
    try:
        check_entry(Entry.load(path))
    except ValueError as error:
        return str(error)
    finally:
        path.unlink()
    return None
