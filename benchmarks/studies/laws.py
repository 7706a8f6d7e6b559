"""Where training signals end by the law of the reward: pi(x) = pi0(x) w(r(x)).

Such a signal depends on a text through its reward alone, and so does its fixed point: the law of the reward
under pi0 is all that is needed. Notation as in ``fixed_points``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks.studies.fixed_points import BISECTIONS, hyperbolic
from klrl_envs.optima.terminal_law import TerminalLaw
from klrl_envs.reference.arrays import BoolArray, FloatArray

COEFFICIENTS = 2_000
"""Trial coefficients of ``group_normalised``, a geometric row from the largest down."""
SMALLEST_COEFFICIENT = 1e-12
"""In units of the largest: below it a prompt's coefficient counts as 0."""
HALVINGS = 80
"""Of one bisection within another, from a width of some tens."""
NEGLIGIBLE = 1e-9
"""Units of reward that no larger n is looked at for."""


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


def best_of(law: TerminalLaw, n: float) -> FloatArray:
    """The law [S, U] of the best of n reference texts; texts of equal reward are chosen among alike.

    Its KL is below log n - (n - 1)/n wherever there are ties (Beirami et al. 2024, arXiv 2401.01879).
    """
    below = np.concatenate([np.zeros((len(law.start), 1)), law.probabilities.cumsum(axis=1)], axis=1)
    return np.diff(np.clip(below, 0.0, 1.0) ** n, axis=1)


def best_count(law: TerminalLaw, kl_coef: float) -> int:
    """The n of ``best_of`` whose objective is largest, of all n.

    KL grows with n, so that no larger n can win where the largest reward less the KL's price would not, but
    for rounding (where the KL is cheap, the objective grows with n for ever, by less and less).
    """
    rewards = np.where(law.probabilities > 0, law.rewards, -np.inf).max(axis=1)
    best, found, first = -np.inf, 1, 1
    while True:
        points = [of_law(law, best_of(law, n), kl_coef) for n in range(first, 2 * first)]
        place = max(range(first), key=lambda index: points[index].objective)
        if points[place].objective > best:
            best, found = points[place].objective, first + place
        if float(law.start @ rewards) - kl_coef * points[-1].kl < best + NEGLIGIBLE:
            return found
        first *= 2


def highest(law: TerminalLaw) -> FloatArray:
    """The law [S, U] of pi0 given the highest reward of each start.

    Of all that earn it, it has the least KL, -log P_0(highest). The natural gradient of the reward alone ends
    here: from pi0 it stays on the tilted laws, log w = t r - log Z, the coefficient 1/t falling to 0.
    """
    held = law.probabilities > 0
    top = np.where(held, law.rewards, -np.inf).max(axis=1, keepdims=True)
    kept = np.where(law.rewards == top, law.probabilities, 0.0)
    return kept / kept.sum(axis=1, keepdims=True)


def reset_reference(law: TerminalLaw, kl_coef: float, resets: int) -> FloatArray:
    """The law [S, U] of the optimum after so many resets of the reference to the optimum before.

    Each solves the problem that the last one left: pi_(k+1) = pi_k exp(r / beta) / Z, which is pi0 tilted at
    beta / (k + 1). TR-DPO (arXiv 2404.09656) and trainers that copy the policy onto the reference do so.
    """
    return tilt(law, np.full(len(law.start), kl_coef / (resets + 1)))


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
    return tilt(law, bisect(too_large, low, high))


def variance(law: TerminalLaw, tilted: FloatArray) -> FloatArray:
    """Var(r) [S] under laws [S, U]."""
    mean = tilted @ law.rewards
    return (tilted * (law.rewards - mean[:, None]) ** 2).sum(axis=1)


def regressed_on_a_value(
    law: TerminalLaw, kl_coef: float, value_coef: float, *, replayed: float
) -> FloatArray:
    """The law [S, U] that minimises (beta l + V - r)^2, V = c log E_0 exp(r / c) (A*PO, arXiv 2505.20686).

    The texts are drawn from replayed pi0 + (1 - replayed) pi, and not differentiated. At the fixed point
    (replayed + (1 - replayed) w) d = a w, where d = beta log w + V - r and one number a, which is E d and not
    above 0, for all texts. On-policy (replayed 0) d = a: V is but a baseline, and pi* the end. On other texts
    d = a w / (replayed + (1 - replayed) w) bends the weights, unless c = beta, where V is V* and a is 0.

    Args:
        law: of the reward under pi0.
        kl_coef: beta.
        value_coef: c, at least beta: below it there may be no such fixed point, or several.
        replayed: the share of reference texts, 0 to 1.

    Raises:
        ValueError: an argument out of range.
    """
    if not value_coef >= kl_coef:
        raise ValueError(f"value_coef must be at least kl_coef {kl_coef:g}, got {value_coef:g}")
    if not 0 <= replayed <= 1:
        raise ValueError(f"replayed must be 0 to 1, got {replayed:g}")
    held = law.probabilities > 0
    top = np.where(held, law.rewards, -np.inf).max(axis=1, keepdims=True)
    exponent = np.where(held, (law.rewards - top) / value_coef, -np.inf)
    value = top + value_coef * np.log((law.probabilities * np.exp(exponent)).sum(axis=1, keepdims=True))
    worth = np.where(held, (law.rewards - value) / kl_coef, 0.0)

    def log_weights(pull: FloatArray) -> FloatArray:
        """log w [S, U]: log w + pull w / (replayed + (1 - replayed) w) = worth, pull [S, 1] = -a / beta."""

        def pulled(logs: FloatArray) -> FloatArray:
            return pull * np.exp(logs) / (replayed + (1 - replayed) * np.exp(logs))

        return bisect(lambda logs: logs + pulled(logs) > worth, worth - pulled(worth), worth, HALVINGS)

    def too_little(pull: FloatArray) -> BoolArray:
        mass = (law.probabilities * np.exp(log_weights(pull))).sum(axis=1, keepdims=True)
        return mass < 1

    # a pull of the largest worth leaves no weight above 1
    most = np.maximum(worth.max(axis=1, keepdims=True), 0.0)
    weights = law.probabilities * np.exp(log_weights(bisect(too_little, np.zeros_like(most), most, HALVINGS)))
    return weights / weights.sum(axis=1, keepdims=True)


def bisect(
    above: Callable[[FloatArray], BoolArray], low: FloatArray, high: FloatArray, halvings: int = BISECTIONS
) -> FloatArray:
    """Where, between low and high, ``above`` turns from false to true, entry by entry."""
    for _ in range(halvings):
        middle = (low + high) / 2
        over = above(middle)
        low, high = np.where(over, low, middle), np.where(over, middle, high)
    return (low + high) / 2
