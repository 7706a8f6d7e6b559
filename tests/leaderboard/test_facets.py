"""What rows are filtered by."""

from __future__ import annotations

from leaderboard.facets import EVERY, SOME, choices
from tests.leaderboard.entries import board_of, made

GRID, KEYWORDS = "klrl/GridNavigation-v0", "klrl/Keywords-v0"


def test_an_agent_has_what_any_of_its_entries_has() -> None:
    board = board_of(
        made("ours", GRID, [0.6]),
        made("ours", KEYWORDS, [0.5], tier="reproduced"),
        made("theirs", KEYWORDS, [0.1], kind="bound"),
    )
    ours, theirs = board.facets["ours"], board.facets["theirs"]
    assert ours["tier"] == ["submitted", "reproduced"] and ours["kind"] == ["learner"]
    assert ours["coverage"] == [EVERY, "GridNavigation-v0", "Keywords-v0"]
    assert theirs["coverage"] == [SOME, "Keywords-v0"] and theirs["kind"] == ["bound"]
    assert board.facets_on(GRID)["ours"]["tier"] == ["submitted"]
    asked = choices(board.facets)
    assert asked["tier"] == ["reproduced", "submitted"] and asked["kind"] == ["bound", "learner"]
    assert asked["coverage"] == [EVERY, SOME, "GridNavigation-v0", "Keywords-v0"]
