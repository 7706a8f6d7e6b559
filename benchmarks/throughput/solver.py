"""The optimum of NaiveBayesSentiment-v0 against the matrix products that it cannot do without."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import klrl_envs
from klrl_envs.reference.arrays import FloatArray


def measure(rounds: int) -> dict[str, float]:
    """Backward pass and forward law of NaiveBayesSentiment-v0, and the matrix products alone, seconds."""
    from klrl_envs.optima.dynamic_programme import solve_problem
    from klrl_envs.optima.optimum import problem_of
    from klrl_envs.optima.terminal_law import terminal_law

    task: Any = klrl_envs.make_task("NaiveBayesSentiment-v0", prompts="evaluation")
    probabilities = task.reference.probabilities
    rng = np.random.default_rng(0)
    best: dict[str, float] = {}
    for _ in range(rounds):
        problem = problem_of(task)  # anew: what it keeps is part of the time
        inputs = [rng.random((task.vocab_size, len(states))) for states in problem.reached]

        def products(inputs: list[FloatArray] = inputs) -> None:
            for values in inputs:
                _ = probabilities @ values

        sides: dict[str, Callable[[], Any]] = {
            "one soft backward pass": lambda: solve_problem(problem_of(task), task.kl_coef),
            "its matrix products alone": products,
            "the law of the reward": lambda: terminal_law(problem_of(task)),
        }
        for name, side in sides.items():
            started = time.perf_counter()
            side()
            best[name] = min(best.get(name, np.inf), time.perf_counter() - started)
    return best


def report_solver(best: dict[str, float]) -> None:
    """Print the times, the ratio to the products, and the most memory that the process has held."""
    print("Optimum of NaiveBayesSentiment-v0")
    for name, seconds in best.items():
        print(f"  {name:<28} {seconds:>12.2f} s")
    ratio = best["one soft backward pass"] / best["its matrix products alone"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"  ratio {ratio:.2f} (bar 2, and 8 s); peak memory {peak:.2f} GiB (bar 4)\n")


def run(rounds: int) -> None:
    """Measure and print."""
    report_solver(measure(rounds))
