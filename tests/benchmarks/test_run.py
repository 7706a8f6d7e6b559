"""The command line of the benchmark."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.run import main
from klrl_envs.results.record import RunRecord
from klrl_envs.results.rules import task_sha256

ROOT = Path(__file__).resolve().parents[2]


def suite_file(tmp_path: Path, command: str, seeds: list[int]) -> Path:
    """A suite of one's own on a real environment."""
    path = tmp_path / "own.json"
    row = {"agent": "dummy", "command": command, "environments": ["klrl/GridNavigation-v0"], "seeds": seeds}
    path.write_text(json.dumps([row]))
    return path


def test_the_command_line_fails_with_exit_code_1(tmp_path: Path, dummy: str, capsys):
    # The dummy's kl_coef and task are not those of the environment: the leaderboard's rules refuse it.
    suite = suite_file(tmp_path, dummy, [0])
    options = ["--suite", str(suite), "--out", str(tmp_path / "out"), "--entries", str(tmp_path / "entries")]
    assert main(options) == 1
    assert "1 runs failed" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_a_stopped_benchmark_ends_its_commands(tmp_path: Path, dummy: str, calls: Path):
    suite = suite_file(tmp_path, f"{dummy} --mode sleep", [0])
    command = [sys.executable, "-m", "benchmarks.run", "--suite", str(suite), "--out", str(tmp_path / "out")]
    process = subprocess.Popen(
        [*command, "--no-entries"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    deadline = time.monotonic() + 120
    while not calls.read_text() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    assert calls.read_text(), "the dummy agent was never started"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143  # far less than the dummy's minute


def test_a_diagnostic_is_run_by_its_settings(tmp_path: Path):
    """Real agents, in seconds: the settings reach them, and the result says how they did."""
    suite = tmp_path / "own.json"
    row = {"environments": ["klrl/DiagnosticLength-v0"], "seeds": [0], "settings": {"horizon": 4}}
    command = "python -m agents.{} --episodes 64 --device cpu"
    suite.write_text(
        json.dumps(
            [
                {"agent": name, "command": command.format(name), "tokens": 2000, **row}
                for name in ("reference", "q_learning")
            ]
        )
    )
    entries = tmp_path / "entries"
    options = ["--suite", str(suite), "--out", str(tmp_path / "out"), "--entries", str(entries)]
    assert main(options) == 0
    assert not entries.exists()
    for agent in ("reference", "q_learning"):
        folder = tmp_path / "out" / f"DiagnosticLength-v0--{agent}--horizon=4"
        found = RunRecord.load(folder / "seed-0" / "result.json")
        assert found.env_kwargs == {"horizon": 4} and found.score is not None
        assert found.comparison is not None and found.comparison.exact
        assert found.comparison.reverse_kl == pytest.approx(found.regret / found.kl_coef, rel=0.2)
        assert found.task_sha256 == task_sha256("klrl/DiagnosticLength-v0", '{"horizon": 4}')


OWN_ENVIRONMENT = """
import klrl_envs
from klrl_envs.tasks.diagnostics.length import task

klrl_envs.register("mine/Benchmarked-v0", task, kl_coef=0.3, token_budget=5000, tags=("exact", "text", "own"))
"""


def test_environments_of_ones_own_stand_in_a_suite(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "own_environment.py").write_text(OWN_ENVIRONMENT)
    suite = tmp_path / "own.json"
    suite.write_text(json.dumps([{"agent": "a", "command": "run a", "environments": "own", "seeds": [0]}]))
    command = [sys.executable, "-m", "benchmarks.run", "--suite", str(suite), "--dry-run"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}  # a process of its own, as it registers
    ran = subprocess.run([*command, "--import", "own_environment"], cwd=ROOT, env=environment,
                         capture_output=True, text=True)  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("run a --env-id mine/Benchmarked-v0 --tokens 5000 --seed 0 --out ")
    for arguments, message in (([], "must be 'all', ids or a tag"), (["--import", "no_such"], "no_such")):
        with pytest.raises(SystemExit):
            main(["--suite", str(suite), *arguments])
        assert message in capsys.readouterr().err
