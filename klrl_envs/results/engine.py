"""What runs the commands of a suite: processes of this machine, or a Ray cluster."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from klrl_envs.results.processes import Processes

ENGINES = ("local", "ray")


@dataclass
class Engine:
    """What runs commands.

    Attributes:
        processes: starts them.
        cores: that they share.
        jobs: runs at once where nobody says how many; None for as many as there are cores for.
    """

    processes: Processes = field(default_factory=Processes)
    cores: int = field(default_factory=lambda: os.cpu_count() or 1)
    jobs: int | None = 1

    def shares(self, jobs: int | None, threads: int | None) -> tuple[int, int]:
        """Runs at once and threads of each, where either may be open.

        Threads that nobody gives are those of ``OMP_NUM_THREADS`` where the caller has set it.
        """
        inherited = os.environ.get("OMP_NUM_THREADS", "")
        if threads is None and inherited.isdecimal() and int(inherited):
            threads = int(inherited)
        at_once = jobs or self.jobs or max(1, self.cores // (threads or 1))
        return at_once, threads or max(1, self.cores // at_once)


def engine_of(name: str, address: str | None) -> Engine:
    """The engine of a name.

    Raises:
        ValueError: another name, or an address of processes here.
        ImportError: Ray is asked for, and not installed.
        ConnectionError: no cluster at the address.
    """
    if name not in ENGINES:
        raise ValueError(f"--engine must be one of {', '.join(ENGINES)}, got {name!r}")
    if name == "local":
        if address is not None:
            raise ValueError(f"--address goes with --engine ray, got {address!r}")
        return Engine()
    from klrl_envs.results.ray_processes import RayProcesses

    processes = RayProcesses(address)
    return Engine(processes, processes.cores, None)
