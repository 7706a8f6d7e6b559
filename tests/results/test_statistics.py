"""The interval of an entry: known answers, and its coverage by simulation."""

import numpy as np
import pytest
from scipy import stats

from klrl_envs.optima.optimum import optimum
from klrl_envs.results.statistics import difference_interval, mean_interval, shared_error_on, t_interval
from tests.results.dummy import bench
from tests.results.records import record


def test_t_interval_of_known_values():
    # Five values of mean 3 and standard deviation sqrt(2.5): the 97.5 % quantile of t at 4 degrees is
    # 2.776445.
    lower, upper = t_interval([1, 2, 3, 4, 5])
    half = 2.7764451 * np.sqrt(2.5 / 5)
    assert (lower, upper) == pytest.approx((3 - half, 3 + half))


def test_t_interval_covers():
    samples = np.random.default_rng(3).normal(0.7, 0.2, size=(1500, 5))
    intervals = np.array([t_interval(sample) for sample in samples])
    covered = ((intervals[:, 0] <= 0.7) & (intervals[:, 1] >= 0.7)).mean()
    assert covered == pytest.approx(0.95, abs=0.018)


def test_the_difference_of_means_is_welchs():
    first, second = np.random.default_rng(4).normal(size=5), np.random.default_rng(5).normal(1.0, 3.0, size=4)
    found = stats.ttest_ind(second, first, equal_var=False).confidence_interval(0.95)
    assert difference_interval(first, second) == pytest.approx((found.low, found.high))
    assert difference_interval([1, 1], [3, 3]) == (2, 2)
    with pytest.raises(ValueError, match="two seeds"):
        difference_interval([1], [3, 3])


def test_seeds_alike_leave_the_error_that_they_share():
    assert mean_interval([0.5, 0.5, 0.5], 0.1) == pytest.approx((0.5 - 0.19600, 0.5 + 0.19600), abs=1e-5)
    assert mean_interval([0.4, 0.5, 0.6], 0.0) == pytest.approx(t_interval([0.4, 0.5, 0.6]))
    lower, upper = t_interval([0.4, 0.5, 0.6])
    half = np.hypot((upper - lower) / 2, 0.19600)
    assert mean_interval([0.4, 0.5, 0.6], 0.1) == pytest.approx((0.5 - half, 0.5 + half), abs=1e-5)


@pytest.mark.parametrize("seeds", [3, 5])
def test_mean_interval_covers_with_a_shared_error(seeds: int):
    """The spread of seeds holds each seed's own evaluation error, which is not added again."""
    generator = np.random.default_rng(4)
    runs = 2000
    covered = 0
    for _ in range(runs):
        training, evaluation = generator.normal(0, 0.08, seeds), generator.normal(0, 0.06, seeds)
        scores = 0.6 + generator.normal(0, 0.1) + training + evaluation
        lower, upper = mean_interval(scores.tolist(), 0.1)
        covered += lower <= 0.6 <= upper
    assert 0.935 <= covered / runs <= 0.975


def test_the_shared_error_is_that_of_the_optimum():
    assert shared_error_on("klrl/Keywords-v0", 0.7) == 0
    best = optimum("klrl/Sentiment-v0")
    assert best.gap is not None
    assert shared_error_on("klrl/Sentiment-v0", 0.0) == pytest.approx(best.reference_value_stderr / best.gap)
    assert shared_error_on("klrl/Sentiment-v0", 1.0) == pytest.approx(best.value_stderr / best.gap)


def test_an_entry_of_one_seed_has_its_interval_and_of_several_that_of_their_mean(tmp_path):
    benchmark = bench(tmp_path)
    benchmark.shared_error = lambda env_id, score: {("klrl/GridNavigation-v0", 0.5): 0.1}[env_id, score]
    seeds = [record(seed=seed, score=0.5) for seed in range(3)]
    assert benchmark.score_interval(seeds[:1]) == seeds[0].score_interval == (0.45, 0.55)
    assert benchmark.score_interval(seeds) == pytest.approx((0.304, 0.696), abs=1e-5)
    assert benchmark.score_interval([record(score=None, score_interval=None), *seeds[1:]]) is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: t_interval([1.0]), "two seeds"),
        (lambda: t_interval([1.0, float("nan")]), "finite, not nan"),
        (lambda: t_interval([]), "at least one"),
        (lambda: mean_interval([0.5], 0.1), "two seeds"),
        (lambda: mean_interval([0.5, 0.6], -0.1), "at least 0, not -0.1"),
    ],
)
def test_bad_input_is_named(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
