"""Prompts are found again at the beginnings of texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klrl_envs.reward.prompted import Prompted

PROMPTS = st.lists(st.text("ab ?", min_size=1, max_size=6), min_size=1, max_size=12)


@given(PROMPTS, st.lists(st.tuples(st.integers(0, 11), st.text("ab ?z\uffff", max_size=6)), max_size=8))
def test_prompts_are_found_at_the_beginnings_of_texts(names: list[str], asked: list[tuple[int, str]]) -> None:
    prompts = [f"{name}." for name in dict.fromkeys(names)]  # the stop ends them: none begins another
    chosen = [(number % len(prompts), rest) for number, rest in asked]
    numbers, rests = Prompted(prompts).split([prompts[number] + rest for number, rest in chosen])
    assert list(zip(numbers.tolist(), rests, strict=True)) == chosen


@pytest.mark.parametrize("text", ["", "a", "c.", "A. b", "zz"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="begins with no prompt"):
        Prompted(["a.", "b."]).split(["a. c", text])


@pytest.mark.parametrize("prompts", [["a", "ab"], ["b", "a", "b"]])
def test_prompts_must_not_begin_with_one_another(prompts: list[str]) -> None:
    with pytest.raises(ValueError, match="no prompt may begin with another"):
        Prompted(prompts)
