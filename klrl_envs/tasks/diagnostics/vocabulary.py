"""Vocabulary: the same task in more words.

## Description
Three words are wanted. Every word of the vocabulary has clones, which mean the same and share its
probability: the task is what it was, in a vocabulary many times as large.

## Action Space
``Discrete(26 clones + 1)``: 0 ends the text; 1 to ``clones`` are the clones of the first of 26 words and
marks of ``words``, and so on. The first clone is written as the word itself, the third as ``film_3``.

## Observation Space
``Box(int64, (12,))``: the tokens written so far, padded on the right with the end token.
The features id shows instead which of the three words have occurred (3 bits), the
time left and the row log pi0(.|last word), float32.

## Starting State
An empty text; there is no prompt.

## Rewards
At the end, once: the fraction of great, best and funny of which a clone occurs. KL is not part of the
reward.

## Episode End
The end token, which has no clones, or ``horizon`` tokens; both terminate, and the horizon without the end
token is worth the same.

## Information
``reference_log_prob`` (nats) each step; at the end ``text``.

## Arguments
``kl_coef`` (.1), ``horizon`` (12), ``clones`` (8; the sweep is 1 to 64), ``reference`` ("words").

## Optimum
Exact: the subsets of the words found are the states. pi* splits every word's probability evenly among
its clones.

## What must hold
J*, J(pi0) and KL* are the same for every number of clones. An agent must find that words are alike, or
pay: entropy bonuses, exploration that is uniform over tokens, and estimates of KL from a few of the
likeliest tokens all depend on the size of the vocabulary.

## References
Invariance to cloned actions: Tennenholtz and Mannor 2019 (arXiv 1902.01119) on learning what actions
mean.

## Version History
v0: first version.
"""

from __future__ import annotations

from klrl_envs.reference.language_model import cloned, originals
from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.base import is_whole
from klrl_envs.tasks.diagnostics.common import few_words, wanted_words

MOST_CLONES = 256


def task(*, kl_coef: float, horizon: int = 12, clones: int = 8, reference: str = "words") -> AutomatonTask:
    """The task; the page above is its specification."""
    if not is_whole(clones) or not 1 <= clones <= MOST_CLONES:
        raise ValueError(f"clones must be a whole number in 1..{MOST_CLONES}, got {clones!r}")
    one = few_words(reference)
    plain, features = wanted_words(one)
    model = cloned(one, int(clones))
    transition = plain.transition[:, originals(one.vocab_size, int(clones))]
    return AutomatonTask.of(
        model,
        RewardAutomaton(transition, final_reward=plain.final_reward),
        kl_coef=kl_coef,
        horizon=horizon,
        state_features=features,
    )
