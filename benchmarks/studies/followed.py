"""Signals whose end is found by following them: k3 in the reward, by exact natural gradient steps from pi0.

Detached in the reward, k3 = w^-1 - 1 + log w with w = pi / pi0 makes an update that descends
KL(pi || pi0) - KL(pi0 || pi), of texts or of tokens: the second term pays for what is dropped. Where two
texts (tokens) have lost probability the update cannot rest for good: dA / d log w = beta (1/w - 1) > 0 there,
so that the one that lost more goes on losing until it is never written. A stable end has dropped them
altogether. Notation as in ``fixed_points``.
"""

from __future__ import annotations

import numpy as np

from benchmarks.studies.fixed_points import TablePolicy
from klrl_envs.optima.problem import Problem
from klrl_envs.optima.terminal_law import TerminalLaw
from klrl_envs.reference.arrays import FloatArray

LARGEST_LOSS = 1e6
"""Advantages are held above minus this: k3 has no bound where w is 0 to rounding."""


def k3(log_weight: FloatArray) -> FloatArray:
    """w^-1 - 1 + log w, of log w."""
    return np.exp(np.minimum(-log_weight, 600)) - 1 + log_weight


def sequence_k3_in_the_reward(
    law: TerminalLaw, kl_coef: float, *, steps: int, learning_rate: float
) -> list[FloatArray]:
    """Laws [S, U] along the exact natural gradient of the reward r - beta k3 of whole texts.

    Steps are log w <- log w + learning_rate (A - mean A) with A = r - beta k3. Texts of one reward are taken
    to be dropped together.
    """
    log_weight = np.zeros_like(law.probabilities)
    laws = [law.probabilities]
    for _ in range(steps):
        advantage = np.maximum(law.rewards - kl_coef * k3(log_weight), -LARGEST_LOSS)
        tilted = law.probabilities * np.exp(log_weight)
        log_weight = log_weight + learning_rate * (
            advantage - (tilted * advantage).sum(axis=1, keepdims=True)
        )
        log_weight -= np.log((law.probabilities * np.exp(log_weight)).sum(axis=1, keepdims=True))
        laws.append(law.probabilities * np.exp(log_weight))
    return laws


def token_k3_in_the_reward(
    problem: Problem, kl_coef: float, *, steps: int, learning_rate: float
) -> TablePolicy:
    """The policy after so many exact natural gradient steps on the rewards r_t - beta k3_t of single tokens.

    Of free logits at every state the natural gradient step is log pi <- log pi + learning_rate (Q - V), Q
    what a token earns now and to the end under the policy itself (Kakade 2001). A token that is no longer
    written costs nothing more.

    Args:
        problem: as ``backward`` takes it.
        kl_coef: beta.
        steps: how many.
        learning_rate: of a step.
    """
    rows = problem.reference.rows(np.arange(problem.reference.contexts))[:, :, None]
    shape = (len(rows), problem.automaton.vocab_size)
    log_weights = [np.zeros((*shape, states.size)) for states in problem.reached]
    for _ in range(steps):
        values: FloatArray | None = None
        for time in reversed(range(problem.horizon)):
            log_weight = log_weights[time]
            worth = problem.to_go(values, time)[None] - kl_coef * k3(log_weight)
            worth = np.maximum(worth, -LARGEST_LOSS)
            mean = (np.exp(rows + log_weight) * worth).sum(axis=1, keepdims=True)
            values = mean[:, 0]
            moved = log_weight + learning_rate * (worth - mean)
            log_weights[time] = moved - np.log(np.exp(rows + moved).sum(axis=1, keepdims=True))
    return TablePolicy(problem, [rows + log_weight for log_weight in log_weights])
