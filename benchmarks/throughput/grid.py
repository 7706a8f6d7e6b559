"""GridNavigation-v0's vector environment against Gymnasium's FrozenLake."""

from __future__ import annotations

import time
from typing import Any

import gymnasium as gym
import numpy as np

import klrl_envs  # noqa: F401 - registers the environments
from benchmarks.throughput.rounds import report
from klrl_envs.reference.arrays import IntArray

GRID_LANES = 1024
FROZEN_LAKE_LANES = (1, 16, 128, 1024)


def steps_per_second(env: Any, actions: IntArray, seconds: float = 1.0) -> float:
    """Lane steps per second of a vector environment under prepared actions [K, N]."""
    env.reset(seed=0)
    for row in actions[:3]:
        env.step(row)
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        env.step(actions[count % len(actions)])
        count += 1
    return count * env.num_envs / (time.perf_counter() - started)


def measure(rounds: int) -> dict[str, float]:
    """GridNavigation-v0's vector environment and FrozenLake in Gymnasium's SyncVectorEnv, steps/s."""
    rng = np.random.default_rng(0)
    ours = gym.make_vec("klrl/GridNavigation-v0", num_envs=GRID_LANES)
    lakes = {
        lanes: gym.make_vec("FrozenLake-v1", num_envs=lanes, vectorization_mode="sync")
        for lanes in FROZEN_LAKE_LANES
    }
    best: dict[str, float] = {}
    for _ in range(rounds):
        speed = steps_per_second(ours, rng.integers(0, 4, (64, GRID_LANES)))
        best["GridNavigation-v0"] = max(best.get("GridNavigation-v0", 0), speed)
        for lanes, lake in lakes.items():
            speed = steps_per_second(lake, rng.integers(0, 4, (64, lanes)))
            name = f"FrozenLake-v1 sync x {lanes}"
            best[name] = max(best.get(name, 0), speed)
    return best


def run(rounds: int) -> None:
    """Measure and print."""
    report("Vector steps", measure(rounds), "Grid", "steps/s", 30)
