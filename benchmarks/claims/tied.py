"""A class of policies that does not hold the optimum: one logit a token, shared by all states of a tiny task.

pi(a|s) is pi0(a|s) exp(f(a)) / Z(s). Losses over all texts are minimised in f; nothing is sampled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize

from klrl_envs.reference.arrays import FloatArray
from klrl_envs.signals.directions import texts_of
from klrl_envs.signals.policy import Standing, log_law, standing
from klrl_envs.signals.tiny import TinyTask

Value = Callable[[torch.Tensor], torch.Tensor]
"""log pi of every text [P, N] -> a number to minimise."""


def rows_of(task: TinyTask, logits: torch.Tensor) -> torch.Tensor:
    """The policy's rows [P, S, V] at logits [V]."""
    return (torch.from_numpy(task.reference) + logits).log_softmax(dim=2)


@dataclass(frozen=True, eq=False)
class End:
    """A policy of the class: its logits [V], and where it stands."""

    logits: FloatArray
    at: Standing


def least(task: TinyTask, value: Value, start: FloatArray | None = None) -> End:
    """The policy of the class that minimises a loss, found by BFGS from logits ``start``, pi0 by default."""

    def at(logits: FloatArray) -> tuple[float, FloatArray]:
        moved = torch.from_numpy(logits).requires_grad_()
        loss = value(texts_of(task, rows_of(task, moved)))
        (slope,) = torch.autograd.grad(loss, moved)
        return float(loss.detach()), slope.numpy()

    first = np.zeros(task.reference.shape[2]) if start is None else start
    found = minimize(at, first, jac=True, method="BFGS", options={"gtol": 1e-9})
    rows = rows_of(task, torch.from_numpy(found.x)).numpy().copy()
    rows[:, -1] = task.reference[:, -1]
    return End(found.x, standing(task, rows))


def online(task: TinyTask, kl_coef: float) -> Value:
    """Minus the objective, over the policy's own texts: RL."""
    before, rewards = torch.from_numpy(log_law(task, task.reference)), torch.from_numpy(task.rewards)
    return lambda after: -(after.exp() * (rewards - kl_coef * (after - before))).sum(dim=1).mean()


def imitation(task: TinyTask, law: FloatArray) -> Value:
    """Minus the likelihood of texts that a law [P, N] writes: supervised fine-tuning."""
    target = torch.from_numpy(law)
    return lambda after: -(target * after).sum(dim=1).mean()


def tilted(task: TinyTask, kl_coef: float) -> FloatArray:
    """pi0 exp(r / kl_coef) / Z [P, N]: pi0's texts, weighted by what they earn."""
    logits = log_law(task, task.reference) + task.rewards / kl_coef
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def best_of(task: TinyTask, n: float) -> FloatArray:
    """The best of n of pi0's texts [P, N]: what RAFT and best-of-n distillation learn. No two texts earn
    alike."""
    chances, order = np.exp(log_law(task, task.reference)), np.argsort(task.rewards, axis=1)
    ranked = np.take_along_axis(chances, order, axis=1)
    below = np.concatenate([np.zeros((task.prompts, 1)), ranked.cumsum(axis=1)], axis=1)
    best = np.diff(np.clip(below, 0, 1) ** n, axis=1)
    found = np.zeros_like(chances)
    np.put_along_axis(found, order, best, axis=1)
    return found


def preferences(task: TinyTask, kl_coef: float, temperature: float) -> Value:
    """DPO on pi0's pairs with Bradley-Terry labels of a temperature, its coefficient kl_coef / temperature.

    Where the class holds pi0 exp(r / kl_coef), that is its minimum.
    """
    before = torch.from_numpy(log_law(task, task.reference))
    rewards, chances = torch.from_numpy(task.rewards), before.exp()
    labels = ((rewards[:, :, None] - rewards[:, None, :]) / temperature).sigmoid()
    pairs = chances[:, :, None] * chances[:, None, :]

    def value(after: torch.Tensor) -> torch.Tensor:
        ratio = kl_coef / temperature * (after - before)
        gaps = ratio[:, :, None] - ratio[:, None, :]
        return -2 * (pairs * labels * torch.nn.functional.logsigmoid(gaps)).sum(dim=(1, 2)).mean()

    return value
