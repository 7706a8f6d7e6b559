"""Where training signals end state by state: their fixed points on exact tasks, without any sampling.

The gradient of such a signal vanishes where the policy at each state is a function of what a token leads to,
so that a backward pass finds it, as the soft dynamic programme finds the optimum. ``laws`` has the signals
that depend on a text through its reward alone, ``followed`` those whose end is found by following them.

Notation: beta = kl_coef, l_t = log pi - log pi0 of token t, g_t = grad log pi of it; without the index, of
the whole text.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from klrl_envs.optima.problem import Problem
from klrl_envs.reference.arrays import FloatArray, IntArray

Update = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
"""(log pi0 [C, V, 1], X [1, V, Q]) -> (log pi [C, V, Q], value [C, Q] that the signal sees to come)."""

BISECTIONS = 200


@dataclass(frozen=True, eq=False)
class TablePolicy:
    """A policy by its rows: for each time log pi [C, V, Q_t] of the states that are reached then."""

    problem: Problem
    tables: list[FloatArray]

    def state_log_probs(self, context: IntArray, state: IntArray, time: IntArray) -> FloatArray:
        """See ``klrl_envs.policies.StatePolicy``."""
        rows = np.empty((len(context), self.problem.automaton.vocab_size))
        for when in np.unique(time).tolist():
            lanes = np.flatnonzero(time == when)
            place = self.problem.places[when][state[lanes]]
            rows[lanes] = self.tables[when][context[lanes], :, place]
        return rows


def backward(problem: Problem, update: Update, *, discount: float = 1.0) -> TablePolicy:
    """The policy that an update gives at every state, from the last step to the first.

    Args:
        problem: without context reward or stochastic execution, its reference a bigram or uniform.
        update: see ``Update``; X is what a token earns now and what the signal sees to come.
        discount: of what is to come, per step.
    """
    rows = problem.reference.rows(np.arange(problem.reference.contexts))[:, :, None]
    tables: list[FloatArray] = []
    values: FloatArray | None = None
    for time in reversed(range(problem.horizon)):
        later = None if values is None else discount * values
        policy, values = update(rows, problem.to_go(later, time)[None])
        tables.append(policy)
    return TablePolicy(problem, tables[::-1])


def softmax(rows: FloatArray, worth: FloatArray, kl_coef: float) -> tuple[FloatArray, FloatArray]:
    """log pi0 exp(X / beta) / Z, and beta log Z [C, Q]."""
    logits = rows + worth / kl_coef
    top = logits.max(axis=1, keepdims=True)
    total = top + np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
    return logits - total, kl_coef * total[:, 0]


def objective_itself(kl_coef: float) -> Update:
    """k1 in the reward, k2 or importance-weighted k3 of the whole text in the loss, or the exact KL with its
    gradient: the optimum.
    """
    return lambda rows, worth: softmax(rows, worth, kl_coef)


def entropy_bonus(kl_coef: float) -> Update:
    """Reward r + beta log pi0, and an entropy bonus of beta for the visited state (SB3's ent_coef).

    The update is S g_t [R to go] + beta grad H(pi(.|s_t)) with R the return of r + beta log pi0: what is
    to come holds no entropy, so that states with many good continuations look too cheap.
    """

    def update(rows: FloatArray, worth: FloatArray) -> tuple[FloatArray, FloatArray]:
        policy, _ = softmax(rows, worth, kl_coef)
        return policy, (np.exp(policy) * (kl_coef * rows + worth)).sum(axis=1)

    return update


def local_kl(kl_coef: float) -> Update:
    """The reward's return, and the KL of the visited state alone: token-level k2 in the loss is the same, and
    token-level k3 weighted by pi / pi_old (DeepSeek-V3.2, arXiv 2512.02556).

    E S_t g_t l_t = E S_t grad KL(pi(.|s_t) || pi0(.|s_t)) at the states as they are visited: what a token
    does to the KL to come is not seen. The weight rho' has a gradient of its own, so that on-policy
    grad(rho' k3) = k3 g + grad k3 = (e^-l - 1 + l) g + (1 - e^-l) g = l g.
    """

    def update(rows: FloatArray, worth: FloatArray) -> tuple[FloatArray, FloatArray]:
        policy, _ = softmax(rows, worth, kl_coef)
        return policy, (np.exp(policy) * worth).sum(axis=1)

    return update


def local_forward_kl(kl_coef: float) -> Update:
    """The reward's return, and token-level k3 in the loss (as published with GRPO, arXiv 2402.03300).

    k3's gradient is that of KL(pi0(.|s) || pi(.|s)) at the visited states, so that
    pi = beta pi0 / (lambda - X) with lambda above every X.
    """

    def update(rows: FloatArray, worth: FloatArray) -> tuple[FloatArray, FloatArray]:
        policy = hyperbolic(np.exp(rows), np.broadcast_to(worth, (*rows.shape[:2], worth.shape[2])), kl_coef)
        return np.log(policy), (policy * worth).sum(axis=1)

    return update


def hyperbolic(reference: FloatArray, worth: FloatArray, kl_coef: float) -> FloatArray:
    """beta p / (lambda - X) over axis 1, lambda such that it sums to one: maximises E[X] - beta KL(p || q).

    Args:
        reference: float64 [C, V, 1], p, rows of axis 1 that sum to one.
        worth: float64 [C, V, Q], X; what it is where p is 0 does not matter.
    """
    top = np.where(reference > 0, worth, -np.inf).max(axis=1, keepdims=True)
    worth = np.minimum(worth, top)
    at_top = (reference * (worth == top)).sum(axis=1, keepdims=True)
    # lambda - top: beta p(top) gives a sum of one or more, beta one of at most one
    low, high = kl_coef * at_top, np.full_like(top, kl_coef)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = (kl_coef * reference / (middle + top - worth)).sum(axis=1, keepdims=True) > 1
        low, high = np.where(above, middle, low), np.where(above, high, middle)
    policy = kl_coef * reference / ((low + high) / 2 + top - worth)
    return policy / policy.sum(axis=1, keepdims=True)
