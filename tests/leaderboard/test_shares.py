"""Shares and chances to win: known answers. What their intervals cover is in ``test_coverage``."""

from typing import Any

import numpy as np
import pytest
from scipy import optimize, stats

from leaderboard.shares import Z, chance_to_win, chances_interval, mean_share_interval


def test_the_chance_to_win_counts_pairs_and_ties_half():
    assert chance_to_win([0.9, 0.8], [0.1, 0.2, 0.3]) == 1
    assert chance_to_win([0.5, 0.5], [0.5, 0.5]) == 0.5
    assert chance_to_win([1, 3], [2, 2]) == 0.5
    scores = np.random.default_rng(0).normal(size=(2, 7))
    assert chance_to_win(*scores) == pytest.approx(stats.mannwhitneyu(*scores).statistic / 49)


@pytest.mark.parametrize("wins", range(6))
def test_one_share_has_wilsons_interval(wins: int):
    found = mean_share_interval([wins / 5], [5])
    assert found == pytest.approx(stats.binomtest(wins, 5).proportion_ci(method="wilson"), abs=1e-6)


def test_a_mean_of_shares_is_bounded_by_the_value_that_is_just_not_rejected():
    """Two environments, their most likely shares found by a search instead of a multiplier."""
    shares, sizes = np.array([0.8, 1 / 3]), np.array([5, 3])

    def most_likely(mean: float) -> np.ndarray:
        def loss(first: float) -> float:
            theta = np.array([first, 2 * mean - first])
            return -float((sizes * (shares * np.log(theta) + (1 - shares) * np.log1p(-theta))).sum())

        low, high = max(0.0, 2 * mean - 1), min(1.0, 2 * mean)
        found: Any = optimize.minimize_scalar(
            loss, bounds=(low + 1e-9, high - 1e-9), method="bounded", options={"xatol": 1e-10}
        )
        return np.array([found.x, 2 * mean - found.x])

    for bound in mean_share_interval(shares, sizes):
        theta = most_likely(float(bound))
        error = np.sqrt((theta * (1 - theta) / (sizes - 0.5)).sum()) / 2
        assert abs(shares.mean() - bound) == pytest.approx(Z * error, rel=1e-5)


def test_all_on_one_side_leave_an_interval_that_shrinks_with_environments():
    widths = [float(np.diff(mean_share_interval([1.0] * count, [5] * count))[0]) for count in (1, 3, 10)]
    assert widths[0] == pytest.approx(0.4345, abs=1e-4) and widths[0] > widths[1] > widths[2] > 0.05


def test_many_are_bounded_at_once_as_one_by_one():
    shares = np.random.default_rng(0).integers(0, 6, size=(4, 3)) / 5
    both = mean_share_interval(shares, [5, 5, 5])
    np.testing.assert_allclose(both, [mean_share_interval(row, [5, 5, 5]) for row in shares], atol=1e-12)
    np.testing.assert_allclose(mean_share_interval(1 - shares, [5, 5, 5]), 1 - both[:, ::-1], atol=1e-9)


def test_chances_solve_newcombes_equation():
    for chance, first, second in ((0.6, 5, 5), (8 / 9, 3, 3), (0.4, 3, 5), (1.0, 4, 5)):
        pairs, extra = first * second, (first + second) / 2 - 1
        for bound in chances_interval([chance], [(first, second)]):
            if bound == 1:
                assert chance == 1
                continue
            factor = 1 + extra * (1 - bound) / (2 - bound) + extra * bound / (1 + bound)
            error = np.sqrt(bound * (1 - bound) * factor / pairs)
            assert abs(chance - bound) - 0.5 / pairs == pytest.approx(1.959964 * error, rel=1e-5)


def test_complete_separation_says_no_more_than_the_exact_rank_test():
    """Its two-sided p is 0.1 at three against three seeds, 0.036 at three against five."""
    assert chances_interval([1.0], [(3, 3)])[0] < 0.5 < chances_interval([1.0], [(3, 5)])[0]
    lower, upper = chances_interval([0.0], [(3, 3)])
    assert lower == 0 and upper == pytest.approx(1 - chances_interval([1.0], [(3, 3)])[0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_share_interval([1.2], [5]), "between 0 and 1, not 1.2"),
        (lambda: mean_share_interval([0.5, 0.5], [5]), r"sizes must have shape \(2,\)"),
        (lambda: chances_interval([], []), "at least one"),
        (lambda: chance_to_win([], [1.0]), "first must hold at least one"),
    ],
)
def test_bad_input_is_named(call, message: str):
    with pytest.raises(ValueError, match=message):
        call()
