"""Delay: the same reward, paid later.

## Description
Emphatic praise is paid, each time it occurs, some tokens later. What is still pending when the text
ends is paid then, so that a delay takes nothing away.

## Action Space
``Discrete(27)``: 26 words and marks of ``words``, its bigram restricted to them and renormalised; 0 ends
the text.

## Observation Space
``Box(int64, (12,))``: the tokens written so far, padded on the right with the end token.
The features id shows instead whether the last word was one of emphasis and the ``delay``
payments that are pending, the next one first (bits), the time left and the row log pi0(.|last word),
float32.

## Starting State
An empty text; there is no prompt.

## Rewards
0.5 for each of good, great, funny and well that directly follows very, really or so, paid ``delay``
tokens after it, or at the end of the text if that is earlier. KL is not part of the reward.

## Episode End
The end token, or ``horizon`` tokens; both terminate, and the horizon without the end token is worth the
same.

## Information
``reference_log_prob`` (nats) each step; at the end ``text``.

## Arguments
``kl_coef`` (.15), ``horizon`` (12), ``delay`` (4; the sweep is 0 to 12; at most 16 tokens), ``reference``
("words").

## Optimum
Exact: the states are the pending payments and whether the last word was one of emphasis.

## What must hold
J*, J(pi0) and KL* are the same for every delay, as the return of each text is. An agent's score must not
fall with the delay: a discount, a small lambda, or a step's reward taken for the step's worth
shows here.

## References
Arjona-Medina et al. 2019 (arXiv 1806.07857) on delayed rewards.

## Version History
v0: first version.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from klrl_envs.reward.automaton import RewardAutomaton
from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.base import check_horizon, is_whole
from klrl_envs.tasks.diagnostics.common import few_words

FIRST = ("very", "really", "so")
SECOND = ("good", "great", "funny", "well")
PAID = 0.5
MOST_DELAY = 16


def task(*, kl_coef: float, horizon: int = 12, delay: int = 4, reference: str = "words") -> AutomatonTask:
    """The task; the page above is its specification."""
    if not is_whole(delay) or not 0 <= delay <= MOST_DELAY:
        raise ValueError(f"delay must be a whole number of tokens in 0..{MOST_DELAY}, got {delay!r}")
    model = few_words(reference)
    automaton, features = delayed_pairs(
        model.tokens(FIRST), model.tokens(SECOND), model.vocab_size, int(delay)
    )
    return AutomatonTask.of(
        model, automaton, kl_coef=kl_coef, horizon=horizon, state_features=features,
        reward_range=(0.0, PAID * (check_horizon(horizon) // 2)),
    )  # fmt: skip


def delayed_pairs(
    first: Sequence[int], second: Sequence[int], vocab_size: int, delay: int
) -> tuple[RewardAutomaton, NDArray[np.float32]]:
    """``PAID`` for each token of ``second`` after one of ``first``, ``delay`` tokens later or at the end.

    Args:
        first, second: tokens; none is in both.
        vocab_size: V.
        delay: d, in tokens.

    Returns:
        The automaton, and its states as float32 [Q, 1 + d]: whether the last token was of ``first``, and what
        is pending, the next payment first.
    """
    starts = np.isin(np.arange(vocab_size), first)
    completes = np.isin(np.arange(vocab_size), second)
    known: dict[tuple[bool, tuple[bool, ...]], int] = {(False, (False,) * delay): 0}
    waiting = list(known)
    transition: list[list[int]] = []
    paid: list[list[float]] = []
    for armed, pending in waiting:
        row: list[int] = []
        payments: list[float] = []
        for token in range(vocab_size):
            queue = (*pending, bool(armed and completes[token]))
            after = (bool(starts[token]), queue[1:])
            if after not in known:
                known[after] = len(known)
                waiting.append(after)
            row.append(known[after])
            payments.append(PAID * queue[0])
        transition.append(row)
        paid.append(payments)
    features = np.array([(armed, *pending) for armed, pending in waiting], dtype=np.float32)
    final = PAID * features[:, 1:].sum(axis=1)
    return RewardAutomaton(transition, reward=paid, final_reward=final), features
