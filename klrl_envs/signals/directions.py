"""Exact gradients of what a signal may turn out to follow, and which of them make up the one that it has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from klrl_envs.reference.arrays import FloatArray
from klrl_envs.signals.policy import log_law, optimal, visits
from klrl_envs.signals.tiny import TinyTask

Direction = Callable[[TinyTask, FloatArray], FloatArray]
"""(task, rows [P, S, V]) -> a gradient in the policy's logits [P, S, V]."""

EXPLAINED = 1e-6
"""Of a gradient's length: what is left over where a combination explains it."""


def gradient_of(rows: FloatArray, value: Callable[[torch.Tensor], torch.Tensor]) -> FloatArray:
    """The gradient of a function of the policy's log-probs, in its logits."""
    logits = torch.as_tensor(rows).requires_grad_()
    return torch.autograd.grad(value(logits.log_softmax(dim=2)), logits)[0].numpy()


def texts_of(task: TinyTask, rows: torch.Tensor) -> torch.Tensor:
    """log pi of every text [P, N]."""
    taken = rows[:, torch.as_tensor(task.states), torch.as_tensor(task.tokens)]
    return (taken * torch.as_tensor(task.mask)).sum(dim=2)


def reward(task: TinyTask, rows: FloatArray) -> FloatArray:
    """grad E[r]."""
    rewards = torch.as_tensor(task.rewards)
    return gradient_of(rows, lambda table: (texts_of(task, table).exp() * rewards).sum(dim=1).mean())


def kl(task: TinyTask, rows: FloatArray) -> FloatArray:
    """grad KL(pi || pi0)."""
    before = torch.as_tensor(log_law(task, task.reference))

    def value(table: torch.Tensor) -> torch.Tensor:
        after = texts_of(task, table)
        return (after.exp() * (after - before)).sum(dim=1).mean()

    return gradient_of(rows, value)


def forward_kl(task: TinyTask, rows: FloatArray) -> FloatArray:
    """grad KL(pi0 || pi)."""
    law = torch.as_tensor(np.exp(log_law(task, task.reference)))
    return gradient_of(rows, lambda table: -(law * texts_of(task, table)).sum(dim=1).mean())


def kl_of_visited_states(task: TinyTask, rows: FloatArray) -> FloatArray:
    """E_pi of the sum of grad KL(pi(.|s) || pi0(.|s)) over visited states: blind to the KL to come."""
    reached = torch.as_tensor(visits(task, np.exp(log_law(task, rows))))
    before = torch.as_tensor(task.reference)
    return gradient_of(
        rows, lambda table: ((table.exp() * (table - before)).sum(dim=2) * reached).sum(dim=1).mean()
    )


def forward_kl_of_visited_states(task: TinyTask, rows: FloatArray) -> FloatArray:
    """E_pi of the sum of grad KL(pi0(.|s) || pi(.|s)) over visited states."""
    reached = torch.as_tensor(visits(task, np.exp(log_law(task, rows))))
    law = torch.as_tensor(np.exp(task.reference))
    return gradient_of(rows, lambda table: -((law * table).sum(dim=2) * reached).sum(dim=1).mean())


def objective(task: TinyTask, rows: FloatArray) -> FloatArray:
    """grad J, which is that of -kl_coef KL(pi || pi*)."""
    return reward(task, rows) - task.kl_coef * kl(task, rows)


def posterior_covered(task: TinyTask, rows: FloatArray) -> FloatArray:
    """The gradient of -KL(pi* || pi), which distillation of the optimum has."""
    law = torch.as_tensor(np.exp(log_law(task, optimal(task))))
    return gradient_of(rows, lambda table: (law * texts_of(task, table)).sum(dim=1).mean())


PRICES: dict[str, Direction] = {
    "KL(pi || pi0)": kl,
    "KL(pi0 || pi)": forward_kl,
    "the KL(pi || pi0) of visited states": kl_of_visited_states,
    "the KL(pi0 || pi) of visited states": forward_kl_of_visited_states,
}


@dataclass(frozen=True)
class Followed:
    """What a signal's expected gradient is made of: ``scale`` (``reward`` E[r] - kl_coef sum of prices).

    Attributes:
        scale: length of the gradient for length of what it follows.
        reward: 1, or 0 where no reward is followed.
        prices: name -> how many kl_coef of it are paid.
    """

    scale: float
    reward: float
    prices: dict[str, float]

    def __str__(self) -> str:
        terms = ["E[r]"] if self.reward else []
        for name, count in self.prices.items():
            times = "" if abs(abs(count) - 1) < 1e-5 else f"{abs(count):.3g} "
            terms += ["+" if count < 0 else "-", f"{times}kl_coef {name}"]
        if terms[0] == "+":
            terms = terms[1:]
        text = " ".join(terms)
        return text if self.scale > 0 else f"the opposite of {text}"


def followed(
    task: TinyTask, policies: Sequence[FloatArray], gradients: Sequence[FloatArray]
) -> Followed | None:
    """The fewest terms that make up ascent directions at some policies, with one set of factors; else None.

    Args:
        task: the task.
        policies: tables [P, S, V], of which not all are pi0.
        gradients: minus the expected loss's gradient at each.
    """
    target = np.concatenate([each[:, :-1].ravel() for each in gradients])
    size = float(np.linalg.norm(target))
    columns = {
        name: np.concatenate([direction(task, rows)[:, :-1].ravel() for rows in policies])
        for name, direction in {"E[r]": reward, **PRICES}.items()
    }
    if size < 1e-12:
        return None
    for terms in range(1, len(columns) + 1):
        for names in combinations(columns, terms):
            matrix = np.stack([columns[name] for name in names], axis=1)
            factors, *_ = np.linalg.lstsq(matrix, target, rcond=None)
            if np.linalg.norm(matrix @ factors - target) < EXPLAINED * size:
                return of_factors(dict(zip(names, factors.tolist())), task.kl_coef)
    return None


def of_factors(factors: dict[str, float], kl_coef: float) -> Followed:
    """In units of the reward's factor, or of the first price's where no reward is followed."""
    paid = factors.pop("E[r]", 0.0)
    scale = paid or -next(iter(factors.values())) / kl_coef
    prices = {name: -factor / (scale * kl_coef) for name, factor in factors.items()}
    return Followed(scale, float(paid != 0), prices)
