"""Word problems: every question is read again by a reader of its own, which must find the same answer."""

from __future__ import annotations

import re

import numpy as np
import pytest

from klrl_envs.reward.word_problems import (
    MOST,
    Problem,
    chosen_problems,
    last_number,
    problem,
    result,
    right_answers,
)


def solved(question: str) -> int:
    """The answer, from the text of a question alone."""
    *sentences, asked = re.split(r"(?<=[.?]) ", question)
    owner = sentences[0].split()[0]
    thing = asked.split()[2]
    have, others = 0, 0
    for sentence in sentences:
        numbers = [int(number) for number in re.findall(r"\d+", sentence)]
        words = sentence.rstrip(".").split()
        if "each" in words:
            have = numbers[0] * numbers[1]
        elif words[0] == owner:
            have = numbers[0]
        elif words[0] not in ("He", "She"):
            others = numbers[0] if words[-1] == thing else 0
        elif "more" in words:
            have += numbers[0]
        elif "half" in words:
            have //= 2
        elif "again" in words:
            have *= 2
        else:
            assert words[-2:] == ["of", "them"]
            have -= numbers[0]
    return have + others if "together" in asked else have


@pytest.mark.parametrize("first", range(0, 6_000, 1_000))
def test_another_reader_finds_the_same_answers(first: int) -> None:
    for number in range(first, first + 1_000):
        of = problem(number)
        assert solved(of.question) == of.answer, of


def test_steps_follow_from_each_other_and_stay_small() -> None:
    lengths = set[int]()
    for number in range(3_000):
        of = problem(number)
        lengths.add(len(of.steps))
        values = [result(*step) for step in of.steps]
        for value, (first, _, _) in zip(values, of.steps[1:], strict=False):
            assert first == value
        assert all(0 < value <= MOST for value in values)
        shown = [int(each) for each in re.findall(r"\d+", of.question)]
        assert of.beside is None or of.beside in shown
    assert lengths == {2, 3}


def test_splits_are_distinct_and_a_problem_is_a_function_of_its_number() -> None:
    evaluation, training = chosen_problems(64, 4_096)
    questions = [each.question for each in (*evaluation, *training)]
    assert (len(evaluation), len(training)) == (64, 4_096)
    assert len(set(questions)) == len(questions)
    assert problem(7) == problem(7)
    assert problem(3) == Problem(
        "Tom has 6 stamps. He uses 2 of them. He buys 9 more. He loses 3 of them. How many stamps does Tom "
        "have now?",
        ((6, "-", 2), (4, "+", 9), (13, "-", 3)),
        None,
    )


def test_no_number_is_the_answer_to_many_questions() -> None:
    answers = np.bincount([problem(number).answer for number in range(5_000)])
    assert answers.max() / answers.sum() < 0.05


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("3 + 4 = 7. The answer is 12.", 12),
        ("12", 12),
        ("a12b", 12),
        ("the answer is twelve", None),
        ("", None),
        ("0012 apples", 12),
        ("1234567890123", None),
        ("-5", 5),
    ],
)
def test_the_last_number_counts(text: str, number: int | None) -> None:
    assert last_number(text) == number
    assert right_answers([text], [12]).tolist() == [float(number == 12)]


def test_operations() -> None:
    assert [result(7, each, 2) for each in "+-*/"] == [9, 5, 14, 3]
    assert (result(2, "-", 7), result(7, "/", 0)) == (0, 7)
    with pytest.raises(ValueError, match="operation must be one of"):
        result(1, "%", 2)
