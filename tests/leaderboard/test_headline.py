"""Agents over all environments as tables."""

import pytest

from leaderboard.aggregate import aggregate
from leaderboard.headline import apart, headline, left_out, main, winners
from tests.leaderboard.entries import made

GRID, KEYWORDS, FLAT = "klrl/GridNavigation-v0", "klrl/Keywords-v0", "klrl/DiagnosticZeroReward-v0"
AGGREGATED = aggregate(
    [
        made("sure", GRID, [0.8] * 5, tier="reproduced"),
        made("sure", KEYWORDS, [0.6] * 5, tier="reproduced"),
        made("claimed", GRID, [0.5] * 5),
        made("claimed", KEYWORDS, [0.3]),
        made("floor", GRID, [0.0] * 5, kind="bound"),
        made("floor", KEYWORDS, [0.0] * 5, kind="bound"),
        made("partial", GRID, [0.9] * 5),
        made("sure", FLAT, [None] * 5),
    ]
)


def test_ranks_are_plain_in_parentheses_or_none():
    assert headline(AGGREGATED)[1] == [
        ["1", "sure", "0.700 [0.700, 0.700]", "0.600 Keywords-v0", "reproduced"],
        ["(2)", "claimed", "0.400", "0.300 Keywords-v0", "submitted, not final"],
        ["bound", "floor", "0.000 [0.000, 0.000]", "0.000 GridNavigation-v0", "submitted"],
    ]


def test_who_lacks_an_environment_stands_apart_and_what_is_left_out_is_said():
    assert apart(AGGREGATED)[1] == [
        [
            "partial",
            "0.900 [0.900, 0.900]",
            "0.900 GridNavigation-v0",
            "1 of 2: GridNavigation-v0",
            "submitted",
        ]
    ]
    assert left_out(AGGREGATED) == "Not in the mean, as J* = J(pi0) there: DiagnosticZeroReward-v0."


def test_chances_stand_in_a_square():
    headings, rows = winners(AGGREGATED)
    names = ["sure", "claimed", "floor", "partial"]
    assert list(headings) == ["", *names] and [row[0] for row in rows] == names
    assert rows[0][1] == "-" and rows[0][2].startswith("1.00 [0.") and rows[2][1].startswith("0.00 [0.00, ")
    headings, rows = winners(AGGREGATED, KEYWORDS)
    assert list(headings) == ["", "sure", "claimed", "floor"] and len(rows) == 3


def test_the_command_prints_a_group(capsys: pytest.CaptureFixture[str]):
    assert main(["--tag", "exact"]) == 0
    shown = capsys.readouterr().out
    assert "Keywords-v0" in shown and " Sentiment-v0" not in shown and "| agent |" in shown
    with pytest.raises(SystemExit):
        main(["--tag", "easy"])
    assert "tag must be one of" in capsys.readouterr().err
