"""Naive Bayes sentiment: a classifier as the reward, and still an exact optimum.

## Description
Write a text that a naive Bayes classifier takes for a positive film review, and which is otherwise
what a bigram model of film reviews would write.

## Action Space
``Discrete(2011)``: the next word or mark of the reference ``words``; 0 ends the text.

## Observation Space
``Box(int64, (24,))``: the tokens written so far, padded on the right with the end token.
The features id shows instead the sum of the log-odds so far (its place between
the least and the largest, the reward it would bring, and sine and cosine of three waves of 16, 64
and 256 units), the time left and the row log pi0(.|last word), float32.

## Starting State
An empty text; there is no prompt.

## Rewards
At the end, once: P(positive) = 1 / (1 + exp(-(prior + s))), s the sum of the log-odds of the words,
each time that they occur. A word's log-odds are naive Bayes's from the labels of half of the reviews,
as a whole number of ``eta`` = .2 nats from -8 to 8; the end token's are 0. ``prior`` is the log-odds
of a positive review before a word is read: at -4 the reader has to be won over. KL is not part of the
reward.

## Episode End
The end token, or ``horizon`` tokens; both terminate, and the horizon without the end token is worth
the same.

## Information
``reference_log_prob`` (nats) each step; at the end ``text`` and ``log_odds``, prior + s in nats.

## Arguments
``kl_coef`` (.05), ``horizon`` (24), ``prior`` (-4 nats), ``reference`` ("words", or "words-trigram",
which knows two words back and needs a minute and 2 GB for the optimum).

## Optimum
Exact: an n-gram times an automaton whose states are the sums within the horizon (385 of them). As the
weights are whole numbers by definition, no sum is rounded, and none is clamped.

## References
Naive Bayes as in Wang and Manning 2012 (https://aclanthology.org/P12-2018); the labels are those of
Maas et al. 2011 and Pang and Lee 2005. Accuracy of this classifier: card of ``words.lexicon``.

## Version History
v0: first version.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from klrl_envs.reference.arrays import FloatArray, IntArray
from klrl_envs.reference.catalogue import load
from klrl_envs.reference.language_model import LanguageModel
from klrl_envs.reference.lexicon import word_lexicon
from klrl_envs.reward.automata import from_sum
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.base import check_horizon, digest

WAVES = (16, 64, 256)


def task(
    *, kl_coef: float, horizon: int = 24, prior: float = -4.0, reference: str = "words"
) -> AutomatonTask:
    """The task; the page above is its specification."""
    lexicon = word_lexicon()
    return sentiment_task(
        load(reference, allowed=("words", "words-trigram")),
        lexicon.weights,
        lexicon.eta,
        kl_coef=kl_coef,
        horizon=horizon,
        prior=prior,
    )


def sentiment_task(
    model: LanguageModel,
    weights: IntArray,
    eta: float,
    *,
    kl_coef: float,
    horizon: int,
    prior: float,
) -> AutomatonTask:
    """The task over any words.

    Args:
        model: the reference.
        weights: int64 [V], log-odds in units of ``eta`` nats.
        eta: nats.
        kl_coef: in units of reward per nat.
        horizon: tokens.
        prior: nats.

    Raises:
        ValueError: a horizon below one token, or a prior that is not finite.
    """
    check_horizon(horizon)
    if not np.isfinite(prior):
        raise ValueError(f"prior must be a finite number of nats, got {prior}")
    automaton = from_sum(weights, horizon, lambda sums: probability(prior + eta * sums.astype(np.float64)))
    sums = np.arange(automaton.states) - int(np.flatnonzero(automaton.start)[0])
    log_odds = prior + eta * sums.astype(np.float64)
    return AutomatonTask.of(
        model,
        automaton,
        kl_coef=kl_coef,
        horizon=horizon,
        reward_range=(0.0, 1.0),
        # of what defines the reward: a processor's exponential differs from another's in the last bit
        reward_fingerprint=digest(weights, np.array([eta, prior], dtype=np.float64)),
        state_features=sum_features(sums, log_odds),
        final_metrics={"log_odds": log_odds},
    )


def probability(log_odds: FloatArray) -> FloatArray:
    """The logistic function, without overflow."""
    return np.exp(-np.logaddexp(0.0, -log_odds))


def sum_features(sums: IntArray, log_odds: FloatArray) -> NDArray[np.float32]:
    """float32 [Q, 8] in [0, 1] of sums and log-odds [Q]: place in the range, reward, and three waves."""
    place = (sums - sums[0]) / max(1, sums[-1] - sums[0])
    angles = [2 * np.pi * sums / wave for wave in WAVES]
    waves = [(1 + turn(angle)) / 2 for angle in angles for turn in (np.sin, np.cos)]
    return np.stack([place, probability(log_odds), *waves], axis=1).astype(np.float32)
