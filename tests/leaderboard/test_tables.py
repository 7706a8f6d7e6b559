"""Numbers and tables."""

from leaderboard.tables import markdown, number


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
