"""Pages: laid out as Markdown, generated, and committed as they are computed."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from benchmarks.claims import __main__ as command
from benchmarks.claims.page import FOLDER, Page, index, percent, percents, table

PAGE = Page(
    "some", "A claim", ("2605.07105",), "x " * 90, "m", ["It\nholds.", "b"], [("caption", "| a |")], "n"
)


def test_prose_is_wrapped_and_tables_are_not() -> None:
    text = PAGE.text()
    assert max(map(len, text.splitlines())) <= 110
    assert "It holds." in text and "\n\n| a |\n\n" in text
    assert "[2605.07105](https://arxiv.org/abs/2605.07105)" in text


def test_a_table_has_words_left_and_numbers_right() -> None:
    assert table(("a", "b"), [("x|y", "1")]) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 |"


def test_shares_in_percent() -> None:
    assert [percent(one) for one in (0.5, 0.994, 1.0)] == ["50 %", "99.4 %", "100 %"]
    assert percents([0.5, 0.75]) == "50 to 75 %" and percents([0.5]) == "50 %"


def test_the_index_has_each_page_with_what_was_found(tmp_path: Path) -> None:
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "README.md").write_text(PAGE.text(), encoding="utf-8")
    assert "**[A claim](some/README.md)** (`some`). It holds." in index(tmp_path)


def test_every_claim_has_its_committed_page_and_figure() -> None:
    for name in command.CLAIMS:
        text = (FOLDER / name / "README.md").read_text(encoding="utf-8")
        assert f"python -m benchmarks.claims {name}" in text
        assert all((FOLDER / name / f"{name}.{kind}").exists() for kind in ("png", "svg"))
    assert (FOLDER / "README.md").read_text(encoding="utf-8") == index()


@pytest.mark.slow
@pytest.mark.parametrize("name", command.CLAIMS)
def test_the_committed_page_is_what_is_computed(name: str) -> None:
    claim = importlib.import_module(f"benchmarks.claims.{name}")
    page = (FOLDER / name / "README.md").read_text(encoding="utf-8")
    assert claim.page(claim.measure()).text() == page, (
        f"python -m benchmarks.claims {name} writes another page"
    )


def test_the_command_writes_page_figure_and_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    claim = importlib.import_module("benchmarks.claims.partial_sequences")
    monkeypatch.setattr(claim, "SEEDS", (0,))
    monkeypatch.setattr("benchmarks.claims.advantages.STEPS", 3)
    assert command.main(["partial_sequences", "--out", str(tmp_path)]) == 0
    assert {path.name for path in (tmp_path / "partial_sequences").iterdir()} == {
        "README.md", "partial_sequences.png", "partial_sequences.svg",
    }  # fmt: skip
    assert (tmp_path / "README.md").exists()
