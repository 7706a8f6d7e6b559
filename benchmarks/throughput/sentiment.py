"""Sentiment-v0 against the ``generate`` of transformers and against the matrix products alone.

All three write the same number of texts after the same prompts with the same weights. The products are what
no code in float32 can do without: every weight matrix with every token read or written, and nothing else, no
attention, no draw, no environment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

import klrl_envs
from benchmarks.throughput.rounds import report
from klrl_envs.reference.arrays import IntArray

if TYPE_CHECKING:
    from torch import Tensor

    from klrl_envs.reference.decoder import DecoderWeights

TOKEN_LANES = (64, 128, 256, 512, 1024)


def sentiment_round(lanes: int, rng: np.random.Generator, device: str = "cpu") -> float:
    """Tokens/s of one batch of episodes: sampling from pi0, its log-probs, reward and metrics."""
    env = gym.make_vec("klrl/Sentiment-v0", num_envs=lanes, autoreset_mode="Disabled", device=device)
    env.reset(seed=0)
    engine = env.unwrapped.engine  # pyright: ignore[reportAttributeAccessIssue]
    _ = engine.reference_lanes  # whose memory serves all episodes of an environment
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

    inputs = torch.as_tensor(prompts[np.arange(lanes) % len(prompts)], device=llama.device)
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


def products_round(lanes: int, weights: DecoderWeights, prompt: int, horizon: int) -> float:
    """Tokens/s of the float32 products alone: each prompt is read, each token has its logits."""
    import torch

    device = weights.embedding.device

    def inputs(rows: int) -> list[Tensor]:
        return [torch.rand(rows, matrix.shape[0], device=device) for matrix in matrices]

    block = weights.blocks[0]
    matrices = [block.query_key_value, block.attention_out, block.gate_up, block.down]
    reading, writing = inputs(lanes * (prompt + 1)), inputs(lanes)
    results = [[x @ matrix for x, matrix in zip(part, matrices)] for part in (reading, writing)]
    last = torch.rand(lanes, weights.embedding.shape[1], device=device)
    logits = last.new_empty((lanes, len(weights.embedding)))
    started = time.perf_counter()
    with torch.inference_mode():
        for step in range(horizon):
            part, out = (writing, results[1]) if step else (reading, results[0])
            for block in weights.blocks:
                matrices = [block.query_key_value, block.attention_out, block.gate_up, block.down]
                for x, matrix, result in zip(part, matrices, out):
                    torch.mm(x, matrix, out=result)
            torch.mm(last, weights.unembedding, out=logits)
    float(logits[0, 0])  # whose number is there when the device has done all
    return lanes * horizon / (time.perf_counter() - started)


def measure(rounds: int, lanes: Sequence[int] = TOKEN_LANES, device: str = "cpu") -> dict[str, float]:
    """Sentiment-v0, ``model.generate`` and the products at each number of lanes, tokens/s."""
    from klrl_envs.reference.llama import to_llama
    from klrl_envs.reference.transformer import load_nano, nano_reference

    llama: Any = to_llama(load_nano())
    llama, weights = llama.to(device), nano_reference().on(device).decoder_weights
    task = klrl_envs.make_task("Sentiment-v0")
    prompts = task.prompts.tokens
    rng = np.random.default_rng(0)
    best: dict[str, float] = {}
    for _ in range(rounds):
        for count in lanes:
            sides: dict[str, Callable[[], float]] = {
                f"Sentiment-v0 x {count}": lambda count=count: sentiment_round(count, rng, device),
                f"generate x {count}": lambda count=count: generate_round(count, llama, prompts),
                f"products x {count}": lambda count=count: products_round(
                    count, weights, task.prompt_length, task.horizon
                ),
            }
            for name, side in sides.items():
                best[name] = max(best.get(name, 0), side())
    return best


def run(rounds: int) -> None:
    """Measure and print."""
    best = measure(rounds)
    report("Generated tokens", best, "Sentiment", "tokens/s", {"generate": 2.2, "products": 0.5})
