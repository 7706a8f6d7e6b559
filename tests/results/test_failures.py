"""Runs that fail: each is named, and stops no other."""

from pathlib import Path

import pytest

from klrl_envs.results.entry import Entry
from klrl_envs.results.plan import PlannedRun
from klrl_envs.results.runner import report_failures, run_suite
from tests.results.dummy import bench, runs_of


def test_a_failed_run_stops_no_other_and_is_named(tmp_path: Path, dummy: str, capsys):
    failures = run_suite(runs_of(f"{dummy} --mode fail"), bench(tmp_path))
    told = "".join(capsys.readouterr())
    assert "FAILED, ended with exit code 3: a reason to fail (" in told and "log.txt)" in told, "at once"
    assert [(failure.run.seed, failure.reason) for failure in failures] == [(1, "ended with exit code 3")]
    assert [seed.seed for seed in Entry.load(tmp_path / "entries" / "Toy-v0--dummy.json").seeds] == [0, 2]
    report_failures(failures)
    said = capsys.readouterr().err
    assert "dummy on klrl/Toy-v0, seed 1" in said and "| a reason to fail" in said


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("silent", "no valid result"),
        ("greedy", "tokens 2,000, more than the 1,000"),
        ("boast", "above 1 beyond its interval"),
    ],
)
def test_a_wrong_result_is_a_failure(tmp_path: Path, dummy: str, mode: str, reason: str):
    (failure,) = run_suite(runs_of(f"{dummy} --mode {mode}", 1), bench(tmp_path))
    assert reason in failure.reason
    assert not (tmp_path / "entries").exists()


def test_a_result_of_other_settings_is_a_failure(tmp_path: Path, dummy: str):
    run = PlannedRun("dummy", f"{dummy} --mode deaf", "klrl/Toy-v0", 0, 1000, '{"horizon": 4}')
    (failure,) = run_suite([run], bench(tmp_path))
    assert failure.reason == "result.json has env_kwargs {}, not {'horizon': 4}"


def test_a_result_of_another_task_is_a_failure(tmp_path: Path, dummy: str):
    (failure,) = run_suite(runs_of(dummy, 1), bench(tmp_path, sha="c" * 64))
    assert "task_sha256" in failure.reason


def test_a_run_that_fails_after_its_result_never_counts(tmp_path: Path, dummy: str):
    for _ in range(2):
        (failure,) = run_suite(runs_of(f"{dummy} --mode late", 1), bench(tmp_path))
        assert failure.reason == "ended with exit code 3"
    assert not (tmp_path / "entries").exists()


def test_a_command_that_cannot_be_read_stops_no_other(tmp_path: Path, dummy: str):
    broken = PlannedRun("broken", 'python "', "klrl/Toy-v0", 0, 1000)
    (failure,) = run_suite([broken, *runs_of(dummy, 1)], bench(tmp_path))
    assert failure.run == broken and "No closing quotation" in failure.reason
    assert (tmp_path / "entries" / "Toy-v0--dummy.json").exists()


def test_a_command_that_is_not_there_is_a_failure(tmp_path: Path, calls: Path):
    (failure,) = run_suite(runs_of("no-such-program", 1), bench(tmp_path))
    assert "could not be started" in failure.reason
