"""Belief automata: another speaker has a wish of several properties, and answers what it is asked.

The wish is not a part of the state: what matters of it is how likely each wish is, given the answers, and
that depends on how often each value of each property was named more than the one named least. To draw each
answer from that belief is to draw the wish first and the answers by it: the law of what is said is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product as pairs

import numpy as np

from klrl_envs.reference.arrays import FloatArray, IntArray

Counts = tuple[tuple[int, ...], ...]
"""For each property, how often each of its values was named, less the least of them."""


@dataclass(frozen=True, eq=False)
class Beliefs:
    """B beliefs about W wishes of P properties, the first of which is that before any answer.

    Wishes are numbered by their values, the last property fastest.

    Attributes:
        sizes: the number of values of each property, at most M.
        posterior: float64[B, W].
        marginals: float64[B, sum of the sizes], the posterior of each value of each property.
        chance: float64[B, P, M], that a value is named when a property is asked for; 0 beyond its values.
        after: int64[B, P, M], the belief then.
        answers: int64[B], the fewest answers after which it is held.
    """

    sizes: tuple[int, ...]
    posterior: FloatArray
    marginals: FloatArray
    chance: FloatArray
    after: IntArray
    answers: IntArray


def value_numbers(sizes: Sequence[int]) -> IntArray:
    """The value int64[W, P] of each property in each wish."""
    return np.array(list(pairs(*map(range, sizes))), dtype=np.int64)


def beliefs_of(sizes: Sequence[int], truth: float, most: int) -> Beliefs:
    """The beliefs after at most so many answers, wishes all alike at first.

    Args:
        sizes: the number of values of each property.
        truth: how likely an answer names the wish's own value; each of the others is as likely as the rest.
        most: answers; those that would be more lead to the belief itself.
    """
    first: Counts = tuple((0,) * size for size in sizes)
    place, answers, order = {first: 0}, [0], [first]
    for counts in order:  # grows as it is gone through
        if answers[place[counts]] == most:
            continue
        for following in (named(counts, *both) for both in values_of(sizes)):
            if following not in place:
                place[following] = len(order)
                order.append(following)
                answers.append(answers[place[counts]] + 1)
    marginals = [[share(counts[number], truth) for number in range(len(sizes))] for counts in order]
    after = np.tile(np.arange(len(order))[:, None, None], (1, len(sizes), max(sizes)))
    for counts, own in place.items():
        for both in values_of(sizes):
            after[own, *both] = place.get(named(counts, *both), own)
    return told(sizes, truth, marginals, after, np.array(answers))


def certainties_of(sizes: Sequence[int], truth: float) -> Beliefs:
    """The beliefs of who has been told the wish, one for each; no answer moves them."""
    wishes = value_numbers(sizes)
    marginals = [[np.eye(size)[value] for size, value in zip(sizes, wish, strict=True)] for wish in wishes]
    after = np.tile(np.arange(len(wishes))[:, None, None], (1, len(sizes), max(sizes)))
    return told(sizes, truth, marginals, after, np.zeros(len(wishes), dtype=np.int64))


def told(
    sizes: Sequence[int], truth: float, marginals: list[list[FloatArray]], after: IntArray, answers: IntArray
) -> Beliefs:
    """Beliefs from the posterior [size] of each property in each of B, which are independent."""
    chance = np.zeros((len(marginals), len(sizes), max(sizes)))
    posterior = np.ones((len(marginals), 1))
    for number, size in enumerate(sizes):
        own = np.array([each[number] for each in marginals])
        chance[:, number, :size] = own @ naming(size, truth)
        posterior = (posterior[:, :, None] * own[:, None, :]).reshape(len(marginals), -1)
    flat = np.array([np.concatenate(each) for each in marginals])
    return Beliefs(tuple(sizes), posterior, flat, chance, after, answers)


def naming(size: int, truth: float) -> FloatArray:
    """How likely each value is named where each is wished for, float64[size, size]."""
    if size == 1:
        return np.ones((1, 1))
    other = (1 - truth) / (size - 1)
    return np.full((size, size), other) + (truth - other) * np.eye(size)


def share(counts: Sequence[int], truth: float) -> FloatArray:
    """The posterior float64[size] of a property's values, named so often."""
    size = len(counts)
    if size == 1:
        return np.ones(1)
    weights = (truth * (size - 1) / (1 - truth)) ** np.array(counts, dtype=np.float64)
    return weights / weights.sum()


def named(counts: Counts, number: int, value: int) -> Counts:
    """Counts once a value of a property was named once more."""
    own = list(counts[number])
    own[value] += 1
    least = min(own)
    return (*counts[:number], tuple(count - least for count in own), *counts[number + 1 :])


def values_of(sizes: Sequence[int]) -> list[tuple[int, int]]:
    """Every value of every property: (property, value)."""
    return [(number, value) for number, size in enumerate(sizes) for value in range(size)]
