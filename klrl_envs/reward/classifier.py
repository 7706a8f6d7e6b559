"""Sentiment of a text: a linear model of uni- and bigrams, in NumPy alone.

A text is the set of its n-grams, so that saying a word again adds nothing but length. With n words,

    s = (sum of the weights of its distinct n-grams) / sqrt(n)
    logit P(positive) = (a + b log n) s + c + d log n

where the second line, fitted on reviews that the weights never saw, makes one weight vector
calibrated on short passages and on whole reviews. n-grams are known by 32 bits of a hash; one that is
not in the table weighs nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from klrl_envs.assets import asset_path, read_arrays
from klrl_envs.reference.arrays import BoolArray, FloatArray, IntArray

NAMES = ("reward", "gold")
WORD = re.compile(r"\w+(?:'\w+)?|[^\w\s]")
CALIBRATED_WORDS = (16, 1_024)
_BATCH = 4_096
_LARGEST_CACHE = 20_000
"""Words, of some 130 bytes each: who writes tokens by chance makes a new one with every second."""
_ORDER = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_HALF = np.uint64(32)


class _WordHashes(dict[str, int]):
    """Word -> 64 bits of its hash, alike on every machine; computed once per word."""

    def __missing__(self, word: str) -> int:
        value = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        self[word] = value
        return value


_hashes = _WordHashes()


def ngrams(texts: Sequence[str]) -> tuple[NDArray[np.uint64], NDArray[np.uint32], IntArray]:
    """All uni- and bigrams, as often as they occur: text [M], key [M] and words [K] as in ``features``."""
    if len(_hashes) > _LARGEST_CACHE:
        _hashes.clear()
    split = [WORD.findall(text.lower()) for text in texts]
    words = np.array([len(tokens) for tokens in split], dtype=np.int64)
    unigram = np.fromiter(
        map(_hashes.__getitem__, chain.from_iterable(split)), dtype=np.uint64, count=int(words.sum())
    )
    text = np.repeat(np.arange(len(texts), dtype=np.uint64), words)
    bigram = unigram[:-1] * _ORDER + unigram[1:]
    bigram ^= bigram >> _HALF
    bigram *= _MIX
    inside = text[1:] == text[:-1]
    keys = np.concatenate((unigram, bigram[inside])) >> _HALF
    return np.concatenate((text, text[1:][inside])), keys.astype(np.uint32), words


def features(texts: Sequence[str]) -> tuple[IntArray, NDArray[np.uint32], IntArray]:
    """The distinct uni- and bigrams of every text.

    Returns:
        text [M] (the index of the text that an n-gram is in, ascending), key [M] (the n-gram) and
        words [K] (the length of each text in words and marks).
    """
    text, keys, words = ngrams(texts)
    both = text << _HALF | keys
    both.sort()
    new = np.ones(len(both), dtype=np.bool_)
    new[1:] = both[1:] != both[:-1]
    both = both[new]
    return (both >> _HALF).astype(np.int64), both.astype(np.uint32), words


def find(table: NDArray[np.uint32], keys: NDArray[np.uint32]) -> tuple[IntArray, BoolArray]:
    """Row of each key in a sorted table, and whether it is there at all."""
    rows = np.minimum(np.searchsorted(table, keys), len(table) - 1)
    return rows, table[rows] == keys


class SentimentClassifier:
    """P(positive) of texts. Build one with ``load``.

    Args:
        keys: the n-grams that have a weight, uint32 [F], ascending.
        weights: their weights, float [F].
        calibration: (a, b, c, d) of the formula above.
    """

    def __init__(
        self,
        keys: NDArray[np.uint32],
        weights: NDArray[np.floating],
        calibration: FloatArray,
    ) -> None:
        self.keys = keys
        self.weights = np.asarray(weights, dtype=np.float32)
        self.calibration = np.asarray(calibration, dtype=np.float64)

    @classmethod
    def load(cls, name: str) -> SentimentClassifier:
        """The shipped classifier "reward" or "gold".

        Raises:
            ValueError: no such classifier.
            CorruptedAsset: the file is not the one that was shipped.
        """
        if name not in NAMES:
            raise ValueError(f"name is {name!r}, allowed: {', '.join(map(repr, NAMES))}")
        return cls.read(asset_path(f"sentiment.{name}.safetensors"))

    @classmethod
    def read(cls, path: Path) -> SentimentClassifier:
        """A classifier from a file, unchecked."""
        table = read_arrays(path)
        return cls(table["keys"], table["weights"], table["calibration"])

    def probability(self, texts: Sequence[str]) -> FloatArray:
        """P(positive) of each text, in [0, 1], float64 [K]; an empty text is worth the intercept."""
        logits = np.concatenate(
            [np.zeros(0)]
            + [self.logit(texts[first : first + _BATCH]) for first in range(0, len(texts), _BATCH)]
        )
        return 1 / (1 + np.exp(-logits))

    def logit(self, texts: Sequence[str]) -> FloatArray:
        """log-odds of positive of each text, float64 [K]."""
        return calibrated(*self.evidence(texts), self.calibration)

    def evidence(self, texts: Sequence[str]) -> tuple[FloatArray, IntArray]:
        """s of the formula above [K], and the words of each text [K]."""
        text, keys, words = features(texts)
        rows, known = find(self.keys, keys)
        total = np.bincount(text, np.where(known, self.weights[rows], 0), minlength=len(texts))
        return total / np.sqrt(np.maximum(words, 1)), words


def calibrated(evidence: FloatArray, words: IntArray, calibration: FloatArray) -> FloatArray:
    """(a + b log n) s + c + d log n; n is held to the lengths that the calibration has seen."""
    a, b, c, d = calibration
    log_words = np.log(np.clip(words, *CALIBRATED_WORDS))
    return (a + b * log_words) * evidence + c + d * log_words
