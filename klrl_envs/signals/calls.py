"""Which texts one call of a loss is given, and how likely: every case, or a stratified sample of them.

A call holds some groups, each of texts of one prompt that were drawn independently. What a loss does on
average is a sum over calls; that the order of the texts in a group does not matter saves most of the terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import comb
from typing import Protocol

import numpy as np
from scipy.special import gammaln  # pyright: ignore[reportMissingTypeStubs]
from scipy.stats import qmc  # pyright: ignore[reportMissingTypeStubs]

from klrl_envs.reference.arrays import FloatArray, IntArray

MOST_CALLS = 50_000
"""Beyond so many they are sampled."""
SAMPLED_CALLS = 8_192
REPLICATES = 8
"""Independent parts of a sample, which tell its error."""
LARGE_GROUP = 1_024
"""Texts of a group that stands for one without end."""


@dataclass(frozen=True, eq=False)
class Drawn:
    """M calls of B texts.

    Attributes:
        prompts: [M, B].
        texts: [M, B].
        weights: float64 [M], how likely each call is; they sum to 1.
        part: [M], which independent part of a sample a call belongs to; all 0 where nothing is sampled.
    """

    prompts: IntArray
    texts: IntArray
    weights: FloatArray
    part: IntArray


class Calls(Protocol):
    """The calls under a law of the texts. ``group_size`` texts a group, ``exact`` where they are all."""

    group_size: int
    exact: bool

    def drawn(self, law: FloatArray) -> Drawn:
        """The calls under a law [P, N]."""
        ...


class EveryCall:
    """Every multiset of texts in every group, with its multinomial weight.

    Args:
        prompts: P.
        texts: N.
        group_size: texts a group.
        batch: groups a call; 1 (each prompt by itself), or a multiple of P (all prompts in turn).
    """

    exact = True

    def __init__(self, prompts: int, texts: int, group_size: int, batch: int) -> None:
        self.group_size = group_size
        groups = np.array(list(combinations_with_replacement(range(texts), group_size)))
        counts = (groups[:, :, None] == np.arange(texts)).sum(axis=1)
        ways = gammaln(group_size + 1) - gammaln(counts + 1).sum(axis=1)
        places = in_turn(prompts, batch)  # [calls of one draw, batch]
        which = np.stack(
            np.meshgrid(*[np.arange(len(groups))] * places.shape[1], indexing="ij"), axis=-1
        ).reshape(-1, places.shape[1])
        self.texts = np.tile(groups[which].reshape(len(which), -1), (len(places), 1))
        self.prompts = np.repeat(np.repeat(places, group_size, axis=1), len(which), axis=0)
        self.log_ways = np.tile(ways[which].sum(axis=1), len(places)) - np.log(len(places))

    def drawn(self, law: FloatArray) -> Drawn:
        """See ``Calls``."""
        with np.errstate(divide="ignore"):
            log_law = np.log(law)
        weights = np.exp(self.log_ways + log_law[self.prompts, self.texts].sum(axis=1))
        return Drawn(self.prompts, self.texts, weights, np.zeros(len(weights), dtype=np.int64))


class SampledCalls:
    """Calls at fixed random numbers that fill each coordinate evenly: Latin hypercubes, independent parts.

    The numbers stay where they are while the law moves, so that what follows a policy sees one and the same
    smooth error.
    """

    exact = False

    def __init__(self, prompts: int, group_size: int, batch: int, calls: int, seed: int) -> None:
        self.group_size = group_size
        places = in_turn(prompts, batch)
        width, each = places.shape[1] * group_size, -(-calls // (len(places) * REPLICATES))
        uniform = [
            qmc.LatinHypercube(width, rng=np.random.default_rng([seed, part])).random(each)
            for part in range(len(places) * REPLICATES)
        ]
        self.uniform = np.concatenate(uniform)
        self.prompts = np.repeat(
            np.repeat(np.tile(places, (REPLICATES, 1)), group_size, axis=1), each, axis=0
        )
        self.part = np.repeat(np.arange(REPLICATES), len(places) * each)

    def drawn(self, law: FloatArray) -> Drawn:
        """See ``Calls``."""
        texts = inverse_cdf(law, self.prompts, self.uniform)
        return Drawn(self.prompts, texts, np.full(len(texts), 1 / len(texts)), self.part)


class LargeGroup:
    """The limit of large groups: one group of very many texts, each as often as the law has it."""

    exact = True
    group_size = LARGE_GROUP

    def __init__(self, prompts: int, batch: int) -> None:
        self.places = in_turn(prompts, batch)

    def drawn(self, law: FloatArray) -> Drawn:
        """See ``Calls``."""
        prompts = np.repeat(self.places, self.group_size, axis=1)
        even = np.tile((np.arange(self.group_size) + 0.5) / self.group_size, self.places.shape[1])
        texts = inverse_cdf(law, prompts, np.tile(even, (len(prompts), 1)))
        return Drawn(
            prompts, texts, np.full(len(prompts), 1 / len(prompts)), np.zeros(len(prompts), np.int64)
        )


def in_turn(prompts: int, batch: int) -> IntArray:
    """The prompt of each group [calls, batch]: each by itself, or all in turn."""
    if batch == 1:
        return np.arange(prompts)[:, None]
    if batch < 1 or batch % prompts:
        raise ValueError(f"batch must be 1 or a multiple of the {prompts} prompts, got {batch}")
    return np.tile(np.arange(prompts), batch // prompts)[None]


def inverse_cdf(law: FloatArray, prompts: IntArray, uniform: FloatArray) -> IntArray:
    """The text of each prompt at each uniform number, both [M, B]."""
    bounds = np.cumsum(law, axis=1)
    bounds /= bounds[:, -1:]
    texts = np.empty(prompts.shape, dtype=np.int64)
    for prompt in range(len(law)):
        here = prompts == prompt
        texts[here] = np.searchsorted(bounds[prompt], uniform[here], side="right")
    return texts


def calls_of(prompts: int, texts: int, group_size: int, batch: int, seed: int = 0) -> Calls:
    """Every call where that can be done, else a sample."""
    if group_size < 1:
        raise ValueError(f"group must be at least 1, got {group_size}")
    draws, width = in_turn(prompts, batch).shape
    if draws * comb(texts + group_size - 1, group_size) ** width <= MOST_CALLS:
        return EveryCall(prompts, texts, group_size, batch)
    return SampledCalls(prompts, group_size, batch, SAMPLED_CALLS, seed)
