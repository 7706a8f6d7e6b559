"""The README's table: a row an agent, a column an environment."""

from collections.abc import Sequence

from leaderboard.matrix import Asked, matrix
from tests.leaderboard.entries import made

GRID, KEYWORDS, FLAT = "klrl/GridNavigation-v0", "klrl/Keywords-v0", "klrl/DiagnosticZeroReward-v0"
ENTRIES = [
    made("good", GRID, [0.8] * 5),
    made("good", KEYWORDS, [0.6] * 5),
    made("better", KEYWORDS, [0.7] * 4),
    made("worse", KEYWORDS, [-0.001] * 5),
    made("bound", KEYWORDS, [1.0] * 5, kind="bound"),
    made("good", FLAT, [None] * 5),
]
ASKED = Asked(agents={"new": (GRID, KEYWORDS), "better": (GRID, KEYWORDS)})


def cells(rows: Sequence[Sequence[str]], headings: Sequence[str], agent: str) -> dict[str, str]:
    row = next(row for row in rows if agent in row[0])
    return {heading: cell for heading, cell in zip(headings, row) if cell}


def test_cells_say_score_winner_missing_seeds_and_what_was_not_run():
    headings, rows = matrix(ENTRIES, ASKED)
    assert list(headings[:3]) == ["agent", "Grid Navigation", "Keywords"] and len(headings) == len(rows[0])
    assert "Diagnostic Zero Reward" not in headings
    better = cells(rows, headings, "better")
    assert better["Keywords"] == r"**0.70**\*" and better["Grid Navigation"] == "..."
    assert cells(rows, headings, "good")["Grid Navigation"] == "**0.80**"
    assert cells(rows, headings, "good")["Keywords"] == "0.60"
    assert cells(rows, headings, "worse") == {"agent": "[worse](agents/worse.py)", "Keywords": "0.00"}
    assert cells(rows, headings, "new") == {"agent": "new", "Grid Navigation": "...", "Keywords": "..."}


def test_who_has_most_comes_first_and_bounds_last():
    _, rows = matrix(ENTRIES, ASKED)
    names = [row[0].strip("[").partition("]")[0] for row in rows]
    assert names == ["good", "better", "worse", "new", "bound"]


def test_what_is_challenged_wins_nothing():
    _, rows = matrix(ENTRIES, ASKED, frozenset({(KEYWORDS, "better")}))
    assert next(row for row in rows if "good" in row[0])[2] == "**0.60**"
