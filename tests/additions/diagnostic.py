"""A diagnostic: its file, its row with its sweep, its test, the changelog."""

from __future__ import annotations

from pathlib import Path

from tests.additions import environment, insert, note

PAGE = environment.PAGE.replace(
    "## References", "## What must hold\nJ* falls with the horizon.\n\n## References"
)

ROW = """    diagnostic(
        "Rhyme",
        "rhyme",
        0.2,
        "end as you began, however long ago that was",
        tuple({"horizon": tokens} for tokens in (4, 8)),
    ),
"""

MEANING = '''"""DiagnosticRhyme: the last word is the first, and harder to hit in longer texts."""

import klrl_envs
from tests.oracles import assert_exact, evaluation_task


def test_the_last_word_is_the_first() -> None:
    assert_exact(evaluation_task("DiagnosticRhyme-v0"), lambda text, _: float(text[0] == text[-1]))


def test_the_optimum_moves_little_along_the_sweep() -> None:
    row = klrl_envs.find_row("DiagnosticRhyme-v0")
    assert len({round(klrl_envs.optimum(row.gym_id, **settings).value, 1) for settings in row.sweep}) <= 2
'''

COMMANDS = [
    ["tests.golden.transcript", "DiagnosticRhyme-v0"],
    ["leaderboard.cards", "DiagnosticRhyme-v0"],
    ["leaderboard.build"],
]
TESTS = [
    "-k", "Rhyme or rhyme or last_word or on_record or capability or sweep",
    "tests/envs", "tests/tasks", "tests/test_registry.py", "tests/results",
]  # fmt: skip


def add(copy: Path) -> None:
    """Four files."""
    (copy / "klrl_envs/tasks/diagnostics/rhyme.py").write_text(PAGE, encoding="utf-8")
    insert(copy / "klrl_envs/registry.py", '    Row(\n        "Sentiment-v0"', ROW)
    (copy / "tests/tasks/diagnostics/test_rhyme.py").write_text(MEANING, encoding="utf-8")
    note(copy, "`DiagnosticRhyme-v0`.")
