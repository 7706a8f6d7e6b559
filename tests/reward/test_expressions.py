"""Automata of expressions, against `re` on every short text."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from klrl_envs.reward.automata import from_expression
from tests.reward.payments import short_texts, worth

LETTERS = "abc"
PATTERNS = [
    "a", "a b", "", "a | b", "a*", "(a b)+ c?", ".* b .*", "[a c]{2}", "[^b]*", "(a | b c){1,2} .",
    ". {,2}", "a {2,}", "(a* b*)*", "((a) | ) b", "(a | a b) (c | b c)", "a{0}", "(a b | b a)* c{1,3}",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_expressions_are_those_of_re(pattern: str) -> None:
    automaton = from_expression(pattern, LETTERS)
    letters = re.sub(r"\{,", "{0,", pattern.replace(" ", ""))
    for text in short_texts():
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
    for text in short_texts(4):
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
