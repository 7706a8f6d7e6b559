"""The interval of an entry: of a mean score over seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import stats

from klrl_envs.evaluation.shared_error import shared_score_error
from klrl_envs.optima.optimum import optimum
from klrl_envs.reference.arrays import FloatArray
from klrl_envs.registry import find_row
from klrl_envs.results.record import Bounds

CONFIDENCE = 0.95
"""The probability that an interval of the leaderboard is to cover."""


def t_interval(scores: npt.ArrayLike, *, confidence: float = CONFIDENCE) -> Bounds:
    """Student's interval of the mean over seeds.

    Args:
        scores: float[seeds], at least two.
        confidence: the probability that the interval is to cover.

    Returns:
        (lower, upper), in the scores' unit.

    Raises:
        ValueError: fewer than two seeds, or one that is not finite.
    """
    values = finite_array("scores", scores)
    if values.ndim != 1 or values.size < 2:
        raise ValueError(f"scores must hold at least two seeds on one axis, not shape {values.shape}")
    mean, error = float(values.mean()), float(values.std(ddof=1)) / values.size**0.5
    half = float(stats.t.ppf(upper_tail(confidence), values.size - 1)) * error
    return mean - half, mean + half


def mean_interval(scores: Sequence[float], shared_error: float, *, confidence: float = CONFIDENCE) -> Bounds:
    """The interval of a mean score over seeds.

    Student's interval over the seeds holds all that differs between them, training and evaluation episodes
    alike. It misses what they share, the error of J* and J(pi0), whose half-width is added in quadrature.

    Args:
        scores: float[seeds], at least two: a single seed says nothing of others, and keeps its own interval.
        shared_error: the standard error that all seeds have in common; see ``shared_score_error``.
        confidence: the probability that the interval is to cover.

    Returns:
        (lower, upper), in the scores' unit.

    Raises:
        ValueError: fewer than two seeds, or a shared error that is negative or not finite.
    """
    if not 0 <= shared_error < np.inf:
        raise ValueError(f"shared_error must be finite and at least 0, not {shared_error}")
    lower, upper = t_interval(scores, confidence=confidence)
    shared = float(stats.norm.ppf(upper_tail(confidence))) * shared_error
    half = float(np.hypot((upper - lower) / 2, shared))
    return (lower + upper) / 2 - half, (lower + upper) / 2 + half


def shared_error_on(env_id: str, score: float) -> float:
    """The standard error that every score on an environment of the suite has from its optimum.

    Exact environments, whose optimum has none, are not solved for it.

    Args:
        env_id: the environment, with its declared arguments.
        score: a mean score on it.
    """
    return 0.0 if "exact" in find_row(env_id).tags else shared_score_error(score, optimum(env_id))


def upper_tail(confidence: float) -> float:
    """The probability below the upper end of a two-sided interval.

    Raises:
        ValueError: the confidence is no probability inside (0, 1).
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    return (1 + confidence) / 2


def finite_array(name: str, values: npt.ArrayLike) -> FloatArray:
    """Values as float64[...].

    Raises:
        ValueError: there is none, or one is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError(f"{name} must hold at least one value")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, not {array[~np.isfinite(array)][0]}")
    return array
