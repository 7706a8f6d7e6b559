"""Commands that are left behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from klrl_envs.results.processes import end_orphan


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_a_command_that_a_killed_benchmark_left_is_ended(tmp_path: Path):
    code = f"import time; print(flush=True); time.sleep(60)  # {tmp_path}"
    child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline()  # it runs
    (tmp_path / "pid").write_text(str(child.pid))
    end_orphan(tmp_path)
    assert child.wait(timeout=10) == -signal.SIGTERM
    (tmp_path / "pid").write_text(str(os.getpid()))
    end_orphan(tmp_path)  # a number that another process has now is left alone
