"""A reference with its vocabulary: what ``catalogue.load`` gives and a task is made of."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from klrl_envs.reference.markov import MarkovModel, MarkovReference
from klrl_envs.reference.protocol import Reference
from klrl_envs.reference.vocabulary import Vocabulary, WordVocabulary


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A language model: its probabilities, what its tokens mean, and which of them ends a text.

    Attributes:
        reference: pi0.
        vocabulary: of the same tokens.
        end_token: the token that ends a text, or None.
    """

    reference: Reference
    vocabulary: Vocabulary
    end_token: int | None

    @property
    def vocab_size(self) -> int:
        """Number of tokens V."""
        return self.reference.vocab_size

    @property
    def markov(self) -> MarkovModel:
        """The reference as exact tasks need it.

        Raises:
            TypeError: it has no finite number of contexts.
        """
        if not isinstance(self.reference, MarkovModel):
            raise TypeError(
                f"an exact task needs an n-gram, and the reference {self.reference.name!r} is a network"
            )
        return self.reference

    @property
    def words(self) -> tuple[str, ...]:
        """The tokens' strings [V].

        Raises:
            TypeError: the tokens are parts of words.
        """
        if not isinstance(self.vocabulary, WordVocabulary):
            raise TypeError(f"the tokens of the reference {self.reference.name!r} are not words")
        return self.vocabulary.words

    def tokens(self, words: Sequence[str]) -> list[int]:
        """The tokens of some of the words.

        Raises:
            ValueError: a word that is no token.
        """
        return [self.words.index(word) for word in words]


def bigram_model(words: Sequence[str], bigram: MarkovReference, end_token: int | None) -> LanguageModel:
    """A bigram with the words that its tokens stand for."""
    return LanguageModel(bigram, WordVocabulary(tuple(words), end_token), end_token)


def restricted(model: LanguageModel, kept: Sequence[str], *, ends: bool) -> LanguageModel:
    """A bigram given that only some words are written: its rows, restricted and renormalised.

    Args:
        model: a bigram over words, in which token 0 ends a text.
        kept: distinct words or marks; they become tokens 1, 2, ... in this order, or 0, 1, ... where there is
            no end token.
        ends: whether the end token stays, as token 0.

    Raises:
        ValueError: a word that the model does not have, or one twice.
    """
    words, bigram = model.words, model.markov
    assert bigram.contexts == bigram.vocab_size + 1 and model.end_token == 0
    index = {word: token for token, word in enumerate(words)}
    missing = [word for word in kept if not index.get(word, 0)]
    if missing or len(set(kept)) != len(kept):
        raise ValueError(f"kept must be distinct words of {bigram.name!r}; {missing or 'one is there twice'}")
    names = (words[0], *kept) if ends else tuple(kept)
    tokens = np.array([index[word] for word in names])
    rows = np.take(bigram.rows(np.append(tokens, bigram.start_context)), tokens, axis=1)
    rows -= np.log(np.exp(rows).sum(axis=1, keepdims=True))
    part = MarkovReference(
        rows[-1],
        rows[:-1],
        name=f"{bigram.name}, {len(kept)} of them",
        fingerprint=fingerprint_of_words(names, bigram.fingerprint),
    )
    return bigram_model(names, part, 0 if ends else None)


@lru_cache(maxsize=2)
def cloned(model: LanguageModel, clones: int) -> LanguageModel:
    """Every word of a bigram but the end token ``clones`` times, of equal probability after every clone of
    every word. The first clone is written as the word itself, the third as ``film_3``.
    """
    bigram, names = model.markov, model.words
    origin = originals(len(names), clones)
    table = bigram.rows(np.append(origin, bigram.start_context))[:, origin]
    table = table - np.where(origin == 0, 0.0, np.log(clones))
    spelled = [names[0]]
    for name in names[1:]:
        spelled += [name, *(f"{name}_{number}" for number in range(2, clones + 1))]
    many = MarkovReference(
        table[-1],
        table[:-1],
        name=f"{bigram.name}, {clones} times",
        fingerprint=fingerprint_of_words(spelled, bigram.fingerprint),
    )
    return bigram_model(spelled, many, 0)


def originals(size: int, clones: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """int64 [(size - 1) clones + 1], the token of which each token is a clone; the end token is alone."""
    return np.concatenate([[0], np.repeat(np.arange(1, size), clones)])


def fingerprint_of_words(names: Sequence[str], whole: str) -> str:
    """SHA-256 of what a part of the words is computed from."""
    return hashlib.sha256("\n".join((whole, *names)).encode()).hexdigest()
