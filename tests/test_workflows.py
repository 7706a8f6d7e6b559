"""The workflow files fit the repository: what they call is there, and strangers' code can write nothing."""

import importlib.util
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command

from klrl_envs.cli.app import app

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
LOADED: dict[str, Any] = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in FILES}
JOBS = [(name, job) for name, file in LOADED.items() for job in file["jobs"]]


def scripts(name: str) -> list[str]:
    steps = [step for job in LOADED[name]["jobs"].values() for step in job["steps"]]
    return [step["run"] for step in steps if "run" in step]


@pytest.mark.parametrize("name", LOADED)
def test_what_a_workflow_calls_is_there(name: str):
    text = "\n".join(scripts(name))
    own = ("agents", "benchmarks", "leaderboard", "klrl_envs")
    for module in re.findall(r"python -m ([a-z_.]+)", text):
        assert module.split(".")[0] not in own or importlib.util.find_spec(module), module
    commands = get_command(app).commands  # type: ignore[attr-defined]
    assert set(re.findall(r"klrl ([a-z]+) ", text)) <= set(commands)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE)
    assert set(re.findall(r"^make ([a-z-]+)$", text, flags=re.MULTILINE)) <= set(targets)
    extras = (ROOT / "pyproject.toml").read_text("utf-8")
    for names in re.findall(r"-e '\.\[([a-z,]+)\]'", text):
        assert all(f"\n{extra} = [" in extras for extra in names.split(","))


def test_the_names_are_those_that_the_pages_of_python_say():
    assert list(LOADED) == ["entries", "publish", "tests"]
    oldest = LOADED["tests"]["jobs"]["suite"]["strategy"]["matrix"]["python"][0]
    assert f'requires-python = ">={oldest}"' in (ROOT / "pyproject.toml").read_text("utf-8")


@pytest.mark.parametrize(("name", "job"), JOBS)
def test_only_what_runs_no_strangers_code_may_write(name: str, job: str):
    file = LOADED[name]
    assert file["permissions"] == {"contents": "read"}
    triggers = file[True]  # YAML takes "on" for a boolean
    assert "pull_request_target" not in triggers, "it would run a stranger's code with our token"
    may_write = "write" in file["jobs"][job].get("permissions", {}).values()
    assert may_write == ((name, job) in {("entries", "propose"), ("publish", "pypi")})
    assert "secrets." not in str(file), "none is needed"


@pytest.mark.parametrize("name", LOADED)
def test_what_others_may_set_goes_through_the_environment(name: str):
    for script in scripts(name):
        for expression in re.findall(r"\$\{\{(.*?)\}\}", script):
            assert expression.strip().startswith("matrix."), "a shell would read it as code"


def guarded(folder: Path, changed: str) -> int:
    """The exit code of the guard's first script where a change touches one file."""
    script = next(each for each in scripts("entries") if "allowed=" in each)

    def git(*words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(("git", *who, *words), cwd=folder, check=True, capture_output=True)

    git("init", "-q", "-b", "main")
    git("commit", "-q", "--allow-empty", "-m", "base")
    git("branch", "base")
    (folder / changed).parent.mkdir(parents=True, exist_ok=True)
    (folder / changed).write_text("x")
    git("add", "-f", changed)
    git("commit", "-q", "-m", "change")
    done = subprocess.run(
        ["bash", "-e", "-c", script], cwd=folder, capture_output=True, text=True,
        env={"BASE": "base", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert (done.returncode != 0) == (changed in done.stdout), done.stderr
    return done.returncode


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ("leaderboard/entries/Keywords-v0--mine.json", 0),
        ("leaderboard/figures/Keywords-v0.svg", 0),
        ("leaderboard/entries/policies/Keywords-v0--mine/seed-0.safetensors", 0),
        ("README.md", 0),
        ("leaderboard/verify.py", 1),
        ("klrl_envs/kl.py", 1),
        (".github/workflows/entries.yml", 1),
        ("leaderboard/entries/x.json.py", 1),
        ("sub/README.md", 1),
    ],
)
def test_an_entry_changes_the_boards_data_and_nothing_else(tmp_path: Path, changed: str, code: int):
    assert guarded(tmp_path, changed) == code


@pytest.mark.parametrize(
    ("number", "entry", "passes"),
    [
        ("12", "Keywords-v0--mine.json", True),
        ("1;ls", "a.json", False),
        ("1", "../a.json", False),
        ("1", "$(ls).json", False),
    ],
)
def test_what_a_maintainer_types_is_a_number_and_a_files_name(number: str, entry: str, passes: bool):
    lines = {line for each in scripts("entries") for line in each.splitlines() if "=~" in line}
    assert len(lines) == 1, "both jobs ask the same"
    done = subprocess.run(["bash", "-e", "-c", lines.pop()], env={"NUMBER": number, "ENTRY": entry})
    assert (done.returncode == 0) == passes
