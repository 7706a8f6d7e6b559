"""Exploration: rows that are distributions, that are pi without strength, and what each does beside."""

from __future__ import annotations

import numpy as np
import pytest

from agents.exploration import EXPLORE, boltzmann, exploring, mixture, normalised, strength_at, ucb, uniform


def some_rows(seed: int) -> np.ndarray:
    return normalised(np.random.default_rng(seed).normal(size=(3, 5)))


VISITS = np.array([[0, 1, 2, 3, 4], [0, 0, 0, 0, 0], [9, 9, 9, 9, 0]])


@pytest.mark.parametrize("name", EXPLORE)
def test_it_gives_distributions_and_is_the_policy_where_it_has_no_strength(name: str) -> None:
    rows, reference = some_rows(0), some_rows(1)
    for strength in (0.0, 0.3, 1.0):
        behaviour = EXPLORE[name](rows, reference, VISITS, strength)
        np.testing.assert_allclose(np.exp(behaviour).sum(axis=1), 1.0, atol=1e-12)
        if strength == 0:
            np.testing.assert_allclose(behaviour, rows, atol=1e-12)
        elif name != "ucb" or strength == 1:
            assert np.abs(behaviour - rows).max() > 1e-2


def test_the_whole_share_is_what_it_is_mixed_with() -> None:
    rows, reference = some_rows(0), some_rows(1)
    for name in ("reference", "boltzmann"):
        np.testing.assert_allclose(EXPLORE[name](rows, reference, VISITS, 1.0), reference, atol=1e-12)
    np.testing.assert_allclose(uniform(rows, reference, VISITS, 1.0), -np.log(5), atol=1e-12)


def test_a_mixture_is_one_of_probabilities() -> None:
    rows, reference = some_rows(0), some_rows(1)
    expected = np.log(0.75 * np.exp(rows) + 0.25 * np.exp(reference))
    np.testing.assert_allclose(mixture(rows, reference, 0.25), expected, atol=1e-12)


def test_boltzmann_is_the_policy_at_a_higher_price() -> None:
    values, reference = np.random.default_rng(2).normal(size=(3, 5)), some_rows(1)
    rows = normalised(reference + values / 0.2)
    expected = normalised(reference + values / (0.2 / (1 - 0.6)))
    np.testing.assert_allclose(boltzmann(rows, reference, VISITS, 0.6), expected, atol=1e-12)


def test_the_bonus_goes_to_what_was_seldom_tried_and_fades() -> None:
    rows = np.full((3, 5), -np.log(5.0))
    behaviour = ucb(rows, rows, VISITS, 2.0)
    assert (np.diff(behaviour[0]) < 0).all(), "the more visits, the less"
    np.testing.assert_allclose(behaviour[1], rows[1], atol=1e-12)  # nothing was tried: all alike
    assert behaviour[2].argmax() == 4
    far = ucb(rows, rows, VISITS + 10**9, 2.0)
    np.testing.assert_allclose(far, rows, atol=1e-3)


def test_names_and_the_schedule() -> None:
    assert exploring("ucb") is ucb
    with pytest.raises(
        ValueError, match="explore must be one of reference, uniform, boltzmann, ucb, got 'no'"
    ):
        exploring("no")
    assert [strength_at(progress, 0.8, 0.2) for progress in (0.0, 0.5, 1.0)] == pytest.approx([0.8, 0.5, 0.2])
