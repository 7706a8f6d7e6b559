"""The calls of a loss: every case with its weight, or a sample that says how good it is."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from klrl_envs.signals.calls import (
    LARGE_GROUP,
    EveryCall,
    LargeGroup,
    SampledCalls,
    calls_of,
    in_turn,
)

LAW = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])


def spread_of(prompts: np.ndarray, texts: np.ndarray, group: int) -> np.ndarray:
    """A statistic that does not mind the order in a group, and couples the groups of a call."""
    values = np.array([[0.0, 1.0, 4.0], [2.0, -1.0, 0.5]])[prompts, texts]
    return values.reshape(len(values), -1, group).std(axis=2).prod(axis=1) + values.max(axis=1)


@pytest.mark.parametrize(("group", "batch"), [(1, 1), (3, 1), (2, 2), (1, 4)])
def test_every_call_gives_the_expectation_over_all_ordered_texts(group: int, batch: int) -> None:
    drawn = EveryCall(2, 3, group, batch).drawn(LAW)
    assert drawn.weights.sum() == pytest.approx(1.0, abs=1e-12)
    found = drawn.weights @ spread_of(drawn.prompts, drawn.texts, group)
    expected, places = 0.0, in_turn(2, batch)
    for place in places:
        prompts = np.repeat(place, group)
        for texts in product(range(3), repeat=len(prompts)):
            chance = LAW[prompts, list(texts)].prod() / len(places)
            expected += chance * float(spread_of(prompts[None], np.array([texts]), group)[0])
    assert found == pytest.approx(expected, abs=1e-12)


def test_texts_that_are_never_written_have_no_weight() -> None:
    drawn = EveryCall(1, 3, 2, 1).drawn(np.array([[1.0, 0.0, 0.0]]))
    assert np.isfinite(drawn.weights).all() and drawn.weights.max() == pytest.approx(1.0)


@pytest.mark.parametrize(("group", "batch"), [(3, 1), (2, 2)])
def test_a_sample_is_near_the_expectation_and_says_how_near(group: int, batch: int) -> None:
    every = EveryCall(2, 3, group, batch).drawn(LAW)
    expected = every.weights @ spread_of(every.prompts, every.texts, group)
    drawn = SampledCalls(2, group, batch, 4_000, seed=0).drawn(LAW)
    values = spread_of(drawn.prompts, drawn.texts, group)
    parts = np.array([values[drawn.part == part].mean() for part in range(drawn.part.max() + 1)])
    error = parts.std(ddof=1) / len(parts) ** 0.5
    assert 0 < error < 0.02
    assert abs(values.mean() - expected) < 4 * error
    plain = values.std() / len(values) ** 0.5
    assert error < plain  # strata are worth something


def test_a_sample_follows_the_law_with_the_same_numbers() -> None:
    calls = SampledCalls(2, 4, 1, 800, seed=1)
    first, again, moved = calls.drawn(LAW), calls.drawn(LAW), calls.drawn(LAW[:, ::-1])
    assert (first.texts == again.texts).all() and (first.texts != moved.texts).any()
    shares = np.bincount(moved.texts[moved.prompts == 0], minlength=3) / (moved.prompts == 0).sum()
    np.testing.assert_allclose(shares, LAW[0, ::-1], atol=0.005)


def test_a_large_group_has_each_text_as_often_as_the_law() -> None:
    drawn = LargeGroup(2, 1).drawn(LAW)
    assert drawn.texts.shape == (2, LARGE_GROUP)
    for prompt in range(2):
        counts = np.bincount(drawn.texts[prompt], minlength=3)
        np.testing.assert_allclose(counts, LAW[prompt] * LARGE_GROUP, atol=1)


def test_cases_are_counted_before_they_are_written_down() -> None:
    assert (
        calls_of(2, 7, 4, 1).exact and len(calls_of(2, 7, 4, 1).drawn(np.full((2, 7), 1 / 7)).weights) == 420
    )
    assert not calls_of(2, 27, 4, 2).exact
    with pytest.raises(ValueError, match="batch must be 1 or a multiple of the 2 prompts, got 3"):
        calls_of(2, 7, 4, 3)
    with pytest.raises(ValueError, match="group must be at least 1, got 0"):
        calls_of(2, 7, 0, 1)
