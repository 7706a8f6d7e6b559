"""result.json: what an agent leaves for the benchmark and the leaderboard."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import gymnasium

import klrl_envs
from klrl_envs import Evaluation

SCHEMA_VERSION = 1


def write_result(
    evaluation: Evaluation,
    out: Path,
    *,
    agent: str,
    env_id: str,
    env_kwargs: Mapping[str, Any],
    command: str,
    seed: int,
    tokens: int,
    seconds: float,
    device: str,
) -> None:
    """result.json in the folder ``out``, at once or not at all."""
    score = evaluation.score
    record = {
        "schema_version": SCHEMA_VERSION,
        "agent": {"name": agent, "url": f"agents/{agent}.py", "license": "MIT"},
        "env_id": env_id,
        "env_kwargs": env_kwargs,
        "kl_coef": evaluation.kl_coef,
        "task_sha256": evaluation.task_sha256,
        "command": command,
        "seed": seed,
        "score": evaluation.score_estimate,
        "score_interval": None if score is None else [score.lower, score.upper],
        "objective": evaluation.objective.estimate,
        "expected_reward": evaluation.expected_reward.estimate,
        "kl": evaluation.kl.estimate,
        "regret": evaluation.regret.estimate,
        "tokens": tokens,
        "seconds": seconds,
        "hardware": hardware(device),
        "versions": versions(),
        "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "diagnostics": diagnostics_of(evaluation),
    }
    temporary = out / f".result.json.{os.getpid()}"
    temporary.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, out / "result.json")


def diagnostics_of(evaluation: Evaluation) -> dict[str, Any] | None:
    """How the policy differs from pi* as plain numbers, None for an infinite one; None where not known."""
    found = evaluation.diagnostics
    if found is None:
        return None

    def plain(value: Any) -> float | None:
        return value.estimate if math.isfinite(value.estimate) else None

    names = ("reverse_kl", "forward_kl", "entropy", "optimal_entropy")
    return {
        "exact": found.exact,
        **{name: plain(getattr(found, name)) for name in names},
        "metrics": {name: plain(value) for name, value in found.metrics.items()},
        "optimal_metrics": {name: plain(value) for name, value in found.optimal_metrics.items()},
    }


def hardware(device: str) -> dict[str, Any]:
    """Processor, cores that this process may use, accelerator or None, memory in gigabytes or None."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    gpu = None
    torch = sys.modules.get("torch")
    if device != "cpu" and torch is not None and torch.cuda.is_available():
        gpu = torch.cuda.get_device_name()
    memory = None
    with suppress(ValueError, AttributeError):  # not on Windows
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"cpu": cpu or "unknown", "cores": cores, "gpu": gpu, "memory_gb": memory}


def versions() -> dict[str, str | None]:
    """Of Python and of the libraries that this process has loaded."""

    def loaded(module: str, distribution: str) -> str | None:
        return metadata.version(distribution) if module in sys.modules else None

    return {
        "python": platform.python_version(),
        "klrl_envs": klrl_envs.__version__,
        "torch": loaded("torch", "torch"),
        "gymnasium": gymnasium.__version__,
        "stable_baselines3": loaded("stable_baselines3", "stable-baselines3"),
    }


def commit() -> str:
    """The checkout's commit, "-dirty" where its code has changed since; "unknown" outside a checkout."""
    root = Path(__file__).resolve().parents[1]

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        changed = git("status", "--porcelain", "--", "agents", "klrl_envs")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
