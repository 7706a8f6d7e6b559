"""Numbers and tables."""

from leaderboard.tables import RUNS, SCORES, entry_table, evaluated, markdown, number
from tests.leaderboard.entries import made
from tests.results.records import EVALUATION

GRID = "klrl/GridNavigation-v0"


def test_numbers_and_tables():
    assert [number(value) for value in (0.0, 0.12345, 3.14159, 99.2, 12345.6, -2.5)] == [
        "0",
        "0.123",
        "3.14",
        "99.2",
        "12,346",
        "-2.50",
    ]
    assert markdown(["a"], [["x|y"]]) == "| a |\n| --- |\n| x\\|y |"


def test_a_row_says_what_may_be_trusted():
    told = {**EVALUATION, "log_probs": "self-reported", "bound": "lower", "tail": "unresolved"}
    assert evaluated(made("ours", GRID, [0.5], evaluation=told)) == (
        "self-reported, lower bound, tail unresolved"
    )
    assert evaluated(made("ours", GRID, [0.5, 0.6])) == "checked"
    assert evaluated(made("ours", GRID, [0.5], evaluation=None, tier="older")) == "not said"
    table = entry_table([made("ours", GRID, [0.5] * 4, budget="counted")], SCORES, "../")
    for cell in ("[ours](../agents/ours.py)", "| counted |", "| checked |", "| submitted, not final |"):
        assert cell in table


def test_bounds_are_called_so():
    floor = made("floor", GRID, [0.5] * 5, kind="bound")
    assert "| [floor](agents/floor.py) (bound) |" in entry_table([floor], SCORES, "")
    assert "| submitted |" in entry_table([floor], SCORES, "")
    assert entry_table([], SCORES, "") == "No entries yet."


def test_tables_lead_with_the_agent():
    assert SCORES[0][0] == RUNS[0][0] == "agent"
