"""Commands that run, each with whatever it starts, so that all can be ended together."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from klrl_envs.ledger import VARIABLE
from klrl_envs.results.ledger import LEDGER

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
DEATH_SIGNAL = 1
"""PR_SET_PDEATHSIG of prctl(2)."""
SLOWEST_END = 10.0
"""Seconds in which a process that is killed has to be gone."""


def words_of(template: str, values: Mapping[str, str]) -> list[str]:
    """A command's words, with values where words are names; python is the interpreter that has klrl_envs.

    Raises:
        ValueError: a command that no shell could read, or that is empty.
    """
    words = [values.get(word, word) for word in shlex.split(template)]
    if not words:
        raise ValueError(f"command must name a program, got {template!r}")
    if words[0] in ("python", "python3"):
        words[0] = sys.executable
    return words


class Processes:
    """The commands that run now.

    Args:
        tethered: they end with this process, even where it is killed (on Linux).
    """

    def __init__(self, *, tethered: bool = False) -> None:
        self._tethered = tethered
        self._children: set[subprocess.Popen[bytes]] = set()
        self._stopped = False
        self._lock = threading.Lock()

    @property
    def stopped(self) -> bool:
        """Whether nothing is started any more."""
        return self._stopped

    def run(self, words: list[str], folder: Path, log: Path, *, threads: int) -> int | None:
        """Start a command and wait for it.

        Args:
            words: the command.
            folder: where its ledger is kept, by which whatever it starts is known.
            log: the file that gets what it says.
            threads: that it may use.

        Returns:
            The exit code; None where nothing is started any more.

        Raises:
            OSError: it could not be started.
        """
        limits = dict.fromkeys(THREADS, str(threads))
        with log.open("wb") as stream:
            with self._lock:
                if self._stopped:
                    return None
                child = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    env={
                        "OMP_WAIT_POLICY": "PASSIVE",
                        **os.environ,
                        **limits,
                        "PYTHONUNBUFFERED": "1",
                        VARIABLE: str(folder.resolve() / LEDGER),
                    },
                    start_new_session=True,
                    preexec_fn=end_with_parent if self._tethered else None,
                )
                self._children.add(child)
            code = child.wait()
            with self._lock:
                self._children.discard(child)
        return code

    def stop(self) -> None:
        """End the commands that run, with whatever they have started; no other is started."""
        with self._lock:
            self._stopped = True
            for child in self._children:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGTERM)


def end_with_parent() -> None:
    """Have the kernel end this process when the one that started it ends (on Linux)."""
    import ctypes

    with suppress(OSError, AttributeError):  # another system: there is no such call
        ctypes.CDLL(None).prctl(DEATH_SIGNAL, int(signal.SIGKILL))


def end_orphans(folder: Path) -> None:
    """End what a benchmark that was killed has left behind in a run's folder, and wait until it is gone.

    These are the processes whose environment names the folder's ledger, so that none is missed, whenever the
    benchmark died; they are found on Linux.

    Raises:
        OSError: one does not end.
    """
    deadline = time.monotonic() + SLOWEST_END
    while left := processes_of(folder):
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            raise OSError(f"processes {left} of an earlier benchmark write to {folder} and do not end")
        time.sleep(0.01)


def processes_of(folder: Path) -> list[int]:
    """The processes that a run in a folder has started, but not this one."""
    wanted = f"{VARIABLE}={folder.resolve() / LEDGER}".encode()
    found: list[int] = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # it has ended, or is somebody else's
            if wanted in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return [pid for pid in found if pid != os.getpid()]
