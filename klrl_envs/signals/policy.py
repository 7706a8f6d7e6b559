"""Policies of tiny tasks as tables of log-probs [P, S, V], and what follows of them exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from klrl_envs.reference.arrays import FloatArray
from klrl_envs.signals.tiny import NEVER, TinyTask


def log_sum_exp(values: FloatArray, axis: int) -> FloatArray:
    """log of the sum of exponentials along an axis, which stays with length 1."""
    return np.logaddexp.reduce(values, axis=axis, keepdims=True)


def log_softmax(logits: FloatArray) -> FloatArray:
    """Logits [P, S, V] as log-probs."""
    return logits - log_sum_exp(logits, axis=2)


def log_law(task: TinyTask, rows: FloatArray) -> FloatArray:
    """log pi of every text [P, N]."""
    return (rows[:, task.states, task.tokens] * task.mask).sum(axis=2)


def visits(task: TinyTask, law: FloatArray) -> FloatArray:
    """How likely each state is to be reached [P, S]; of the last one, beyond the end, 0."""
    reached = np.zeros(task.reference.shape[:2])
    for time in range(task.tokens.shape[1]):
        here = task.mask[:, time]
        for prompt in range(task.prompts):
            np.add.at(reached[prompt], task.states[here, time], law[prompt, here])
    return reached


def of_law(task: TinyTask, law: FloatArray) -> FloatArray:
    """The table that writes with a law [P, N]; pi0's rows where the law never comes."""
    mass = np.zeros_like(task.reference)
    for time in range(task.tokens.shape[1]):
        here = task.mask[:, time]
        for prompt in range(task.prompts):
            np.add.at(mass[prompt], (task.states[here, time], task.tokens[here, time]), law[prompt, here])
    total = mass.sum(axis=2, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        rows = np.maximum(np.log(mass / total), NEVER)
    return np.where(total > 0, rows, task.reference)


def optimal(task: TinyTask, share: float = 1.0) -> FloatArray:
    """pi* of a task; with a share, the policy so far on the straight way from pi0 in log-probs."""
    tilted = log_law(task, task.reference) + share * task.rewards / task.kl_coef
    return of_law(task, np.exp(tilted - log_sum_exp(tilted, axis=1)))


def random_policy(task: TinyTask, seed: int, spread: float = 1.0) -> FloatArray:
    """pi0 with noise on its logits."""
    noise = np.random.default_rng(seed).normal(scale=spread, size=task.reference.shape)
    rows = log_softmax(task.reference + noise)
    rows[:, -1] = task.reference[:, -1]
    return rows


@dataclass(frozen=True)
class Standing:
    """Where a policy stands: its E[r], its KL from pi0 (nats), and its score (0 pi0, 1 the optimum)."""

    reward: float
    kl: float
    score: float


def standing(task: TinyTask, rows: FloatArray) -> Standing:
    """Where a policy stands on a task.

    Raises:
        ValueError: every text of a prompt earns the same, so that there is nothing to score.
    """
    before, after = log_law(task, task.reference), log_law(task, rows)
    law = np.exp(after)
    reward = float((law * task.rewards).sum(axis=1).mean())
    kl = float((law * (after - before)).sum(axis=1).mean())
    start = float((np.exp(before) * task.rewards).sum(axis=1).mean())
    best = float(task.kl_coef * log_sum_exp(before + task.rewards / task.kl_coef, axis=1).mean())
    if best <= start:
        raise ValueError("the rewards of the task are all alike: there is nothing to score")
    return Standing(reward, kl, (reward - task.kl_coef * kl - start) / (best - start))
