"""Environments in processes, however these begin: the episodes that they have in one process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from benchmarks.reliability.record import Finding, not_run

TITLE = "Processes, by fork, forkserver and spawn"
ABOUT = """Gymnasium's `AsyncVectorEnv` has an environment in each of several processes, `SyncVectorEnv` all
in this one. Both are seeded alike and play the same actions; what they show and pay must be the same to the
bit. This process has played the same itself, by the same language model, before it starts others."""

METHODS = ("fork", "forkserver", "spawn")
PLAYED = {"klrl/Keywords-v0": 300, "klrl/SentimentFeatures-v0": 60}
LANES = 5
PATIENCE = 300.0
"""Seconds after which a process that does not answer hangs."""

Maker = Callable[[], gym.Env[Any, Any]]


def made(env_id: str) -> gym.Env[Any, Any]:
    """An environment, wherever this is called."""
    import klrl_envs  # noqa: F401

    return gym.make(env_id)


def episodes_of(envs: VectorEnv[Any, Any, Any], steps: int) -> list[Any]:
    """What a vector environment shows and pays."""
    rng = np.random.default_rng(0)
    seen: list[Any] = [envs.reset(seed=0)[0].copy()]
    for _ in range(steps):
        actions = rng.integers(envs.single_action_space.n, size=envs.num_envs)  # type: ignore[attr-defined]
        if isinstance(envs, AsyncVectorEnv):
            envs.step_async(actions)
            shown = envs.step_wait(timeout=PATIENCE)
        else:
            shown = envs.step(actions)
        seen += [np.array(each) for each in shown[:4]]
    envs.close()
    return seen


def differences(maker: Maker, method: str, lanes: int, steps: int) -> int:
    """Arrays that differ between processes started by a method and none."""
    here = episodes_of(SyncVectorEnv([maker] * lanes), steps)
    there = episodes_of(AsyncVectorEnv([maker] * lanes, context=method), steps)
    return sum(not np.array_equal(one, other) for one, other in zip(here, there, strict=True))


def measure(methods: Sequence[str] = METHODS) -> list[Finding]:
    """Compare, by method and id."""
    known = multiprocessing.get_all_start_methods()
    findings: list[Finding] = []
    for method in methods:
        for env_id, steps in PLAYED.items():
            what = f"`{method}`, `{env_id}`, {LANES} lanes, {steps} steps"
            limit = "no array differs"
            if method not in known:
                findings.append(not_run(what, "this system has no such method", limit))
                continue
            count = differences(partial(made, env_id), method, LANES, steps)
            seen = f"{count} of {1 + 4 * steps} arrays differ"
            findings.append(Finding(what=what, seen=seen, limit=limit, holds=count == 0))
    return findings
