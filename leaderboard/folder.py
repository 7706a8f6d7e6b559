"""Where the leaderboard lies in a checkout."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from klrl_envs.results.entry import Entry, digest_of_entries, file_id, file_stem

FOLDER = Path(__file__).resolve().parent
ENTRIES = FOLDER / "entries"


def figure_path(env_id: str, folder: Path) -> Path:
    """Where the figure of an environment lies; a PNG lies beside the SVG."""
    return folder / "figures" / f"{file_id(env_id)}.svg"


def card_path(env_id: str, folder: Path) -> Path:
    """Where the card of an environment lies."""
    return folder / "cards" / f"{file_id(env_id)}.json"


def exhibit_path(env_id: str, agent: str, folder: Path) -> Path:
    """Where the exhibit of an entry lies."""
    return folder / "exhibits" / f"{file_stem(env_id, agent)}.json"


def profiles_path(folder: Path) -> Path:
    """Where the figure of the performance profiles lies; a PNG lies beside the SVG."""
    return folder / "figures" / "profiles.svg"


def is_drawn(figure: Path, entries: Sequence[Entry]) -> bool:
    """Whether a figure, an SVG beside its PNG, is there and of just these entries."""
    there = figure.exists() and figure.with_suffix(".png").exists()
    return there and digest_of_entries(entries) in figure.read_text(encoding="utf-8")


def environments_of(entries: Sequence[Entry]) -> list[str]:
    """The environments of entries, in order."""
    return sorted({entry.env_id for entry in entries})
