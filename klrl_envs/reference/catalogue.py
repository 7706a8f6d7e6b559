"""The references of exact text tasks by name, and parts of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from klrl_envs.reference.markov import MarkovModel, MarkovReference
from klrl_envs.reference.vocabulary import WordVocabulary
from klrl_envs.reference.words import END_TOKEN, words_bigram, words_trigram

LOADERS: dict[str, Callable[[], tuple[tuple[str, ...], MarkovModel]]] = {
    "words": words_bigram,
    "words-trigram": words_trigram,
}


@dataclass(frozen=True, eq=False)
class WordReference:
    """A Markov reference over words, with its vocabulary and the token that ends a text, or None."""

    reference: MarkovModel
    vocabulary: WordVocabulary
    end_token: int | None


@lru_cache(maxsize=2)
def word_reference(name: str) -> WordReference:
    """The reference called ``name``: "words", a bigram, or "words-trigram".

    Raises:
        ValueError: no such name.
    """
    if name not in LOADERS:
        allowed = " or ".join(map(repr, LOADERS))
        raise ValueError(f"unknown reference {name!r}; allowed on this task are {allowed}")
    words, reference = LOADERS[name]()
    return WordReference(reference, WordVocabulary(words, END_TOKEN), END_TOKEN)


@lru_cache(maxsize=4)
def part_of_words(kept: tuple[str, ...], *, end: bool) -> WordReference:
    """The bigram ``words`` given that only some words are written: its rows, restricted and renormalised.

    Args:
        kept: distinct words or marks of ``words``; they become tokens 1, 2, ... in this order, or 0, 1, ...
            where there is no end token.
        end: whether the end token stays, as token 0.

    Raises:
        ValueError: a word that ``words`` does not have, or one twice.
    """
    words, bigram = words_bigram()
    index = {word: token for token, word in enumerate(words)}
    missing = [word for word in kept if index.get(word, END_TOKEN) == END_TOKEN]
    if missing or len(set(kept)) != len(kept):
        raise ValueError(f"kept must be distinct words of 'words'; {missing or 'one is there twice'}")
    names = (words[END_TOKEN], *kept) if end else kept
    tokens = np.array([index[word] for word in names])
    rows = bigram.table[np.ix_(np.append(tokens, bigram.start_context), tokens)]
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    label = f"words, {len(kept)} of them"
    reference = MarkovReference(
        rows[-1], rows[:-1], name=label, fingerprint=part_fingerprint(names, bigram.fingerprint)
    )
    return WordReference(reference, WordVocabulary(names, 0 if end else None), 0 if end else None)


def part_fingerprint(names: Sequence[str], whole: str) -> str:
    """SHA-256 of what a part of the words is computed from."""
    return hashlib.sha256("\n".join((whole, *names)).encode()).hexdigest()
