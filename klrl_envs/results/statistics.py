"""The interval of an entry: of a mean score over seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from klrl_envs.evaluation.estimators import student
from klrl_envs.evaluation.shared_error import shared_score_error
from klrl_envs.optima.optimum import optimum
from klrl_envs.reference.arrays import FloatArray
from klrl_envs.registry import find_row
from klrl_envs.results.record import Bounds

SharedError = Callable[[str, float], float]
"""(an environment's id, a mean score) -> the standard error that its seeds share."""


def t_interval(scores: npt.ArrayLike) -> Bounds:
    """Student's 95 % interval of the mean over seeds.

    Args:
        scores: float[seeds], at least two.

    Returns:
        (lower, upper), in the scores' unit.

    Raises:
        ValueError: fewer than two seeds, or one that is not finite.
    """
    return mean_interval(scores, 0.0)


def mean_interval(scores: npt.ArrayLike, shared_error: float) -> Bounds:
    """The 95 % interval of a mean score over seeds.

    Student's interval over the seeds holds all that differs between them, training and evaluation episodes
    alike. It misses what they share, the error of J* and J(pi0), whose half-width is added in quadrature.

    Args:
        scores: float[seeds], at least two: a single seed says nothing of others, and keeps its own interval.
        shared_error: the standard error that all seeds have in common; see ``shared_score_error``.

    Returns:
        (lower, upper), in the scores' unit.

    Raises:
        ValueError: fewer than two seeds, one that is not finite, or a shared error below 0 or not finite.
    """
    values = finite_array("scores", scores)
    if values.ndim != 1 or values.size < 2:
        raise ValueError(f"scores must hold at least two seeds on one axis, not shape {values.shape}")
    if not 0 <= shared_error < np.inf:
        raise ValueError(f"shared_error must be finite and at least 0, not {shared_error}")
    mean, error = float(values.mean()), float(values.std(ddof=1)) / values.size**0.5
    half = math.hypot(student(values.size - 1) * error, student(math.inf) * shared_error)
    return mean - half, mean + half


def difference_interval(first: npt.ArrayLike, second: npt.ArrayLike) -> Bounds:
    """Welch's 95 % interval of the second's mean less the first's.

    Args:
        first, second: float[seeds], at least two each.

    Raises:
        ValueError: fewer than two seeds, or one that is not finite.
    """
    samples = [finite_array(name, each) for name, each in (("first", first), ("second", second))]
    if any(each.ndim != 1 or each.size < 2 for each in samples):
        raise ValueError("first and second must each hold at least two seeds on one axis")
    difference, half = float(samples[1].mean() - samples[0].mean()), welch_half_width(samples)
    return difference - half, difference + half


def welch_half_width(samples: Sequence[FloatArray], known: float = 0.0) -> float:
    """Half of the 95 % interval of a sum, or a difference, of the means of samples.

    Student's law has Welch and Satterthwaite's degrees of freedom (Welch 1947, Biometrika 34).

    Args:
        samples: float64[n] each, n at least two.
        known: a variance to add that is known from elsewhere, and brings no degrees of its own.
    """
    variances = np.array([each.var(ddof=1) / each.size for each in samples])
    total = float(variances.sum()) + known
    spread = float((variances**2 / np.array([each.size - 1 for each in samples])).sum())
    return student(total**2 / spread if spread > 0 else math.inf) * total**0.5


def shared_error_on(env_id: str, score: float) -> float:
    """The standard error that every score on an environment of the suite has from its optimum.

    Exact environments, whose optimum has none, are not solved for it.

    Args:
        env_id: the environment, with its declared arguments.
        score: a mean score on it.
    """
    return 0.0 if "exact" in find_row(env_id).tags else shared_score_error(score, optimum(env_id))


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
