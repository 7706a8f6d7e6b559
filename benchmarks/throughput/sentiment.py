"""Sentiment-v0 against the ``generate`` of transformers, on the same weights and prompts."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

import klrl_envs
from benchmarks.throughput.rounds import report
from klrl_envs.reference.arrays import IntArray

TOKEN_LANES = (128, 256, 512, 1024)


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


def measure(rounds: int) -> dict[str, float]:
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
            for name, side in sides.items():
                best[name] = max(best.get(name, 0), side())
    return best


def run(rounds: int) -> None:
    """Measure and print."""
    report("Generated tokens", measure(rounds), "Sentiment", "tokens/s", 1.5)
