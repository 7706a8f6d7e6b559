"""The house: which room may import which, how large its files are, and that each thing is said once."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from statistics import median

import pytest

from tests.imports import FOLDERS, ROOT, circles, imports_of, module_name, sources

AT_THE_TOP = {"__init__.py", "registry.py", "kl.py", "ledger.py", "policies.py", "showing.py", "whole.py"}

# A room may import itself and those of a lower rank; rooms of one rank leave each other alone.
RANKS = {
    "whole": -1,
    "kl": 0,
    "ledger": 0,
    "showing": 0,
    "assets": 0,
    "reference": 1,
    "reward": 2,
    "signals": 2,
    "tasks": 3,
    "registry": 4,
    "policies": 5,
    "envs": 6,
    "optima": 7,
    "networks": 7,
    "wrappers": 7,
    "evaluation": 8,
    "integrations": 9,
    "results": 9,
    "cli": 10,
    "assets.build": 11,
    "": 12,  # the public names
}

# Folder -> the first-party packages that it may import.
ALLOWED_OUTSIDE = {
    "agents": {"agents", "klrl_envs"},
    "benchmarks": {"benchmarks", "klrl_envs", "leaderboard"},
    "leaderboard": {"leaderboard", "klrl_envs"},
    "examples": {"examples", "klrl_envs"},
    "docs": {"docs", "klrl_envs"},
    "klrl_envs": {"klrl_envs"},
}

MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60
MEDIAN_LINES = 150
EVERY_FOLDER = (*FOLDERS, "tests")


def room_of(module: str) -> str:
    """The room of a module of ``klrl_envs``: its longest prefix in ``RANKS``."""
    _, *parts = module.split(".")
    for length in (2, 1, 0):
        name = ".".join(parts[:length])
        if name in RANKS and (name or not parts):
            return name
    raise AssertionError(f"{module} lies in no room: add it to RANKS in {__file__}")


def may_import(module: str, imported: str) -> bool:
    """Whether the order of the rooms allows an import."""
    own, other = room_of(module), room_of(imported)
    return own == other or RANKS[other] < RANKS[own]


def test_dependencies_run_one_way() -> None:
    wrong = [
        f"{module_name(path)} imports {imported}"
        for path in sources("klrl_envs")
        for imported in sorted(imports_of(path))
        if imported.split(".")[0] == "klrl_envs" and not may_import(module_name(path), imported)
    ]
    assert not wrong, "imports against the order of dependency:\n" + "\n".join(wrong)


def test_no_two_files_import_each_other_in_a_circle() -> None:
    graph = {module_name(path): imports_of(path) for folder in FOLDERS for path in sources(folder)}
    assert not circles(graph)


def test_circles_are_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"e"}}) == [["a", "b", "c"], ["e"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


@pytest.mark.parametrize("folder", sorted(ALLOWED_OUTSIDE))
def test_packages_keep_apart(folder: str) -> None:
    wrong = [
        f"{module_name(path)} imports {imported}"
        for path in sources(folder)
        for imported in sorted(imports_of(path))
        if imported.split(".")[0] not in ALLOWED_OUTSIDE[folder]
    ]
    assert not wrong, "\n".join(wrong)


def test_imports_are_seen(tmp_path: Path) -> None:
    package = tmp_path / "klrl_envs" / "tasks"
    package.mkdir(parents=True)
    (tmp_path / "klrl_envs" / "engine.py").write_text("")
    (package / "lazy.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import klrl_envs.cli\n"
        "def late():\n    from .. import engine\n    from ..evaluation import evaluate\n"
        "    import agents.ppo\n"
    )
    seen = imports_of(package / "lazy.py", tmp_path)
    assert seen == {"klrl_envs.engine", "klrl_envs.evaluation", "agents.ppo"}


def test_every_module_lies_in_a_room() -> None:
    assert {path.name for path in (ROOT / "klrl_envs").glob("*.py")} == AT_THE_TOP
    rooms = {path.parent.name for path in (ROOT / "klrl_envs").glob("*/__init__.py")}
    files = {name.removesuffix(".py") for name in AT_THE_TOP}
    assert rooms == {name for name in RANKS if name and "." not in name} - files


def test_outside_packages_have_an_empty_init() -> None:
    for folder in ("agents", "benchmarks", "leaderboard", "examples", "docs"):
        init = ROOT / folder / "__init__.py"
        assert init.exists() and init.read_text() == "", f"{init} must be there and empty"


def test_no_console_script_points_outside() -> None:
    scripts = (ROOT / "pyproject.toml").read_text().partition("[project.scripts]")[2].partition("\n[")[0]
    targets = re.findall(r'^\w+ = "([\w.]+):\w+"$', scripts, re.M)
    assert targets and all(target.split(".")[0] == "klrl_envs" for target in targets)
    for target in targets:
        assert (ROOT / Path(*target.split("."))).with_suffix(".py").exists()


def test_files_and_functions_fit_a_screen_or_a_few() -> None:
    lengths: dict[str, int] = {}
    long: list[str] = []
    for path in (path for folder in EVERY_FOLDER for path in sources(folder)):
        text = path.read_text(encoding="utf-8")
        lengths[str(path.relative_to(ROOT))] = len(text.splitlines())
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > MOST_LINES_OF_A_FUNCTION:
                    long.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {lines} lines")
    assert not long, "functions that are too long:\n" + "\n".join(long)
    assert not {name: lines for name, lines in lengths.items() if lines > MOST_LINES}
    assert median(lines for lines in lengths.values() if lines) < MEDIAN_LINES


def test_the_kinds_of_task_are_told_apart_by_what_a_task_says_of_itself() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for folder in FOLDERS
        for path in sources(folder)
        if not path.is_relative_to(ROOT / "klrl_envs" / "envs")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "isinstance"
        and re.search(r"\b(AutomatonTask|TextTask)\b", ast.unparse(node.args[1]))
    ]
    assert not wrong, "ask task.exact instead of isinstance:\n" + "\n".join(wrong)
