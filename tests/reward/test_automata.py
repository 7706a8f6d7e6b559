"""Automata from keywords, counts, sums and products, against every short text."""

from __future__ import annotations

import numpy as np
import pytest

from klrl_envs.reward.automata import from_count, from_expression, from_keywords, from_sum, product
from klrl_envs.reward.automaton import RewardAutomaton
from tests.reward.payments import short_texts, worth


def test_keywords_counts_and_sums_are_what_they_say() -> None:
    found, counted = from_keywords([0, 2], 3), from_count([1, 2], 3, [0.0, 0.5, 1.0])
    summed = from_sum([-1, 0, 2], 5, lambda sums: np.exp(sums / 4))
    for text in short_texts():
        assert worth(found, text) == len({0, 2} & set(text)) / 2
        assert worth(counted, text) == [0.0, 0.5, 1.0][min(text.count(1) + text.count(2), 2)]
        assert worth(summed, text) == pytest.approx(np.exp((2 * text.count(2) - text.count(0)) / 4))


@pytest.mark.parametrize("combine", [np.add, np.multiply, np.maximum])
def test_a_product_pays_for_both(combine) -> None:
    first = from_expression(".* a b .*", "abc")
    second = RewardAutomaton(
        [[0, 1, 1], [0, 1, 1]], reward=[[0.5, 0, 0], [0, 0, 0.25]], final_reward=[1, 2], horizon_reward=[3, 4]
    )
    both = product(first, second, combine)
    assert both.states <= first.states * second.states
    for text in short_texts():
        way = worth(second, text) - worth(RewardAutomaton([[0, 1, 1]] * 2, horizon_reward=[3, 4]), text)
        ends = combine(worth(first, text), worth(second, text) - way)
        assert worth(both, text) == pytest.approx(way + ends)


def test_a_product_ends_where_either_ends_and_keeps_random_starts() -> None:
    stops = RewardAutomaton([[0, 1, 0], [1, 1, 1]], absorbing=[False, True], final_reward=[0, 1])
    drawn = RewardAutomaton([[0, 0, 0], [1, 1, 1]], start=[0.25, 0.75], final_reward=[5, 7])
    both = product(stops, drawn)
    assert both.absorbing.sum() == 2 and sorted(both.start[both.start > 0]) == [0.25, 0.75]
    assert sorted(both.final_reward[both.absorbing]) == [6, 8]


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(ValueError, match="distinct tokens"):
        from_keywords([1, 1], 3)
    with pytest.raises(ValueError, match=r"0\.\.2, got 3"):
        from_count([3], 3, [0, 1])
    with pytest.raises(ValueError, match="number for each count"):
        from_count([1], 3, [])
    with pytest.raises(ValueError, match="whole numbers"):
        from_sum([0.5, 1.0], 4, lambda sums: sums)
    with pytest.raises(ValueError, match="coarser weights"):
        from_sum([0, 100_000], 4, lambda sums: sums)
    with pytest.raises(ValueError, match="vocabularies must be one"):
        product(from_keywords([0], 3), from_keywords([0], 4))


def test_a_product_adds_rewards_of_context_and_token():
    extra = np.arange(12.0).reshape(4, 3)
    plain = RewardAutomaton([[0, 0, 0]], final_reward=[1.0])
    paying = RewardAutomaton([[0, 0, 0]], context_reward=extra)
    assert product(plain, plain).context_reward is None
    np.testing.assert_array_equal(product(plain, paying).context_reward, extra)
    np.testing.assert_array_equal(product(paying, paying).context_reward, 2 * extra)
    with pytest.raises(ValueError, match="must be of one reference"):
        product(paying, RewardAutomaton([[0, 0, 0]], context_reward=np.zeros((1, 3))))
    with pytest.raises(ValueError, match="context_reward must have shape"):
        RewardAutomaton([[0, 0, 0]], context_reward=1.0)
