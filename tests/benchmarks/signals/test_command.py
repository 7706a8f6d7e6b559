"""The command: rows are kept and read again, the page is theirs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.signals import __main__ as command
from benchmarks.signals import page
from benchmarks.signals.row import Row


def numbers(**more: Any) -> dict[str, Any]:
    """What a row keeps, of a loss that is right."""
    gradients = [{"policy": policy, "cosine": 1.0, "variance": 1.0} for policy in ("pi0", "half way", "pi*")]
    moves = [
        {"name": page.TENFOLD, "kind": "same optimum", "moved": 0.0, "score": 0.25, "found": True},
        {"name": "a word cloned", "kind": "same optimum", "moved": 0.002, "score": 1.0, "found": True},
        {"name": "groups of 2", "kind": "same optimum", "moved": 0.123, "score": 0.9, "found": True},
        {"name": "4 steps on each batch", "kind": "condition", "moved": 0.1, "score": 0.75, "found": True},
    ]
    report = {
        "gradients": gradients,
        "moves": moves,
        "follows": "E[r] - kl_coef KL(pi || pi0)",
        "end": {"reward": 0.5, "kl": 0.25, "score": 1.0, "found": True},
        "verdict": "Right: on average it is the gradient of the objective, and it ends at the optimum.",
    }
    return {"versions": {"torch": "2", "trl": "1"}, "core_seconds": 1.0, "report": report | more}


def test_a_line_says_what_a_row_found() -> None:
    row = command.ROWS[0]
    line = page.line(7, row, numbers())
    assert line.startswith(
        f"| 7 | {row.label} | 1.000 | 1.000 | E[r] - kl_coef KL(pi \\|\\| pi0) | 0.500 | 0.250"
    )
    assert "| 0.250 | 1.000 | 0.250 | groups of 2 (0.12); 4 steps on each batch: 0.750 |" in line
    assert line.endswith("| right |")
    assert "| 1.000 |  |  | 1.00 | right |" in page.line(1, row, numbers(moves=[]))
    assert "no sum of the known terms" in page.line(1, row, numbers(follows=None))
    failed = {
        "name": "every reward + 3",
        "kind": "same optimum",
        "moved": None,
        "score": None,
        "found": False,
    }
    told = page.moves(numbers(moves=[failed])["report"])
    assert told == "every reward + 3: could not be computed"
    assert page.verdict(numbers(verdict="No gradient on average: it goes nowhere.")["report"]).startswith(
        "no g"
    )
    with pytest.raises(ValueError, match="no words for the verdict 'Odd"):
        page.verdict(numbers(verdict="Odd.")["report"])


def test_sources_are_links_to_papers_and_to_files_at_a_commit() -> None:
    named = {row.name: page.source(row) for row in command.ROWS}
    assert named["trl-rloo"] == ""
    assert named["formula-gvpo"] == " ([2504.19599](https://arxiv.org/abs/2504.19599))"
    assert named["formula-verl-grpo-in-reward"].startswith(
        " (verl 1dda039: [ray_trainer.py](https://github.com/verl-project/verl/blob/1dda039b9c63/verl/trainer/"
    )


def test_the_page_says_which_rows_change_sides_with_the_unit() -> None:
    first, second, third = command.ROWS[:3]
    low = numbers(end={"reward": 0.5, "kl": 0.25, "score": -1.0, "found": True})
    assert page.flipped([(first, numbers()), (second, low), (third, low)]) == "2 rows (2, 3) end"
    assert page.flipped([(first, numbers())]) == "a row may end"
    made = page.page([(first, numbers()), (second, low)], [])
    assert "## What this does not show" in made and "1 rows (2) end" not in made
    assert "row 2 ends" in made


def test_the_command_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    ran: list[str] = []

    def run(self: Row, folder: Path, told: object = None) -> dict[str, Any]:
        ran.append(self.name)
        folder.mkdir(parents=True, exist_ok=True)
        self.path(folder).write_text(json.dumps(numbers()))
        return numbers()

    monkeypatch.setattr(Row, "run", run)
    monkeypatch.setattr(Row, "missing", lambda self: ["trl"] if self.modules else [])
    out = ["--out", str(tmp_path)]
    assert command.main([*out, "--draw"]) == 1 and "no rows in" in capsys.readouterr().err
    assert command.main([*out, "--only", "gvpo"]) == 0 and ran == ["formula-gvpo"]
    assert command.main([*out, "--only", "gvpo", "--only", "formula-gspo"]) == 0
    assert ran == ["formula-gvpo", "formula-gspo"]
    assert command.main([*out, "--only", "trl-rloo"]) == 1 and len(ran) == 2
    assert "trl-rloo: trl is not installed" in capsys.readouterr().err
    made = (tmp_path / "README.md").read_text(encoding="utf-8")
    assert "| 1 | GVPO ([2504.19599]" in made and "Not computed yet: trl-rloo" in made
    assert (tmp_path / "signals.png").is_file() and (tmp_path / "signals.svg").is_file()


def test_a_row_is_computed_and_read_again(tmp_path: Path) -> None:
    row = next(one for one in command.ROWS if one.name == "formula-gvpo")
    quick = Row(**{**vars(row), "changes": (), "group": 2})
    assert quick.read(tmp_path) is None
    found = quick.run(tmp_path)
    assert quick.read(tmp_path) == found
    assert found["report"]["end"]["score"] == pytest.approx(1.0, abs=1e-6) and found["report"]["moves"] == []
    assert list(found["versions"]) == ["torch"]


def test_the_committed_page_is_that_of_the_committed_rows() -> None:
    read = [(row, row.read(command.FOLDER / "rows")) for row in command.ROWS]
    found = [(row, numbers) for row, numbers in read if numbers is not None]
    missing = [row for row, numbers in read if numbers is None]
    written = (command.FOLDER / "README.md").read_text(encoding="utf-8")
    assert page.page(found, missing) == written, "python -m benchmarks.signals --draw writes another page"
    names = {f"{row.name}.json" for row in command.ROWS}
    assert {path.name for path in (command.FOLDER / "rows").iterdir()} <= names
