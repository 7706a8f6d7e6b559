"""The entries to download: a table for spreadsheets, and all that they say."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence

from klrl_envs.results.entry import Entry


def csv_text(entries: Sequence[Entry]) -> str:
    """A line a seed: the entry's columns and the seed's numbers, which spreadsheets take for no formula."""
    numbers = ("seed", "score", "objective", "expected_reward", "kl", "regret", "tokens", "seconds", "budget")
    told = ("kind", "observes", "trains", "tuned", "url", "license")
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["environment", "agent", "tier", *numbers, "commit", "date", *told])
    for entry in entries:
        for seed in entry.seeds:
            own = [getattr(seed, name) for name in numbers]
            agent = [plain(getattr(entry.agent, name)) for name in told]
            when = [plain(seed.commit or entry.commit), seed.date or entry.date]
            lines.writerow([entry.env_id, entry.agent.name, entry.tier, *own, *when, *agent])
    return text.getvalue()


def plain(text: str | None) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = text or ""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def json_text(entries: Sequence[Entry]) -> str:
    """All entries."""
    return json.dumps([entry.plain() for entry in entries], indent=1, ensure_ascii=False) + "\n"
