"""Where the leaderboard lies in a checkout."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ENTRIES = FOLDER / "entries"
