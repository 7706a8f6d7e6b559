"""A model of the reward of whole texts, learnt from texts that were rewarded: a ridge regression.

What it reads of a text is the set of its words and marks and of their pairs of neighbours. With n words,
rewards scaled to [0, 1], and s the sum of the weights of what is in the set,

    logit r = s / n^power + a + b log n + c (log n)^2

where the power is the one of 0, 1/2 and 1 that predicts best what was held out of the first fit. Every
weight is learnt. The form suits rewards that are classifiers of sets of words, and Sentiment-v0 is paid by
such a one: what is reached there says less of rewards of another form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg

from klrl_envs.networks.words import USUAL, WORD, WordEvidence, key_of, pair_keys

POWERS = (0.0, 0.5, 1.0)
SURE = 1e-4
"""Rewards are held this far from 0 and 1, where a logit has no end."""
HELD_OUT = 8
"""One text in so many is held out to choose the power."""
FREE = 1e-3
"""The ridge on a, b and c."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Occurrences:
    """The distinct words and pairs of K texts, M in all.

    Attributes:
        text: int64 [M], the text that one is in, ascending.
        key: int64 [M], what it is, as ``klrl_envs.networks.words`` has keys.
        words: int64 [K], of each text.
    """

    text: Integers
    key: Integers
    words: Integers


def ridge(matrix: sparse.csr_matrix, targets: Floats, penalty: Floats) -> Floats:
    """The weights [F] that minimise |matrix w - targets|^2 + sum of penalty w^2, by conjugate gradients.

    Args:
        matrix: [K, F].
        targets: [K].
        penalty: [F], above 0.
    """
    scale, turned = 1 / np.sqrt(penalty), matrix.T.tocsr()

    def normal(vector: Floats) -> Floats:
        return scale * (turned @ (matrix @ (scale * vector))) + vector

    made: Any = LinearOperator  # a class whose objects are of another, which types do not know
    operator = made((len(scale), len(scale)), matvec=normal, dtype=np.float64)
    solution, _ = cg(operator, scale * (turned @ targets), rtol=1e-5, maxiter=200)
    return scale * solution


class RewardModel:
    """Rewards of texts, predicted. Until it is fitted every text is worth a logit of 0.

    Args:
        penalty: the ridge on words and pairs.
        least: texts that a word or pair must be in to weigh anything.
    """

    def __init__(self, penalty: float = 0.1, least: int = 2) -> None:
        self.penalty = penalty
        self.least = least
        self.power: float | None = None
        self._known: dict[str, int] = {}
        self._keys: Integers = np.zeros(0, dtype=np.int64)
        self._weights: Floats = np.zeros(0)
        self._calibration: Floats = np.zeros(3)

    def fit(self, texts: Sequence[str], rewards: Floats) -> None:
        """Fit all weights anew to the rewards [K], in [0, 1], of texts."""
        found = self._occurrences(texts)
        targets = logit(rewards)
        if self.power is None:
            self.power = self._best_power(found, targets)
        keys, count = np.unique(found.key, return_counts=True)
        self._keys = keys[count >= self.least]
        columns, known = self._columns(found)
        weights = self._solve(found, columns, known, targets, np.ones(len(texts), dtype=np.bool_), self.power)
        self._weights, self._calibration = weights[:-3], weights[-3:]

    def _best_power(self, found: Occurrences, targets: Floats) -> float:
        """The power that predicts best what is held out."""
        held_out = np.arange(len(targets)) % HELD_OUT == 0
        if held_out.sum() < HELD_OUT:
            return POWERS[1]
        keys, count = np.unique(found.key[~held_out[found.text]], return_counts=True)
        self._keys = keys[count >= self.least]
        columns, known = self._columns(found)
        errors: list[float] = []
        for power in POWERS:
            weights = self._solve(found, columns, known, targets, ~held_out, power)
            predicted = self._matrix(found, columns, known, power) @ weights
            errors.append(float(np.square(predicted - targets)[held_out].mean()))
        return POWERS[int(np.argmin(errors))]

    def _solve(
        self, found: Occurrences, columns: Integers, known: NDArray[np.bool_], targets: Floats,
        used: NDArray[np.bool_], power: float,
    ) -> Floats:  # fmt: skip
        penalty = np.append(np.full(len(self._keys), self.penalty), np.full(3, FREE))
        matrix = self._matrix(found, columns, known, power)
        return ridge(matrix[used], targets[used], penalty)

    def _columns(self, found: Occurrences) -> tuple[Integers, NDArray[np.bool_]]:
        """The weight of each occurrence, by its index, and whether there is one."""
        if not len(self._keys):
            return np.zeros(len(found.key), dtype=np.int64), np.zeros(len(found.key), dtype=np.bool_)
        columns = np.minimum(np.searchsorted(self._keys, found.key), len(self._keys) - 1)
        return columns, self._keys[columns] == found.key

    def _matrix(
        self, found: Occurrences, columns: Integers, known: NDArray[np.bool_], power: float
    ) -> sparse.csr_matrix:
        words = np.maximum(found.words, 1).astype(np.float64)
        shape = (len(words), len(self._keys))
        places = (found.text[known], columns[known])
        matrix = sparse.csr_matrix((words[places[0]] ** -power, places), shape=shape)
        whole: Any = sparse.hstack([matrix, sparse.csr_matrix(lengthwise(words))])
        return whole.tocsr()

    def logits(self, texts: Sequence[str]) -> Floats:
        """The predicted logits [K] of the rewards of texts."""
        found = self._occurrences(texts)
        sums: Any = np.bincount(found.text, self._weights_of(found), minlength=len(texts))
        return self.calibrated(sums, found.words.astype(np.float64))

    def calibrated(self, sums: Floats, words: Floats) -> Floats:
        """The formula above: logits [...] of sums s [...] and numbers of words n [...]."""
        words = np.maximum(words, 1.0)
        power = POWERS[1] if self.power is None else self.power
        return sums * words**-power + lengthwise(words) @ self._calibration

    def give(self, evidence: WordEvidence) -> None:
        """Have a network read texts as this model does, token by token."""
        power = POWERS[1] if self.power is None else self.power
        evidence.set(self._keys, self._weights, (power, *self._calibration.tolist()))

    def _weights_of(self, found: Occurrences) -> Floats:
        columns, known = self._columns(found)
        return np.where(known, self._weights[columns], 0.0) if len(self._weights) else np.zeros(len(columns))

    def _occurrences(self, texts: Sequence[str]) -> Occurrences:
        """What is in texts."""
        keys: list[int] = []
        words: list[int] = []
        for text in texts:
            found = WORD.findall(text.lower())
            words.append(len(found))
            for word in found:
                if word not in self._known:
                    self._known[word] = key_of(word)
                keys.append(self._known[word])
        word, count = np.array(keys, dtype=np.int64), np.array(words, dtype=np.int64)
        text = np.repeat(np.arange(len(count)), count)
        paired = text[1:] == text[:-1]
        place = np.concatenate((text, text[1:][paired]))
        key = np.concatenate((word, pair_keys(word[:-1], word[1:])[paired]))
        order = np.lexsort((key, place))
        place, key = place[order], key[order]
        new = np.ones(len(place), dtype=np.bool_)
        new[1:] = (place[1:] != place[:-1]) | (key[1:] != key[:-1])
        return Occurrences(place[new], key[new], count)


def lengthwise(words: Floats) -> Floats:
    """What a, b and c are multiplied by [..., 3], of numbers of words [...]; log n is centred."""
    logarithm = np.log(words / USUAL)
    return np.stack((np.ones_like(logarithm), logarithm, logarithm**2), axis=-1)


def logit(rewards: Floats) -> Floats:
    """log(r / (1 - r)) of rewards in [0, 1], which are held ``SURE`` from both."""
    held = np.clip(rewards, SURE, 1 - SURE)
    return np.log(held) - np.log1p(-held)
