"""Records are set by learners that rank, one after another, and are never forgotten."""

from pathlib import Path
from typing import Any

from klrl_envs.results.entry import Entry
from leaderboard.build import build
from leaderboard.history import History, extended, history_table
from tests.leaderboard.entries import made, write
from tests.results.records import EVALUATION

GRID = "klrl/GridNavigation-v0"


def seeds(name: str, score: float, day: str, count: int = 5, **changes: Any) -> Entry:
    return made(name, GRID, [score] * count, date=day, **changes)


def test_a_record_is_better_than_all_before_it():
    entries = [
        seeds("first", 0.5, "2026-01-01"),
        seeds("worse", 0.4, "2026-01-02"),
        seeds("best", 0.70000004, "2026-01-03", tokens_to_half=400, tokens_to_nine_tenths=None),
        seeds("second", 0.6, "2026-01-03"),
    ]
    history = extended(History(), entries)
    assert [(each.agent, each.score) for each in history.records] == [("first", 0.5), ("best", 0.7)]
    assert history.records[1].tokens_to_half == 400 and history.records[1].tokens_to_nine_tenths is None
    assert extended(history, entries) == history


def test_bounds_missing_seeds_and_self_reported_scores_set_none():
    reported = {**EVALUATION, "log_probs": "self-reported"}
    entries = [
        seeds("posterior", 1.0, "2026-01-01", kind="bound"),
        seeds("few", 0.9, "2026-01-01", count=2),
        seeds("boast", 0.9, "2026-01-01", evaluation=reported),
    ]
    assert extended(History(), entries).records == ()


def test_what_was_taken_off_stays_as_withdrawn():
    history = extended(History(), [seeds("first", 0.5, "2026-01-01")])
    later = extended(history, [seeds("second", 0.4, "2026-01-02")])
    _, rows = history_table(later, [])
    assert [row[2] for row in rows] == ["first (withdrawn)", "second (withdrawn)"]


def test_the_build_keeps_the_history(tmp_path: Path):
    write(tmp_path, seeds("first", 0.5, "2026-01-01"))
    build(tmp_path, tmp_path / "README.md", verifier=lambda entries: None)
    (tmp_path / "entries" / "GridNavigation-v0--first.json").unlink()
    write(tmp_path, seeds("second", 0.7, "2026-01-05"))
    stale = build(tmp_path, tmp_path / "README.md", check=True, verifier=lambda entries: None)
    assert any(line.startswith("history.json is stale") for line in stale)
    build(tmp_path, tmp_path / "README.md", verifier=lambda entries: None)
    kept = History.load(tmp_path / "history.json")
    assert [each.agent for each in kept.records] == ["first", "second"]
    assert "first (withdrawn)" in (tmp_path / "TABLE.md").read_text()
