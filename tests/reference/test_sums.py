"""``sums``: what its vocabulary can write, and how often its texts are right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from klrl_envs.assets.build.sums import worked
from klrl_envs.reference.sums import WORDS, sums_vocabulary
from klrl_envs.reward.word_problems import problem


def test_questions_and_worked_examples_can_be_written() -> None:
    vocabulary, rng = sums_vocabulary(), np.random.default_rng(0)
    for number in range(2_000):
        of = problem(number)
        for text in (of.question, f"{of.question} {worked(of, rng)}"):
            assert vocabulary.decode(vocabulary.encode(text)) == text


@given(st.lists(st.integers(1, len(WORDS) - 1), max_size=20))
def test_decoding_what_was_encoded_gives_the_same_tokens(tokens: list[int]) -> None:
    vocabulary = sums_vocabulary()
    assert vocabulary.encode(vocabulary.decode(tokens)) == tokens


def test_numbers_are_digits() -> None:
    vocabulary = sums_vocabulary()
    assert [vocabulary.token_string(token) for token in vocabulary.encode("Tom has 120 nuts.")] == [
        "Tom", "has", "1", "2", "0", "nuts", "."
    ]  # fmt: skip
    with pytest.raises(ValueError, match="'eats' is not among"):
        vocabulary.encode("Tom eats")
