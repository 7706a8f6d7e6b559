"""Bounds of the mean of independent numbers in [0, 1] that hold at any sample size, whatever their law.

Sources: Maurer and Pontil 2009, arXiv 0907.3740, theorem 4 (empirical Bernstein); Chernoff's bound in the
form K kl(m || mu) <= log 1/delta.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from klrl_envs.reference.arrays import FloatArray


def mean_bounds(values: FloatArray, failure: float) -> tuple[FloatArray, FloatArray]:
    """Confidence bounds of the means of independent numbers in [0, 1].

    Args:
        values: float64[P, K] in [0, 1].
        failure: chance that one side of one of the two inequalities fails, for one row: a row's bounds
            fail with probability at most 4 failure.

    Returns:
        lower, upper: float64[P], the intersection of the empirical Bernstein and the Chernoff intervals.
    """
    count = values.shape[1]
    mean: FloatArray = np.asarray(values.mean(axis=1))
    log_term = math.log(2.0 / failure)
    half = np.sqrt(2.0 * values.var(axis=1, ddof=1) * log_term / count) + 7.0 * log_term / (3.0 * (count - 1))
    budget = math.log(1.0 / failure) / count
    lower = np.maximum(mean - half, invert_kl(mean, budget, upper=False))
    upper = np.minimum(mean + half, invert_kl(mean, budget, upper=True))
    return np.maximum(lower, 0.0), np.minimum(upper, 1.0)


def binary_kl(mean: ArrayLike, other: ArrayLike) -> FloatArray:
    """KL(Bernoulli(mean) || Bernoulli(other)), nats, elementwise; 0 log 0 = 0."""
    p, q = np.broadcast_arrays(np.asarray(mean, dtype=np.float64), np.asarray(other, dtype=np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        first = np.where(p > 0, p * np.log(p / q), 0.0)
        second = np.where(p < 1, (1 - p) * (np.log1p(-p) - np.log1p(-q)), 0.0)
    return first + second


def invert_kl(mean: FloatArray, budget: float, *, upper: bool) -> FloatArray:
    """The farthest mu on one side of mean with KL(mean || mu) <= budget, by bisection, erring outward."""
    inside: FloatArray = mean
    outside: FloatArray = np.full_like(mean, 1.0 if upper else 0.0)
    tiny = 5e-324
    # KL(p || q) = p log p + (1 - p) log(1 - p) - p log q - (1 - p) log(1 - q): only the last two move
    room = budget - binary_kl(mean, 0.5) + math.log(2.0)
    for _ in range(200):
        middle: FloatArray = (inside + outside) / 2
        if not np.any(np.abs(outside - inside) > 1e-13 * outside):
            break
        logs = np.log(np.maximum(middle, tiny)), np.log1p(-np.minimum(middle, 1.0 - 2.0**-53))
        fits = -mean * logs[0] - (1.0 - mean) * logs[1] <= room
        inside, outside = np.where(fits, middle, inside), np.where(fits, outside, middle)
    return outside
