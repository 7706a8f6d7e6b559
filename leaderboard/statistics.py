"""Statistics of scores over environments, in closed form: nothing here draws at random.

Seeds vary within environments; the environments are fixed, and weigh alike however many seeds each has. A
percentile bootstrap over three to five seeds covers 78 to 89 %, and a studentised one has no upper end there
(three seeds are redrawn as one seed three times in every ninth resample), so the methods are those that have
a law at these sizes. What they cover, by simulation (`tests/leaderboard/test_coverage.py` repeats it), in %:

    mean over environments, nominal 95 %       seeds       normal    skewed (gamma of shape 4)
    equal spread                               3 3 3       96.8      95.5
                                               5 5 5       95.7      94.4
                                               9 x 5, 3    95.5      95.0
    spread 1 : 3 : 10                          3 3 3       94.2      92.9
                                               5 5 5       94.8      93.0
                                               5 5 3       93.0      92.0
    spread 1 : 33 over ten                     9 x 5, 3    94.0      93.2

The lowest are those where three seeds of one environment make nearly all of the variance. For the
exponential law, of skewness 2, it is 92 % at equal spread and 87 % at 5 5 3 of spread 1 : 3 : 10: no
symmetric interval of so few seeds does better without being far too wide elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from klrl_envs.results.record import Bounds
from klrl_envs.results.statistics import CONFIDENCE, finite_array, upper_tail

Z = float(stats.norm.ppf(upper_tail(CONFIDENCE)))


def mean_over_environments(
    scores: Sequence[npt.ArrayLike], shared_errors: Sequence[float]
) -> tuple[float, Bounds | None]:
    """The mean over environments of their mean scores, with its 95 % interval.

    The variance is (1/K^2) sum_k (s_k^2 / n_k + e_k^2), where e_k is the error that the seeds of environment
    k share. Student's law has Welch and Satterthwaite's degrees of freedom (Welch 1947, Biometrika 34), to
    which the shared errors, known from many samples, bring none of their own.

    Args:
        scores: for each environment float[seeds].
        shared_errors: for each environment the standard error that its seeds share.

    Returns:
        The mean, and (lower, upper), or None where an environment has a single seed, whose spread nobody
        knows.

    Raises:
        ValueError: no environment, unequal lengths, or values that are not finite.
    """
    values = [finite_array("scores", each) for each in scores]
    shared = finite_array("shared_errors", shared_errors)
    if len(values) != shared.size:
        raise ValueError(f"shared_errors must hold {len(values)}, one an environment, not {shared.size}")
    mean = float(np.mean([each.mean() for each in values]))
    if min(each.size for each in values) < 2:
        return mean, None
    variances = np.array([each.var(ddof=1) / each.size for each in values])
    total = float(variances.sum() + (shared**2).sum())
    spread = float((variances**2 / np.array([each.size - 1 for each in values])).sum())
    degrees_of_freedom = total**2 / spread if spread > 0 else np.inf
    half = float(stats.t.ppf(upper_tail(CONFIDENCE), degrees_of_freedom)) * total**0.5 / len(values)
    return mean, (mean - half, mean + half)


def chance_to_win(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """The share of pairs of seeds in which the first agent's score is higher; ties count half.

    It estimates P(A > B) + P(A = B) / 2, Mann and Whitney's U by the number of pairs.

    Args:
        first, second: float[seeds] each.
    """
    ours, theirs = finite_array("first", first), finite_array("second", second)
    return float((0.5 + 0.5 * np.sign(ours[:, None] - theirs[None, :])).mean())


def chance_interval(chance: float, first: int, second: int) -> Bounds:
    """The 95 % interval of a chance to win: Newcombe's method 5 with a correction for continuity.

    It holds every theta with |chance - theta| - 1 / (2 m n) <= z sqrt(V(theta)), where, with
    N = (m + n) / 2 - 1,

        V(theta) = theta (1 - theta) (1 + N (1 - theta) / (2 - theta) + N theta / (1 + theta)) / (m n)

    (Newcombe 2006, Statistics in Medicine 25:559; V is Hanley and McNeil's at equal numbers). It is an
    interval at complete separation, too. Without the correction three seeds that all beat three others
    would exclude 1/2, though this happens to equals in one case of ten. Simulated coverage over theta from
    .5 to 1, normal scores of spread 1 : 1 and 1 : 3: 3 against 3 seeds 92 to 100 %, 5 against 5 94 to 98 %,
    3 against 5 95 to 98 %, but 90 to 97 % where the three spread three times as far as the five.

    Args:
        chance: between 0 and 1.
        first, second: the numbers of seeds, m and n.
    """
    if not 0 <= chance <= 1:
        raise ValueError(f"chance must lie between 0 and 1, not {chance}")
    pairs, extra = first * second, (first + second) / 2 - 1

    def excess(theta: float) -> float:
        factor = 1 + extra * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return abs(chance - theta) - 0.5 / pairs - Z * (theta * (1 - theta) * factor / pairs) ** 0.5

    # next to 0 and 1 the variance is nothing, so that the excess there is that of the distance alone
    lower = float(optimize.brentq(excess, 0.0, chance)) if excess(0.0) > 0 else 0.0
    upper = float(optimize.brentq(excess, chance, 1.0)) if excess(1.0) > 0 else 1.0
    return lower, upper


def mean_of_independent(estimates: Sequence[float], intervals: Sequence[Bounds]) -> tuple[float, Bounds]:
    """The mean of independent estimates, and its interval from theirs: their distances to the ends are added
    in quadrature, each side for itself (MOVER, Zou and Donner 2008, Statistics in Medicine 27:1693).

    Args:
        estimates: one for each environment.
        intervals: (lower, upper) around each.

    Raises:
        ValueError: no estimate, or unequal lengths.
    """
    values, bounds = finite_array("estimates", estimates), finite_array("intervals", intervals)
    if bounds.shape != (values.size, 2):
        raise ValueError(f"intervals must have shape ({values.size}, 2), not {bounds.shape}")
    below, above = np.linalg.norm(bounds - values[:, None], axis=0) / values.size
    mean = float(values.mean())
    return mean, (mean - float(below), mean + float(above))


def share_interval(count: npt.ArrayLike, seeds: int) -> npt.NDArray[np.float64]:
    """Wilson's 95 % interval of a share, of `count` among `seeds` (Wilson 1927).

    Args:
        count: number[...], 0 to `seeds`.
        seeds: their number.

    Returns:
        float64[..., 2], lower and upper.
    """
    share = np.asarray(count, dtype=np.float64) / seeds
    centre = (share + Z**2 / (2 * seeds)) / (1 + Z**2 / seeds)
    half = Z * np.sqrt(share * (1 - share) / seeds + Z**2 / (4 * seeds**2)) / (1 + Z**2 / seeds)
    return np.clip(np.stack([centre - half, centre + half], axis=-1), 0.0, 1.0)
