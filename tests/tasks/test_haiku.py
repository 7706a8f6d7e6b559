"""Haiku: lines of their length."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from klrl_envs.tasks.haiku import VerseVocabulary, haiku_task
from tests.oracles import Text, assert_exact, letter_reference


@pytest.mark.parametrize("kl_coef", [0.05, 1.0])
def test_haiku_wants_its_lines_of_their_length(kl_coef: float) -> None:
    syllables, may_end = [1, 2, 3, 1], [True, True, True, False]
    lines = (2, 3)
    task = haiku_task(
        letter_reference("abcd", None),
        np.array(syllables),
        np.array(may_end),
        lines,
        kl_coef=kl_coef,
        horizon=5,
    )

    def verses(text: Text) -> list[Text] | None:
        """The complete lines of a text, or None where one is broken."""
        result: list[Text] = []
        line: list[int] = []
        for token in text:
            line.append(token)
            size = sum(syllables[word] for word in line)
            goal = lines[len(result)]
            if size > goal or (size == goal and not may_end[token]):
                return None
            if size == goal:
                result.append(tuple(line))
                line = []
        return result

    def over(text: Text) -> bool:
        found = verses(text)
        return found is None or len(found) == len(lines)

    def reward(text: Text, log_probs: list[float]) -> float:
        found = verses(text)
        return float(found is not None and len(found) == len(lines))

    assert_exact(task, reward, over)


def test_verse_is_shown_in_lines() -> None:
    vocabulary = VerseVocabulary(("one", "seven", "eleven"), (1, 2, 3), (2, 3))
    assert vocabulary.decode([1, 2, 0]) == "seven\neleven one"
    assert vocabulary.decode([]) == ""
    for row in itertools.product(range(3), repeat=3):
        assert vocabulary.encode(vocabulary.decode(row)) == list(row)
