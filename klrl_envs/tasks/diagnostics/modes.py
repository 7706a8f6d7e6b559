"""Modes: several ways to succeed, and no reason to prefer one.

## Description
Four openings are right, and right alike. The reference finds some easier than others.

## Action Space
``Discrete(27)``: 26 words and marks of ``words``, its bigram restricted to them and renormalised; 0 ends
the text.

## Observation Space
``Box(int64, (8,))``: the tokens written so far, padded on the right with the end token.
The features id shows instead which opening was begun and which is complete (one-hot
each) and whether neither can be any more, the time left and the row log pi0(.|last word), float32.

## Starting State
An empty text; there is no prompt.

## Rewards
At the end, once: 1 for a text that begins with "this story", "a funny", "the great" or "it really",
else 0. KL is not part of the reward.

## Episode End
The end token, or ``horizon`` tokens; both terminate, and the horizon without the end token is worth the
same.

## Information
``reference_log_prob`` (nats) each step; at the end ``text``, and ``mode_a`` to ``mode_d``, 1 for the
opening that the text has.

## Arguments
``kl_coef`` (.18), ``horizon`` (8), ``reference`` ("words").

## Optimum
Exact, and in closed form: J* = kl_coef log(1 + p (e^{1/kl_coef} - 1)), where p is the reference's
probability of the four openings together.

## What must hold
At the optimum the modes have the odds that they have under pi0, at every ``kl_coef``: a text of equal
reward is tilted alike. Collapse to the easiest mode is cheap in J and dear in forward KL(pi* || pi),
which is what should be reported here. So it is at every ``kl_coef``, from .1 to 1.

## References
Korbak, Perez and Buckley 2022 (arXiv 2205.11275) on the collapse of distributions; Go et al. 2023
(arXiv 2302.08215) on the two KLs.

## Version History
v0: first version.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.diagnostics.common import few_words

OPENINGS = (("this", "story"), ("a", "funny"), ("the", "great"), ("it", "really"))


def task(*, kl_coef: float, horizon: int = 8, reference: str = "words") -> AutomatonTask:
    """The task; the page above is its specification."""
    model = few_words(reference)
    pairs = [model.tokens(opening) for opening in OPENINGS]
    automaton, features = openings(pairs, model.vocab_size)
    count = len(OPENINGS)
    complete = np.eye(automaton.states)[1 + count : 1 + 2 * count]
    return AutomatonTask.of(
        model, automaton, kl_coef=kl_coef, horizon=horizon, state_features=features,
        final_metrics={f"mode_{letter}": row for letter, row in zip("abcdefgh", complete)},
    )  # fmt: skip


def openings(pairs: Sequence[Sequence[int]], vocab_size: int) -> tuple[RewardAutomaton, NDArray[np.float32]]:
    """1 for a text that begins with one of n pairs of tokens; the first tokens are distinct.

    The states are 0 for the start, 1 to n for a pair begun, n + 1 to 2 n for a pair complete, 2 n + 1 for
    neither; the features, float32 [2 n + 2, 2 n + 1], are one-hot and all zero at the start.
    """
    count = len(pairs)
    neither = 2 * count + 1
    transition = np.full((neither + 1, vocab_size), neither)
    for number, (first, second) in enumerate(pairs):
        transition[0, first] = 1 + number
        transition[1 + number, second] = 1 + count + number
        transition[1 + count + number] = 1 + count + number
    states = np.arange(neither + 1)
    reward = (states > count) & (states < neither)
    return RewardAutomaton(transition, final_reward=reward), np.eye(neither + 1, dtype=np.float32)[:, 1:]
