"""Means with their intervals: over strata of equal size, and with a control variate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from klrl_envs.optima.certificate import CONFIDENCE
from klrl_envs.reference.arrays import FloatArray, IntArray

FOLDS = 5
FEWEST_EVENTS = 12.0
"""Rare events from which Student's interval is believed: where 20 are expected it covers at .93 to .97
(``benchmarks/studies/coverage.py``)."""


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval."""

    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Mean:
    """A mean, its standard error, and the degrees of freedom of that error.

    ``events`` are those that the error rests on: of n values of which k are 1 and the others 0 they are k.
    Below ``FEWEST_EVENTS`` the sample is too small to tell its own error.
    """

    value: float
    error: float
    degrees_of_freedom: float
    events: float = math.inf

    @property
    def resolved(self) -> bool:
        """Whether enough events were seen for Student's interval."""
        return self.events >= FEWEST_EVENTS

    def interval(self) -> Interval:
        """Student's 95 % interval."""
        half = student(self.degrees_of_freedom) * self.error
        return Interval(self.value, self.value - half, self.value + half)


def student(degrees_of_freedom: float, confidence: float = CONFIDENCE) -> float:
    """The two-sided quantile of Student's t; of the normal law where the degrees are infinite."""
    from scipy.special import ndtri, stdtrit  # pyright: ignore[reportMissingTypeStubs]

    upper = (1 + confidence) / 2
    return float(ndtri(upper) if math.isinf(degrees_of_freedom) else stdtrit(degrees_of_freedom, upper))


def stratified_mean(values: FloatArray, strata: IntArray) -> Mean:
    """Mean over strata of equal size, and its standard error from the variance within them.

    Args:
        values: float64[E].
        strata: int64[E], 0..P-1, each E/P times, at least twice.
    """
    centred = values - stratum_means(values, strata)[strata]
    degrees_of_freedom = len(values) - len(np.unique(strata))
    # equal sizes n: Var = sum_p s_p^2 / (n P^2) = pooled s^2 / E
    variance = float(np.sum(centred * centred)) / degrees_of_freedom / len(values)
    events = events_of(centred, float(np.abs(values).max()), len(values) - degrees_of_freedom)
    return Mean(float(values.mean()), math.sqrt(variance), float(degrees_of_freedom), events)


def events_of(centred: FloatArray, scale: float, strata: int) -> float:
    """The events that the spread of values rests on: (sum d^2)^2 / sum d^4 of their distances from the mean.

    That is n over the kurtosis, and the number of ones among zeros. In strata of m values a single event
    moves the others' distances, too, which is divided out.

    Args:
        centred: float64[E], values less the means of their strata.
        scale: the size of the values: distances of its rounding error are none.
        strata: P.
    """
    squares = np.where(np.abs(centred) > 1e-9 * scale, centred, 0.0) ** 2
    fourth = float((squares * squares).sum())
    if fourth == 0.0:
        return 0.0
    rest = len(centred) / strata - 1.0  # the other values of a stratum
    single = (rest**3 + 1.0) / rest / (rest + 1.0) ** 2
    return float(squares.sum()) ** 2 / fourth * single


def stratum_means(values: FloatArray, strata: IntArray) -> FloatArray:
    """Mean of each stratum, float64[P]; zero where it has no value."""
    totals = np.bincount(strata, weights=values)
    return totals / np.maximum(np.bincount(strata), 1)


def with_control(values: FloatArray, control: FloatArray, strata: IntArray, folds: int = FOLDS) -> FloatArray:
    """values - c control, where c is regressed, within strata, on the episodes of the other folds.

    The control has mean zero whatever the prompt, so the mean is unbiased. c is linear in the values, so a
    linear relation between several values (objective = reward - beta KL) stays as it is.

    Args:
        values: float64[E].
        control: float64[E], mean zero.
        strata: int64[E], the prompt of each.
        folds: how many; an episode's fold is its turn at its prompt, modulo ``folds``.
    """
    turn = np.arange(len(values)) // (int(strata.max()) + 1)
    fold = (turn if turn.max() >= folds else np.arange(len(values))) % folds
    result: FloatArray = np.array(values, dtype=np.float64)
    for held in range(folds):
        other = fold != held
        prompts = strata[other]
        x = control[other] - stratum_means(control[other], prompts)[prompts]
        y = values[other] - stratum_means(values[other], prompts)[prompts]
        spread = float(x @ x)
        if spread > 1e-20 * max(1.0, float(control @ control)):
            result[~other] -= float(x @ y) / spread * control[~other]
    return result
