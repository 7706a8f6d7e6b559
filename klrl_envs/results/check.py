"""Files held against what they must be: results of runs, and entries of the leaderboard."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from klrl_envs.results.entry import Entry
from klrl_envs.results.guard import problems_of_entry, problems_of_record
from klrl_envs.results.record import FILE, RunRecord

Kind = Literal["result", "entry"]
ENTRIES = "entries"
"""The folder in which a benchmark writes entries."""


@dataclass(frozen=True)
class Checked:
    """A file, what it was taken for, and what is wrong with it; nothing where it holds."""

    path: Path
    kind: Kind
    problems: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "file": str(self.path),
            "kind": self.kind,
            "holds": self.holds,
            "problems": list(self.problems),
        }


def check_file(path: Path) -> Checked:
    """Hold a file against itself, its task and the rules: an entry where it has seeds, else a result."""
    kind: Kind = "result"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and "seeds" in data:
            kind = "entry"
            problems = problems_of_entry(Entry.load(path))
        else:
            problems = problems_of_record(RunRecord.load(path))
    except (OSError, ValueError) as error:
        problems = [str(error)]
    return Checked(path, kind, tuple(problems))


def files_of(places: Sequence[Path]) -> list[Path]:
    """Files as they are, and of folders all `result.json` and `entries/*.json` under them, each once.

    Raises:
        ValueError: nothing at a place, or nothing to check in a folder.
    """
    found: list[Path] = []
    for place in places:
        if not place.exists():
            raise ValueError(f"there is no file or folder {str(place)!r}")
        if not place.is_dir():
            found.append(place)
            continue
        entries = place.glob("*.json") if place.name == ENTRIES else place.rglob(f"{ENTRIES}/*.json")
        inside = [*sorted(place.rglob(FILE)), *sorted(entries)]
        if not inside:
            raise ValueError(f"{str(place)!r} holds no {FILE} and no {ENTRIES}/*.json")
        found += inside
    return list(dict.fromkeys(found))
