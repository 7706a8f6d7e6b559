"""Benchmarks that run at once, in one folder and for one folder of entries."""

import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from klrl_envs.results.benchmark import Benchmark, Failure
from klrl_envs.results.document import held
from klrl_envs.results.entry import Entry
from klrl_envs.results.processes import Processes
from klrl_envs.results.record import RunRecord
from klrl_envs.results.runner import run_suite
from tests.results.dummy import bench, runs_of


def at_once(jobs: list[tuple[Benchmark, list]]) -> list[Failure]:
    """The failures of benchmarks that run at once, each with its own runs."""
    failures: list[Failure] = []
    threads = [
        threading.Thread(target=lambda job=job: failures.extend(run_suite(job[1], job[0]))) for job in jobs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_no_run_is_done_twice_and_all_get_its_outcome(tmp_path: Path, dummy: str, calls: Path):
    jobs = [(replace(bench(tmp_path), processes=Processes()), runs_of(dummy, 2)) for _ in range(3)]
    assert at_once(jobs) == []
    assert sorted(calls.read_text().splitlines()) == ["klrl/Toy-v0 0", "klrl/Toy-v0 1"]


def test_no_seed_of_another_benchmark_is_lost(tmp_path: Path, dummy: str, monkeypatch: pytest.MonkeyPatch):
    def slowly(self: Benchmark, *arguments: object) -> None:
        time.sleep(0.2)  # between what was read of the entry and what is written

    monkeypatch.setattr(Benchmark, "score_interval", slowly)
    monkeypatch.setattr("klrl_envs.results.entry.check_score", lambda *_: None)
    jobs = [
        (replace(bench(tmp_path, out=f"out-{run.seed}"), processes=Processes()), [run])
        for run in runs_of(dummy, 4)
    ]
    assert at_once(jobs) == []
    entry = Entry.load(tmp_path / "entries" / "Toy-v0--dummy.json")
    assert [seed.seed for seed in entry.seeds] == [0, 1, 2, 3]


def test_who_is_stopped_waits_no_longer(tmp_path: Path, dummy: str, calls: Path):
    benchmark, (run,) = bench(tmp_path), runs_of(dummy, 1)
    with held(benchmark.folder(run)):
        benchmark.processes.stop()
        outcome = benchmark.execute(run)
    assert isinstance(outcome, Failure) and outcome.reason == "was not started"
    assert calls.read_text() == ""


def test_an_entry_that_cannot_be_written_is_a_failure(
    tmp_path: Path, dummy: str, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object) -> None:
        raise OSError(28, "could not be written: No space left on device", "entry")

    with monkeypatch.context() as patched:
        patched.setattr(Entry, "save", full)
        failures = run_suite(runs_of(dummy, 2), bench(tmp_path))
    assert len(failures) == 2 and all("No space left on device" in each.reason for each in failures)
    assert run_suite(runs_of(dummy, 2), bench(tmp_path)) == [], "with space again it is written"
    assert len(Entry.load(tmp_path / "entries" / "Toy-v0--dummy.json").seeds) == 2
    assert RunRecord.load(tmp_path / "out" / "Toy-v0--dummy" / "seed-1" / "result.json").seed == 1
