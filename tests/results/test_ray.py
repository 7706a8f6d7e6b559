"""Runs on a Ray cluster of two workers: the same files as here, and a worker that dies costs nothing else."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from klrl_envs.results.engine import Engine, engine_of
from klrl_envs.results.processes import Processes
from klrl_envs.results.runner import run_suite
from tests.results.dummy import bench, runs_of

ray = pytest.importorskip("ray", reason="pip install 'klrl-envs[cluster]'")
pytestmark = pytest.mark.slow

WAITS = """
import os, pathlib, sys, time
here = pathlib.Path(os.environ["WAITS_IN"])
seed = sys.argv[sys.argv.index("--seed") + 1]
calls = here / f"calls-{seed}"
with calls.open("a") as file:
    file.write(f"{os.getpid()} {os.getppid()}\\n")
if seed == "1" and len(calls.read_text().splitlines()) == 1:
    time.sleep(600)
sys.argv[0] = os.environ["WAITS_THEN"]
exec(compile(pathlib.Path(sys.argv[0]).read_text(), sys.argv[0], "exec"))
"""


@pytest.fixture
def cluster():
    """Two workers of this machine."""
    from klrl_envs.results.ray_processes import RayProcesses

    if ray.is_initialized():
        ray.shutdown()
    yield lambda: RayProcesses(cores=2)
    ray.shutdown()


def files_of(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): path.read_text(errors="replace")
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "ledger.json"
    }


def test_the_same_files_come_out_of_both(tmp_path: Path, dummy: str, calls: Path, cluster) -> None:
    found = []
    for name in ("here", "there"):
        if (tmp_path / "out").exists():
            (tmp_path / "out").rename(tmp_path / "of-here")  # records name their command, and so their folder
        processes = Processes() if name == "here" else cluster()
        benchmark = replace(bench(tmp_path), entries=tmp_path / name, processes=processes)
        assert run_suite(runs_of(dummy), benchmark, jobs=2) == []
        found.append(files_of(tmp_path / "out"))
    assert found[0] == found[1] and sum(name.endswith("result.json") for name in found[0]) == 3


def test_a_worker_that_dies_loses_nothing(
    tmp_path: Path, dummy: str, calls: Path, monkeypatch: pytest.MonkeyPatch, cluster
) -> None:
    script = tmp_path / "waits.py"
    script.write_text(WAITS)
    monkeypatch.setenv("WAITS_IN", str(tmp_path))
    monkeypatch.setenv("WAITS_THEN", dummy.split()[1])
    command = " ".join(["python", str(script), *dummy.split()[2:]])
    benchmark = replace(bench(tmp_path), processes=cluster())
    runs = runs_of(command, 4)
    killed = threading.Thread(target=kill_worker_of, args=(tmp_path / "calls-1",))
    killed.start()
    assert run_suite(runs, benchmark, jobs=2) == []
    killed.join()
    started = {seed: (tmp_path / f"calls-{seed}").read_text().splitlines() for seed in range(4)}
    assert {seed: len(lines) for seed, lines in started.items()} == {0: 1, 1: 2, 2: 1, 3: 1}
    first = int(started[1][0].split()[0])
    assert not runs_still(first), "what the dead worker had started died with it"
    assert run_suite(runs, benchmark, jobs=2) == []
    assert sum(len((tmp_path / f"calls-{seed}").read_text().splitlines()) for seed in range(4)) == 5


def runs_still(process: int) -> bool:
    """Whether a process is there, and not only waiting for somebody to ask how it ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill_worker_of(path: Path) -> None:
    """Kill the worker whose command has noted its process in a file, once it has."""
    until = time.monotonic() + 120
    while not (path.is_file() and path.read_text().endswith("\n")):
        assert time.monotonic() < until, "the command was never started"
        time.sleep(0.1)
    os.kill(int(path.read_text().split()[1]), signal.SIGKILL)


def test_engines_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    engine = Engine(cores=8)
    assert engine.shares(None, None) == (1, 8) and engine.shares(4, None) == (4, 2)
    assert Engine(cores=8, jobs=None).shares(None, 1) == (8, 1)
    assert Engine(cores=8, jobs=None).shares(None, None) == (8, 1)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert engine.shares(None, None) == (1, 2) and engine.shares(None, 3) == (1, 3), "what the caller has set"
    assert Engine(cores=8, jobs=None).shares(None, None) == (4, 2)
    monkeypatch.setenv("OMP_NUM_THREADS", "some")
    assert engine.shares(None, None) == (1, 8)
    with pytest.raises(ValueError, match="--engine must be one of local, ray"):
        engine_of("slurm", None)
    with pytest.raises(ValueError, match="--address goes with --engine ray"):
        engine_of("local", "here:6379")
