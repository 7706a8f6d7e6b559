"""A long life: resident memory before and after a hundred thousand steps."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from benchmarks.reliability.record import ROOT, Finding, module, not_run

TITLE = "Memory"
ABOUT = """An environment plays random tokens in a process of its own: a warm-up, and then so many steps
more. What is measured is how much the process's resident memory has grown from the one to the other. A step
of a vector environment is one of all its lanes."""

MEGABYTE = 1_000_000
LIMIT = 5.0
"""MB."""
STEPS, WARM_UP = 100_000, 10_000
LANES = 8
SUBJECTS = (
    ("klrl/Keywords-v0", 0, STEPS),
    ("klrl/Keywords-v0", LANES, STEPS),
    ("klrl/KeywordsFeatures-v0", 0, STEPS),
    ("klrl/KeywordsFeatures-v0", LANES, STEPS),
    ("klrl/GridNavigation-v0", 0, STEPS),
    ("klrl/Dialogue-v0", 0, STEPS),
    ("klrl/Sentiment-v0", 0, STEPS // 5),
    ("klrl/SentimentFeatures-v0", LANES, STEPS // 4),
)
"""(id, lanes or 0 for a single one, steps)"""
STATM = Path("/proc/self/statm")


def resident() -> int:
    """Bytes of this process that lie in memory."""
    gc.collect()
    return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def growth(step: Callable[[], object], steps: int, warm_up: int) -> int:
    """Bytes by which memory grows while a step is taken many times."""
    for _ in range(warm_up):
        step()
    before = resident()
    for _ in range(steps):
        step()
    return resident() - before


def stepper(env_id: str, lanes: int) -> Callable[[], object]:
    """A function that takes a random step of an environment, and resets it where it has ended."""
    import klrl_envs  # noqa: F401

    rng = np.random.default_rng(0)
    env: Any = gym.make_vec(env_id, num_envs=lanes) if lanes else gym.make(env_id)
    count = int(env.unwrapped.task.vocab_size)
    env.reset(seed=0)

    def single() -> None:
        if env.step(int(rng.integers(count)))[2]:
            env.reset()

    return (lambda: env.step(rng.integers(count, size=lanes))) if lanes else single


def judged(what: str, grown: int) -> Finding:
    """A growth against the limit."""
    seen = f"{grown / MEGABYTE:+.2f} MB"
    return Finding(what=what, seen=seen, limit=f"below {LIMIT:g} MB", holds=grown < LIMIT * MEGABYTE)


def measure(subjects: Sequence[tuple[str, int, int]] = SUBJECTS, warm_up: int = WARM_UP) -> list[Finding]:
    """Each in a process of its own."""
    findings: list[Finding] = []
    for env_id, lanes, steps in subjects:
        what = f"`{env_id}`, {f'{lanes} lanes' if lanes else 'single'}, {steps:,} steps"
        if not STATM.exists():
            findings.append(not_run(what, "this system has no /proc", f"below {LIMIT:g} MB"))
            continue
        words = module(__name__, env_id, str(lanes), str(steps), str(min(warm_up, steps // 4)))
        ran = subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
        findings.append(judged(what, int(ran.stdout)))
    return findings


if __name__ == "__main__":
    print(growth(stepper(sys.argv[1], int(sys.argv[2])), int(sys.argv[3]), int(sys.argv[4])))
