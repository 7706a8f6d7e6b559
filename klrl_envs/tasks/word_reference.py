"""The references of exact text tasks by name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from klrl_envs.reference.markov import MarkovReference
from klrl_envs.reference.words import END_TOKEN, words_bigram
from klrl_envs.tasks.vocabulary import WordVocabulary


@dataclass(frozen=True, eq=False)
class WordReference:
    """A Markov reference over words, with its vocabulary and the token that ends a text."""

    reference: MarkovReference
    vocabulary: WordVocabulary
    end_token: int


@lru_cache(maxsize=1)
def word_reference(name: str) -> WordReference:
    """The reference called ``name``; the only one so far is "words".

    Raises:
        ValueError: no such name.
    """
    if name != "words":
        raise ValueError(f"unknown reference {name!r}; allowed on this task is 'words'")
    words, bigram = words_bigram()
    return WordReference(bigram, WordVocabulary(words, END_TOKEN), END_TOKEN)
