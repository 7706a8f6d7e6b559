"""Where a run came from: the command, the machine, the libraries and the commit of its code."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import gymnasium

from klrl_envs.results.record import Hardware, Versions


def command_line() -> str:
    """What started this process, as a shell reads it; `python` for the interpreter, wherever it lies."""
    return shlex.join(["python", *sys.orig_argv[1:]])


def hardware(device: str = "auto") -> Hardware:
    """Processor, cores that this process may use, accelerator and memory.

    Args:
        device: "cpu" where torch used no accelerator even if there is one.
    """
    cpu = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):  # Linux alone has this file
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    gpu = None
    torch = sys.modules.get("torch")
    if device != "cpu" and torch is not None and torch.cuda.is_available():
        gpu = str(torch.cuda.get_device_name())
    memory = None
    with suppress(ValueError, AttributeError):  # not on Windows
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Hardware(cpu=cpu or "unknown", cores=cores, gpu=gpu, memory_gb=memory)


def versions() -> Versions:
    """Of Python and of the libraries that this process has loaded."""

    def loaded(module: str, distribution: str) -> str | None:
        return metadata.version(distribution) if module in sys.modules else None

    return Versions(
        python=platform.python_version(),
        klrl_envs=str(sys.modules["klrl_envs"].__version__),
        torch=loaded("torch", "torch"),
        gymnasium=gymnasium.__version__,
        stable_baselines3=loaded("stable_baselines3", "stable-baselines3"),
    )


def commit(checkout: Path, code: Sequence[str] = (".",)) -> str:
    """A checkout's commit, "-dirty" where its code has changed since; "unknown" outside a checkout.

    Args:
        checkout: a folder of it.
        code: what counts as its code: paths relative to the folder.
    """

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=checkout, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", *code)
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
