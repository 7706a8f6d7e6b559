"""What the diagnostics share: a small part of the reference ``words``, and one plain reward on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from klrl_envs.reference.catalogue import WordReference, part_of_words
from klrl_envs.reward.automata import from_keywords
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.base import AutomatonTask

WORDS = (
    "the", "a", "this", "it", "film", "movie", "story", "is", "was", "and", "of", "with", "but", "not",
    "very", "so", "really", "good", "great", "best", "bad", "boring", "funny", "well", ".", ",",
)  # fmt: skip
"""Enough words for small sentences; with the end token V = 27."""

WANTED = ("great", "best", "funny")
"""The words of the plain reward; a text of twelve tokens earns .12 on average."""


def few_words(reference: str) -> WordReference:
    """The bigram ``words``, restricted to ``WORDS`` and the end token (0).

    Raises:
        ValueError: ``reference`` is not "words".
    """
    if reference != "words":
        raise ValueError(f"reference must be 'words' on this diagnostic, got {reference!r}")
    return part_of_words(WORDS, end=True)


def tokens_of(model: WordReference, words: tuple[str, ...]) -> list[int]:
    """The tokens of some words of a reference."""
    return [model.vocabulary.words.index(word) for word in words]


def wanted_words(model: WordReference) -> tuple[RewardAutomaton, NDArray[np.float32]]:
    """The plain reward, paid at the end: the fraction of ``WANTED`` that occurs; its features, a bit each."""
    automaton = from_keywords(tokens_of(model, WANTED), model.reference.vocab_size)
    bits = np.arange(automaton.states)[:, None] >> np.arange(len(WANTED)) & 1
    return automaton, bits.astype(np.float32)


def word_task(
    task_id: str,
    model: WordReference,
    automaton: RewardAutomaton,
    state_features: NDArray[np.float32],
    arguments: Mapping[str, Any],
    **parts: Any,
) -> AutomatonTask:
    """A task over words, remade from its id and arguments; the reward lies in [0, 1] unless ``parts`` differ.

    Args:
        task_id: such as "DiagnosticNoise-v0".
        model: reference, vocabulary and end token.
        automaton: the reward.
        state_features: float32 [Q, F] in [0, 1].
        arguments: all of the environment's but ``prompts`` where there are none; kl_coef and horizon among
            them.
        **parts: of ``AutomatonTask``.
    """
    return AutomatonTask(
        id=task_id,
        reference=model.reference,
        vocabulary=model.vocabulary,
        horizon=arguments["horizon"],
        end_token=model.end_token,
        kl_coef=arguments["kl_coef"],
        reward_fingerprint=automaton.fingerprint,
        source=(task_id, dict(arguments)),
        automaton=automaton,
        state_features=state_features,
        **{"reward_range": (0.0, 1.0), **parts},
    )
