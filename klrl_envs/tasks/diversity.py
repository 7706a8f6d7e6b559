"""Diversity: many kinds of words, each of which pays once.

## Description
Write a text that has words of as many as possible of eight classes: a number, a name, a word of
blame, one of praise, one of the craft, a place, one of the family, a genre. A second word of a class
pays nothing.

## Action Space
``Discrete(2011)``: the next word or mark of the reference ``words``; 0 ends the text.

## Observation Space
``Box(int64, (24,))``: the tokens written so far, padded on the right with the end token.
The features id shows instead which classes have occurred (8 bits), the time left and the row
log pi0(.|last word), float32.

## Starting State
An empty text; there is no prompt.

## Rewards
At the end, once: the fraction of the given classes of which a word occurs. KL is not part of the
reward.

## Episode End
The end token, or ``horizon`` tokens; both terminate, and the horizon without the end token is worth
the same.

## Information
``reference_log_prob`` (nats) each step; at the end ``text`` and ``classes``, the number of given
classes that occur.

## Arguments
``kl_coef`` (.04), ``horizon`` (24), ``classes`` (eight of the sixteen classes of words, by number; at
most ten), ``reference`` ("words", or "words-trigram", which knows two words back and needs a minute
and 2 GB for the optimum of eight classes).

## Optimum
Exact: an n-gram times an automaton over the subsets of classes that occurred (2^8 states).

## References
Classes: k-means on word vectors, each with its most typical words in the card of ``words.lexicon``.

## Version History
v0: first version.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from klrl_envs.reference.arrays import IntArray
from klrl_envs.reference.catalogue import load
from klrl_envs.reference.language_model import LanguageModel
from klrl_envs.reference.lexicon import CLASSES, word_lexicon
from klrl_envs.reward.automata import binary
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.base import is_whole

DIVERSE = (0, 2, 3, 6, 8, 9, 10, 11)
"""Numbers, names, blame, praise, craft, places, family, genres: the classes that are topics, not grammar."""
MOST_CLASSES = 10


def task(
    *, kl_coef: float, horizon: int = 24, classes: Sequence[int] = DIVERSE, reference: str = "words"
) -> AutomatonTask:
    """The task; the page above is its specification."""
    given = list(classes)
    if (
        not all(map(is_whole, given))
        or not 1 <= len(given) <= MOST_CLASSES
        or len(set(given)) != len(given)
        or not all(0 <= one < CLASSES for one in given)
    ):
        raise ValueError(
            f"classes must be 1 to {MOST_CLASSES} distinct numbers in 0..{CLASSES - 1}, got {given}"
        )
    return diversity_task(
        load(reference, allowed=("words", "words-trigram")),
        word_lexicon().classes,
        given,
        kl_coef=kl_coef,
        horizon=horizon,
    )


def diversity_task(
    model: LanguageModel,
    classes: IntArray,
    given: Sequence[int],
    *,
    kl_coef: float,
    horizon: int,
) -> AutomatonTask:
    """The task over any words.

    Args:
        model: the reference.
        classes: int64 [V], the class of each token.
        given: the classes that count.
        kl_coef: in units of reward per nat.
        horizon: tokens.
    """
    states = np.arange(1 << len(given))
    bits = sum((classes == one).astype(np.int64) << place for place, one in enumerate(given))
    occurred = binary(len(states), len(given))
    automaton = RewardAutomaton(states[:, None] | bits, final_reward=occurred.sum(axis=1) / len(given))
    return AutomatonTask.of(
        model,
        automaton,
        kl_coef=kl_coef,
        horizon=horizon,
        state_features=occurred.astype(np.float32),
        final_metrics={"classes": occurred.sum(axis=1).astype(np.float64)},
    )
