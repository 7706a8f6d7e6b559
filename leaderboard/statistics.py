"""Statistics of scores over seeds and environments. Every generator is passed in; nothing here draws by
itself.

Sources: interquartile mean and stratified bootstrap, Agarwal et al. 2021 (arXiv 2108.13264), section 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from klrl_envs.reference.arrays import FloatArray
from klrl_envs.results.record import Bounds

Scores = npt.ArrayLike


def interquartile_mean(scores: Scores, axis: int | None = None) -> Any:
    """The mean of the middle half: a quarter of the values, rounded down, is left out at either end.

    Args:
        scores: float[...], any unit.
        axis: the axis to average over; None for all values together.

    Returns:
        The mean, of the shape of `scores` without `axis`.

    Raises:
        ValueError: there is no value, or one is not finite.
    """
    values = _finite("scores", scores)
    if axis is None:
        values, axis = values.ravel(), 0
    return stats.trim_mean(values, proportiontocut=0.25, axis=axis)


def stratified_bootstrap(
    scores: Mapping[str, Scores],
    generator: np.random.Generator,
    *,
    statistic: Any = interquartile_mean,
    confidence: float = 0.95,
    resamples: int = 10_000,
) -> Bounds:
    """A percentile interval of a statistic of all scores together; seeds are redrawn within each environment.

    Args:
        scores: for each environment (the stratum) float[seeds]; strata may have unequal numbers of seeds.
        generator: what draws the resamples.
        statistic: maps float[..., n] and `axis=-1` to float[...].
        confidence: the probability that the interval is to cover.
        resamples: how many times to redraw.

    Returns:
        (lower, upper), in the scores' unit.

    Raises:
        ValueError: no environment, or one with fewer than two seeds.
    """
    if not scores:
        raise ValueError("scores must hold at least one environment")
    strata = [_finite(f"scores[{name!r}]", values) for name, values in scores.items()]
    for name, values in zip(scores, strata):
        if values.ndim != 1 or values.size < 2:
            raise ValueError(
                f"scores[{name!r}] must hold at least two seeds on one axis, not shape {values.shape}"
            )
    _check_confidence(confidence)

    def pooled(*samples: FloatArray, axis: int = -1) -> Any:
        return statistic(np.concatenate(samples, axis=axis), axis=axis)

    result = stats.bootstrap(
        strata,
        pooled,
        n_resamples=resamples,
        vectorized=True,
        paired=False,
        axis=-1,
        confidence_level=confidence,
        method="percentile",
        rng=generator,
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def t_interval(scores: Scores, *, confidence: float = 0.95) -> Bounds:
    """Student's interval of the mean over seeds.

    Args:
        scores: float[seeds], at least two.
        confidence: the probability that the interval is to cover.

    Returns:
        (lower, upper), in the scores' unit.

    Raises:
        ValueError: fewer than two seeds, or one that is not finite.
    """
    values = _finite("scores", scores)
    if values.ndim != 1 or values.size < 2:
        raise ValueError(f"scores must hold at least two seeds on one axis, not shape {values.shape}")
    _check_confidence(confidence)
    mean = float(values.mean())
    half = stats.t.ppf((1 + confidence) / 2, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size)
    return mean - float(half), mean + float(half)


def mean_interval(
    scores: Sequence[float], intervals: Sequence[Bounds], *, confidence: float = 0.95
) -> Bounds:
    """The interval of a mean score over seeds, each of which has an interval of its own.

    Student's interval over the seeds holds what differs between them: training and evaluation episodes. It
    misses what they share, the error of J* and J(pi0), which is in each seed's own interval. The two half-
    widths are added in quadrature, on either side; the seeds' evaluation error is counted twice thereby, so
    the interval is a little wide. With one seed the interval is that seed's, and says nothing of other
    seeds.

    Args:
        scores: float[seeds].
        intervals: for each seed (lower, upper) around its score.
        confidence: of the intervals given and of that returned.

    Returns:
        (lower, upper), in the scores' unit.

    Raises:
        ValueError: no seed, or unequal lengths.
    """
    values = _finite("scores", scores)
    bounds = _finite("intervals", intervals)
    if values.ndim != 1 or bounds.shape != (values.size, 2):
        raise ValueError(
            f"intervals must have shape ({values.size}, 2) for {values.size} scores, not {bounds.shape}"
        )
    mean = float(values.mean())
    below = float((values - bounds[:, 0]).mean())
    above = float((bounds[:, 1] - values).mean())
    if values.size == 1:
        return mean - below, mean + above
    lower, upper = t_interval(values, confidence=confidence)
    return mean - float(np.hypot(mean - lower, below)), mean + float(np.hypot(upper - mean, above))


def _finite(name: str, values: Any) -> FloatArray:
    """The values as float64, checked."""
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0:
        raise ValueError(f"{name} must hold at least one value")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, not {array[~np.isfinite(array)][0]}")
    return array


def _check_confidence(confidence: float) -> None:
    """Raise ValueError unless the confidence is a probability inside (0, 1)."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
