"""Where well-known training signals end: their fixed points on exact tasks, without any sampling.

Two kinds. *State by state*: the gradient of the signal vanishes where the policy at each state is a function
of what a token leads to, so that a backward pass finds it, as the soft dynamic programme finds the optimum.
*By the law of the reward*: where the signal depends on a text through its reward alone, so does its fixed
point, pi(x) = pi0(x) w(r(x)), and the law of the reward under pi0 is all that is needed.

Notation: beta = kl_coef, l_t = log pi - log pi0 of token t, g_t = grad log pi of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from klrl_envs.optima.problem import Problem
from klrl_envs.optima.terminal_law import TerminalLaw
from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray

Update = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]
"""(log pi0 [C, V, 1], X [1, V, Q]) -> (log pi [C, V, Q], value [C, Q] that the signal sees to come)."""

BISECTIONS = 200
COEFFICIENTS = 2_000
"""Trial coefficients of ``group_normalised``, a geometric row from the largest down."""
SMALLEST_COEFFICIENT = 1e-12
"""In units of the largest: below it a prompt's coefficient counts as 0."""


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
    """k1 in the reward, sequence-level k2 in the loss, or the exact KL with its gradient: the optimum."""
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
    """The reward's return, and the KL of the visited state alone: token-level k2 in the loss is the same.

    E S_t g_t l_t = E S_t grad KL(pi(.|s_t) || pi0(.|s_t)) at the states as they are visited: what a token
    does to the KL to come is not seen.
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


@dataclass(frozen=True)
class OperatingPoint:
    """What a policy reaches: expected reward, KL(pi || pi0) in nats, and the objective."""

    expected_reward: float
    kl: float
    objective: float


def of_law(law: TerminalLaw, tilted: FloatArray, kl_coef: float) -> OperatingPoint:
    """The point of pi(x) = pi0(x) q(r(x)) / p(r(x)), p the law of the reward.

    Args:
        law: p, float64 [S, U] for S starts.
        tilted: float64 [S, U], q, rows that sum to one.
    """
    reward = float(law.start @ tilted @ law.rewards)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(tilted > 0, tilted * np.log(tilted / law.probabilities), 0.0)
    kl = float(law.start @ terms.sum(axis=1))
    return OperatingPoint(reward, kl, reward - kl_coef * kl)


def best_of(law: TerminalLaw, n: int) -> FloatArray:
    """The law [S, U] of the best of n reference texts; texts of equal reward are chosen among alike.

    Its KL is below log n - (n - 1)/n wherever there are ties (Beirami et al. 2024, arXiv 2401.01879).
    """
    below = np.concatenate([np.zeros((len(law.start), 1)), law.probabilities.cumsum(axis=1)], axis=1)
    return np.diff(np.clip(below, 0.0, 1.0) ** n, axis=1)


def tilt(law: TerminalLaw, kl_coefs: FloatArray) -> FloatArray:
    """The law [S, U] of pi0 exp(r / kl_coef) / Z, a coefficient [S] for each start."""
    held = law.probabilities > 0
    top = np.where(held, law.rewards, -np.inf).max(axis=1, keepdims=True)
    exponent = np.where(held, (law.rewards - top) / kl_coefs[:, None], -np.inf)
    weights = law.probabilities * np.exp(exponent)
    return weights / weights.sum(axis=1, keepdims=True)


def sequence_forward_kl(law: TerminalLaw, kl_coef: float) -> FloatArray:
    """Sequence-level k3 in the loss: it descends KL(pi0 || pi), so that q = beta p / (lambda - r)."""
    worth = np.broadcast_to(law.rewards[None, :, None], (*law.probabilities.shape, 1))
    return hyperbolic(law.probabilities[:, :, None], worth, kl_coef)[:, :, 0]


def group_normalised(law: TerminalLaw, kl_coef: float) -> FloatArray:
    """Rewards divided by their standard deviation within a prompt's group, the KL (its gradient right) not.

    The coefficient c of a prompt becomes beta sd(r), sd under the policy itself; large groups. Natural
    gradient ascent from the reference stays on the tilted laws, c falling from infinity, until c = beta sd:
    where several agree with their own sd, the largest is reached. Where none does, c goes to 0: the less the
    rewards vary, the less the KL weighs, until every text has the largest reward.
    """
    held = law.probabilities > 0
    highest = np.where(held, law.rewards, -np.inf).max(axis=1)
    width = highest - np.where(held, law.rewards, np.inf).min(axis=1)
    # no sd is above half the width; where all texts earn the same, any coefficient will do
    most = kl_coef * np.where(width > 0, width / 2, 1.0)

    def too_large(coefficients: FloatArray) -> BoolArray:
        return kl_coef * np.sqrt(variance(law, tilt(law, coefficients))) < coefficients

    low, high = SMALLEST_COEFFICIENT * most, most
    falling = np.ones(len(most), dtype=bool)
    for share in np.geomspace(1.0, SMALLEST_COEFFICIENT, COEFFICIENTS):
        falling &= too_large(share * most)
        high = np.where(falling, share * most, high)
        low = np.where(falling, low, np.maximum(low, share * most))
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        above = too_large(middle)
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return tilt(law, low)


def variance(law: TerminalLaw, tilted: FloatArray) -> FloatArray:
    """Var(r) [S] under laws [S, U]."""
    mean = tilted @ law.rewards
    return (tilted * (law.rewards - mean[:, None]) ** 2).sum(axis=1)


def k3_in_the_reward(
    law: TerminalLaw, kl_coef: float, *, steps: int, learning_rate: float
) -> list[FloatArray]:
    """Laws [S, U] along the exact policy gradient of the reward r - beta k3, detached; sequence level.

    The update descends KL(pi || pi0) - KL(pi0 || pi): the second term pays for texts that are dropped.
    Natural gradient steps, log w <- log w + learning_rate (A - mean A) with A = r - beta (1/w - 1 + log w),
    w = pi / pi0 of a reward; A is held within 1e6, where w is 0 to rounding.

    Where two texts have lost probability the update cannot rest for good: dA / d log w = beta (1/w - 1) > 0
    there, so that the one that lost more goes on losing until it is never written. A stable end has dropped
    texts altogether; texts of one reward are taken to be dropped together here.
    """
    log_weight = np.zeros_like(law.probabilities)
    laws = [law.probabilities]
    for _ in range(steps):
        k3 = np.exp(np.minimum(-log_weight, 600)) - 1 + log_weight
        advantage = np.clip(law.rewards - kl_coef * k3, -1e6, None)
        tilted = law.probabilities * np.exp(log_weight)
        log_weight = log_weight + learning_rate * (
            advantage - (tilted * advantage).sum(axis=1, keepdims=True)
        )
        log_weight -= np.log((law.probabilities * np.exp(log_weight)).sum(axis=1, keepdims=True))
        laws.append(law.probabilities * np.exp(log_weight))
    return laws
