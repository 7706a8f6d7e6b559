"""Reference: the agent starts elsewhere, and the reference is still what it pays for leaving.

## Description
Three words are wanted. The agent does not start at the reference but at another temperature of it, at
the default a colder copy, which repeats the commonest phrases: part of its work is the way back.

## Action Space
``Discrete(27)``: 26 words and marks of ``words``, its bigram restricted to them and renormalised; 0 ends
the text.

## Observation Space
``Box(int64, (12,))``: the tokens written so far, padded on the right with the end token.
The features id shows instead which of the three words have occurred (3 bits), the time
left, the row log pi0(.|last word) and the row of the initial policy, float32.

## Starting State
An empty text; there is no prompt. ``unwrapped.initial_policy`` is the policy at which agents must start:
it has ``state_log_probs`` and, of padded tokens, ``log_probs``.

## Rewards
At the end, once: the fraction of great, best and funny that occurs. KL is not part of the reward, and is
to the reference, not to the initial policy.

## Episode End
The end token, or ``horizon`` tokens; both terminate, and the horizon without the end token is worth the
same.

## Information
``reference_log_prob`` (nats, of the reference) each step; at the end ``text``.

## Arguments
``kl_coef`` (.1), ``horizon`` (12), ``temperature`` (.5; .05 to 20) of the initial policy, which is
pi0^(1/temperature), renormalised in each context; ``reference`` ("words").

## Optimum
Exact: the subsets of the words found are the states. The initial policy has no part in it.

## What must hold
J*, J(pi0) and the score's zero do not move with ``temperature``; the initial policy scores -.98 at the
default (a slightly hotter copy of pi0, up to about 1.17, a little above 0). An agent whose KL is to
where it started, or to its last update, finds another optimum and is caught here and nowhere else in the
suite, as elsewhere agents start at pi0.

## References
Schulman et al. 2017 (arXiv 1707.06347) for the KL to the last policy, which is another KL.

## Version History
v0: first version.
"""

from __future__ import annotations

import numpy as np

from klrl_envs.tasks.automaton_task import AutomatonTask
from klrl_envs.tasks.diagnostics.common import few_words, wanted_words

LEAST, MOST = 0.05, 20.0
"""Temperatures: beyond, the rows of the initial policy come near to zeros."""


def task(
    *, kl_coef: float, horizon: int = 12, temperature: float = 0.5, reference: str = "words"
) -> AutomatonTask:
    """The task; the page above is its specification."""
    number = isinstance(temperature, (int, float))  # pyright: ignore[reportUnnecessaryIsInstance]
    if not (number and LEAST <= temperature <= MOST):
        raise ValueError(f"temperature must be a number from {LEAST} to {MOST}, got {temperature!r}")
    model = few_words(reference)
    automaton, features = wanted_words(model)
    colder = model.markov.rows(np.arange(model.markov.contexts)) / temperature
    return AutomatonTask.of(
        model, automaton, kl_coef=kl_coef, horizon=horizon, state_features=features,
        initial_policy=colder - np.logaddexp.reduce(colder, axis=1, keepdims=True),
    )  # fmt: skip
