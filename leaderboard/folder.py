"""Where the leaderboard lies in a checkout."""

from __future__ import annotations

from pathlib import Path

from klrl_envs.results.entry import file_id

FOLDER = Path(__file__).resolve().parent
ENTRIES = FOLDER / "entries"


def figure_path(env_id: str, folder: Path) -> Path:
    """Where the figure of an environment lies; a PNG lies beside the SVG."""
    return folder / "figures" / f"{file_id(env_id)}.svg"


def profiles_path(folder: Path) -> Path:
    """Where the figure of the performance profiles lies; a PNG lies beside the SVG."""
    return folder / "figures" / "profiles.svg"
