"""Probes of a neural task: texts that know nothing of it, and what they earn of what pi* earns.

A task's reward means something where such texts earn little: uniform tokens, one token for ever, the prompt
once more, nothing at all, one answer to every prompt. Their KL, which would cost most of them everything, is
left out. Use them on a task of your own before you trust it; ``probes`` has those of exact tasks.
"""

from __future__ import annotations

import numpy as np

from klrl_envs import ledger
from klrl_envs.optima.result import Optimum
from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.tasks.base import Prompts, Task

FIRST_PROMPTS, KEPT_TOKENS = 4, 16
"""On how many prompts every token is tried for ever, and how many of them then on all prompts."""


@ledger.counting_as("certify")
def probe_gains(task: Task, best: Optimum, rng: np.random.Generator) -> dict[str, float]:
    """(E[r] - J(pi0)) / (E*[r] - J(pi0)) of the probes: the share of what pi* gains in reward.

    They are "uniform" (tokens), "repeat" (one token for ever, the best on all prompts of those that are best
    on a few), "copy" (the beginning of the prompt once more), "end" (an empty text, where the task has an end
    token) and "answer" (the commonest of the right ones, where the task has such).

    Args:
        task: a neural one, on the prompts of ``best``.
        best: its optimum.
        rng: draws the uniform tokens.

    Raises:
        ValueError: pi* earns no more than pi0.
    """
    gain = best.expected_reward - best.reference_value
    if gain <= 0:
        raise ValueError(f"pi* of {task.id} earns no more than pi0: no probe has a share of that")
    prompts, count = task.padded_prompts, len(task.padded_prompts)
    written = {
        "uniform": rng.integers(0, task.vocab_size, size=(count, task.horizon)),
        "repeat": np.full((count, task.horizon), best_token(task)),
        "copy": np.pad(prompts, ((0, 0), (0, task.horizon)), constant_values=task.pad)[:, : task.horizon],
    }
    if task.end_token is not None:
        written["end"] = np.full((count, task.horizon), task.end_token)
    if (answer := task.commonest_answer) is not None:
        told = [task.episode_tokens(answer, prompt=task.text(row)) for row in prompts]
        written["answer"] = Prompts.padded(
            [[*row, *[task.pad] * task.horizon] for row in told], task.pad
        ).tokens
    every = np.arange(count, dtype=np.int64)
    return {
        name: float((rewards_of(task, every, tokens).mean() - best.reference_value) / gain)
        for name, tokens in written.items()
    }


def best_token(task: Task) -> int:
    """The token that earns most for ever, on all prompts, of those that do on the first few."""
    tokens = np.arange(task.vocab_size, dtype=np.int64)
    prompts = np.arange(len(task.prompts.tokens), dtype=np.int64)
    for tried, kept in ((prompts[:FIRST_PROMPTS], KEPT_TOKENS), (prompts, 1)):
        rewards = repeated_rewards(task, tokens, tried)
        tokens = tokens[np.argsort(-rewards, kind="stable")[:kept]]
    return int(tokens[0])


def repeated_rewards(task: Task, tokens: IntArray, prompts: IntArray) -> FloatArray:
    """Mean rewards [K] of tokens [K] for ever behind prompts, by their numbers."""
    total = np.zeros(len(tokens))
    for prompt in prompts:
        written = np.repeat(tokens[:, None], task.horizon, axis=1)
        total += rewards_of(task, np.full(len(tokens), prompt), written)
    return total / len(prompts)


def rewards_of(task: Task, prompts: IntArray, written: IntArray) -> FloatArray:
    """Rewards [K] of what is written behind prompts [K], by their numbers: tokens [K, T] or more, up to the
    end token.
    """
    first = task.prompts.lengths[prompts]
    ends = written == (-1 if task.end_token is None else task.end_token)
    lengths = np.minimum(np.where(ends.any(axis=1), ends.argmax(axis=1) + 1, task.horizon), task.horizon)
    place = np.arange(task.max_length) - first[:, None]
    inside = (place >= 0) & (place < lengths[:, None])
    own = np.take_along_axis(written, np.clip(place, 0, written.shape[1] - 1), axis=1)
    room = ((0, 0), (0, task.max_length - task.prompt_length))
    whole = np.pad(task.padded_prompts[prompts], room, constant_values=task.pad)
    return task.score(np.where(inside, own, whole), first + lengths)[0]
