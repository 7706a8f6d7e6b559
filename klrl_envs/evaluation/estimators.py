"""Means with their intervals: over strata of equal size, and with a control variate."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from klrl_envs.optima.certificate import CONFIDENCE
from klrl_envs.reference.arrays import FloatArray, IntArray

FOLDS = 5


@dataclass(frozen=True)
class Interval:
    """An estimate and its 95 % interval."""

    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Mean:
    """A mean, its standard error, and the degrees of freedom of that error."""

    value: float
    error: float
    degrees_of_freedom: float

    def plus(self, error: float) -> Mean:
        """With an independent error added."""
        return Mean(self.value, math.hypot(self.error, error), self.degrees_of_freedom)

    def interval(self) -> Interval:
        """Student's 95 % interval."""
        half = student(self.degrees_of_freedom) * self.error
        return Interval(self.value, self.value - half, self.value + half)


def student(degrees_of_freedom: float) -> float:
    """The two-sided 95 % quantile of Student's t."""
    from scipy.special import stdtrit  # pyright: ignore[reportMissingTypeStubs]

    return float(stdtrit(degrees_of_freedom, (1 + CONFIDENCE) / 2))


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
    return Mean(float(values.mean()), math.sqrt(variance), float(degrees_of_freedom))


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
