"""An agent: its file, its row of the suite, the changelog."""

from __future__ import annotations

from pathlib import Path

from tests.additions import note

ALGORITHM = '''"""The uniform policy: every token alike, whatever it costs."""
'''

COMMANDS: list[list[str]] = []
TESTS: list[str] = []


def add(copy: Path) -> None:
    """Three files."""
    (copy / "agents/uniform.py").write_text(ALGORITHM, encoding="utf-8")
    note(copy, "The agent `uniform`.")
