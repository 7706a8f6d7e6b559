"""How often the leaderboard's 95 % intervals hold the truth, by simulation at three to five seeds."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from scipy import stats

from leaderboard.shares import chances_interval, mean_share_interval
from leaderboard.statistics import mean_over_environments

pytestmark = pytest.mark.slow

Draw = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def normal(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return generator.normal(size=shape)


def skewed(generator: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Skewness -1, as of scores below their bound; mean 0 and variance 1."""
    return (4 - generator.gamma(4, size=shape)) / 2


TEN = (5,) * 9 + (3,)
ALIKE = (0.1, 0.1, 0.1)
UNEQUAL = (0.01, 0.03, 0.1)


@pytest.mark.parametrize(
    ("draw", "seeds", "spreads"),
    [
        (normal, (3, 3, 3), ALIKE),
        (normal, (5, 5, 5), ALIKE),
        (normal, (5, 5, 3), ALIKE),
        (normal, (3, 3, 3), UNEQUAL),
        (normal, (5, 5, 5), UNEQUAL),
        (normal, (5, 5, 3), UNEQUAL),
        (normal, TEN, np.geomspace(0.003, 0.1, 10)),
        (skewed, (3, 3, 3), ALIKE),
        (skewed, (5, 5, 5), ALIKE),
        (skewed, (5, 5, 3), ALIKE),
        (skewed, TEN, (0.1,) * 10),
    ],
)
def test_the_mean_over_environments_covers(draw: Draw, seeds: Sequence[int], spreads: Sequence[float]):
    generator, runs = np.random.default_rng(1), 3000
    truth = np.linspace(0.3, 0.9, len(seeds))
    boards = [
        mean + spread * draw(generator, (runs, count)) for mean, spread, count in zip(truth, spreads, seeds)
    ]
    covered = 0
    for scores in zip(*boards):
        _, interval = mean_over_environments(scores, [0.0] * len(seeds))
        assert interval is not None
        covered += interval[0] <= truth.mean() <= interval[1]
    assert 0.925 <= covered / runs <= 0.975


def test_the_mean_over_environments_covers_what_seeds_share():
    generator, runs, shared = np.random.default_rng(2), 1500, (0.0, 0.02, 0.08)
    covered = 0
    for _ in range(runs):
        scores = [generator.normal(error * generator.normal(), 0.05, 5) for error in shared]
        _, interval = mean_over_environments(scores, shared)
        assert interval is not None
        covered += interval[0] <= 0 <= interval[1]
    assert 0.925 <= covered / runs <= 0.975


def test_a_percentile_bootstrap_would_cover_too_little():
    """Why it is not used: the same simulation, five and three seeds of equal spread."""
    generator, runs = np.random.default_rng(3), 400
    covered = 0
    for _ in range(runs):
        scores = [generator.normal(size=count) for count in (5, 5, 3)]
        means = sum(each[generator.integers(0, each.size, (400, each.size))].mean(axis=1) for each in scores)
        lower, upper = np.quantile(means, [0.025, 0.975])
        covered += lower <= 0 <= upper
    assert covered / runs < 0.91


def share_of_covered(seen: np.ndarray, truth: float, interval: Callable[[np.ndarray], np.ndarray]) -> float:
    """How often intervals hold the truth: float[runs, K] is what each is of."""
    distinct, place = np.unique(np.round(seen, 9), axis=0, return_inverse=True)
    bounds = interval(distinct)[place.ravel()]
    return float(((bounds[:, 0] <= truth + 1e-9) & (truth - 1e-9 <= bounds[:, 1])).mean())


@pytest.mark.parametrize(
    ("shares", "seeds"),
    [
        ((0.5, 0.5, 0.5), (5, 5, 3)),
        ((0.2, 0.5, 0.8), (5, 5, 3)),
        ((0.05, 0.05, 0.05), (3, 3, 3)),
        ((0.9,) * 10, TEN),
        (tuple(np.linspace(0.02, 0.98, 10)), TEN),
    ],
)
def test_the_band_of_a_profile_covers(shares: Sequence[float], seeds: Sequence[int]):
    generator = np.random.default_rng(4)
    seen = np.stack([generator.binomial(n, p, 6000) / n for n, p in zip(seeds, shares)], axis=-1)
    covered = share_of_covered(seen, float(np.mean(shares)), lambda each: mean_share_interval(each, seeds))
    assert covered >= 0.925


@pytest.mark.parametrize("spread", [1.0, 3.0, 1 / 3])
@pytest.mark.parametrize(
    ("chances", "seeds"),
    [
        ((0.5,), ((3, 3),)),
        ((0.9,), ((3, 3),)),
        ((0.9,), ((5, 5),)),
        ((0.7, 0.7, 0.7), ((5, 5), (5, 5), (3, 3))),
        ((0.1, 0.5, 0.9), ((5, 5), (5, 5), (3, 3))),
        ((0.95,) * 10, ((5, 5),) * 9 + ((3, 3),)),
    ],
)
def test_chances_to_win_cover(spread: float, chances: Sequence[float], seeds: Sequence[tuple[int, int]]):
    generator, runs = np.random.default_rng(5), 6000
    seen: list[np.ndarray] = []
    for chance, (first, second) in zip(chances, seeds):
        ahead = stats.norm.ppf(chance) * np.hypot(1, spread)
        ours, theirs = generator.normal(ahead, 1, (runs, first)), generator.normal(0, spread, (runs, second))
        seen.append((ours[:, :, None] > theirs[:, None, :]).mean(axis=(1, 2)))

    covered = share_of_covered(
        np.stack(seen, axis=-1), float(np.mean(chances)), lambda each: chances_interval(each, seeds)
    )
    assert covered >= 0.925


def test_three_seeds_that_spread_wide_against_five_that_do_not_are_the_worst_case():
    generator = np.random.default_rng(6)
    ours, theirs = generator.normal(0, 3, (6000, 3)), generator.normal(0, 1, (6000, 5))
    seen = (ours[:, :, None] > theirs[:, None, :]).mean(axis=(1, 2))[:, None]
    covered = share_of_covered(seen, 0.5, lambda each: chances_interval(each, ((3, 5),)))
    assert 0.88 <= covered <= 0.91
