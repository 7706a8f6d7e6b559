"""Topic: likelihood against a topic, token by token.

## Description
Write a text about a topic that is given by a word. Every token is paid for being likely where it
stands and for being close to the topic.

## Action Space
``Discrete(2011)``: the next word or mark of the reference ``words``; 0 ends the text.

## Observation Space
``Box(int64, (24,))``: the tokens written so far, padded on the right with the end token.
The features id shows instead the time left and the row log pi0(.|last word), float32.

## Starting State
An empty text; there is no prompt.

## Rewards
Each step: ``likelihood`` * pi0(token | last word) + ``similarity`` * cosine(token, topic), the
cosine of two word vectors (those of marks are zero). The end token pays 0, and so forgoes what the
rest of the text would have earned. KL is not part of the reward.

## Episode End
The end token, or ``horizon`` tokens; both terminate, and the end itself pays nothing.

## Information
``reference_log_prob`` (nats) each step; at the end ``text``.

## Arguments
``kl_coef`` (.23), ``horizon`` (24), ``topic`` ("music"; a word of the vocabulary), ``likelihood``
(.5) and ``similarity`` (1), both at least 0, ``reference`` ("words").

## Optimum
Exact: the reward is one of the bigram's context and its next token, so that the contexts and the
time are all the state there is.

## References
Word vectors from pointwise mutual information: Levy, Goldberg and Dagan 2015
(https://aclanthology.org/Q15-1016); nearest words in the card of ``words.lexicon``.

## Version History
v0: first version.
"""

from __future__ import annotations

import numpy as np

from klrl_envs.reference.arrays import FloatArray
from klrl_envs.reference.catalogue import load
from klrl_envs.reference.language_model import LanguageModel
from klrl_envs.reference.lexicon import word_lexicon
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.base import digest


def task(
    *,
    kl_coef: float,
    horizon: int = 24,
    topic: str = "music",
    likelihood: float = 0.5,
    similarity: float = 1.0,
    reference: str = "words",
) -> AutomatonTask:
    """The task; the page above is its specification."""
    model = load(reference, allowed=("words",))
    lexicon = word_lexicon()
    target = topic_vector(topic, lexicon.words, lexicon.vectors)
    return topic_task(
        model,
        lexicon.vectors,
        target,
        kl_coef=kl_coef,
        horizon=horizon,
        likelihood=likelihood,
        similarity=similarity,
    )


def topic_vector(word: str, words: tuple[str, ...], vectors: FloatArray) -> FloatArray:
    """The vector [D] of a word.

    Raises:
        ValueError: no word of the vocabulary, or one without a vector.
    """
    token = words.index(word) if word in words else None
    if token is None or not vectors[token].any():
        raise ValueError(f"topic must be a word of the vocabulary that has a vector, got {word!r}")
    return vectors[token]


def topic_task(
    model: LanguageModel,
    vectors: FloatArray,
    target: FloatArray,
    *,
    kl_coef: float,
    horizon: int,
    likelihood: float,
    similarity: float,
) -> AutomatonTask:
    """The task over any words.

    Args:
        model: the reference, C contexts.
        vectors: float64 [V, D], of unit length or zero.
        target: float64 [D], of unit length.
        kl_coef: in units of reward per nat.
        horizon: tokens.
        likelihood: reward of a token that is certain in its context.
        similarity: reward of a token whose vector is the target.

    Raises:
        ValueError: likelihood or similarity below 0 or not finite.
    """
    for name, factor in (("likelihood", likelihood), ("similarity", similarity)):
        if not (np.isfinite(factor) and factor >= 0):
            raise ValueError(f"{name} must be a finite number of at least 0, got {factor}")
    pi0 = np.exp(model.markov.rows(np.arange(model.markov.contexts)))
    # the cosines of rounded vectors may pass 1 by their rounding, the declared range may not
    paid = likelihood * pi0 + similarity * np.clip(vectors @ target, -1, 1)
    if model.end_token is not None:
        paid[:, model.end_token] = 0
    still = np.zeros((1, model.vocab_size), dtype=np.int64)
    return AutomatonTask.of(
        model,
        RewardAutomaton(still, context_reward=paid),
        kl_coef=kl_coef,
        horizon=horizon,
        reward_range=(-similarity * horizon, (likelihood + similarity) * horizon),
        # of what defines the reward: sums and exponentials differ in the last bits between processors
        reward_fingerprint=digest(vectors, target, np.array([likelihood, similarity], dtype=np.float64)),
        state_features=np.zeros((1, 0), dtype=np.float32),
    )
