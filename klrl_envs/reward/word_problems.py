"""Sums told in words: how they are made, and how an answer to them is checked.

A problem is a function of its number. All that is chosen comes from a digest of the number, so that no
library's random numbers can move a task.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from klrl_envs.reference.arrays import FloatArray

HE = ("Tom", "Ben", "Sam", "Max", "Leo", "Ali")
SHE = ("Ann", "Eva", "Mia", "Zoe", "Amy", "Ida")
THINGS = ("apples", "pears", "eggs", "books", "coins", "shells", "cards", "stamps", "pens", "nuts", "cups")
BOXES = ("boxes", "bags", "bowls")
GAINS = ("buys", "finds", "gets", "makes")
LOSSES = ("loses", "sells", "drops", "uses")
MOST = 99
"""No number on the way to an answer is larger."""

_NUMBER = re.compile(r"[0-9]+")

Step = tuple[int, str, int]
"""First number, one of + - * /, second number."""


@dataclass(frozen=True)
class Problem:
    """A question and how it is worked out.

    Attributes:
        question: its text.
        steps: two or three; each but the first begins with what the one before gave, or ends with it.
        beside: a number in the question that has nothing to do with the answer, or None.
    """

    question: str
    steps: tuple[Step, ...]
    beside: int | None

    @property
    def answer(self) -> int:
        """What the last step gives."""
        return result(*self.steps[-1])


class Choices:
    """Choices that follow from a key, one byte of its digest each; at most 64 of them."""

    def __init__(self, key: str) -> None:
        self._bytes = iter(hashlib.sha512(key.encode()).digest())

    def below(self, count: int) -> int:
        """A number from 0 to count - 1, count at most 256."""
        return next(self._bytes) % count

    def between(self, least: int, most: int) -> int:
        """A number from the one to the other, both among them."""
        return least + self.below(most - least + 1)

    def one_of(self, values: Sequence[str]) -> str:
        """One of the values."""
        return values[self.below(len(values))]


def result(first: int, operation: str, second: int) -> int:
    """What a step gives; a difference that would be negative gives 0, a quotient is rounded down.

    Raises:
        ValueError: an operation that is none of + - * /.
    """
    if operation == "+":
        return first + second
    if operation == "-":
        return max(first - second, 0)
    if operation == "*":
        return first * second
    if operation == "/":
        return first // max(second, 1)
    raise ValueError(f"operation must be one of + - * /, got {operation!r}")


def problem(number: int) -> Problem:
    """The problem of a number."""
    choices = Choices(f"word problem {number}")
    males = choices.below(2) == 0
    name, pronoun = choices.one_of(HE if males else SHE), "He" if males else "She"
    other = choices.one_of(SHE if males else HE)
    thing = choices.one_of(THINGS)
    length = choices.between(2, 3)
    together = choices.below(4) == 0
    sentences, steps, have = opening(choices, name, thing)
    beside: int | None = None
    if together or choices.below(3) == 0:
        beside = choices.between(2, 20)
        kind = thing if together else choices.one_of([each for each in THINGS if each != thing])
        sentences.append(f"{other} has {beside} {kind}.")
    while len(steps) < length - together:
        sentence, step = event(choices, have)
        have = result(*step)
        sentences.append(f"{pronoun} {sentence}.")
        steps.append(step)
    if together:
        assert beside is not None
        steps.append((have, "+", beside))
        sentences.append(f"How many {thing} do {name} and {other} have together?")
        return Problem(" ".join(sentences), tuple(steps), None)
    sentences.append(f"How many {thing} does {name} have now?")
    return Problem(" ".join(sentences), tuple(steps), beside)


def opening(choices: Choices, name: str, thing: str) -> tuple[list[str], list[Step], int]:
    """The first sentence, its step if it needs one, and what somebody has after it."""
    if choices.below(3):
        have = choices.between(6, 30)
        return [f"{name} has {have} {thing}."], [], have
    boxes, each = choices.between(2, 6), choices.between(3, 9)
    sentence = f"{name} has {boxes} {choices.one_of(BOXES)} with {each} {thing} in each."
    return [sentence], [(boxes, "*", each)], boxes * each


def event(choices: Choices, have: int) -> tuple[str, Step]:
    """What happens to somebody who has so many things, at least 1, and its step."""
    kinds = ["gain"] * 4
    if have > 3:
        kinds += ["loss"] * 4
    if have % 2 == 0:
        kinds.append("half")
    if 2 * have <= MOST - 20:
        kinds.append("double")
    kind = choices.one_of(kinds)
    if kind == "gain":
        more = choices.between(2, max(min(20, MOST - 20 - have), 2))
        return f"{choices.one_of(GAINS)} {more} more", (have, "+", more)
    if kind == "loss":
        fewer = choices.between(2, min(20, have - 1))
        return f"{choices.one_of(LOSSES)} {fewer} of them", (have, "-", fewer)
    if kind == "half":
        return "gives half of them away", (have, "/", 2)
    return "gets as many again", (have, "*", 2)


@lru_cache(maxsize=1)
def chosen_problems(evaluation: int, training: int) -> tuple[tuple[Problem, ...], tuple[Problem, ...]]:
    """The first distinct problems: so many for evaluation, the next for training."""
    found: dict[str, Problem] = {}
    numbers = itertools.count()
    while len(found) < evaluation + training:
        each = problem(next(numbers))
        found.setdefault(each.question, each)
    listed = tuple(found.values())
    return listed[:evaluation], listed[evaluation:]


def last_number(text: str) -> int | None:
    """The last whole number in a text; None where there is none, or one of more than nine digits."""
    numbers = _NUMBER.findall(text)
    return int(numbers[-1]) if numbers and len(numbers[-1]) <= 9 else None


def right_answers(texts: Sequence[str], answers: Sequence[int]) -> FloatArray:
    """1 for each text [K] whose last number is the answer [K], else 0."""
    pairs = zip(texts, answers, strict=True)
    return np.array([last_number(text) == answer for text, answer in pairs], dtype=np.float64)
