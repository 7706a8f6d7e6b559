"""Golden tasks: the fingerprint of every task and its optimum, which no change may move.

``tasks.json`` has for each id the optimum at its default arguments, and for each set of arguments the
fingerprints of both splits. ``python -m tests.golden.transcript`` adds the ids that are missing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import klrl_envs
from klrl_envs import Row

PATH = Path(__file__).with_name("tasks.json")
NUMBERS = ("value", "reference_value", "expected_reward", "kl")


def load() -> dict[str, Any]:
    """What is on record, by id."""
    return json.loads(PATH.read_text(encoding="utf-8"))


def fingerprints(task_id: str, arguments: dict[str, Any]) -> dict[str, str]:
    """The fingerprints of a task by split."""
    return {
        split: klrl_envs.make_task(task_id, prompts=split, **arguments).fingerprint
        for split in ("train", "evaluation")
    }


def numbers(row: Row) -> dict[str, float]:
    """The optimum of an id at its default arguments."""
    best = klrl_envs.optimum(row.gym_id)
    return {name: getattr(best, name) for name in NUMBERS}


def add(row: Row) -> bool:
    """Record an id that is not on record; returns whether it was not."""
    known = load()
    if row.task_id in known:
        return False
    known[row.task_id] = {
        "optimum": numbers(row),
        "fingerprints": {"{}": fingerprints(row.gym_id, {})},
    }
    PATH.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    return True
