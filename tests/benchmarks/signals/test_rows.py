"""Committed rows, computed anew: their gradients and their ends."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.signals import formula_rows, trl_rows
from benchmarks.signals.__main__ import FOLDER
from benchmarks.signals.page import TENFOLD
from benchmarks.signals.row import Row, version_of

CLOSE = 1e-6
FOLLOWED = 1e-4
"""Of ends under changes: where an update hardly moves, many steps add up what processors round."""
CHEAP = ("trl-rloo", "trl-grpo-dr_grpo-none-k3", "trl-grpo-luspo-none-sequence")
"""Of TRL's rows, of which each takes some seconds."""
TRIED = ("formula-grpo", "formula-verl-grpo-in-reward", "formula-open-instruct-kl4")
"""Of the formulas, whose changes are computed anew, too."""


def numbers(report: dict[str, Any]) -> dict[str, float]:
    """What a report says of gradients and end, and of the changes that it tried."""
    found = {
        f"{one['policy']}: {key}": one[key] for one in report["gradients"] for key in ("cosine", "ratio")
    }
    found |= {f"end: {key}": report["end"][key] for key in ("reward", "kl", "score", "found")}
    for move in report["moves"]:
        found |= {f"{move['name']}: {key}": move[key] for key in ("score", "moved", "found")}
    return {key: float(value) for key, value in found.items() if value is not None}


def check(row: Row, folder: Path) -> None:
    """That a row is what was committed, in all that it computes."""
    kept = row.read(FOLDER / "rows")
    assert kept is not None
    found, known = numbers(row.run(folder)["report"]), numbers(kept["report"])
    assert set(found) <= set(known)
    moved = {
        f"{move['name']}: {key}" for move in kept["report"]["moves"] for key in ("score", "moved", "found")
    }
    for key, value in found.items():
        close = FOLLOWED if key in moved else CLOSE
        assert value == pytest.approx(known[key], rel=close, abs=close), key


@pytest.mark.slow
@pytest.mark.parametrize("row", formula_rows.ROWS, ids=lambda row: row.name)
def test_a_formula_is_where_it_was(row: Row, tmp_path: Path) -> None:
    check(row if row.name in TRIED else replace(row, changes=()), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("row", [row for row in trl_rows.ROWS if row.name in CHEAP], ids=lambda row: row.name)
def test_a_loss_of_trl_is_where_it_was(row: Row, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    pytest.importorskip("datasets")
    kept = row.read(FOLDER / "rows")
    assert kept is not None
    if kept["versions"]["trl"] != version_of("trl"):
        pytest.skip(f"the row is of trl {kept['versions']['trl']}")
    check(replace(row, changes=()), tmp_path)


def test_every_row_is_committed_and_says_its_score_in_the_other_unit() -> None:
    for row in (*trl_rows.ROWS, *formula_rows.ROWS):
        kept = row.read(FOLDER / "rows")
        assert kept is not None, row.name
        tried = {move["name"] for move in kept["report"]["moves"]}
        assert tried == set(row.changes) and (TENFOLD in tried or not row.changes), row.name


def test_no_row_holds_a_path_of_the_machine_that_made_it() -> None:
    rows = [path.read_text(encoding="utf-8") for path in sorted((FOLDER / "rows").iterdir())]
    assert any(".py, line " in text for text in rows), "errors have places"
    assert not [text for text in rows if re.search(r"[( ]/[^ ]*\.py, line ", text)]
