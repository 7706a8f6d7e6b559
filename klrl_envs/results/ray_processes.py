"""Runs of a suite on a Ray cluster: each command is a task of one worker, and its files come back.

A worker runs the command in the folder that it has here, under the same path, so that records name the same
command whichever engine ran them; where the cluster has no file system in common the files are sent. A
worker that dies is replaced by Ray, which starts the command again, and what the dead one had started dies
with it. The code must lie under the same path on every machine, at the same commit.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from klrl_envs.results.processes import Processes, end_orphans

RETRIES = 3
"""Workers that may die under one command."""

Files = dict[str, bytes]


class RayProcesses(Processes):
    """The commands that run now on a cluster; see ``Processes``.

    Args:
        address: of the cluster, as ``ray.init`` takes it; None for the one that RAY_ADDRESS names, or else
            one of this machine alone, which is made.
        cores: of the one that is made; all where None.

    Raises:
        ImportError: Ray is not installed.
        ConnectionError: there is no cluster at the address.
    """

    def __init__(self, address: str | None = None, cores: int | None = None) -> None:
        super().__init__()
        self._ray = imported_ray()
        if not self._ray.is_initialized():
            made = {} if address or os.environ.get("RAY_ADDRESS") else {"num_cpus": cores}
            self._ray.init(
                address=address, include_dashboard=False, log_to_driver=False, logging_level="warning", **made
            )
        self._started: set[Any] = set()

    @property
    def cores(self) -> int:
        """Of the whole cluster."""
        return int(self._ray.cluster_resources().get("CPU", 1))

    def run(self, words: list[str], folder: Path, log: Path, *, threads: int) -> int | None:
        """Have a worker run a command, wait for it, and leave its files in ``folder``."""
        task = self._ray.remote(run_here).options(num_cpus=threads, max_retries=RETRIES)
        with self._lock:
            if self._stopped:
                return None
            handle = task.remote(words, sys.executable, str(folder), log.name, threads, os.getcwd())
            self._started.add(handle)
        try:
            code, files = self._ray.get(handle)
        except self._ray.exceptions.RayError as error:
            if self._stopped:
                return None
            raise OSError(f"the cluster lost it: {' '.join(str(error).split())[:300]}") from None
        finally:
            with self._lock:
                self._started.discard(handle)
        for name, content in files.items():
            path = folder / name
            if not path.is_file() or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        return code

    def stop(self) -> None:
        """End the commands that run; no other is started."""
        with self._lock:
            self._stopped = True
            for handle in self._started:
                self._ray.cancel(handle, force=True)


def imported_ray() -> Any:
    """The module.

    Raises:
        ImportError: it is not installed.
    """
    try:
        import ray
    except ImportError:
        raise ImportError("--engine ray needs Ray: pip install 'klrl-envs[cluster]'") from None
    return ray


def run_here(
    words: list[str], interpreter: str, folder: str, log: str, threads: int, directory: str
) -> tuple[int, Files]:
    """What a worker does: run a command in its folder.

    Args:
        words: the command.
        interpreter: of who asks: this worker's takes its place.
        folder: of the run, under the same path as there.
        log: the name of the file that gets what the command says.
        threads: that it may use.
        directory: where the code lies.

    Returns:
        The exit code, and the files that the folder holds.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    end_orphans(place)  # of a worker of this machine that died
    os.chdir(directory)
    words = [sys.executable if word == interpreter else word for word in words]
    code = Processes(tethered=True).run(words, place, place / log, threads=threads)
    files = {
        str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()
    }
    return (1 if code is None else code), files
