"""Statistics with known answers, and the coverage of their intervals by simulation."""

import numpy as np
import pytest

from leaderboard.statistics import interquartile_mean, mean_interval, stratified_bootstrap, t_interval


def test_interquartile_mean_of_known_values():
    assert interquartile_mean([0, 1, 2, 3, 4, 5, 6, 1000]) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert interquartile_mean([5.0]) == 5
    assert interquartile_mean([1, 2, 6]) == pytest.approx(3)  # a quarter of three, rounded down, is none
    assert interquartile_mean([-100, 1, 2, 3, 100]) == pytest.approx(2)
    by_row = interquartile_mean([[0, 1, 2, 9], [4, 4, 4, 4]], axis=-1)
    np.testing.assert_allclose(by_row, [1.5, 4])


def test_bootstrap_of_constant_scores_is_a_point():
    interval = stratified_bootstrap({"a": [0.25] * 3, "b": [0.25] * 5}, np.random.default_rng(0))
    assert interval == (0.25, 0.25)


def test_bootstrap_is_stratified():
    # Every stratum is constant: a pooled bootstrap would spread between them, a stratified one cannot.
    scores = {"easy": [1.0] * 4, "hard": [0.0] * 4}
    assert stratified_bootstrap(scores, np.random.default_rng(0), statistic=np.mean) == (0.5, 0.5)


def test_bootstrap_of_the_mean_matches_its_law():
    generator = np.random.default_rng(1)
    sample = generator.normal(size=400)
    lower, upper = stratified_bootstrap({"a": sample}, generator, statistic=np.mean)
    half = 1.96 * sample.std() / 20
    assert lower == pytest.approx(sample.mean() - half, abs=0.1 * half)
    assert upper == pytest.approx(sample.mean() + half, abs=0.1 * half)


def test_bootstrap_follows_the_generator_that_is_passed():
    scores = {"a": [0.1, 0.4, 0.2, 0.9], "b": [0.3, 0.5, 0.8]}

    def draw(seed: int) -> tuple[float, float]:
        return stratified_bootstrap(scores, np.random.default_rng(seed), resamples=200)

    np.random.seed(5)  # noqa: NPY002 -- the global generator must have no say
    first = draw(7)
    np.random.seed(6)  # noqa: NPY002
    assert draw(7) == first
    assert draw(8) != first


def test_bootstrap_covers():
    generator = np.random.default_rng(2)
    means = {"a": 0.0, "b": 0.0, "c": 0.0}
    runs = 120
    covered = 0
    for _ in range(runs):
        scores = {name: generator.normal(mean, 1, size=15) for name, mean in means.items()}
        lower, upper = stratified_bootstrap(scores, generator, resamples=200)
        covered += lower <= 0 <= upper
    assert 0.89 <= covered / runs <= 0.99


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


def test_mean_interval_of_one_seed_is_its_own():
    assert mean_interval([0.5], [(0.4, 0.7)]) == pytest.approx((0.4, 0.7))


def test_mean_interval_keeps_the_error_that_seeds_share():
    alike = mean_interval([0.5, 0.5, 0.5], [(0.45, 0.6)] * 3)
    assert alike == pytest.approx((0.45, 0.6))
    lower, upper = t_interval([0.4, 0.5, 0.6])
    both = mean_interval([0.4, 0.5, 0.6], [(0.3, 0.5), (0.4, 0.6), (0.5, 0.7)])
    assert both[0] == pytest.approx(0.5 - np.hypot(0.5 - lower, 0.1))
    assert both[1] == pytest.approx(0.5 + np.hypot(upper - 0.5, 0.1))


def test_mean_interval_covers_with_a_shared_error():
    generator = np.random.default_rng(4)
    covered = 0
    for _ in range(800):
        shared = generator.normal(0, 0.1)
        scores = 0.6 + shared + generator.normal(0, 0.1, size=3)
        lower, upper = mean_interval(scores.tolist(), [(score - 0.196, score + 0.196) for score in scores])
        covered += lower <= 0.6 <= upper
    assert 0.94 <= covered / 800 <= 0.995


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interquartile_mean([]), "at least one"),
        (lambda: interquartile_mean([1, float("nan")]), "finite"),
        (lambda: stratified_bootstrap({}, np.random.default_rng(0)), "at least one environment"),
        (lambda: stratified_bootstrap({"a": [1.0]}, np.random.default_rng(0)), "'a'.*two seeds"),
        (lambda: t_interval([1.0]), "two seeds"),
        (lambda: t_interval([1.0, 2.0], confidence=95), "between 0 and 1, not 95"),
        (lambda: mean_interval([0.5, 0.6], [(0, 1)]), "shape"),
    ],
)
def test_bad_input_is_named(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
