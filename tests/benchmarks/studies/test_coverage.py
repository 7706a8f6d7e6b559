"""Coverage of an evaluation's intervals by simulation, at a size that every change can bear."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies import coverage
from benchmarks.studies.coverage import EVENTS, FOLDER, LOW, SETTINGS, Row, card, simulate

pytestmark = pytest.mark.slow

RUNS = 300
SLACK = 4 * np.sqrt(0.95 * 0.05 / RUNS)
"""Four standard errors of a coverage that is simulated so often."""


@pytest.mark.parametrize("setting", SETTINGS[:5], ids=lambda setting: setting.name)
def test_intervals_cover(setting):
    rows = list(simulate(setting, RUNS, pool=100_000))
    assert {row.solver for row in rows} == {True, False}
    for row in rows:
        assert row.covered >= LOW - SLACK, row
        if row.events >= EVENTS:
            assert row.covered <= 0.95 + SLACK, row


def test_rare_events_are_not_resolved_and_many_are():
    rows = list(simulate(SETTINGS[0], 100, pool=100_000))
    few = [row for row in rows if row.quantity == "expected_reward" and row.events < 3]
    many = [row for row in rows if row.quantity == "expected_reward" and row.events > 25]
    assert few and all(row.resolved < 0.02 for row in few)
    assert many and all(row.resolved > 0.98 for row in many)


def test_the_card_is_of_the_full_size_and_holds():
    """What is committed came from the command that it names, and says that no interval failed."""
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "benchmarks.studies.coverage --runs" in text and "(!)" not in text
    assert text.count("\n| ") > 60


def test_an_interval_that_does_not_cover_is_told(tmp_path: Path, monkeypatch, capsys):
    row = Row(SETTINGS[0], True, 256, "score", 40.0, 0.80, 1.0)
    assert not row.holds and "(!)" in card([row, Row(SETTINGS[0], True, 256, "kl", 2.0, 1.0, 0.0)], 10)
    monkeypatch.setattr(coverage, "simulate", lambda setting, runs: iter([row]))
    monkeypatch.setattr(coverage, "card", lambda rows, runs: "")
    assert coverage.main(["--runs", "1", "--out", str(tmp_path)]) == 1
    assert "0.800" in capsys.readouterr().err
