"""What ``test_contributing`` adds to a copy of the checkout: one file for each kind of thing."""

from __future__ import annotations

from pathlib import Path


def insert(path: Path, before: str, text: str) -> None:
    """Put a text before the first place where another stands."""
    whole = path.read_text(encoding="utf-8")
    assert before in whole, f"{path} has no {before!r}"
    path.write_text(whole.replace(before, text + before, 1), encoding="utf-8")


def note(copy: Path, line: str) -> None:
    """A line of the changelog."""
    insert(copy / "CHANGELOG.md", "- Wrappers,", f"- {line}\n")
