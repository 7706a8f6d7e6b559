"""The mean over environments: known answers. What its interval covers is in ``test_coverage``."""

import numpy as np
import pytest
from scipy import stats

from klrl_envs.results.statistics import t_interval
from leaderboard.statistics import mean_over_environments


def test_environments_weigh_alike_however_many_seeds_they_have():
    mean, _ = mean_over_environments([[1.0, 1.0, 1.0, 1.0, 1.0], [0.2, 0.3, 0.4]], [0, 0])
    assert mean == pytest.approx((1.0 + 0.3) / 2)


def test_one_environment_has_students_interval():
    scores = [0.4, 0.5, 0.7, 0.8]
    _, interval = mean_over_environments([scores], [0])
    assert interval == pytest.approx(t_interval(scores))


def test_two_alike_have_the_degrees_of_freedom_of_both():
    _, interval = mean_over_environments([[1, 2, 3, 4, 5], [11, 12, 13, 14, 15]], [0, 0])
    half = stats.t.ppf(0.975, 8) * np.sqrt(2 * 2.5 / 5) / 2
    assert interval == pytest.approx((8 - half, 8 + half))


def test_what_seeds_share_is_a_normal_error():
    mean, interval = mean_over_environments([[0.5, 0.5], [0.9, 0.9, 0.9]], [0.03, 0.04])
    half = stats.norm.ppf(0.975) * 0.05 / 2
    assert interval == pytest.approx((mean - half, mean + half))
    assert mean_over_environments([[0.5, 0.5], [0.9, 0.9]], [0, 0]) == (0.7, pytest.approx((0.7, 0.7)))


def test_a_single_seed_leaves_no_interval():
    assert mean_over_environments([[0.5, 0.6], [0.9]], [0, 0]) == (pytest.approx(0.725), None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_over_environments([[1.0, float("inf")]], [0]), "finite, not inf"),
        (lambda: mean_over_environments([[1.0, 2.0]], [0, 0]), "shared_errors must hold 1"),
        (lambda: mean_over_environments([], []), "at least one"),
    ],
)
def test_bad_input_is_named(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
