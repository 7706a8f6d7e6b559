"""An environment: its file, its row, its test, the changelog."""

from __future__ import annotations

from pathlib import Path

from tests.additions import insert, note

PAGE = '''"""Rhyme: end as you began.

## Description
Write a text whose last word is its first.

## Action Space
``Discrete(3)``: 26 words would do as well.

## Observation Space
``Box(int64, (4,))``: the tokens so far.

## Starting State
An empty text.

## Rewards
1 at the end where the last word is the first, else 0.

## Episode End
After ``horizon`` tokens.

## Information
``text`` at the end.

## Arguments
``kl_coef`` (.2), ``horizon`` (4), ``reference`` ("words").

## Optimum
Exact.

## References
None.

## Version History
v0: first version.
"""

from __future__ import annotations

import numpy as np

from klrl_envs.reference.catalogue import load
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.automaton_task import AutomatonTask

WORDS = ("good", "film", "bad")


def task(*, kl_coef: float, horizon: int = 4, reference: str = "words") -> AutomatonTask:
    """The task; the page above is its specification."""
    model = load(reference, allowed=("words",), kept=WORDS, ends=False)
    count = model.vocab_size
    # state 0: nothing written; 1 + first * count + last
    states = np.arange(1 + count * count)
    first = np.where(states > 0, (states - 1) // count, 0)
    transition = 1 + first[:, None] * count + np.arange(count)
    transition[0] = 1 + np.arange(count) * (count + 1)
    rhymes = (states > 0) & (first == (states - 1) % count)
    automaton = RewardAutomaton(transition, final_reward=rhymes)
    return AutomatonTask.of(model, automaton, kl_coef=kl_coef, horizon=horizon)
'''

ROW = """    Row(
        "Rhyme-v0",
        "klrl_envs.tasks.rhyme:task",
        kl_coef=0.2,
        token_budget=100_000,
        tags=("exact", "text"),
        summary="end as you began",
    ),
"""

MEANING = '''"""Rhyme: the last word is the first."""

from tests.oracles import assert_exact, evaluation_task


def test_the_last_word_is_the_first() -> None:
    assert_exact(evaluation_task("Rhyme-v0"), lambda text, _: float(text[0] == text[-1]))
'''

COMMANDS = [["tests.golden.transcript", "Rhyme-v0"], ["leaderboard.cards", "Rhyme-v0"], ["leaderboard.build"]]
TESTS = [
    "-k", "Rhyme or rhyme or last_word or on_record",
    "tests/envs", "tests/tasks/test_golden_tasks.py", "tests/tasks/test_rhyme.py", "tests/test_registry.py",
    "tests/tasks/test_suite.py",
]  # fmt: skip


def add(copy: Path) -> None:
    """Four files."""
    (copy / "klrl_envs/tasks/rhyme.py").write_text(PAGE, encoding="utf-8")
    insert(copy / "klrl_envs/registry.py", '    diagnostic(\n        "ZeroReward"', ROW)
    (copy / "tests/tasks/test_rhyme.py").write_text(MEANING, encoding="utf-8")
    note(copy, "`Rhyme-v0`.")
