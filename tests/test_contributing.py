"""CONTRIBUTING.md keeps its word: one of each kind is added to a copy of the checkout, by so many files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.additions import agent, diagnostic, environment, reference
from tests.imports import FOLDERS, ROOT

pytestmark = pytest.mark.slow


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The checkout once more, without what is ignored."""
    ignored = shutil.ignore_patterns("__pycache__", ".*_cache", "*.egg-info")
    for name in (*FOLDERS, "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def run(copy: Path, *words: str) -> str:
    """What a module prints when it is run in the copy."""
    environment = {**os.environ, "PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    environment.pop("PYTEST_XDIST_WORKER", None)
    ran = subprocess.run(
        [sys.executable, "-m", *words], cwd=copy, env=environment, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a tree, but for caches."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.parametrize(
    ("add", "most", "commands", "tests"),
    [
        (environment.add, 4, environment.COMMANDS, environment.TESTS),
        (diagnostic.add, 4, diagnostic.COMMANDS, diagnostic.TESTS),
        (agent.add, 3, agent.COMMANDS, agent.TESTS),
        (reference.add, 5, reference.COMMANDS, reference.TESTS),
    ],
    ids=["environment", "diagnostic", "agent", "reference"],
)
def test_one_of_each_is_added_by_few_files_and_keeps_the_contract(
    copy: Path,
    add: Callable[[Path], None],
    most: int,
    commands: list[list[str]],
    tests: list[str],
) -> None:
    assert tests, "without a choice of tests pytest would run them all, this one too"
    before = contents(copy)
    add(copy)
    touched = {name for name, data in contents(copy).items() if before.get(name) != data}
    assert len(touched) <= most, sorted(touched)
    for words in commands:
        run(copy, *words)
    output = run(copy, "pytest", "-q", "-p", "no:cacheprovider", "-W", "ignore", *tests)
    assert " passed" in output
