"""The page of texts: draws of both policies, in tables that no text breaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.studies import side_by_side
from klrl_envs.evaluation.shown_texts import ShownText
from klrl_envs.registry import REGISTRY


def test_no_text_breaks_its_table() -> None:
    texts = [
        ("pi0", ShownText("A | b\n", "| x |\n\n<br> `y` *z* $1$ [a](b)", 0.5)),
        ("pi\\*", ShownText("A | b\n", "", 1.0)),
    ]
    lines = side_by_side.block(3, texts, (2.0, 0.25)).splitlines()
    assert lines[0] == "**3.** A \\| b" and lines[1] == ""
    assert lines[4] == (
        "| pi0 | 0.500 | +0.75 | \\| x \\|<br><br>\\<br\\> \\`y\\` \\*z\\* \\$1\\$ \\[a\\](b) |"
    )
    assert lines[5] == "| pi\\* | 1.000 | +1.75 | *nothing* |" and len(lines) == 6


def test_a_text_that_goes_on_with_the_prompts_word_says_so() -> None:
    for prompt, written, told in (
        ("outs", "ide it", "…ide it"),
        ("out", " side", "side"),
        ("out?", "so", "so"),
    ):
        (row,) = side_by_side.block(1, [("pi0", ShownText(prompt, written, 0))], None).splitlines()[4:]
        assert row == f"| pi0 | 0.000 | ? | {told} |"


@pytest.mark.slow
def test_the_page_has_eight_prompts_of_an_environment(tmp_path: Path) -> None:
    assert side_by_side.main(["klrl/WordProblems-v0", "--out", str(tmp_path)]) == 0
    text = (tmp_path / "README.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith(("| pi0 |", "| pi\\* |"))]
    assert len(rows) == 16 and all(row.count(" | ") == 3 for row in rows)
    right = [float(row.split(" | ")[1]) for row in rows if row.startswith("| pi\\*")]
    assert sum(right) >= 6, "pi* is right nineteen times in twenty"


@pytest.mark.slow
def test_another_model_that_is_not_certified_is_shown_alone(tmp_path: Path) -> None:
    from klrl_envs.reference.llama import save_folder
    from klrl_envs.reference.transformer import load_nano

    save_folder(load_nano(), tmp_path / "model")
    arguments = ["klrl/WordProblems-v0", "--reference", str(tmp_path / "model"), "--horizon", "8"]
    assert side_by_side.main([*arguments, "--out", str(tmp_path)]) == 0
    text = (tmp_path / "README.md").read_text()
    assert "not certified for this reference" in text
    assert text.count("| pi0 |") == 8 and "| pi\\* |" not in text and "Question: " in text


def test_the_page_that_is_here_has_every_environment_that_is_certified_by_sampling() -> None:
    text = (side_by_side.FOLDER / "README.md").read_text("utf-8")
    for row in REGISTRY:
        assert (f"\n## {row.id}\n" in text) == ("neural" in row.tags), row.id
