"""How fast the environments are, as ratios against other people's code in the same run.

    python -m benchmarks.throughput            # all comparisons, some minutes
    python -m benchmarks.throughput grid       # GridNavigation-v0 against Gymnasium's FrozenLake
    python -m benchmarks.throughput sentiment  # Sentiment-v0 against transformers' generate
    python -m benchmarks.throughput solver     # the optimum of NaiveBayesSentiment-v0 against its products

GridNavigation-v0 runs at 1,024 lanes; every other side is measured at several numbers of lanes and takes
its best. Sides alternate, and each figure is the best of its rounds, so that what else the machine does
hurts both alike.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

import klrl_envs
from klrl_envs.reference.arrays import FloatArray, IntArray

GRID_LANES = 1024
FROZEN_LAKE_LANES = (1, 16, 128, 1024)
TOKEN_LANES = (128, 256, 512, 1024)


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


def grid(rounds: int) -> dict[str, float]:
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


def sentiment_round(lanes: int, rng: np.random.Generator) -> float:
    """Tokens/s of one batch of episodes: sampling from pi0, its log-probs, reward and metrics."""
    env = gym.make_vec("klrl/Sentiment-v0", num_envs=lanes, autoreset_mode="Disabled")
    env.reset(seed=0)
    engine = env.unwrapped.engine  # pyright: ignore[reportAttributeAccessIssue]
    started = time.perf_counter()
    env.reset()
    tokens = 0
    while not engine.done.all():
        active = ~engine.done
        engine.step(engine.reference_lanes.draw(rng.random(lanes)), active)
        tokens += int(active.sum())
    return tokens / (time.perf_counter() - started)


def generate_round(lanes: int, llama: Any, prompts: IntArray) -> float:
    """Tokens/s of ``model.generate`` on the same weights, prompts and horizon, without any reward."""
    import torch

    inputs = torch.from_numpy(prompts[np.arange(lanes) % len(prompts)])
    inputs = torch.nn.functional.pad(inputs, (1, 0), value=0)
    started = time.perf_counter()
    with torch.inference_mode():
        written = llama.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            do_sample=True,
            top_k=0,
            max_new_tokens=24,
            pad_token_id=0,
        )
    new = written[:, inputs.shape[1] :]
    ended = (new == 0).cumsum(dim=1)
    tokens = int(((ended == 0) | ((ended == 1) & (new == 0))).sum())
    return tokens / (time.perf_counter() - started)


def sentiment(rounds: int) -> dict[str, float]:
    """Sentiment-v0 and ``model.generate`` at each number of lanes, tokens/s."""
    from klrl_envs.reference.llama import to_llama
    from klrl_envs.reference.transformer import load_nano

    llama = to_llama(load_nano())
    prompts = klrl_envs.make_task("Sentiment-v0").prompts.tokens
    rng = np.random.default_rng(0)
    best: dict[str, float] = {}
    for _ in range(rounds):
        for lanes in TOKEN_LANES:
            sides: dict[str, Callable[[], float]] = {
                f"Sentiment-v0 x {lanes}": lambda lanes=lanes: sentiment_round(lanes, rng),
                f"generate x {lanes}": lambda lanes=lanes: generate_round(lanes, llama, prompts),
            }
            for name, measure in sides.items():
                best[name] = max(best.get(name, 0), measure())
    return best


def solver(rounds: int) -> dict[str, float]:
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
        for name, measure in sides.items():
            started = time.perf_counter()
            measure()
            best[name] = min(best.get(name, np.inf), time.perf_counter() - started)
    return best


def report_solver(best: dict[str, float]) -> None:
    """Print the times, the ratio to the products, and the most memory that the process has held."""
    import resource

    print("Optimum of NaiveBayesSentiment-v0")
    for name, seconds in best.items():
        print(f"  {name:<28} {seconds:>12.2f} s")
    ratio = best["one soft backward pass"] / best["its matrix products alone"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"  ratio {ratio:.2f} (bar 2, and 8 s); peak memory {peak:.2f} GiB (bar 4)\n")


def report(title: str, best: dict[str, float], ours: str, unit: str, bar: float) -> None:
    """Print every figure and the ratio of the best of ours to the best of theirs."""
    print(title)
    for name, speed in best.items():
        print(f"  {name:<28} {speed:>12,.0f} {unit}")
    mine = max(speed for name, speed in best.items() if name.startswith(ours))
    theirs = max(speed for name, speed in best.items() if not name.startswith(ours))
    print(f"  ratio {mine / theirs:.2f} (bar {bar:g})\n")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", choices=["grid", "sentiment", "solver", []], help="default: all")
    parser.add_argument("--rounds", type=int, default=3, help="each figure is the best of so many rounds")
    arguments = parser.parse_args()
    what = arguments.what or ["solver", "grid", "sentiment"]
    if "solver" in what:
        report_solver(solver(arguments.rounds))
    if "grid" in what:
        report("Vector steps", grid(arguments.rounds), "Grid", "steps/s", 30)
    if "sentiment" in what:
        report("Generated tokens", sentiment(arguments.rounds), "Sentiment", "tokens/s", 1.5)


if __name__ == "__main__":
    main()
