"""Commands that are left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from klrl_envs.ledger import VARIABLE
from klrl_envs.results.ledger import LEDGER
from klrl_envs.results.processes import end_orphans, processes_of

CODE = """
import subprocess, sys, time
if sys.argv[1:] == ["child"]:
    print("runs", flush=True)
    time.sleep(60)
subprocess.run([sys.executable, "-c", sys.orig_argv[2], "child"], start_new_session=True)
"""


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_what_a_killed_benchmark_left_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def start(folder: Path) -> subprocess.Popen[bytes]:
        environment = {**os.environ, VARIABLE: str(folder / LEDGER)}
        child = subprocess.Popen(
            [sys.executable, "-c", CODE], env=environment, stdout=subprocess.PIPE, start_new_session=True
        )
        assert child.stdout is not None and child.stdout.readline() == b"runs\n"
        return child

    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    left, other = start(tmp_path / "one"), start(tmp_path / "other")
    assert len(processes_of(tmp_path / "one")) == 2, "what it has started, too, in a session of its own"
    end_orphans(tmp_path / "one")
    assert not processes_of(tmp_path / "one")
    assert left.wait(timeout=10) == -signal.SIGKILL
    assert other.poll() is None, "runs in other folders are left alone"
    end_orphans(tmp_path / "other")
    other.wait(timeout=10)
    end_orphans(tmp_path / "nobody")
