"""The examples of libraries: those that are installed train and are scored; the page says what was tried."""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from examples import tried
from tests.imports import ROOT

LIBRARIES = {each.example: each for each in tried.LIBRARIES}
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.slow
@pytest.mark.parametrize("example", LIBRARIES)
def test_a_library_trains_and_is_scored(example: str) -> None:
    library = LIBRARIES[example]
    if lacking := tried.missing(library):
        how = f"pip install 'klrl-envs[{library.extra}]'" if library.extra else "see examples/README.md"
        pytest.skip(f"{library.name} is not installed ({', '.join(lacking)}): {how}")
    if library.name == "CleanRL" and "CLEANRL" not in os.environ:
        pytest.skip("the variable CLEANRL names no checkout of CleanRL: see examples/cleanrl_ppo.py")
    score, tokens = tried.run(library, 2048)
    assert 1900 <= tokens <= 4096, "by the ledger; a lane's step that begins an episode anew writes none"
    assert -1 < score < 1


def test_the_page_says_what_was_tried() -> None:
    assert set(tried.notes()) <= set(LIBRARIES)
    assert tried.page() == tried.PAGE.read_text(encoding="utf-8"), "run python -m examples.tried"


def test_the_extras_allow_what_was_tried() -> None:
    pinned = dict(re.findall(r"^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.M))
    for example, note in tried.notes().items():
        library = LIBRARIES[example]
        assert note.gymnasium.startswith("1.") and note.tokens > 2000
        if not library.extra or library.name == "CleanRL":
            continue
        wanted = {each.name: each for each in map(Requirement, EXTRAS[library.extra])}
        assert note.version in wanted[library.distribution].specifier, example
        assert pinned.get(library.distribution, note.version) == note.version, "try it again"


def test_every_example_of_a_library_is_listed() -> None:
    files = {path.stem for path in (ROOT / "examples").glob("*_*.py")} - {"__init__", "trl_rloo"}
    assert files == set(LIBRARIES)


def test_what_fails_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = dataclasses.replace(LIBRARIES["sb3_ppo"], example="no_such_example")
    with pytest.raises(RuntimeError, match="no_such_example exited with 1"):
        tried.run(broken)
    assert tried.missing(dataclasses.replace(broken, modules=("no_such_module",))) == ["no_such_module"]
    with pytest.raises(SystemExit):
        tried.main(["no_such_example"])
