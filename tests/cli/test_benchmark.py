"""klrl benchmark: an agent of one's own on a suite, from any folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from klrl_envs.results.entry import Entry
from klrl_envs.results.record import RunRecord
from tests.cli.commands import klrl, refused, succeeded

ROOT = Path(__file__).resolve().parents[2]
GOLD = "klrl/DiagnosticGold-v0"

AGENT = """
import argparse, json, os, pathlib, sys
import klrl_envs
parser = argparse.ArgumentParser()
for flag in ("--env-id", "--out", "--fail"):
    parser.add_argument(flag)
for flag in ("--seed", "--tokens"):
    parser.add_argument(flag, type=int)
parser.add_argument("--env-kwargs", type=json.loads, default={})
args = parser.parse_args()
with open("calls.txt", "a") as calls:  # the folder where klrl was called
    print(args.env_id, args.seed, args.env_kwargs, os.environ.get("PYTHONPATH"), sys.executable, file=calls)
if args.fail == str(args.seed):
    sys.exit("a reason to fail")
evaluation = klrl_envs.evaluate("reference", args.env_id, episodes=16, **args.env_kwargs)
agent = {"name": "mine", "kind": "bound"}
klrl_envs.write_result(evaluation, args.out, agent=agent, seed=args.seed, env_kwargs=args.env_kwargs)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an agent, and nothing else."""
    (tmp_path / "mine.py").write_text(AGENT)
    return tmp_path


def benchmark(folder: Path, *words: str, command: str = "python mine.py") -> subprocess.CompletedProcess[str]:
    """The command, as it is typed in a folder; in a process of its own, whose signals it handles."""
    line = [
        sys.executable,
        "-m",
        "klrl_envs.cli",
        "benchmark",
        "--agent",
        "mine",
        "--command",
        command,
        *words,
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.mark.slow
def test_an_agent_is_run_once_where_the_user_is_and_its_entries_are_written(folder: Path) -> None:
    ran = benchmark(folder, "--only", "env=DiagnosticGold-v0")
    assert ran.returncode == 0, ran.stderr + ran.stdout
    calls = (folder / "calls.txt").read_text().splitlines()
    assert calls == [f"{GOLD} {seed} {{}} {ROOT} {sys.executable}" for seed in (0, 1)]
    for seed in (0, 1):
        path = folder / "runs" / "mine" / "DiagnosticGold-v0--mine" / f"seed-{seed}" / "result.json"
        record = RunRecord.load(path)
        assert record.seed == seed and record.command.startswith(
            f"python mine.py --env-id {GOLD} --tokens 20000"
        )
    entry = Entry.load(folder / "runs" / "mine" / "entries" / "DiagnosticGold-v0--mine.json")
    assert [seed.seed for seed in entry.seeds] == [0, 1] and entry.tier == "submitted"
    row = next(line for line in ran.stdout.splitlines() if "DiagnosticGold-v0" in line and "│" in line)
    assert entry.score is not None and "0, 1" in row and f"{entry.score:.3f}" in row
    assert "not final" in ran.stdout
    assert "would not take DiagnosticGold-v0--mine.json: agent.url must be" in ran.stdout

    again = benchmark(folder, "--only", "env=DiagnosticGold-v0", "--seeds", "1,4")
    assert again.returncode == 0 and "2 runs, 1 done before, 1 to do" in again.stdout
    assert len((folder / "calls.txt").read_text().splitlines()) == 3
    entry = Entry.load(folder / "runs" / "mine" / "entries" / "DiagnosticGold-v0--mine.json")
    assert [seed.seed for seed in entry.seeds] == [0, 1, 4]


@pytest.mark.slow
def test_what_failed_is_named_and_the_rest_is_run(folder: Path) -> None:
    ran = benchmark(folder, "--only", "env=DiagnosticGold-v0", command="python mine.py --fail 0")
    assert ran.returncode == 1
    assert (
        f"mine on {GOLD}, seed 0: ended with exit code 1" in ran.stderr and "a reason to fail" in ran.stderr
    )
    assert (folder / "runs" / "mine" / "DiagnosticGold-v0--mine" / "seed-1" / "result.json").exists()


def test_a_dry_run_prints_the_commands_of_every_suite(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    given = ["benchmark", "--agent", "mine", "--command", "python mine.py", "--dry-run"]
    counts = {name: len(succeeded(klrl(*given, "--suite", name)).splitlines()) for name in ("quick", "core")}
    assert counts["quick"] < 10 < 50 < counts["core"]
    (line,) = succeeded(
        klrl(*given, "--suite", "core", "--only", "env=Keywords-v0", "--seeds", "3")
    ).splitlines()
    out = folder / "runs" / "mine" / "Keywords-v0--mine" / "seed-3"
    assert line == f"python mine.py --env-id klrl/Keywords-v0 --tokens 500000 --seed 3 --out {out}"
    sweep = succeeded(klrl(*given, "--suite", "diagnostics", "--only", "env=DiagnosticLength-v0"))
    assert """--env-kwargs '{"horizon": 256}'""" in sweep
    assert not (folder / "runs").exists()


def test_a_suite_of_ones_own_is_a_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    Path("own.json").write_text(
        json.dumps([{"agent": "a", "command": "b", "environments": [GOLD], "seeds": [7]}])
    )
    (line,) = succeeded(klrl("benchmark", "--suite", "own.json", "--dry-run")).splitlines()
    assert line.startswith(f"b --env-id {GOLD} ") and str(folder / "runs" / "own") in line
    refused(klrl("benchmark", "--suite", "own.json", "--agent", "a"), "own.json names its own")


def test_errors_are_one_line_before_anything_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    mine = ["benchmark", "--agent", "mine", "--command", "python mine.py"]
    refused(klrl("benchmark"), "--agent is missing")
    refused(klrl("benchmark", "--agent", "mine"), "--command is missing")
    refused(klrl("benchmark", "--agent", "my agent", "--command", "python x"), "--agent must be letters")
    refused(klrl("benchmark", "--agent", "mine", "--command", "no-such-program x"), "no program here")
    refused(klrl(*mine, "--suite", "cor"), "--suite must be core, diagnostics, quick or a .json file")
    refused(klrl(*mine, "--seeds", "0,x"), "--seeds must be whole numbers")
    refused(klrl(*mine, "--only", "env=Nothing-v0"), "leaves no run")
    assert klrl(*mine, "--jobs", "0").exit_code == 2
    assert list(tmp_path.iterdir()) == []
