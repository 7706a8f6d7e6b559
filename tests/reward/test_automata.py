"""Automata from keywords, counts, sums, expressions and products, against every short text."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klrl_envs.reward.automata import from_count, from_expression, from_keywords, from_sum, product
from klrl_envs.reward.automaton import RewardAutomaton

LETTERS = "abc"


def worth(automaton: RewardAutomaton, text: tuple[int, ...]) -> float:
    """What an automaton pays for a text that the horizon ends."""
    state, total = int(np.flatnonzero(automaton.start)[0]), 0.0
    for token in text:
        total += automaton.reward[state, token]
        state = automaton.transition[state, token]
    return float(total + automaton.horizon_reward[state])


def texts(longest: int = 5):
    """All texts over three tokens."""
    return itertools.chain.from_iterable(
        itertools.product(range(3), repeat=length) for length in range(longest + 1)
    )


PATTERNS = [
    "a", "a b", "", "a | b", "a*", "(a b)+ c?", ".* b .*", "[a c]{2}", "[^b]*", "(a | b c){1,2} .",
    ". {,2}", "a {2,}", "(a* b*)*", "((a) | ) b", "(a | a b) (c | b c)", "a{0}", "(a b | b a)* c{1,3}",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_expressions_are_those_of_re(pattern: str) -> None:
    automaton = from_expression(pattern, LETTERS)
    letters = re.sub(r"\{,", "{0,", pattern.replace(" ", ""))
    for text in texts():
        expected = re.fullmatch(letters, "".join(LETTERS[token] for token in text)) is not None
        assert worth(automaton, text) == expected, text


@st.composite
def patterns(draw: st.DrawFn, depth: int = 3) -> str:
    """Random patterns over the three letters, fully bracketed."""
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(["a", "b", "c", ".", "[a b]", "[^a]"]))
    parts = draw(st.lists(patterns(depth=depth - 1), min_size=1, max_size=3))
    joined = draw(st.sampled_from([" ", " | "])).join(f"({part})" for part in parts)
    return f"({joined})" + draw(st.sampled_from(["", "*", "+", "?", "{1,2}"]))


@given(patterns())
@settings(max_examples=60, deadline=None)
def test_random_expressions_are_those_of_re(pattern: str) -> None:
    automaton = from_expression(pattern, LETTERS)
    compiled = re.compile(pattern.replace(" ", ""))
    for text in texts(4):
        expected = compiled.fullmatch("".join(LETTERS[token] for token in text)) is not None
        assert worth(automaton, text) == expected, (pattern, text)


def test_expressions_keep_the_automaton_small_and_the_end_token_out() -> None:
    words = ("<end>", "the", "film", "was", "great", ".", "was great")
    automaton = from_expression('.* great .* "."', words, end_token=0)
    assert automaton.states <= 4
    np.testing.assert_array_equal(automaton.transition[:, 0], np.arange(automaton.states))
    assert worth(automaton, (1, 4, 2, 5)) == worth(automaton, (1, 4, 2, 5, 0)) == 1
    assert worth(automaton, (1, 4, 2)) == 0
    assert worth(from_expression('"was great"', words), (6,)) == 1


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("a d", "names 'd'"), ("(a", r"lacks a '\)'"), ("a)", r"has a '\)' too many"), ("*", "where a word"),
        ("[a", "without a ']'"), ("[]", "without words"), ("a{}", "give a number"), ("a{3,1}", "ascend"),
        ('a "b', "cannot be read"),
    ],
)  # fmt: skip
def test_patterns_that_cannot_be_read_are_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_expression(pattern, LETTERS)


def test_keywords_counts_and_sums_are_what_they_say() -> None:
    found, counted = from_keywords([0, 2], 3), from_count([1, 2], 3, [0.0, 0.5, 1.0])
    summed = from_sum([-1, 0, 2], 5, lambda sums: np.exp(sums / 4))
    for text in texts():
        assert worth(found, text) == len({0, 2} & set(text)) / 2
        assert worth(counted, text) == [0.0, 0.5, 1.0][min(text.count(1) + text.count(2), 2)]
        assert worth(summed, text) == pytest.approx(np.exp((2 * text.count(2) - text.count(0)) / 4))


@pytest.mark.parametrize("combine", [np.add, np.multiply, np.maximum])
def test_a_product_pays_for_both(combine) -> None:
    first = from_expression(".* a b .*", LETTERS)
    second = RewardAutomaton(
        [[0, 1, 1], [0, 1, 1]], reward=[[0.5, 0, 0], [0, 0, 0.25]], final_reward=[1, 2], horizon_reward=[3, 4]
    )
    both = product(first, second, combine)
    assert both.states <= first.states * second.states
    for text in texts():
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
