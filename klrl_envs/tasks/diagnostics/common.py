"""What the diagnostics share: a small part of the reference ``words``, and one plain reward on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from klrl_envs.reference.catalogue import load
from klrl_envs.reference.language_model import LanguageModel
from klrl_envs.reward.automata import binary, from_keywords
from klrl_envs.reward.automaton import RewardAutomaton

WORDS = (
    "the", "a", "this", "it", "film", "movie", "story", "is", "was", "and", "of", "with", "but", "not",
    "very", "so", "really", "good", "great", "best", "bad", "boring", "funny", "well", ".", ",",
)  # fmt: skip
"""Enough words for small sentences; with the end token V = 27."""

WANTED = ("great", "best", "funny")
"""The words of the plain reward; a text of twelve tokens earns .12 on average."""


def few_words(reference: str) -> LanguageModel:
    """The bigram ``words``, restricted to ``WORDS`` and the end token (0).

    Raises:
        ValueError: ``reference`` is not "words".
    """
    return load(reference, allowed=("words",), kept=WORDS, ends=True)


def wanted_words(model: LanguageModel) -> tuple[RewardAutomaton, NDArray[np.float32]]:
    """The plain reward, paid at the end: the fraction of ``WANTED`` that occurs; its features, a bit each."""
    automaton = from_keywords(model.tokens(WANTED), model.vocab_size)
    return automaton, binary(automaton.states, len(WANTED)).astype(np.float32)
