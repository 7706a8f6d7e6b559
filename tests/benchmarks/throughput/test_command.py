"""The command line: which comparisons run, and what is printed of them."""

from __future__ import annotations

import pytest

from benchmarks.throughput import __main__ as command
from benchmarks.throughput import grid
from benchmarks.throughput.rounds import report


def test_what_is_named_runs_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(grid, "GRID_LANES", 4)
    monkeypatch.setattr(grid, "FROZEN_LAKE_LANES", (1,))
    command.main(["grid", "--rounds", "1"])
    printed = capsys.readouterr().out
    assert "GridNavigation-v0" in printed and "FrozenLake-v1 sync x 1" in printed
    assert "(bar 30)" in printed and "Generated tokens" not in printed


def test_an_unknown_comparison_is_refused() -> None:
    with pytest.raises(SystemExit):
        command.main(["lake"])


def test_the_ratio_is_that_of_the_best_of_each_side(capsys: pytest.CaptureFixture[str]) -> None:
    report("Speed", {"ours x 1": 5, "ours x 2": 9, "theirs": 3, "theirs x 2": 2}, "ours", "steps/s", 2.5)
    assert "ratio 3.00 (bar 2.5)" in capsys.readouterr().out
