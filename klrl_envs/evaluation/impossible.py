"""What no policy can do: an evaluation that shows it is refused.

Each test errs with a chance of about ``CHANCE``, that of five standard errors, also with few episodes and
heavy tails: where a spread seen in the sample could be too small, because rare events were not seen, the
limit allows for as many of them as can be missing (``UNSEEN``).

These are alarms. They find wrong log-probs, wrong KLs and wrong solvers; a policy that knows what will be
drawn can pass them (it moves mass among the tokens that are not drawn). The defence against that one is a
draw that nobody knows: ``evaluate`` makes its seed when the policy is there.
"""

from __future__ import annotations

import math
from functools import lru_cache

from klrl_envs.evaluation.estimators import Mean, student
from klrl_envs.evaluation.rollout import Episodes
from klrl_envs.optima.result import Optimum

CHANCE = 5.73e-7
"""Of five standard errors of a normal law, both sides."""
UNSEEN = -math.log(CHANCE)
"""Expected events that may be missing from a sample with that chance, 14.4: exp(-14.4) is it."""
ROUNDING = 1e-3
"""Nats an episode by which rows in float32 may be off."""
AROUND = (0.125, 0.25, 0.5, 2.0, 4.0, 8.0)
"""Prices of KL, over the task's own, at which a point is held against the frontier."""


class ImpossibleEvaluation(ValueError):
    """Numbers that no policy reaches: log-probs, KL, reward or optimum are wrong, or the draw was known."""


def refuse_foreknowledge(sampled: Episodes) -> None:
    """Refuse episodes whose tokens were not drawn from the rows that the policy gave.

    M = sum_t (l_t - KL_t) has mean zero at every state, and its variance there is known from the row, which
    holds what was not drawn, too: M is a martingale, and Freedman's inequality (1975, theorem 1.6) bounds it.

    Raises:
        ImpossibleEvaluation: the mean of M is not zero.
    """
    if sampled.kl is None or sampled.spread is None:
        return
    count = len(sampled.kl)
    total = float((sampled.log_ratio - sampled.kl).sum())
    limit = freedman(float(sampled.spread.variance.sum()), float(sampled.spread.largest.max(initial=0.0)))
    if not abs(total) <= limit + ROUNDING * count:
        raise ImpossibleEvaluation(
            f"log pi - log pi0 of the tokens drawn is {total / count:+.4g} nats an episode away from the KL "
            f"of the rows that they were drawn from, where chance allows {limit / count:.2g}: the policy "
            "knew the draw, or its rows change while it is asked"
        )


def freedman(variance: float, largest: float) -> float:
    """What a martingale exceeds with ``CHANCE``, of a total conditional variance and a largest step."""
    half = largest * math.log(2.0 / CHANCE) / 3.0
    return half + math.sqrt(half * half + 2.0 * variance * math.log(2.0 / CHANCE))


def refuse_negative_kl(sampled: Episodes) -> None:
    """Refuse log-probs of whole texts that no distribution has: E exp(log pi0 - log pi) is at most 1.

    The product over episodes has a mean of at most 1, too, so that by Markov's inequality its logarithm,
    -sum l, is above log 1/CHANCE with no more than that chance. It finds some lies and not others.

    Raises:
        ImpossibleEvaluation: the KL is negative.
    """
    if sampled.kl is not None or sampled.kind == "lower":
        return
    total = float(sampled.log_ratio.sum())
    if not total >= -UNSEEN:
        raise ImpossibleEvaluation(
            f"the policy's log-probs give a KL of {total / len(sampled.log_ratio):.4g} nats over "
            f"{len(sampled.log_ratio)} texts: no distribution has a negative KL"
        )


def refuse_above(name: str, value: Mean, bound: float, *, error: float, room: float, rounding: float) -> None:
    """Refuse a mean above its bound.

    Args:
        name: of the mean, for the error.
        value: what was measured.
        bound: what no policy exceeds.
        error: the standard error of the bound.
        room: by what events may lift the mean that its episodes have missed: one of probability p lifts
            reward - price log-ratio by at most p nats at that price.
        rounding: of the mean.

    Raises:
        ImpossibleEvaluation: it lies above, beyond the errors of both, or is no number.
    """
    limit = sigmas(value.degrees_of_freedom) * math.hypot(value.error, error) + room
    if not value.value - bound <= limit + rounding + 1e-9 * max(1.0, abs(bound)):
        raise ImpossibleEvaluation(
            f"{name} is {value.value:.6g}, above the {bound:.6g} that no policy exceeds; chance allows "
            f"{limit:.2g} more. The log-probs, the KL or the rewards are wrong"
        )


def refuse_difference(name: str, value: float, other: float, limit: float, meaning: str) -> None:
    """Refuse two numbers that must be one.

    Raises:
        ImpossibleEvaluation: they differ by more than ``limit`` and rounding.
    """
    if not abs(value - other) <= limit + 1e-6 * max(1.0, abs(value), abs(other)):
        raise ImpossibleEvaluation(
            f"{name}: {value:.6g} against {other:.6g}, where chance allows a difference of {limit:.2g}; "
            f"{meaning}"
        )


def sigmas(degrees_of_freedom: float) -> float:
    """Standard errors that a mean is off by with ``CHANCE``: 5 for many episodes, more for few."""
    return student(degrees_of_freedom, 1.0 - CHANCE)


@lru_cache(maxsize=8)
def lines_above(best: Optimum) -> tuple[tuple[float, float, float], ...]:
    """Prices of KL around the task's own, J* at each and its standard error: no policy's reward less price KL
    is above that. Prices at which too few samples know it are left out.
    """
    prices = [best.kl_coef * factor for factor in AROUND]
    if best.certificate is None:
        return tuple((point.kl_coef, point.value, 0.0) for point in best.frontier(prices))
    known = best.certificate
    prices = [price for price in prices if known.trusted(price)]
    return tuple((at.kl_coef, at.value, known.value_stderr(at.kl_coef)) for at in known.frontier(prices))
