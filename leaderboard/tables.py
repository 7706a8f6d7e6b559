"""Entries as tables: the headings and cells that TABLE.md, the page and the README share."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from klrl_envs.results.entry import Entry
from klrl_envs.results.record import Bounds
from klrl_envs.tasks.row import short_id
from leaderboard.aggregate import Aggregate


def number(value: float, digits: int = 3) -> str:
    """A number of so many significant digits, never in powers of ten; what is below a millionth is 0."""
    if abs(value) < 10**-6:
        return "0"
    magnitude = math.floor(math.log10(abs(value))) + 1
    return f"{value:,.{max(0, digits - magnitude)}f}"


def shown_score(score: float | None, bounds: Bounds | None) -> str:
    """A score with its interval."""
    if score is None or bounds is None:
        return "none (J* = J(pi0))"
    return f"{score:.3f} [{bounds[0]:.3f}, {bounds[1]:.3f}]"


def short_commit(commit: str) -> str:
    """The first digits of a commit, and whether the code had changed since."""
    digits, dash, rest = commit.partition("-")
    return digits[:10] + dash + rest


# Heading, whether the README's short table has it, and the cell of an entry.
COLUMNS: tuple[tuple[str, bool, Callable[[Entry], str]], ...] = (
    ("environment", True, lambda entry: short_id(entry.env_id)),
    ("agent", True, lambda entry: entry.agent.name),
    ("score [95 %]", True, lambda entry: shown_score(entry.score, entry.score_interval)),
    ("expected reward", True, lambda entry: number(entry.mean("expected_reward"))),
    ("KL (nats)", True, lambda entry: number(entry.mean("kl"))),
    ("regret", True, lambda entry: number(entry.mean("regret"))),
    ("tokens", True, lambda entry: f"{entry.mean('tokens'):,.0f}"),
    ("seconds", True, lambda entry: f"{entry.mean('seconds'):,.0f}"),
    ("hardware", False, lambda entry: "; ".join(map(str, entry.distinct("hardware")))),
    ("seeds", True, lambda entry: ", ".join(str(seed.seed) for seed in entry.seeds)),
    ("versions", False, lambda entry: "; ".join(map(str, entry.distinct("versions")))),
    ("commit", False, lambda entry: ", ".join(short_commit(commit) for commit in entry.distinct("commit"))),
    ("tier", False, lambda entry: entry.tier),
)

AGGREGATE_HEADINGS = ("agent", "interquartile mean score [95 %]", "environments")


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; bars in cells are escaped."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def entry_table(entries: Sequence[Entry], *, short: bool) -> str:
    """The table of all entries; the short one leaves out what a rerun needs."""
    columns = [column for column in COLUMNS if column[1] or not short]
    if not entries:
        return "No entries yet."
    rows = [[cell(entry) for _, _, cell in columns] for entry in entries]
    for entry, row in zip(entries, rows):
        row[1] = f"[{row[1]}]({link(entry, '' if short else '../')})"
    return markdown([heading for heading, _, _ in columns], rows)


def link(entry: Entry, root: str) -> str:
    """Where an agent's code is; `root` leads from the page to the repository's root."""
    url = entry.agent.url
    assert url is not None  # the leaderboard's rules ask for it
    return url if "://" in url else root + url


def aggregate_rows(aggregate: Aggregate) -> list[list[str]]:
    """Agent, interquartile mean with its interval, environments."""
    return [
        [
            row.agent,
            shown_score(row.score, row.score_interval) if row.score_interval else f"{row.score:.3f}",
            ", ".join(short_id(name) for name in row.environments),
        ]
        for row in aggregate.rows
    ]
