"""Shares of few runs, and chances to win among few seeds: over several environments, with their intervals.

The interval of a mean of shares holds every t that a score test does not reject: with the shares theta_k of
mean t that are most likely given what was seen,

    |mean share - t| - correction <= z sqrt(sum_k V_k(theta_k) n_k / (n_k - 1 + 1/K)) / K

where K is the number of environments, each of weight 1/K, and n_k / (n_k - 1 + 1/K) makes up for fitting K
shares to one constraint. For one environment that is Wilson's interval (1927), and Newcombe's for chances
(below); for several it is what Miettinen and Nurminen (1985, Statistics in Medicine 4:213) do for a
difference. It is an interval where all runs fall on one side, too, where a bootstrap has no width. Adding
the distances of single intervals in quadrature (MOVER) covers as little as 86 % for ten alike.

Chances to win have Newcombe's variance, method 5 (2006, Statistics in Medicine 25:559): with m and n seeds
and N = (m + n) / 2 - 1,

    V(theta) = theta (1 - theta) (1 + N (1 - theta) / (2 - theta) + N theta / (1 + theta)) / (m n)

and a correction for continuity of half a pair. Without it three seeds that all beat three others would
exclude 1/2, though one case of ten of equals looks like this.

Coverage in %, by simulation of 20,000 boards (`tests/leaderboard/test_coverage.py` repeats some of it): of a
mean of shares over 5, 5 and 3 runs 96.6 to 100, over ten environments 94.6 to 100. Of chances to win from .02
to .98, for normal scores of spread 1 : 1, and 1 : 3 in either direction:

    seeds of the two agents                       1 : 1           1 : 3
    one environment     3 and 3                   95.2 to 100     92.0 to 100
                        4 and 4                   95.2 to 97.9    94.3 to 97.7
                        5 and 5                   96.1 to 97.3    93.7 to 96.8
                        3 and 5, the five wide    95.2 to 97.4    95.3 to 98.4
                        3 and 5, the three wide                   89.6 to 95.6
    three, mean         5 and 5, 5 and 5, 3 and 3 96.5 to 100     95.3 to 100
    ten, mean           5 and 5, once 3 and 3     95.3 to 100     93.2 to 100
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from klrl_envs.evaluation.estimators import student
from klrl_envs.reference.arrays import FloatArray
from klrl_envs.results.statistics import finite_array

Z = student(math.inf)
STEPS = 45
"""Halvings of the logarithm of the multiplier, which starts between -20 and 20."""


def chance_to_win(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """The share of pairs of seeds in which the first agent's score is higher; ties count half.

    It estimates P(A > B) + P(A = B) / 2, Mann and Whitney's U by the number of pairs.

    Args:
        first, second: float[seeds] each.
    """
    ours, theirs = finite_array("first", first), finite_array("second", second)
    return float((0.5 + 0.5 * np.sign(ours[:, None] - theirs[None, :])).mean())


def chances_interval(chances: npt.ArrayLike, seeds: Sequence[tuple[int, int]]) -> FloatArray:
    """The 95 % interval of the mean over environments of chances to win.

    Args:
        chances: float[..., K], one an environment, between 0 and 1.
        seeds: for each environment how many the two agents have.

    Returns:
        float64[..., 2], lower and upper.
    """
    first, second = finite_array("seeds", seeds).T
    pairs, extra = first * second, (first + second) / 2 - 1

    def variance(theta: FloatArray) -> FloatArray:
        return theta * (1 - theta) * (1 + extra * ((1 - theta) / (2 - theta) + theta / (1 + theta))) / pairs

    # as many trials as give this variance at 1/2
    sizes = pairs / (1 + extra * 2 / 3)
    correction = float((0.5 / pairs).mean()) / len(seeds)
    return mean_share_interval(chances, sizes, variance=variance, correction=correction)


def mean_share_interval(
    shares: npt.ArrayLike,
    sizes: npt.ArrayLike,
    *,
    variance: Callable[[FloatArray], FloatArray] | None = None,
    correction: float = 0.0,
) -> FloatArray:
    """The 95 % interval of a mean of shares over environments that weigh alike.

    Args:
        shares: float[..., K], between 0 and 1.
        sizes: float[K], the runs that each is a share of.
        variance: maps shares float[..., K] to the variances of their estimates; None for those of runs.
        correction: by which the mean may be off for free.

    Returns:
        float64[..., 2], lower and upper.

    Raises:
        ValueError: a share outside [0, 1], or another number of sizes than of shares.
    """
    seen, trials = finite_array("shares", shares), finite_array("sizes", sizes)
    if seen.min() < 0 or seen.max() > 1:
        raise ValueError(f"shares must lie between 0 and 1, not {seen.min()} to {seen.max()}")
    if trials.shape != seen.shape[-1:]:
        raise ValueError(f"sizes must have shape {seen.shape[-1:]}, not {trials.shape}")
    count = trials.size
    mean = seen.mean(axis=-1)
    fitted = trials / (trials - 1 + 1 / count)

    def accepted(theta: FloatArray) -> npt.NDArray[np.bool_]:
        spread = theta * (1 - theta) / trials if variance is None else variance(theta)
        error = np.sqrt((spread * fitted).sum(axis=-1)) / count
        return np.abs(mean - theta.mean(axis=-1)) - correction <= Z * error

    ends: list[FloatArray] = []
    for sign in (1.0, -1.0):
        near, far = np.full(mean.shape, -20.0), np.full(mean.shape, 20.0)
        for _ in range(STEPS):
            middle = (near + far) / 2
            inside = accepted(_most_likely(seen, trials, sign * np.exp(middle)))
            near, far = np.where(inside, middle, near), np.where(inside, far, middle)
        ends.append(_most_likely(seen, trials, sign * np.exp(near)).mean(axis=-1))
    return np.stack(ends, axis=-1)


def _most_likely(shares: FloatArray, sizes: FloatArray, multiplier: FloatArray) -> FloatArray:
    """The shares that are most likely among those of one mean, which falls as its multiplier grows.

    With Lagrange's multiplier l, share s and n runs, n s / theta - n (1 - s) / (1 - theta) = l.

    Args:
        shares, sizes: float[..., K] and float[K].
        multiplier: float[...], above 0 everywhere or below it everywhere.

    Returns:
        float64[..., K].
    """
    size, up = np.abs(multiplier)[..., None], (multiplier > 0)[..., None]
    # the root that does not cancel; the case below 0 is that of the complement
    wins = np.where(up, shares, 1 - shares) * sizes
    root = np.sqrt(np.maximum((sizes + size) ** 2 - 4 * size * wins, 0.0))
    theta = 2 * wins / (sizes + size + root)
    return np.clip(np.where(up, theta, 1 - theta), 0.0, 1.0)
